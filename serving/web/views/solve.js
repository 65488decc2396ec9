/* The view "Solve": one checkpoint, one problem, streamed; and going on from an edited step. */

import { Answer } from "../answer/answer.js";
import { AnswerPanel } from "../answer/panel.js";
import { aboutOf, specOf } from "../settings/problem.js";

const MAX_TOKENS = 1024; // more than any trace takes; the server stops at the model's own end

/** The body that asks a model this problem; every view builds on it. */
export function question(settings, model) {
  const { temperature, draw } = settings;
  return { model, ...aboutOf(settings), temperature, seed: draw, logprobs: 5, max_tokens: MAX_TOKENS };
}

/** Streams one answer into `answer`, calling `changed` after each event. Stopping is not an error. */
export async function stream(client, path, body, answer, { signal, changed }) {
  answer.state = "waiting";
  changed();
  try {
    for await (const { name, data } of client.stream(path, body, signal)) {
      if (name === "start") answer.start(data);
      else if (name === "token") answer.add(data.tokens);
      else if (name === "step") answer.step(data);
      else if (name === "done") answer.finish(data);
      changed();
    }
  } catch (error) {
    answer.state = error.name === "AbortError" ? "stopped" : "failed";
    changed();
    if (error.name !== "AbortError") throw error;
  }
}

/** Calls `draw` at most once per frame. */
export function framed(draw) {
  let due = false;
  return () => {
    if (due) return;
    due = true;
    requestAnimationFrame(() => {
      due = false;
      draw();
    });
  };
}

/** The view "Solve" on the page. `app` gives settings, problem, client, announce and change(patch). */
export class SolveView {
  constructor(host, app) {
    this.app = app;
    this.panel = new AnswerPanel({
      announce: app.announce,
      onOpen: (index) => app.change({ step: index }),
      onEdit: app.client.saved ? null : (prefix) => this.#goOn(prefix),
    });
    host.replaceChildren(this.panel.element);
  }

  /** A new problem is on the table. */
  reset(problem) {
    this.panel.open = this.app.settings.step;
    this.panel.heat = this.app.settings.heat;
    this.panel.show(new Answer(problem));
  }

  async run(signal) {
    const { settings, client, problem } = this.app;
    const { path, body } = this.request();
    const answer = new Answer(problem);
    this.panel.open = settings.step;
    this.panel.show(answer);
    const changed = framed(() => answer === this.panel.answer && this.panel.refresh());
    try {
      await stream(client, path, body, answer, { signal, changed });
      this.panel.refresh();
    } catch (error) {
      this.panel.fail(error);
      throw error;
    }
  }

  /** What `run` sends, for curl too. */
  request() {
    const { settings } = this.app;
    const body = question(settings, settings.model);
    if (!settings.prefix) return { path: "v1/probe/solve", body };
    return { path: "v1/probe/continue", body: { ...body, prefix: settings.prefix } };
  }

  /** What asks for this view's picture: the problem, with the trace on it as soon as that is complete. */
  picture() {
    const { done } = this.panel.answer;
    return { problem: specOf(this.app.settings), ...(done && { text: done.text }) };
  }

  setHeat(heat) {
    this.panel.setHeat(heat);
  }

  #goOn(prefix) {
    this.app.change({ prefix, step: -1, go: true }, true);
    this.app.run();
  }
}
