"""The report of a study: `study.json`, one static `study.html` and its figures as SVG files beside it.

This module is only about the layout; every number comes from `cluster.study.results`.
"""

from __future__ import annotations

import gc
import json
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from actors.files import replace_text
from cluster.study.figures import figures
from cluster.study.folder import StudyFolder
from cluster.study.results import content
from trainers.evaluation.figures import inline

FIGURES = "figures"


@contextmanager
def _no_collection() -> Generator[None]:
    """Without garbage collection, which walks again and again through evaluations and figures and finds nothing."""
    collected = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collected:
            gc.enable()


@_no_collection()
def write_study(folder: StudyFolder) -> dict[str, Any]:
    """Write the report from the files of the study's folder; returns the content of `study.json`."""
    found = content(folder)
    drawn = figures(found)
    replace_text(folder.path / "study.json", json.dumps(found, indent=1) + "\n")
    (folder.path / FIGURES).mkdir(exist_ok=True)
    for name, file in drawn.items():
        replace_text(folder.path / FIGURES / f"{name}.svg", file)
    replace_text(folder.path / "study.html", page(found, drawn))
    return found


def page(found: dict[str, Any], drawn: dict[str, str]) -> str:
    """The whole page. All text of studies and recipes is escaped by the template."""
    environment = Environment(loader=PackageLoader("cluster.study", "."), autoescape=True, undefined=StrictUndefined)
    shown = {name: inline(file) for name, file in drawn.items()}
    return environment.get_template("study.html.j2").render(study=found, figures=shown, folder=FIGURES)
