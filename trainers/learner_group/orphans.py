"""Placement groups whose maker died: found by their maker's name in Ray's table, and removed.

Ray keeps the placement group of a dead actor until the whole job ends, with the CPUs that it reserved. Ray Train's own
cleaner asks the dashboard, which a local Ray does not have, and hears of a group only when its workers run.
"""

from __future__ import annotations

import ray
from ray._private.state import state  # no public call tells who made a group
from ray.core.generated.gcs_pb2 import PlacementGroupTableData  # pyright: ignore[reportAttributeAccessIssue]
from ray.util.placement_group import PlacementGroup, remove_placement_group


def remove_orphans() -> int:
    """Remove the placement groups that dead actors of this Ray job made; how many they were."""
    job = ray.get_runtime_context().get_job_id()
    orphans = [group for group in _groups() if _is_orphan(group, job)]
    for group in orphans:
        remove_placement_group(PlacementGroup(ray.PlacementGroupID(group.placement_group_id)))
    return len(orphans)


def _groups() -> list[PlacementGroupTableData]:
    table = state._connect_and_get_accessor().get_placement_group_table()
    return [PlacementGroupTableData.FromString(row) for row in table]


def _is_orphan(group: PlacementGroupTableData, job: str) -> bool:
    return (
        group.creator_actor_dead
        and not ray.ActorID(group.creator_actor_id).is_nil()  # the driver's own groups have no actor
        and group.creator_job_id.hex() == job
        and not group.is_detached
        and group.state != PlacementGroupTableData.REMOVED
    )
