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
        h("p", {}, `Change: ${knob}.`),
        h("p", { class: "quiet" }, `Stage ${stage}; explained in ${docs}`),
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
  deletion_failed: "clean-ups that failed",
  rollouts_lost: "warnings of lost rollouts",
  scale: "scaled",
  checkpoint: "checkpoints",
};

/** The workers of a kind that a live run was asked for: those that leave do not count. */
export const askedFor = ({ workers }, kind) =>
  workers.filter((worker) => worker.kind === kind && worker.state !== "draining");

/** The workers of a run, live or by their last weight update, and what was counted; `now` in seconds. */
export function workers({ live, workers: seen, counters, noted, left_out: leftOut }, now) {
  const counts = [
    ...Object.entries(NOTED).map(([key, words]) => [noted[key], words]),
    ...Object.entries(COUNTED).map(([key, words]) => [{ ...counters, ...live?.fleet }[key], words]),
    [leftOut, "lines of metrics.jsonl not understood"],
  ].filter(([count]) => count);
  return [
    live && h("p", { class: "figures standing" }, standing(live)),
    live?.fleet ? liveTable(live.fleet, seen, now) : lastTable(seen, now),
    counts.length
      ? h("p", { class: "quiet figures" }, counts.map(([count, words]) => `${count} ${words}`).join(", "))
      : null,
  ].filter(Boolean);
}

// What a live run says of itself in a sentence or two.
function standing({ stage, fleet, stopping, waits_for: waits }) {
  const end = stopping ? "Stopping: the run saves, then ends. " : "";
  if (!fleet) return `${end}Stage ${stage}: no workers yet; the first evaluation or RL stage starts them.`;
  const kinds = ["rollout", "reward"].map((kind) => {
    const asked = askedFor(fleet, kind);
    return `${kind} workers: ${asked.length} asked for, ${asked.filter(({ state }) => state === "ready").length} ready`;
  });
  return `${end}Stage ${stage}: ${[...kinds, waits].filter(Boolean).join("; ")}.`;
}

const TONES = { ready: "right", dead: "wrong", retired: "wrong", suspect: "order" };
const version = (number) => (number === null ? "none" : `version ${number}`);
const update = (seen, now) => [
  seen ? ago(seen.time, now) : "",
  seen && seen.pause_s !== null ? `${seen.pause_s.toFixed(2)} s` : "",
];

function liveTable({ workers: all }, seen, now) {
  const rows = all.map(({ kind, name, state, weight_version: weights, failures }) => {
    const word = h("span", { class: "judgement-word", "data-tone": TONES[state] ?? "missing" }, state);
    const last = update(seen.find((one) => one.name === name), now);
    return [name, word, kind === "rollout" ? version(weights) : "", failures, ...last];
  });
  return table(["Worker", "State", "Weights", "Lost", "Updated", "Pause"], rows);
}

function lastTable(seen, now) {
  if (!seen.length) return h("p", { class: "quiet" }, "No worker has taken weights yet.");
  const rows = seen.map((one) => [one.name, version(one.weight_version), ...update(one, now)]);
  return table(["Worker", "Weights", "Updated", "Pause"], rows);
}

function table(names, rows) {
  const head = names.map((name) => h("th", { scope: "col" }, name));
  const body = rows.map(([first, ...cells]) =>
    h("tr", {}, h("th", { scope: "row" }, first), cells.map((cell) => h("td", {}, cell))),
  );
  return h("table", { class: "plain-table figures" }, h("thead", {}, h("tr", {}, head)), h("tbody", {}, body));
}
