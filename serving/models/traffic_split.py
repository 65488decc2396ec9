"""The canary: watches the judgements of both sides of an alias and takes the new model back when it is worse.

The test is sequential: it may be looked at after every judgement. Each side's mean process accuracy has a confidence
sequence (a normal mixture for values in [0, 1]; Howard et al. 2021, eq. 14) that holds at all times at once with
probability 1 - ALPHA; the sides differ once their sequences no longer overlap. Statistics are kept per replica.

Only judgements of answers whose side nobody chose or saw beforehand are given to it (`Session.blind`): a caller
who knew the side could ask one side for less, and have a good model rolled back.
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
from dataclasses import dataclass
from typing import Final

from serving.http.errors import ApiError, BadRequest
from serving.models.registry import CanarySetting, CanaryState, Registry, Resolved, State
from serving.schemas import CanaryAnswer, CanarySide
from serving.threads import in_thread

logger = logging.getLogger(__name__)
ALPHA: Final = 0.05
_SUB_GAUSSIAN: Final = 0.5  # of any value in [0, 1]
_TUNED_FOR: Final = 50.0  # judgements at which the sequence is tightest


@dataclass(slots=True)
class Side:
    """The judgements of one side so far."""

    model: str
    count: int = 0
    total: float = 0.0

    @property
    def mean(self) -> float:
        """Mean process accuracy, 0 before the first judgement."""
        return self.total / self.count if self.count else 0.0

    @property
    def bounds(self) -> tuple[float, float]:
        """The confidence sequence at this count."""
        if not self.count:
            return 0.0, 1.0
        width = radius(self.count)
        return max(0.0, self.mean - width), min(1.0, self.mean + width)

    def answer(self) -> CanarySide:
        """As the admin API shows it."""
        return CanarySide(model=self.model, judged=self.count, process_accuracy=round(self.mean, 6))


def radius(count: int, alpha: float = ALPHA / 2) -> float:
    """Half the width of the confidence sequence after `count` values in [0, 1]; each side takes half of ALPHA."""
    spread = count + _TUNED_FOR
    return _SUB_GAUSSIAN * math.sqrt(spread * math.log(spread / (_TUNED_FOR * alpha**2))) / count


class Canary:
    """The running comparison of this replica."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._setting: CanarySetting | None = None
        self._stable = Side("")
        self._canary = Side("")
        self._writing = asyncio.Lock()

    def start(self, setting: CanarySetting) -> None:
        """Give a model a share of an alias; share 0 ends the canary without a judgement. May wait, as `update`."""
        if not setting.share:  # whatever has become of the model
            self._registry.update(lambda state: _ended(state, setting))
            return
        self._registry.find(setting.alias)
        if self._registry.find(setting.model).id != setting.model:
            raise BadRequest("a canary is a checkpoint's id, not an alias", param="model")
        line = f"canary {setting.model} takes {setting.share:.0%} of {setting.alias}"
        running = {"canary": setting.model_copy(update={"started": time.time()}), "canary_state": "running"}
        self._registry.update(lambda state: state.model_copy(update=running).noting(line))

    async def observe(self, resolved: Resolved, process_accuracy: float) -> None:
        """One judgement of an answer that `resolved` gave; may roll the canary back."""
        setting = self._current()
        if setting is None or resolved.requested != setting.alias or resolved.side is None:
            return
        side = self._canary if resolved.side == "canary" else self._stable
        side.model = resolved.entry.id
        side.count += 1
        side.total += process_accuracy
        await self._decide(setting)

    def answer(self) -> CanaryAnswer:
        """The state as the admin API shows it."""
        setting, state = self._current(), self._registry.state()
        return CanaryAnswer(
            alias=setting.alias if setting else None,
            share=setting.share if setting else 0.0,
            state=state.canary_state,
            stable=self._stable.answer() if self._stable.count else None,
            canary=self._canary.answer() if self._canary.count else None,
            log=list(state.log),
        )

    def _current(self) -> CanarySetting | None:
        setting = self._registry.state().canary
        if setting is not None and setting != self._setting:
            self._setting, self._stable, self._canary = setting, Side(""), Side(setting.model)
        return setting

    async def _decide(self, setting: CanarySetting) -> None:
        stable_low, stable_high = self._stable.bounds
        canary_low, canary_high = self._canary.bounds
        numbers = (
            f"process accuracy {self._canary.mean:.3f} over {self._canary.count} against "
            f"{self._stable.mean:.3f} over {self._stable.count}"
        )
        state = self._registry.state()
        if canary_high < stable_low:
            line = f"canary {setting.model} of {setting.alias} rolled back: {numbers}"
            await self._write(setting, {"canary": None, "canary_state": "rolled back"}, line)
        elif canary_low > stable_high and state.canary_state == "running":
            line = f"canary {setting.model} of {setting.alias} is better: {numbers}"
            await self._write(setting, {"canary_state": "promotable"}, line)

    async def _write(self, setting: CanarySetting, judgement: dict[str, CanaryState | None], line: str) -> None:
        if self._writing.locked():  # the judgement before this one says the same
            return
        async with self._writing:
            logger.warning("canary", extra={"line": line})
            try:
                await in_thread(self._registry.update, lambda state: _judged(state, setting, judgement, line))
            except ApiError:
                logger.exception("canary_not_written")


def _judged(state: State, setting: CanarySetting, judgement: dict[str, CanaryState | None], line: str) -> State:
    """The state with the judgement on a canary, unless that has ended meanwhile."""
    return state.model_copy(update=judgement).noting(line) if state.canary == setting else state


def _ended(state: State, setting: CanarySetting) -> State:
    idle = {"canary": None, "canary_state": "none"}
    return state.model_copy(update=idle).noting(f"canary of {setting.alias} ended by an admin")
