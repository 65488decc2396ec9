/* One answer on the page: the graph, the judgement in words, the trace, and who gave it. Used by every view. */

import { h, percent } from "../elements/dom.js";
import { GraphView } from "./graph.js";
import { TraceView } from "./trace.js";
import { failure } from "../elements/notices.js";
import { redraw } from "../elements/redraw.js";
import { STATUS, gradeOf, icon } from "../elements/status.js";

/** `onOpen(index)` tells which step is open (-1: none), `onEdit(prefix)` asks to go on from an edited trace. */
export class AnswerPanel {
  constructor({ onOpen = () => {}, onEdit = null, announce = () => {} } = {}) {
    this.answer = null;
    this.open = -1;
    this.heat = false;
    this.distractors = false;
    this.announce = announce;
    this.onOpen = onOpen;
    this.graph = new GraphView((name) => this.#pick(name));
    this.trace = new TraceView({ onOpen: (index) => this.openStep(index), onEdit });
    this.head = h("div", { class: "judgement" });
    this.foot = h("div", { class: "foot" });
    this.notice = h("div", {});
    this.graphHead = h("div", { class: "card-head" });
    this.traceCard = h("section", { class: "card trace-card", "aria-label": "Trace" }, this.trace.element, this.foot);
    this.graphCard = h(
      "section",
      { class: "card graph-card", "aria-label": "Dependency graph" },
      this.graphHead,
      this.graph.element,
      legend(),
    );
    this.element = h(
      "div",
      { class: "panel" },
      h("section", { class: "band", "aria-label": "Judgement" }, this.head, this.notice),
      this.graphCard,
      this.traceCard,
    );
    this.#watchWidth();
  }

  /** Shows `answer` from scratch. */
  show(answer) {
    this.answer = answer;
    this.graph.clear();
    this.notice.replaceChildren();
    this.said = answer.done ? answer.steps.length : 0;
    this.drawGraph();
    this.refresh();
  }

  /** Shows one judged text in `host`, under a heading and the link that asks for it again, and moves there. */
  present(host, heading, again, answer) {
    host.replaceChildren(
      h("h2", { class: "one" }, heading),
      h("p", { class: "one", "data-live": true }, h("a", { href: again }, "Ask for it again in Solve, with its tokens")),
      this.element,
    );
    this.open = -1;
    this.show(answer);
    host.scrollIntoView({
      block: "start",
      behavior: matchMedia("(prefers-reduced-motion: reduce)").matches ? "auto" : "smooth",
    });
  }

  /** Draws the graph anew: another problem, distractors on or off, another width. */
  drawGraph() {
    const { answer } = this;
    if (!answer) return;
    this.invented = answer.invented;
    this.graphCard.hidden = !answer.hasGraph;
    if (!answer.hasGraph) return;
    this.graph.draw(answer.problem.graph, { distractors: this.distractors, invented: this.invented });
    this.#graphTitle();
    this.#marks();
  }

  /** Draws what changed: called at most once per frame while the answer streams. */
  refresh() {
    const { answer } = this;
    this.trace.show(answer, { open: this.open, heat: this.heat });
    if (answer.invented.length !== this.invented.length || this.#hiddenStep()) this.drawGraph();
    this.#marks();
    this.#words();
    this.#say();
  }

  /** Opens a step (-1 closes), and moves there when `focus`. */
  openStep(index, focus = false) {
    this.open = index;
    this.refresh();
    this.graph.select(this.answer.steps[index]?.node ?? null);
    if (focus) this.trace.focus(index);
    else this.trace.reveal(index, "auto");
    this.onOpen(index);
  }

  /** Shows an error under the judgement; what has arrived stays. */
  fail(error) {
    this.answer.state = "failed";
    this.notice.replaceChildren(failure(error));
    this.refresh();
  }

  /** Says why nothing comes at the moment; the next answer that is shown takes its place. */
  wait(words) {
    this.notice.replaceChildren(h("p", { class: "quiet", role: "status" }, words));
  }

  setHeat(heat) {
    this.heat = heat;
    this.refresh();
  }

  // Written anew only when they change, so that an open detail stays open and a focused link keeps the focus.
  #words() {
    const { answer } = this;
    const print = `${answer.state} ${answer.steps.length} ${answer.firstWrong}`;
    if (this.printed?.answer === answer && this.printed.print === print) return;
    this.printed = { answer, print };
    this.head.replaceChildren(...judgementHead(answer, () => this.openStep(answer.firstWrong, true)));
    this.foot.replaceChildren(...policyFoot(answer));
  }

  #pick(name) {
    const index = this.answer.stepOf(name);
    if (index >= 0) this.openStep(index);
    this.graph.select(name);
  }

  #hiddenStep() {
    const names = new Set(this.answer.problem.graph.nodes.map((node) => node.name));
    return this.answer.steps.some((step) => names.has(step.node) && !this.graph.has(step.node));
  }

  #marks() {
    const { answer } = this;
    if (!answer.hasGraph) return;
    const first = answer.steps[answer.firstWrong]?.node;
    for (const name of new Set(answer.steps.map((step) => step.node))) {
      this.graph.mark(name, answer.steps[answer.stepOf(name)].status, name === first);
    }
    this.graph.select(answer.steps[this.open]?.node ?? null);
  }

  #graphTitle() {
    const count = this.answer.problem.graph.nodes.filter((node) => node.role === "distractor").length;
    const toggle = h(
      "label",
      { class: "check" },
      h("input", {
        type: "checkbox",
        checked: this.distractors,
        onchange: (event) => {
          this.distractors = event.target.checked;
          this.drawGraph();
        },
      }),
      `${count} not needed`,
    );
    redraw(this.graphHead, h("h2", {}, "Dependency graph"), count ? toggle : "");
  }

  #say() {
    const { answer } = this;
    for (; this.said < answer.steps.length; this.said += 1) {
      const step = answer.steps[this.said];
      this.announce(`Step ${this.said + 1}, ${step.node}: ${step.status}.`);
    }
    if (answer.done && this.told !== answer) {
      this.told = answer;
      this.announce(judgementWords(answer).join(". "));
    }
  }

  #watchWidth() {
    let width = 0;
    new ResizeObserver(([entry]) => {
      const now = Math.round(entry.contentRect.width);
      if (Math.abs(now - width) > 8) {
        width = now;
        this.drawGraph();
      }
    }).observe(this.graph.element);
  }
}

