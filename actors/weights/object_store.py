"""Weights on their way from the learner to the engines: one transport, Ray's object store.

`publish` packs the tensors into a few large byte buckets, one object each. `fetch` reads them back (without a copy on
the same host, over Ray's own transfer between hosts), checks every bucket and only then gives out tensors. How vLLM
takes them is the business of `actors.weights.vllm_loader`.
"""

from __future__ import annotations

import hashlib
import math
import warnings
import zlib
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from actors.weights.parity import ParityReference, parity_reference
from actors.weights.version import Bucket, TensorPlace, WeightsRefused, WeightVersion

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel

_BUCKET_BYTES: Final = 256 * 1024**2
_ALIGNMENT: Final = 64  # bytes; a tensor may then be viewed in place whatever its type


def publish(version: int, named_tensors: Iterable[tuple[str, torch.Tensor]], parity: ParityReference) -> WeightVersion:
    """Put the tensors (transformers names; a tied head once, under its embedding's name) into the object store.

    Copies each tensor once, into its bucket. Tensors on other devices are brought to the host.
    """
    import ray

    packer = _Packer()
    for name, tensor in named_tensors:
        packer.add(name, tensor)
    arrays, places, digest = packer.finish()
    buckets = tuple(Bucket(ray.put(array), array.nbytes, zlib.crc32(array.data)) for array in arrays)
    return WeightVersion(version, places, buckets, digest, parity)


def publish_model(version: int, model: PreTrainedModel) -> WeightVersion:
    """Publish a whole transformers model that this process holds, with its parity reference."""
    return publish(version, ((name, p.detach()) for name, p in model.named_parameters()), parity_reference(model))


def fetch(weights: WeightVersion, timeout_s: float) -> list[tuple[str, torch.Tensor]]:
    """The tensors of a version as views of the shared buckets (read them, never write), all checks passed.

    Raises WeightsRefused if a bucket's size or CRC differs, TimeoutError (ray.exceptions.GetTimeoutError) when the
    store is too slow. The publisher being gone is ray.exceptions.ObjectLostError (or OwnerDiedError).
    """
    import ray

    arrays: list[np.ndarray[Any, Any]] = ray.get([bucket.ref for bucket in weights.buckets], timeout=timeout_s)
    for number, (array, bucket) in enumerate(zip(arrays, weights.buckets, strict=True)):
        if array.nbytes != bucket.nbytes or zlib.crc32(array.data) != bucket.crc32:
            raise WeightsRefused(f"weight version {weights.version}: bucket {number} does not match its checksum")
    return [(place.name, _view(arrays[place.bucket], place)) for place in weights.tensors]


class _Packer:
    """Fills buckets in order; a tensor never spans two."""

    def __init__(self) -> None:
        self._pending: list[tuple[TensorPlace, np.ndarray[Any, Any]]] = []
        self._sizes: list[int] = [0]

    def add(self, name: str, tensor: torch.Tensor) -> None:
        data = _bytes_of(tensor)
        offset = -(-self._sizes[-1] // _ALIGNMENT) * _ALIGNMENT
        if self._sizes[-1] and offset + data.nbytes > _BUCKET_BYTES:
            self._sizes.append(0)
            offset = 0
        dtype = str(tensor.dtype).removeprefix("torch.")
        place = TensorPlace(name, dtype, tuple(tensor.shape), len(self._sizes) - 1, offset, data.nbytes)
        self._pending.append((place, data))
        self._sizes[-1] = offset + data.nbytes

    def finish(self) -> tuple[list[np.ndarray[Any, Any]], tuple[TensorPlace, ...], str]:
        arrays = [np.zeros(size, dtype=np.uint8) for size in self._sizes]
        for place, data in self._pending:
            arrays[place.bucket][place.offset : place.offset + place.nbytes] = data
        return arrays, tuple(place for place, _ in self._pending), weight_hash(self._pending)


def weight_hash(tensors: Sequence[tuple[TensorPlace, np.ndarray[Any, Any]]]) -> str:
    """SHA-256 in hex over each tensor's name, dtype, shape and bytes, in order."""
    digest = hashlib.sha256()
    for place, data in tensors:
        digest.update(f"{place.name}\0{place.dtype}\0{place.shape}\0".encode())
        digest.update(data.data)
    return digest.hexdigest()


def _bytes_of(tensor: torch.Tensor) -> np.ndarray[Any, Any]:
    import torch

    flat = tensor.detach().cpu().contiguous().reshape(-1)
    return flat.view(torch.uint8).numpy()


def _view(array: np.ndarray[Any, Any], place: TensorPlace) -> torch.Tensor:
    import torch

    dtype = getattr(torch, place.dtype)
    count = math.prod(place.shape)
    with warnings.catch_warnings():
        # The store's memory is read-only, which torch warns about; nobody writes to it.
        warnings.filterwarnings("ignore", "The given buffer is not writable")
        return torch.frombuffer(array.data, dtype=dtype, count=count, offset=place.offset).view(place.shape)
