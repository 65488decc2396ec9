"""The rules of the diagnosis: each looks at the steps of a stage and gives the ones that show its fault, or None.

Pure: typed numbers in, evidence out; nothing here reads a file. The thresholds are in `actors.diagnosis.thresholds`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from actors.diagnosis import thresholds as at
from actors.diagnosis.metrics import History, StepMetrics, mean


@dataclass(frozen=True, slots=True)
class Sign:
    """The steps in a row that show a fault, the numbers that say so, and a better knob than the rule's own, if any."""

    steps: Sequence[StepMetrics]
    evidence: str
    knob: str = ""


@dataclass(frozen=True, slots=True)
class Rule:
    """A fault: its name (and its heading in the docs), what it says, when it is found, and which setting to change."""

    name: str
    says: str
    when: str
    knob: str
    look: Callable[[History], Sign | None]


def stretch(
    steps: Sequence[StepMetrics], bad: Callable[[StepMetrics], bool], hold: int = at.HOLD
) -> list[StepMetrics] | None:
    """The last run of at least `hold` steps in a row that are bad."""
    end = next((n for n in range(len(steps), hold - 1, -1) if all(map(bad, steps[n - hold : n]))), None)
    if end is None:
        return None
    begin = next((n for n in range(end - hold, 0, -1) if not bad(steps[n - 1])), 0)
    return list(steps[begin:end])


def entropy_collapse(history: History) -> Sign | None:
    """The policy has stopped trying other tokens."""
    before = history.at_start(lambda s: s.entropy)
    if before is None:
        return None
    found = stretch(history.later(), lambda s: s.entropy is not None and s.entropy < at.ENTROPY_FALL * before)
    if found is None:
        return None
    return Sign(found, f"entropy {_n(mean(found, lambda s: s.entropy))} nats per token, {_n(before)} at first")


def length_runaway(history: History) -> Sign | None:
    """Completions get longer and no better."""
    before, solved = history.at_start(lambda s: s.completion_tokens), history.at_start(lambda s: s.solved)
    if before is None or solved is None:
        return None
    smooth = history.smooth(lambda s: s.solved)
    found = stretch(
        history.later(),
        lambda s: (s.completion_tokens or 0) > at.LENGTH_GROWTH * before and smooth.get(s.step, 1.0) < solved + at.GAIN,
    )
    if found is None:
        return None
    now = mean(found, lambda s: s.completion_tokens)
    return Sign(found, f"{_n(now)} tokens a completion, {_n(before)} at first; solved {_moved(found, history)}")


def never_ending(history: History) -> Sign | None:
    """Completions run into max_tokens, where they earn nothing."""
    found = stretch(history.steps, lambda s: (s.truncated or 0) >= at.CUT_OFF)
    if found is None:
        return None
    return Sign(found, f"{_n(mean(found, lambda s: s.truncated))} of the completions are cut off at max_tokens")


def learning_rate_too_high(history: History) -> Sign | None:
    """The solved share breaks down while gradients or entropy leave their course."""
    smooth = history.smooth(lambda s: s.solved)
    gradient, entropy = history.at_start(lambda s: s.gradient_norm), history.at_start(lambda s: s.entropy)
    best = max(smooth.values(), default=0.0)
    if best < at.WORTH or gradient is None or entropy is None:
        return None
    found = stretch(history.later(), lambda s: s.solved is not None and s.solved < at.FALL * best)
    if found is None:
        return None
    around = [s for s in history.steps if found[0].step - at.SMOOTH <= s.step <= found[-1].step]
    norm = max((s.gradient_norm or 0.0 for s in around), default=0.0)
    widest = max((s.entropy or 0.0 for s in around), default=0.0)
    skipped = sum(s.skipped or 0 for s in around)
    if norm < at.WILD_GRADIENT * gradient and widest < at.WILD_ENTROPY * entropy and not skipped:
        return None
    rate = mean(found, lambda s: s.learning_rate) or around[-1].learning_rate
    return Sign(
        found,
        f"solved fell from {_n(best)} to {_n(mean(found, lambda s: s.solved))}; gradient norm up to {_n(norm)} "
        f"({_n(gradient)} at first), entropy up to {_n(widest)} ({_n(entropy)} at first), learning rate {_n(rate)}",
    )


def engine_disagrees(history: History) -> Sign | None:
    """Engine and learner give the same tokens of the same weights different probabilities."""
    found = stretch(history.steps, lambda s: s.lag_mean == 0 and (s.mismatch_mean or 0) > at.MISMATCH)
    if found is None:
        return None
    worst = max(s.mismatch_max or 0.0 for s in found)
    return Sign(found, f"{_n(mean(found, lambda s: s.mismatch_mean))} nats a token in the mean, {_n(worst)} at most")


