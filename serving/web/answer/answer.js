/* The state of one answer while it streams: text, tokens, steps, judgement. Pure data, no elements. */

import { isWrong } from "../elements/status.js";

/** Offsets of the API count code points; a JavaScript string counts UTF-16 units. `chars` bridges the two. */
export class Answer {
  constructor(problem) {
    this.problem = problem;
    this.chars = [];
    this.tokens = [];
    this.steps = [];
    this.policy = null;
    this.prefixLength = 0;
    this.done = null; // SolveAnswer
    this.state = "empty"; // empty | waiting | streaming | done | stopped | failed
  }

  /** An answer that was complete when it came (a cached one, one side of a comparison). */
  static whole(problem, body, prefix = "") {
    const answer = new Answer(problem);
    answer.start({ policy: body.policy, prefix });
    answer.finish(body);
    return answer;
  }

  /** A judged text without tokens (a sample of pass@k). */
  static judged(problem, text, judgement) {
    const answer = new Answer(problem);
    answer.chars = Array.from(text);
    answer.steps = judgement.steps.map((step) => ({ ...step, token_start: 0, token_end: 0, logprobs: [] }));
    answer.done = { judgement, rewards: {}, text, recovered: null, timing: null };
    answer.state = "done";
    return answer;
  }

  start({ policy, prefix }) {
    this.policy = policy;
    this.chars = Array.from(prefix);
    this.prefixLength = this.chars.length;
    this.state = "streaming";
  }

  add(tokens) {
    for (const token of tokens) this.chars.push(...Array.from(token.text));
    this.tokens.push(...tokens);
  }

  step(step) {
    this.steps.push(step);
  }

  finish(body) {
    this.done = body;
    this.chars = Array.from(body.text);
    this.tokens = body.tokens;
    this.steps = body.steps;
    this.state = "done";
  }

  /** Whether the problem has a graph to draw. */
  get hasGraph() {
    return this.problem.graph.nodes.length > 0;
  }

  get busy() {
    return this.state === "waiting" || this.state === "streaming";
  }

  get text() {
    return this.chars.join("");
  }

  slice(start, end) {
    return this.chars.slice(start, end).join("");
  }

  /** Index in `steps` of the first wrong step; the server's word once it is there. */
  get firstWrong() {
    if (this.done) return this.done.judgement.first_error ?? -1;
    return this.steps.findIndex((step) => isWrong(step.status));
  }

  /** The step to show for a node: its first wrong one, else its first. */
  stepOf(node) {
    const own = this.steps.filter((step) => step.node === node);
    return this.steps.indexOf(own.find((step) => isWrong(step.status)) ?? own[0]);
  }

  /** Names of steps that the problem does not know. */
  get invented() {
    const known = new Set(this.problem.graph.nodes.map((node) => node.name));
    return [...new Set(this.steps.map((step) => step.node))].filter((name) => !known.has(name)).slice(0, 6);
  }

  /** The text cut into steps and what stands between them: [{start, end, step}], step -1 between. */
  get pieces() {
    const out = [];
    let at = 0;
    const spans = this.steps.map((step, index) => ({ ...step, index })).filter((s) => s.end > s.start);
    for (const { start, end, index } of spans.sort((a, b) => a.start - b.start)) {
      if (start < at) continue;
      if (start > at) out.push({ start: at, end: start, step: -1 });
      out.push({ start, end, step: index });
      at = end;
    }
    if (at < this.chars.length) out.push({ start: at, end: this.chars.length, step: -1 });
    return out;
  }

  /** The tokens that overlap [start, end), each with the part of its text that lies inside. */
  tokensIn(start, end) {
    return this.tokens
      .filter((token) => token.start < end && token.end > start)
      .map((token) => ({ ...token, part: this.slice(Math.max(start, token.start), Math.min(end, token.end)) }));
  }
}
