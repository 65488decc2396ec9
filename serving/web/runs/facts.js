/* What a run says besides its curves: findings in words, workers, and what has happened. */

import { h } from "../elements/dom.js";

/** "3 s ago", "5 min ago", "2 h ago", "4 days ago". */
export function ago(seconds, now) {
  const past = Math.max(0, now - seconds);
  if (past < 90) return `${Math.round(past)} s ago`;
  if (past < 5400) return `${Math.round(past / 60)} min ago`;
  return past < 172_800 ? `${Math.round(past / 3600)} h ago` : `${Math.round(past / 86_400)} days ago`;
}

/** The findings of runs [{run, data}], or that there are none. */
export function findings(lists) {
  const found = lists.flatMap(({ run, data }) => data.map((finding) => ({ run, ...finding })));
  const several = lists.length > 1;
  if (!found.length) return h("p", { class: "quiet" }, "The diagnosis finds nothing wrong.");
  return h(
    "ul",
    { class: "findings" },
    found.map(({ run, stage, line, knob, docs }) =>
      h(
        "li",
        { class: "notice", "data-tone": "order" },
        h("h3", {}, several ? `${run}: ` : "", line),
        h("p", {}, `Turn: ${knob}.`),
        h("p", { class: "quiet" }, `Stage ${stage}; explained in ${docs}`),
      ),
    ),
  );
}

const moved = ({ before, after }, digits) =>
  [before, after].map((value) => (value === null ? "none" : value.toFixed(digits))).join(" to ");

/** What became of the held-out problems of each stratum, and which errors are left. */
export function changed(strata) {
  const steps = strata.some(({ traces }) => traces.before !== null);
  const kinds = [...new Set(strata.flatMap(({ errors }) => Object.keys(errors)))].sort();
  const head = ["Stratum", "Problems", "Newly solved", "Lost", "Both times", "Never"];
  if (steps)
    head.push("Right steps before the first error", "Different traces", ...kinds.map((kind) => `${kind} a completion`));
  const cells = ({ problems, gained, lost, kept, never, errors, first_error: first, traces }) => [
    ...[problems, gained, lost, kept, never],
    ...(steps ? [moved(first, 2), moved(traces, 1)] : []),
    ...(steps ? kinds.map((kind) => (errors[kind] ? moved(errors[kind], 2) : "0")) : []),
  ];
  return h(
    "div",
    { class: "changed-frame" },
    h(
      "table",
      { class: "plain-table figures" },
      h(
        "thead",
        {},
        h(
          "tr",
          {},
          head.map((name) => h("th", { scope: "col" }, name)),
        ),
      ),
      h(
        "tbody",
        {},
        strata.map((one) =>
          h(
            "tr",
            {},
            h("th", { scope: "row" }, one.stratum),
            cells(one).map((cell) => h("td", {}, String(cell))),
          ),
        ),
      ),
    ),
  );
}

const COUNTED = {
  rollout_restarts: "rollout workers replaced",
  reward_restarts: "reward workers replaced",
  resent_groups: "groups sent again",
  verifier_errors: "verifier errors",
  refused_weights: "weight versions refused",
};
const NOTED = {
  resumed: "resumed",
  learner_lost: "learner lost",
  save_failed: "checkpoints not saved",
  rollouts_lost: "warnings of lost rollouts",
  scale: "scaled",
  checkpoint: "checkpoints",
};

/** Workers by their last weight update, and the counts of a run; `now` in seconds. */
export function workers({ workers: seen, counters, noted, left_out: leftOut }, now) {
  const counts = [
    ...Object.entries(NOTED).map(([key, words]) => [noted[key], words]),
    ...Object.entries(COUNTED).map(([key, words]) => [counters[key], words]),
    [leftOut, "lines of metrics.jsonl not understood"],
  ].filter(([count]) => count);
  return [
    seen.length ? table(seen, now) : h("p", { class: "quiet" }, "No worker has taken weights yet."),
    counts.length
      ? h("p", { class: "quiet figures" }, counts.map(([count, words]) => `${count} ${words}`).join(", "))
      : null,
  ].filter(Boolean);
}

function table(seen, now) {
  const head = ["Worker", "Weights", "Updated", "Pause"].map((name) => h("th", { scope: "col" }, name));
  const rows = seen.map(({ name, weight_version: version, time, pause_s: pause }) =>
    h(
      "tr",
      {},
      h("th", { scope: "row" }, name),
      h("td", {}, `version ${version}`),
      h("td", {}, ago(time, now)),
      h("td", {}, pause === null ? "" : `${pause.toFixed(2)} s`),
    ),
  );
  return h("table", { class: "plain-table figures" }, h("thead", {}, h("tr", {}, head)), h("tbody", {}, rows));
}