function legend() {
  const items = Object.keys(STATUS).map((status) =>
    h("li", { "data-tone": STATUS[status].tone }, icon(status, 14), STATUS[status].label),
  );
  return h("ul", { class: "legend", "aria-label": "Legend" }, items);
}

/** The judgement as two sentences: what came out, and where it broke. */
export function judgementWords(answer) {
  const { judgement } = answer.done;
  const first = answer.steps[judgement.first_error ?? -1];
  const where = first ? `First wrong step: ${first.node} (${first.status})` : (judgement.faults[0] ?? "");
  if (judgement.verified) return ["Right, and every step holds"];
  if (judgement.outcome) return judgement.verified === null ? ["Right answer"] : ["Right answer, for the wrong reason", where].filter(Boolean);
  if (judgement.answer_status === "missing")
    return [answer.done.finish_reason === "length" ? "Cut off before an answer" : "No answer", where].filter(Boolean);
  const right = answer.problem.answer;
  return [`Wrong answer: ${judgement.answer}${right === null ? "" : `, not ${right}`}`, where].filter(Boolean);
}

function judgementHead(answer, jump) {
  if (answer.state === "empty")
    return [
      h("h2", {}, "No answer yet"),
      h(
        "p",
        { class: "quiet" },
        answer.hasGraph
          ? "Ask the checkpoint: the graph lights up while it reasons."
          : "Ask the checkpoint: its text is judged once it is complete.",
      ),
    ];
  if (answer.state === "waiting")
    return [
      h("h2", { class: "waiting" }, "Waiting for the first token"),
      h("p", { class: "quiet" }, "A checkpoint that is not loaded yet takes a few seconds."),
    ];
  const first = answer.steps[answer.firstWrong];
  const link =
    first && h("button", { type: "button", class: "plain jump", onclick: jump }, `First wrong step: ${first.node}`);
  if (answer.state === "failed" && !answer.chars.length) return []; // the notice says it all
  if (!answer.done) {
    const title = { streaming: "Reasoning", stopped: "Stopped", failed: "Broken off" }[answer.state];
    const right = answer.steps.filter((step) => step.status === "right").length;
    const said = answer.hasGraph ? `${right} of ${answer.steps.length} steps right so far` : "";
    const count = h("span", { class: "quiet figures" }, said);
    return [h("h2", { class: answer.busy ? "waiting" : "" }, title), h("p", { class: "facts" }, count, link)];
  }
  return [
    ...wholeJudgement(answer.done, answer.tokens.length, judgementWords(answer)[0], link),
    ...otherFaults(answer.done.judgement),
  ];
}

// A wrong or missing answer is in the headline already.
function otherFaults({ faults }) {
  const others = faults.filter((fault) => !/^(the answer is |there is no answer)/.test(fault));
  if (others.length < 2) return others.map((fault) => h("p", { class: "fault" }, `Also: ${fault}.`));
  return [
    h(
      "details",
      { class: "fault" },
      h("summary", {}, `${others.length} faults outside the steps`),
      h(
        "ul",
        {},
        others.map((fault) => h("li", {}, fault)),
      ),
    ),
  ];
}

function wholeJudgement({ judgement, recovered, timing }, tokens, title, link) {
  const grade = gradeOf(judgement);
  const facts = [
    meter(judgement),
    recovered === null
      ? null
      : h("span", {}, recovered ? "Recovered from the wrong step" : "Did not recover from the wrong step"),
    link,
    timing && h("span", { class: "quiet" }, `${tokens} tokens in ${(timing.total_ms / 1000).toFixed(1)} s`),
  ];
  return [h("h2", { "data-tone": grade.tone }, icon(grade, 22), title), h("p", { class: "facts figures" }, facts)];
}

// The share of the steps, or of the answer where the task gives partial credit and judges no steps.
function meter({ process_accuracy: share, score }) {
  if (share === null && (score === 0 || score === 1)) return null;
  const words = share === null ? `${percent(score)} of the credit` : `${percent(share)} of the graph derived rightly`;
  return h("span", { class: "meter", vars: { "--share": share ?? score } }, h("i", {}), words);
}

function policyFoot(answer) {
  const { policy } = answer;
  if (!policy) return [];
  const rows = [
    [
      "Checkpoint",
      policy.requested === policy.model ? policy.model : `${policy.model} (asked for as ${policy.requested})`,
    ],
    ["Weights", policy.weight_hash],
    ["Tokenizer", policy.tokenizer_hash],
    ["Engine", policy.engine],
    ["Sampling", `temperature ${policy.sampling.temperature}, top-p ${policy.sampling.top_p}, seed ${policy.seed}`],
    ...Object.entries(answer.done?.rewards ?? {}).map(([scheme, reward]) => [`Reward, ${scheme}`, reward.toFixed(3)]),
  ];
  const list = h(
    "dl",
    {},
    rows.flatMap(([name, value]) => [h("dt", {}, name), h("dd", {}, value)]),
  );
  return [h("details", {}, h("summary", {}, `Answered by ${policy.model}`), list)];
}
