/* What can be laid over the tokens of a trace: how strong a tint, whether a token stands out, and the number in words. */

import { percent } from "../elements/dom.js";

const signed = (value) => `${value > 0 ? "+" : ""}${value.toFixed(3)}`;
const known = (value) => value !== null && value !== undefined;

// A number that pulls up or down: full tint at `full`; what pulls down is underlined, so that colour is not needed.
function pull(name, value, full) {
  if (!known(value)) return { share: 0, doubtful: false, title: `no ${name}: not trained on` };
  return { share: Math.min(1, Math.abs(value) / full), doubtful: value < 0, title: `${name} ${signed(value)}` };
}

/** By key: a label, what underlining means, and `of(token)`. */
export const OVERLAYS = {
  surprise: {
    label: "Log-probability",
    means: "Tinted by surprise; below one half underlined.",
    of({ logprob }) {
      const p = Math.exp(logprob);
      return { share: 1 - p, doubtful: p < 0.5, title: `${percent(p)}, ${logprob.toFixed(3)} nats` };
    },
  },
  learner: {
    label: "Learner against engine",
    means:
      "Tinted by how far the two log-probabilities are apart, fully at 0.1 nats; underlined where the learner's is lower.",
    of: ({ logprob, learner_logprob: learner }) => pull("difference", known(learner) ? learner - logprob : null, 0.1),
  },
  advantage: {
    label: "Advantage",
    means: "Tinted by size, fully at 2; negative ones underlined.",
    of: ({ advantage }) => pull("advantage", advantage, 2),
  },
  credit: {
    label: "Credit",
    means: "The credit of the step that a token belongs to, fully tinted at 1; negative ones underlined.",
    of: ({ credit }) => pull("credit", credit, 1),
  },
};
