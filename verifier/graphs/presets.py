"""The paper's data mixtures by name (arXiv 2512.07783; authors' repository, one JSON file; paper.md d.2).

Published shares that contradict their own name or do not sum to 1 are corrected here; the published numbers stay
available as `NAME-as-published`, divided by their sum, with the reference's answer range. Two things the publication
leaves open are fixed here and explicit: half of every cell is reverse (the generation script alternates modes), and
composition, mid-training and RL sets tell zoo stories, as the paper's composition study does.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from verifier.errors import UnknownPreset
from verifier.graphs.mixture import Cell, Mixture, scaled
from verifier.graphs.problem import MODES, REFERENCE_MAX_ANSWER, Template

EASY, MEDIUM, HARD = range(2, 5), range(5, 8), range(8, 11)
IN_DOMAIN, EDGE = range(2, 11), range(11, 15)
ALL = range(2, 21)

Shares = Mapping[int, float]


def even(ops: Sequence[int], share: float = 1.0) -> dict[int, float]:
    """`share` spread evenly over `ops`."""
    return dict.fromkeys(ops, share / len(ops))


def _cells(shares: Shares, template: Template = "zoo", weight: float = 1.0) -> list[Cell]:
    return [Cell(op, mode, template, weight * share / 2) for op, share in shares.items() for mode in MODES]


def _mixture(cells: Sequence[Cell], published: bool = False) -> Mixture:
    """A mixture with shares exact to rounding; a published one has the reference's answer range."""
    kept = [cell for cell in cells if cell.share > 0]
    return Mixture(scaled(kept), max_answer=REFERENCE_MAX_ANSWER) if published else Mixture(scaled(kept))


def _bands(easy: float, medium: float, hard: float) -> dict[int, float]:
    return even(EASY, easy) | even(MEDIUM, medium) | even(HARD, hard)


_MAIN = {2: 0.06, 3: 0.06, 4: 0.08, 5: 0.1, 6: 0.1, 7: 0.1, 8: 0.16, 9: 0.16, 10: 0.18}

_COMPOSITION: dict[str, Shares] = {
    "id2-10_uniform": even(range(2, 10), 0.88) | {10: 0.12},
    "id2-10_0.2easy_0.3medium_0.5hard": _MAIN,
    "id2-10_0.5easy_0.3medium_0.2hard": _bands(0.5, 0.3, 0.2),
    "id2-10_0.4995easy_0.4995medium_0.001hard": _bands(0.4995, 0.4995, 0.001),
    "id2-10_0.495easy_0.495medium_0.01hard": _bands(0.495, 0.495, 0.01),
    "id2-10_0.475easy_0.475medium_0.05hard": _bands(0.475, 0.475, 0.05),
    "id2-10_0.4easy_0.4medium_0.2hard": _bands(0.4, 0.4, 0.2),
    "id2-10_0.25easy_0.25medium_0.5hard": _bands(0.25, 0.25, 0.5),
}


def _sum(*parts: Shares) -> dict[int, float]:
    ops = sorted({op for part in parts for op in part})
    return {op: sum(part.get(op, 0.0) for part in parts) for op in ops}


_MID_TRAINING: dict[str, Shares] = {
    "cpt0.2-uniform_0.8-9-12": _sum(even(IN_DOMAIN, 0.2), even(range(9, 13), 0.8)),
    "cpt0.2-uniform_0.8-11-14": _sum(even(IN_DOMAIN, 0.2), even(EDGE, 0.8)),
}

_RL: dict[str, Shares] = {
    "op7-10_uniform": even(range(7, 11)),
    "op9-12_uniform": even(range(9, 13)),
    "op11-14_uniform": even(EDGE),
    "op17-20_uniform": even(range(17, 21)),
    "op11-14_uniform_plus": _sum(even(IN_DOMAIN, 0.1), even(EDGE, 0.9)),
}

