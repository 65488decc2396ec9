"""The tables of docs/studies/NAME.md, made from NAME/study.json beside it; `python -m tests.golden.study_tables` makes
them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

PAGES = Path(__file__).parents[2] / "docs" / "studies"
TABLES = re.compile(r"(<!-- (claims|arms) -->\n).*?(?=<!-- end -->)", re.DOTALL)


def pages() -> list[Path]:
    """The pages of the studies whose results are published."""
    return sorted(PAGES.glob("*.md"))


def rendered(page: Path) -> str:
    """The page with its tables made anew."""
    study = json.loads((page.with_suffix("") / "study.json").read_text(encoding="utf-8"))
    tables = {"claims": "\n".join(_claims(study)), "arms": "\n".join(_arms(study))}
    return TABLES.sub(lambda mark: f"{mark[1]}\n{tables[mark[2]]}\n\n", page.read_text(encoding="utf-8"))


def _claims(study: dict[str, Any]) -> Iterator[str]:
    yield "| claim | its difference | each seed | verdict |\n|---|---|---|---|"
    for claim in study["claims"]:
        tries = f", {claim['k']} tries" if claim["k"] > 1 else ""
        margin = f" within {claim['margin']}" if claim["rule"] == "unchanged" else ""
        said = f"**{claim['name']}**: {claim['says']} ({claim['metric']}, {claim['band']}{tries}{margin})"
        if not claim["comparisons"]:
            yield f"| {said} |  |  | **not run**: {len(claim['missing'])} runs are missing |"
        for number, found in enumerate(claim["comparisons"]):
            seeds = ", ".join(f"{value:+.3f}" for value in found["per_seed"])
            numbers = f"{found['mean']:+.3f} ({found['lo']:+.3f} to {found['hi']:+.3f})"
            verdict = f"**{claim['verdict']}**; " if number == 0 else ""
            row = [said if number == 0 else "", f"{claim['arm']} - {found['against']}: {numbers}", seeds]
            yield f"| {' | '.join(row)} | {verdict}{found['verdict']} |"


def _arms(study: dict[str, Any]) -> Iterator[str]:
    bands = list(study["bands"])
    yield f"| arm | {' | '.join(f'{band}: verified, 1 try; 16; answer, 1 try' for band in bands)} |"
    yield f"|---|{'---|' * len(bands)}"
    for name, arm in _rows(study):
        if not arm["bands"]:
            yield f"| {name} |{' not run |' * len(bands)}"
            continue
        yield f"| {name} | {' | '.join(_scores(arm['bands'][band]['scores']) for band in bands)} |"


def _rows(study: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """The base and every arm; arms that have a base of their own after it."""
    if study["base"]["bands"]:
        yield "base", study["base"]
    for name, arm in study["arms"].items():
        if not study["base"]["bands"]:
            yield f"{name}, before RL", arm["base"]
        yield name, arm


def _scores(scores: dict[str, Any]) -> str:
    """A problem on which the judge gave up some completions may have too few for 16 tries."""
    once, often, answer = scores["verified"]["1"], scores["verified"].get("16"), scores["outcome"]["1"]
    tries = f"{often['mean']:.3f}" if often else "-"
    return f"{once['mean']:.3f} ({once['lo']:.3f} to {once['hi']:.3f}); {tries}; {answer['mean']:.3f}"


if __name__ == "__main__":
    for path in pages():
        path.write_text(rendered(path), encoding="utf-8")
