/* What opens under a step: the reason, each token with its probability and the alternatives, and the editor. */

import { h, percent } from "../elements/dom.js";
import { explain } from "../elements/status.js";
import { OVERLAYS } from "./overlays.js";

/** A token in the running text, tinted by `overlay`; one that stands out is underlined as well. */
export function heatToken(token, overlay) {
  const { share, doubtful, title } = OVERLAYS[overlay].of(token);
  return h(
    "span",
    { class: `token${doubtful ? " doubtful" : ""}`, title, vars: { "--surprise": share.toFixed(3) } },
    token.part,
  );
}

// Several panels may each have one open: its head names it by an id of its own.
let opened = 0;

/** The open part of a step. `onEdit(prefix)` asks the model to go on after the edited text. */
export class StepDetail {
  constructor(answer, index, onEdit) {
    this.answer = answer;
    this.step = answer.steps[index];
    this.onEdit = onEdit;
    this.alternatives = h("div", { class: "alternatives" });
    this.editor = h("div", { class: "editor" });
    const tokens = this.step.end > this.step.start ? answer.tokensIn(this.step.start, this.step.end) : [];
    this.element = h(
      "div",
      { class: "detail", id: `step-detail-${(opened += 1)}` },
      h("p", { class: "reason" }, this.step.reason || `${explain(this.step.status)}.`),
      this.#truth(),
      this.step.inherited
        ? h("p", { class: "quiet" }, "It reads the result of an earlier wrong step: the error may not be its own.")
        : null,
      tokens.length ? this.#tokens(tokens) : this.#none(),
      onEdit && answer.done?.policy && this.step.end > this.step.start ? this.#editButton() : null,
      this.editor,
    );
  }

  #truth() {
    const node = this.answer.problem.graph.nodes.find((one) => one.name === this.step.node);
    return node ? h("p", { class: "quiet figures" }, `In the problem: ${rule(node)}, so ${node.value}.`) : null;
  }

  #none() {
    if (this.step.status === "missing") return null;
    return h("p", { class: "quiet" }, "No token probabilities: this text was given, not drawn.");
  }

  #tokens(tokens) {
    const mean = tokens.reduce((sum, token) => sum + token.logprob, 0) / tokens.length;
    const least = tokens.reduce((a, b) => (a.logprob < b.logprob ? a : b));
    this.#weigh(least);
    return h(
      "div",
      { class: "tokens" },
      h(
        "ul",
        { class: "chips", "aria-label": "Tokens with their probability" },
        tokens.map((token) => this.#chip(token, token === least)),
      ),
      h(
        "p",
        { class: "quiet figures" },
        `${tokens.length} tokens, geometric mean ${percent(Math.exp(mean))}, least sure of `,
        h("q", {}, least.text.trim() || "blank"),
        ` at ${percent(Math.exp(least.logprob))}`,
      ),
      this.alternatives,
    );
  }

  #chip(token, chosen) {
    const p = Math.exp(token.logprob);
    const button = h(
      "button",
      {
        type: "button",
        class: "token-chip",
        "aria-pressed": chosen,
        vars: { "--surprise": (1 - p).toFixed(3) },
        onclick: () => {
          for (const other of this.element.querySelectorAll(".token-chip"))
            other.setAttribute("aria-pressed", String(other === button));
          this.#weigh(token);
        },
      },
      h("span", {}, token.part.trim() || "\u2423"),
      h("small", {}, percent(p)),
    );
    return h("li", {}, button);
  }

  #weigh(token) {
    const { id, text, logprob } = token;
    const rows = token.top.some((row) => row.id === id) ? token.top : [...token.top, { id, text, logprob }];
    this.alternatives.replaceChildren(
      h("p", { class: "label" }, "What the policy weighed in place of ", h("q", {}, text.trim() || "blank")),
      h(
        "ul",
        {},
        rows.map((row) => {
          const p = Math.exp(row.logprob);
          return h(
            "li",
            { class: row.id === id ? "taken" : "" },
            h("span", { class: "word" }, row.text.trim() || "\u2423"),
            h("span", { class: "bar", vars: { "--share": p.toFixed(4) } }),
            h("span", { class: "figure" }, percent(p)),
          );
        }),
      ),
    );
  }

  #editButton() {
    return h("button", { type: "button", class: "plain edit", onclick: () => this.edit() }, "Edit this step and go on");
  }

  /** Opens the editor with the step's own words. */
  edit() {
    const { answer, step } = this;
    const area = h(
      "textarea",
      { rows: 3, spellcheck: "false", "aria-label": "The step, to be edited" },
      answer.slice(step.start, step.end),
    );
    const close = () => {
      this.editor.replaceChildren();
      this.element.querySelector(".edit").focus();
    };
    const send = () => this.onEdit(answer.slice(0, step.start) + area.value.trim());
    area.addEventListener("keydown", (event) => {
      if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) send();
      if (event.key === "Escape") close();
    });
    this.editor.replaceChildren(
      area,
      h(
        "div",
        { class: "row" },
        h("button", { type: "button", class: "primary small", onclick: send }, "Go on from here"),
        h("button", { type: "button", class: "plain", onclick: close }, "Cancel"),
        h("span", { class: "quiet" }, "The model sees the trace up to here as if it had written it."),
      ),
    );
    area.focus();
  }
}

/** How the problem defines a quantity, in words: "3 plus the sum of A and B". */
function rule({ operation, constant, parents }) {
  const [form, inner] = operation.split(" ");
  const list = new Intl.ListFormat("en").format(parents);
  const nested = { sum: `the sum of ${list}`, difference: `the difference between ${list}` }[inner] ?? list;
  return {
    literal: `it equals ${constant}`,
    unknown: "it is what the question asks for",
    copy: `it equals ${list}`,
    plus: `it is ${constant} plus ${nested}`,
    times: `it is ${constant} times ${nested}`,
    sum: `it is the sum of ${list}`,
    difference: `it is the difference between ${list}`,
    total: `it adds up ${list}`,
    weighted: `it adds up the products of ${list}`,
  }[form];
}
