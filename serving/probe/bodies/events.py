"""What the streams carry."""

from __future__ import annotations

from serving.probe.bodies.pass_at_k import EstimateEvent, PassAtKAnswer, PassStart, SampleEvent
from serving.probe.bodies.recovery import CellEvent, CheckpointEvent, RecoveryAnswer, RecoveryStart
from serving.probe.bodies.solve import ErrorEvent, SolveAnswer, StartEvent, StepEvent, TokenEvent

EVENTS = (
    StartEvent,
    TokenEvent,
    StepEvent,
    SolveAnswer,
    PassStart,
    SampleEvent,
    EstimateEvent,
    PassAtKAnswer,
    RecoveryStart,
    CellEvent,
    CheckpointEvent,
    RecoveryAnswer,
    ErrorEvent,
)
"""What the streams carry; the OpenAPI document lists their schemas."""
