"""Every threshold of the diagnosis, in one place, with its reason. docs/diagnosis.md says the same rule by rule.

They are set so that the healthy runs of docs/results.md stay well clear of them and a run that was made to fail crosses
them within a few steps.
"""

from __future__ import annotations

from typing import Final

BASELINE: Final = 5
"""Steps at the start of a stage whose mean later steps are held against."""
SMOOTH: Final = 5
"""Steps over which a noisy number is averaged before it is compared."""
HOLD: Final = 3
"""Steps in a row that must show a fault: one may be chance, and five would tell of it late."""

ENTROPY_FALL: Final = 0.3
"""Entropy per token, as a part of what it was: below it the policy draws hardly anything new."""
LENGTH_GROWTH: Final = 1.5
"""Mean length, as a multiple of what it was, that is a fault where the solved share did not rise with it."""
GAIN: Final = 0.02
"""A rise of a share that counts as one."""
CUT_OFF: Final = 0.3
"""Share of completions cut off at max_tokens: each of them earns nothing, whatever it holds."""
FALL: Final = 0.34
"""The solved share, as a part of the best it was: so deep a fall is no noise."""
WORTH: Final = 0.05
"""The least solved share that can be said to fall, or reward to rise."""
WILD_GRADIENT: Final = 5.0
"""Gradient norm, as a multiple of what it was."""
WILD_ENTROPY: Final = 1.5
"""Entropy, as a multiple of what it was: the policy is being forgotten."""
MISMATCH: Final = 0.05
"""Nats per token between engine and learner on tokens of the learner's own version. Two float32 computations of one
policy agree to 1e-5, bfloat16 ones to about 0.01 in the mean."""
HACKED: Final = 0.8
"""The verified share, as a part of what it was, while the reward rises."""
NO_GRADIENT: Final = 0.9
"""Share of groups whose rewards are all equal: nine of ten draws are for nothing."""
EASY: Final = 0.5
"""Share of groups without a gradient that are solved wholly: above it the problems are too easy, below too hard."""
EFFECTIVE: Final = 0.9
"""Effective sample size of the importance weights, as a share of the tokens, most of which are as good as certain under
any version. A run that was well had 0.994 or more at a lag of 3.5; one that was to break down 0.82 at a lag of 3."""
OUT_OF_BOUNDS: Final = 0.2
"""Share of tokens whose importance weight met a bound or was masked."""
VERIFIER_ERRORS: Final = 3
"""Verifier errors within WINDOW steps: fewer may be odd texts, and 1% of a step stops the run."""
WINDOW: Final = 10
DISTINCT: Final = 0.5
"""Share of the completions of a group that differ from one another."""
SHORT: Final = 8
"""Tokens: completions shorter than this repeat one another by nature."""