def reward_hacked(history: History) -> Sign | None:
    """The reward rises while verified traces get fewer."""
    reward, verified = history.at_start(lambda s: s.reward), history.at_start(lambda s: s.strict)
    if reward is None or verified is None or verified < at.WORTH:
        return None
    rewards, strict = history.smooth(lambda s: s.reward), history.smooth(lambda s: s.strict)
    found = stretch(
        history.later(),
        lambda s: (
            rewards.get(s.step, reward) > reward + at.WORTH and strict.get(s.step, verified) < at.HACKED * verified
        ),
    )
    if found is None:
        return None
    last = found[-1].step
    return Sign(
        found,
        f"reward {_n(reward)} to {_n(rewards[last])}, verified traces {_n(verified)} to {_n(strict[last])}",
    )


def no_signal(history: History) -> Sign | None:
    """Steps change nothing, or nearly all of what is drawn has no gradient."""
    still = _not_updated(history)
    if still is not None:
        return Sign(still, f"{len(still)} without an update, {_without_gradient(still)}", _easy_or_hard(still))
    found = stretch(history.steps, lambda s: (s.no_gradient or 0) >= at.NO_GRADIENT)
    if found is None:
        return None
    return Sign(found, _without_gradient(found), _easy_or_hard(found))


def _not_updated(history: History) -> list[StepMetrics] | None:
    """The last steps without an update: HOLD of them, or the newest one, which is told at once."""
    still = _still(history.steps)
    found = stretch(history.steps, lambda s: s.step in still, hold=1)
    ongoing = found is not None and found[-1] is history.steps[-1]
    return found if ongoing else stretch(history.steps, lambda s: s.step in still)


def _still(steps: Sequence[StepMetrics]) -> set[int]:
    """The steps at which the number of updates did not grow."""
    still = {now.step for before, now in pairwise(steps) if now.updates is not None and now.updates == before.updates}
    return still | {step.step for step in steps[:1] if step.updates == 0}


def _without_gradient(found: Sequence[StepMetrics]) -> str:
    shares = f"{_n(mean(found, lambda s: s.no_gradient))} of the groups have no gradient"
    solved = mean(found, lambda s: s.solved)
    skipped = sum(step.skipped or 0 for step in found)
    left_out = f", {skipped} updates were not finite and left out" if skipped else ""
    return f"{shares}, solved {_n(solved)}, reward {_n(mean(found, lambda s: s.reward))}{left_out}"


def _easy_or_hard(found: Sequence[StepMetrics]) -> str:
    without, solved = mean(found, lambda s: s.no_gradient), mean(found, lambda s: s.all_solved)
    if not without or solved is None:
        return ""
    if solved / without > at.EASY:
        return "the problems are too easy: take harder strata, or curriculum: frontier"
    return (
        "the problems are too hard for this policy: take easier strata or curriculum: frontier, or train on gold first"
    )


def stale_data(history: History) -> Sign | None:
    """What older weights drew weighs little, or is cut, in the step that learns from it."""
    found = stretch(
        history.steps,
        lambda s: (
            (s.lag_mean or 0) > 0 and ((s.effective_share or 1) < at.EFFECTIVE or _out_of_bounds(s) > at.OUT_OF_BOUNDS)
        ),
    )
    if found is None:
        return None
    return Sign(
        found,
        f"tokens are {_n(mean(found, lambda s: s.lag_mean))} versions old, effective sample size "
        f"{_n(mean(found, lambda s: s.effective_share))}, weights out of bounds {_n(mean(found, _out_of_bounds))}",
    )


def _out_of_bounds(step: StepMetrics) -> float:
    return (step.capped_share or 0.0) + (step.masked_share or 0.0)


def verifier_errors(history: History) -> Sign | None:
    """The verifier fails on texts, which are then left out."""
    failed = [step for step in history.steps if step.verifier_errors]
    within = {
        last.step: sum(step.verifier_errors or 0 for step in failed if last.step - at.WINDOW < step.step <= last.step)
        for last in history.steps
    }
    late = stretch(history.steps, lambda s: within[s.step] >= at.VERIFIER_ERRORS, hold=1)
    if late is None:
        return None
    first = next(step.step for step in failed if step.step > late[0].step - at.WINDOW)
    found = [step for step in history.steps if first <= step.step <= late[-1].step]
    count = sum(step.verifier_errors or 0 for step in found)
    drawn = count + sum(step.completions or 0 for step in found)
    return Sign(found, f"{count} of {drawn} completions could not be judged")


