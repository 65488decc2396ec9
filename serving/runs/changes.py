"""What changed between a run's evaluations, by its report, and the texts behind it. Blocking: call it in a thread."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from pydantic import ValidationError

from serving.http.errors import Busy
from serving.probe.judgements import judgement_body
from serving.runs.bodies import AttemptsBody, ChangeBody, ChangedBody, ChangedList, ChangeList, Fate
from verifier.judgement import from_record

REPORT: Final = "report.json"
TEXTS: Final = "changed.json"
MAX_SHOWN: Final = 100


def changes(run_dir: Path) -> ChangeList:
    """The changes by stratum; none without a report, or with one that has no two evaluations or is older than this."""
    with _read(run_dir / REPORT) as report:
        strata = (report.get("changed") or {}).items()
        return ChangeList(data=[ChangeBody.model_validate({**change, "stratum": name}) for name, change in strata])


def problems(run_dir: Path, stratum: str, fate: Fate) -> ChangedList:
    """The problems of a stratum that came to that end, with a text of each side, as far as these are kept."""
    with _read(run_dir / TEXTS) as texts:
        found = [told for told in texts.get(stratum, []) if told["fate"] == fate]
        return ChangedList(data=[_problem(told) for told in found[:MAX_SHOWN]], total=len(found))


def _problem(told: Mapping[str, Any]) -> ChangedBody:
    return ChangedBody(prompt=told["prompt"], before=_attempts(told["before"]), after=_attempts(told["after"]))


def _attempts(told: Mapping[str, Any]) -> AttemptsBody:
    judgement = judgement_body(from_record(told["judgement"]))
    return AttemptsBody(right=told["right"], samples=told["samples"], text=told["text"], judgement=judgement)


@contextmanager
def _read(path: Path) -> Iterator[dict[str, Any]]:
    """The object in a file, empty where there is none. Busy if it is not what it should be."""
    try:
        yield json.loads(path.read_bytes()) if path.is_file() else {}
    except (OSError, ValueError, AttributeError, KeyError, TypeError, ValidationError) as error:
        raise Busy(f"the run's {path.name} is damaged or of another version", code="other_form") from error
