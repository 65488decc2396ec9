"""A comparison of runs as text tables."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text


def show(found: Mapping[str, Any]) -> None:
    """Print the differences, the bands, the costs and the findings."""
    console = Console(file=sys.stdout, highlight=False, markup=False)
    for table in (_differences(found), _bands(found), _costs(found)):
        if table is not None:
            console.print(table)
            console.print()
    for name in found["unmeasured"]:
        console.print(f"{name} has no last evaluation yet: it is in no band", soft_wrap=True)
    for name, findings in found["findings"].items():
        for line in findings:
            console.print(Text(f"{name}: {line}"), soft_wrap=True)


def _differences(found: Mapping[str, Any]) -> Table:
    table = Table("recipe", *found["runs"], box=None, pad_edge=False)
    for key, values in found["differences"].items():
        table.add_row(key, *(said(value) for value in values))
    if not found["differences"]:
        table.add_row("no difference", *([""] * len(found["runs"])))
    return table


def said(value: Any) -> str:
    """A value of a recipe as it is typed; empty where a recipe does not have the key."""
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value)


def _bands(found: Mapping[str, Any]) -> Table | None:
    if not found["bands"]:
        return None
    table = Table("band", "pass", "run", "score", "95%", f"against {found['against']}", "95%", box=None, pad_edge=False)
    for band, of in found["bands"].items():
        for name, runs in of["scores"].items():
            for run, one in runs.items():
                table.add_row(band, name.replace("_pass", ""), run, *_estimates(one))
    return table


def _estimates(one: Mapping[str, Any]) -> list[str]:
    score, difference = one["score"], one["difference"]
    cells = [f"{score['mean']:.3f}", f"{score['lo']:.3f} to {score['hi']:.3f}"]
    if difference is None:
        return [*cells, "", ""]
    return [*cells, f"{difference['mean']:+.3f}", f"{difference['lo']:+.3f} to {difference['hi']:+.3f}"]


def _costs(found: Mapping[str, Any]) -> Table:
    table = Table("run", "tokens", "FLOPs", "paper's tokens", "seconds", box=None, pad_edge=False)
    for run, spent in found["costs"].items():
        numbers = (f"{spent['tokens']:,}", f"{spent['flops']:.3e}", f"{spent['paper_tokens']:,.0f}")
        table.add_row(run, *numbers, f"{spent['seconds']:.0f}")
    return table
