"""Where a live run stands, by the files that its command keeps in its folder. Blocking: call it in a thread."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Final

from pydantic import ValidationError

from actors.runs.live import LIVE, STOPPING
from serving.runs.bodies import LiveBody

SILENT_S: Final = 30.0
"""A live run writes its file every few seconds; one that has not for so long was killed."""


def live(run_dir: Path) -> LiveBody | None:
    """The run's own last word; None if it is not live, or its file is of another version."""
    try:
        told = json.loads((run_dir / LIVE).read_bytes())
        at = LiveBody.model_validate({**told, "stopping": (run_dir / STOPPING).exists()})
    except (OSError, ValueError, TypeError, ValidationError):
        return None
    return at if time.time() - at.time <= SILENT_S else None
