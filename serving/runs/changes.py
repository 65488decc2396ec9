"""What changed between a run's evaluations, as its report has it. Blocking: call it in a thread."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Final

from pydantic import ValidationError

from serving.http.errors import Busy
from serving.runs.bodies import ChangeBody, ChangeList

REPORT: Final = "report.json"


def changes(run_dir: Path) -> ChangeList:
    """The changes by stratum; none without a report, or with one that has no two evaluations or is older than this."""
    try:
        report = json.loads((run_dir / REPORT).read_bytes())
        strata = (report.get("changed") or {}).items()
        return ChangeList(data=[ChangeBody.model_validate({**change, "stratum": name}) for name, change in strata])
    except OSError:
        return ChangeList(data=[])
    except (ValueError, AttributeError, TypeError, ValidationError) as error:
        raise Busy("the run's report.json is damaged or of another version", code="other_form") from error
