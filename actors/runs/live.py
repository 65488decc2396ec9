"""The names of the files by which a live run tells where it stands. They lie in its folder, and go when it ends."""

from __future__ import annotations

from typing import Final

LIVE: Final = "live.json"
"""The run's status as of `time` (seconds since 1970), replaced whole while the run's command works."""
STOPPING: Final = "stopping"
"""There since the command was asked to save and end."""
