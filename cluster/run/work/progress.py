"""Shows the progress of a run: a live line on a terminal, plain lines elsewhere.

Nothing is measured here; metrics.jsonl is the record.
"""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Callable, Collection
from pathlib import Path

from rich.console import Console
from rich.live import Live
from rich.markup import escape
from rich.text import Text

from trainers.evaluation.ledger import StageRecord
from trainers.pretrain.pretrain import TrainingProgress
from trainers.status import RunStatus

PLAIN_EVERY_S = 10.0  # between two lines where there is no terminal


class Reporter:
    """Prints stages as they begin and end, and their progress in between.

    `also` is called with every report, `publish` gets where the run stands.
    """

    def __init__(
        self, run: str, also: Callable[[], None] = lambda: None, publish: Callable[[RunStatus], None] = lambda _: None
    ) -> None:
        self._also = also
        self._publish = publish
        self._console = Console(file=sys.stderr, highlight=False)
        self._live: Live | None = None
        self._stage = ""
        self._told_at = 0.0
        self._warned = 0
        self._first: tuple[float, int] | None = None  # when the stage first reported its progress, and that progress
        self._console.print(f"[bold]{escape(run)}[/bold]")

    def skipped(self, names: Collection[str]) -> None:
        """Stages that an earlier run finished."""
        for name in sorted(names):
            self._console.print(f"  {name:<12} done before")

    def begin(self, stage: str) -> None:
        """A stage starts."""
        self._stage = stage
        self._told_at = time.monotonic()
        self._warned = 0
        self._first = None
        self._publish(RunStatus(stage, 0, 0, {}, (), None))
        if self._console.is_terminal:
            self._live = Live(Text(f"  {stage:<12} ..."), console=self._console, refresh_per_second=4, transient=True)
            self._live.start()

    def end(self, record: StageRecord) -> None:
        """A stage is done."""
        self._close()
        tokens = f"{record.tokens:>12,} tokens" if record.tokens else ""
        self._console.print(f"  {record.name:<12} {record.seconds:8.1f} s {tokens}")

    def stopped(self, why: str) -> None:
        """The run ends before its last stage."""
        self._close()
        self._console.print(f"  {self._stage:<12} {why}")

    def finished(self, folder: Path) -> None:
        """Every stage is done."""
        if (folder / "report.html").is_file():
            self._console.print(escape(f"report: {folder / 'report.html'}"), soft_wrap=True)
        self._console.print(escape(f"serve:  interplay serve {folder}"), soft_wrap=True)

    def pretraining(self, at: TrainingProgress) -> None:
        """Progress of a pre-training stage."""
        self._publish(RunStatus(self._stage, at.step, at.steps, {"loss": at.loss}, (), None))
        self._tell(
            f"step {at.step}/{at.steps}  loss {at.loss:.3f}  {at.tokens_per_s:,.0f} tokens/s  {_minutes(at.eta_s)} left"
        )

    def running(self, at: RunStatus) -> None:
        """Progress of a stage in the controller; each of its warnings is printed once."""
        self._publish(at)
        self._warned = min(self._warned, len(at.warnings))  # a new controller begins a new list
        for warning in at.warnings[self._warned :]:
            self.warn(warning)
        self._warned = len(at.warnings)
        if not at.done:
            self._tell("  ".join(filter(None, ("starting", _fleet(at), at.waits_for))))
            return
        now = time.monotonic()
        began, first = self._first = self._first or (now, at.done)  # a resumed stage does not begin at 0
        numbers = "  ".join(f"{name} {value:.3f}" for name, value in at.numbers.items())
        left = (now - began) / (at.done - first) * (at.total - at.done) if at.done > first else None
        then = at.waits_for or (f"{_minutes(left)} left" if left is not None else "")
        self._tell(f"{at.done}/{at.total}  {numbers}  {then}")

    def warn(self, what: str) -> None:
        """A fault that did not stop the run."""
        self._console.print(f"  {self._stage:<12} [yellow]warning[/yellow]: {escape(what)}", soft_wrap=True)

    def found(self, what: str) -> None:
        """A finding on the stage that ends: `interplay diagnose` says what to do about it."""
        self._console.print(f"  {self._stage:<12} [yellow]finding[/yellow]: {escape(what)}", soft_wrap=True)

    def _tell(self, line: str) -> None:
        self._also()
        if self._live is not None:
            self._live.update(Text(f"  {self._stage:<12} {line}"))
        elif time.monotonic() - self._told_at >= PLAIN_EVERY_S:
            self._told_at = time.monotonic()
            self._console.print(escape(f"  {self._stage:<12} {line}"), soft_wrap=True)

    def _close(self) -> None:
        if self._live is not None:
            self._live.stop()
            self._live = None


def _fleet(at: RunStatus) -> str:
    """How many workers are in each state, which is what a stage that has not begun waits for."""
    states = Counter(worker.state.value for worker in at.fleet.workers) if at.fleet is not None else {}
    return ", ".join(f"{count} {state}" for state, count in sorted(states.items()))


def _minutes(seconds: float) -> str:
    return f"{int(seconds // 60)}:{int(seconds % 60):02d}"
