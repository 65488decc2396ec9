"""One watcher's view of a stage: what it has been told, and what is new since. No HTTP, no waiting."""

from __future__ import annotations

from typing import Final

from actors.runs.log import RunLog, StageCurves
from serving.runs.bodies import ChangedEvent, StepsEvent
from serving.runs.curves import chosen, steps_after

MOST_NEW: Final = 200
"""Steps of one event: a watcher that lacks more is better off with thinned curves."""


class Watch:
    """Follows a stage of a run, the newest one unless it is named, from the step `after` on.

    `version` is that of the log at the last look, -1 before the first.
    """

    def __init__(self, stage: str | None, after: int) -> None:
        self.after = after
        self.version = -1
        self._stage = stage
        self._seen: tuple[StageCurves, int, str] | None = None

    def look(self, log: RunLog) -> StepsEvent | ChangedEvent | None:
        """What is new in the log since the last look: steps, or that more has changed. The first look always tells of
        steps. NotFound where the run has no such stage.
        """
        news = self._news(log)
        self.version = log.version
        if isinstance(news, StepsEvent) and news.steps:
            self.after = news.steps[-1]
        return news

    def _news(self, log: RunLog) -> StepsEvent | ChangedEvent | None:
        stage = chosen(log, self._stage)
        numbers, newest = stage.numbers, chosen(log, None).name
        before, self._seen = self._seen, (stage, numbers.rewinds, newest)
        if before and before[2] != newest:
            return ChangedEvent(reason="another stage")
        if self.after > numbers.steps[-1] or (before and (before[0] is not stage or before[1] != numbers.rewinds)):
            return ChangedEvent(reason="steps done again")
        new = len(numbers.within(self.after + 1, numbers.steps[-1]))
        if new > MOST_NEW:
            return ChangedEvent(reason="far behind")
        return steps_after(stage, self.after) if new or before is None else None
