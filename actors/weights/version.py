"""A published version of the weights: the record that travels, and whether it is of an engine's model.

The bytes stay in the object store (`actors.weights.object_store`). What a run ends with is a checkpoint, not one of
these.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from actors.weights.parity import ParityReference
from verifier.errors import Failure

if TYPE_CHECKING:
    from ray import ObjectRef


class WeightsRefused(Failure):
    """A published version that must not be loaded: damaged, incomplete, or not of this model. Nothing was changed."""


@dataclass(frozen=True, slots=True)
class TensorPlace:
    """Where a tensor lies: its transformers name, torch dtype name, shape, and bytes [offset, offset+nbytes)."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    bucket: int
    offset: int
    nbytes: int


@dataclass(frozen=True, slots=True)
class Bucket:
    """One object in the store: a flat uint8 array, its size and its CRC-32."""

    ref: ObjectRef[Any]
    nbytes: int
    crc32: int


@dataclass(frozen=True, slots=True)
class WeightVersion:
    """A published version of the weights. It is small and travels by value; the bytes stay in the object store.

    `weight_hash` is SHA-256 over names, dtypes, shapes and bytes in order. The store keeps the bytes for as long as the
    process that published them lives and any copy of this record is held.
    """

    version: int
    tensors: tuple[TensorPlace, ...]
    buckets: tuple[Bucket, ...]
    weight_hash: str
    parity: ParityReference


def check_layout(weights: WeightVersion, expected: dict[str, tuple[int, ...]]) -> None:
    """Refuse a version whose names or shapes are not the engine's model's (`expected`: name -> shape)."""
    given = {place.name: place.shape for place in weights.tensors}
    if given == expected:
        return
    missing = sorted(expected.keys() - given.keys())
    strange = sorted(given.keys() - expected.keys())
    reshaped = sorted(name for name in given.keys() & expected.keys() if given[name] != expected[name])
    raise WeightsRefused(
        f"weight version {weights.version} is not of this model: "
        f"missing {missing[:3]}, unknown {strange[:3]}, other shape {reshaped[:3]}"
    )
