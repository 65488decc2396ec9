"""Where the ranks of a learner run: a reservation of Ray's, and one actor in each place of it."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any

import ray
from ray.util.placement_group import PlacementGroup, get_placement_group, placement_group, remove_placement_group
from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

from trainers.learner_group.commands import PretrainJob
from trainers.learner_group.life import Life
from trainers.learner_group.rank import LearnerPlan, LearnerRank
from trainers.pretrain.ahead import BatchMaker


@dataclass(frozen=True, slots=True)
class Placement:
    """Where the ranks run, and how long to wait for them: until all are up, and for a sign of life at work.

    `name` is that of the reservation, one for each learner of a Ray cluster. `env` is set in the ranks' processes
    before torch is imported.
    """

    name: str
    workers: int
    cpus: float
    gpus: float
    env: dict[str, str]
    start_timeout_s: float = 600.0
    stall_timeout_s: float = 1800.0


def open_life(plan: LearnerPlan, placement: Placement, job: PretrainJob | None) -> Life:
    """Reserve the places and start a rank in each; with a `job`, also the processes that make its batches.

    Ray ends the ranks of a controller that dies and keeps what it had reserved, so what the life before left is freed.
    """
    with suppress(ValueError):  # there is none
        remove_placement_group(get_placement_group(placement.name))
    each = {kind: amount for kind, amount in (("CPU", placement.cpus), ("GPU", placement.gpus)) if amount}
    reserved = placement_group([each] * placement.workers, strategy="PACK", name=placement.name)
    ranks = [_rank(placement, PlacementGroupSchedulingStrategy(reserved, n)) for n in range(placement.workers)]
    makers = _makers(plan, placement, job) if job is not None else []
    return Life(ranks, makers, partial(_end, [*ranks, *makers], reserved))


def _rank(placement: Placement, place: PlacementGroupSchedulingStrategy) -> Any:
    actor: Any = ray.remote(LearnerRank)
    env = {"env_vars": placement.env}
    options = {"num_cpus": placement.cpus, "num_gpus": placement.gpus, "runtime_env": env}
    return actor.options(**options, scheduling_strategy=place).remote()


def _makers(plan: LearnerPlan, placement: Placement, job: PretrainJob) -> list[Any]:
    actor: Any = ray.remote(BatchMaker)
    maker = actor.options(num_cpus=0, runtime_env={"env_vars": placement.env})
    given = (job.config, plan.tokenizer, job.data_seed, job.drawn, placement.workers)
    return [maker.remote(*given) for _ in range(placement.workers)]


def _end(actors: list[Any], reserved: PlacementGroup) -> None:
    for actor in actors:
        ray.kill(actor)
    remove_placement_group(reserved)


def what_is_missing(placement: Placement) -> str:
    """What the ranks may be waiting for."""
    free = ray.available_resources()
    asked = {"CPU": placement.cpus, "GPU": placement.gpus}
    needs = ", ".join(f"{amount:g} {kind} ({free.get(kind, 0.0):g} free)" for kind, amount in asked.items() if amount)
    return f"waits for {placement.workers} learner process(es), each with {needs}"