# As the files have them, slips included; divided by their sum when used.
_PUBLISHED: dict[str, Shares] = {
    "id2-10_0.2easy_0.3medium_0.5hard": _MAIN | {3: 0.86},
    "id2-10_0.4995easy_0.4995medium_0.001hard": _bands(0.4995, 0.4995, 0.009),
    "id2-10_0.495easy_0.495medium_0.01hard": _bands(0.495, 0.495, 0.0099),
    "cpt0.2-uniform_0.8-11-14": _sum(even(IN_DOMAIN, 9 * 0.0221), even(EDGE, 0.8)),
}

# Share of zoo; the rest is school.
_CONTEXT = ("1.0", "0.999", "0.99", "0.95", "0.9", "0.8", "0.5")
_CONTEXT_RL = ("1.0", "0.99", "0.98", "0.95", "0.9", "0.8", "0.7", "0.5", "0.3", "0.1", "0.01", "0.0")
_MIXED = ("0.7", "0.9", "0.99", "0.999")
_MIXED_RL = ("1.0", "0.9", "0.5", "0.0")


def _rest(zoo: str) -> str:
    return f"{1 - float(zoo):.3f}".rstrip("0").ljust(3, "0")


def _contexts(zoo: str, zoo_shares: Shares, school_shares: Shares) -> list[Cell]:
    share = float(zoo)
    return _cells(zoo_shares, "zoo", share) + _cells(school_shares, "school", 1 - share)


def _context_presets() -> dict[str, Mixture]:
    presets: dict[str, Mixture] = {}
    for zoo in _CONTEXT:
        presets[f"context_{zoo}zoo_{_rest(zoo)}school"] = _mixture(_contexts(zoo, even(IN_DOMAIN), even(IN_DOMAIN)))
    for zoo in _CONTEXT_RL:
        presets[f"context-rl_{zoo}zoo_{_rest(zoo)}school"] = _mixture(_contexts(zoo, even(ALL), even(ALL)))
    slip = _mixture(_contexts("0.2", even(ALL), even(ALL)), published=True)
    presets["context-rl_0.1zoo_0.9school-as-published"] = slip
    return presets


def _mixed_presets() -> dict[str, Mixture]:
    presets: dict[str, Mixture] = {}
    for zoo in _MIXED:
        presets[f"mixed_{zoo}zoo-2-20_{_rest(zoo)}school-2"] = _mixture(_contexts(zoo, even(ALL), {2: 1.0}))
    mostly_easy = _bands(0.9, 0.1, 0.0)
    for zoo in ("0.9", "0.5"):
        for zoo_name, zoo_shares in (("uniform", even(IN_DOMAIN)), ("0.5hard", _bands(0.25, 0.25, 0.5))):
            for school_name, school_shares in (("easy", even(EASY)), ("0.9easy_0.1medium", mostly_easy)):
                name = f"mixed_{zoo}zoo-{zoo_name}_{_rest(zoo)}school-{school_name}"
                presets[name] = _mixture(_contexts(zoo, zoo_shares, school_shares))
    for zoo in _MIXED_RL:
        presets[f"mixed-rl_op11-14_{zoo}zoo_{_rest(zoo)}school"] = _mixture(_contexts(zoo, even(EDGE), even(EDGE)))
    return presets


def _all_presets() -> dict[str, Mixture]:
    by_op = {**_COMPOSITION, **_MID_TRAINING, **_RL}
    presets = {name: _mixture(_cells(shares)) for name, shares in by_op.items()}
    for name, shares in _PUBLISHED.items():
        presets[f"{name}-as-published"] = _mixture(_cells(shares), published=True)
    return presets | _context_presets() | _mixed_presets()


PRESETS: dict[str, Mixture] = _all_presets()


def preset(name: str) -> Mixture:
    """The mixture of that name.

    Raises UnknownPreset, which lists the closest names.
    """
    if name in PRESETS:
        return PRESETS[name]
    from difflib import get_close_matches

    close = get_close_matches(name, PRESETS, n=3, cutoff=0.0)
    raise UnknownPreset(f"unknown preset {name!r}: did you mean {', '.join(close)}? (docs/tasks.md lists all)")