def duplicate_samples(history: History) -> Sign | None:
    """The completions of a group repeat one another."""
    found = stretch(
        history.steps,
        lambda s: s.distinct is not None and s.distinct < at.DISTINCT and (s.completion_tokens or 0) >= at.SHORT,
    )
    if found is None:
        return None
    return Sign(found, f"{_n(mean(found, lambda s: s.distinct))} of the completions of a group differ")


def _moved(found: Sequence[StepMetrics], history: History) -> str:
    return f"{_n(mean(found, lambda s: s.solved))}, {_n(history.at_start(lambda s: s.solved))} at first"


def _n(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.3g}"


RULES: Final = (
    Rule(
        "no-signal",
        "the policy does not change, or learns from almost nothing,",
        f"a step without an update that is the newest, {at.HOLD} of them in a row, or {at.HOLD} steps in a row in "
        f"which {at.NO_GRADIENT:.0%} of the groups or more have no gradient",
        "task.shares, curriculum: frontier, refills; where the gradient is not finite, a lower learning_rate",
        no_signal,
    ),
    Rule(
        "entropy-collapse",
        "the entropy has collapsed",
        f"{at.HOLD} steps in a row below {at.ENTROPY_FALL:g} of the mean of the first {at.BASELINE}",
        "a lower learning_rate, a higher clip_high, kl above 0, or a temperature of 1",
        entropy_collapse,
    ),
    Rule(
        "length-runaway",
        "completions grow without getting better",
        f"{at.HOLD} steps in a row longer than {at.LENGTH_GROWTH:g} times the mean of the first {at.BASELINE}, while "
        f"the solved share has not risen by {at.GAIN:g}",
        "overlong_tokens, a reward that does not pay for length (strict), average: tokens",
        length_runaway,
    ),
    Rule(
        "never-ending",
        "completions do not end",
        f"{at.HOLD} steps in a row in which {at.CUT_OFF:.0%} of the completions or more are cut off",
        "max_tokens, or overlong_tokens; look at such texts: interplay rollouts RUN --status cut --format trace",
        never_ending,
    ),
    Rule(
        "learning-rate-too-high",
        "the policy broke down under its updates",
        f"{at.HOLD} steps in a row that solve less than {at.FALL:g} of the best {at.SMOOTH} steps in a row, which "
        f"solved {at.WORTH:g} or more, with a gradient norm of {at.WILD_GRADIENT:g} times or an entropy of "
        f"{at.WILD_ENTROPY:g} times that of the first {at.BASELINE} steps, or an update left out",
        "a lower learning_rate (a third), warmup_steps; go on from a checkpoint before it",
        learning_rate_too_high,
    ),
    Rule(
        "engine-disagrees",
        "engine and learner disagree on the same weights",
        f"{at.HOLD} steps in a row without lag whose mismatch_mean is above {at.MISMATCH:g} nats",
        "the same dtype for engine and learner; correction.mask; if the dtypes are the same, report it",
        engine_disagrees,
    ),
    Rule(
        "reward-hacked",
        "the reward rises while verified traces get fewer",
        f"{at.HOLD} steps in a row whose reward, over {at.SMOOTH} steps, is {at.WORTH:g} above that of the first "
        f"{at.BASELINE}, and whose verified share, over {at.SMOOTH} steps, is below {at.HACKED:g} of what it was at "
        f"first, which is {at.WORTH:g} or more",
        "reward: strict, or a smaller alpha; look at well-paid wrong texts: interplay rollouts RUN --status wrong",
        reward_hacked,
    ),
    Rule(
        "stale-data",
        "what is trained on is too old",
        f"{at.HOLD} steps in a row with lag whose effective sample size is below {at.EFFECTIVE:g}, or in which more "
        f"than {at.OUT_OF_BOUNDS:.0%} of the weights are out of bounds",
        "a smaller max_staleness, a lower learning_rate, or more rollout workers",
        stale_data,
    ),
    Rule(
        "verifier-errors",
        "the verifier fails on texts",
        f"{at.VERIFIER_ERRORS} errors or more within {at.WINDOW} steps",
        "the judge of the task; its first exception of a step is verifier_error in metrics.jsonl",
        verifier_errors,
    ),
    Rule(
        "duplicate-samples",
        "the completions of a group repeat one another",
        f"{at.HOLD} steps in a row in which less than {at.DISTINCT:.0%} of the completions of a group differ (of "
        f"{at.SHORT} tokens or more in the mean)",
        "temperature: 1; after an entropy collapse, see there",
        duplicate_samples,
    ),
)
