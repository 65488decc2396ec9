"""Attention over packed streams: each token attends to its own segment, and that of a completion also to its prompt.

Two kernels do it. `tables` gathers each segment's queries and keys into padded tables for torch's scaled-dot-product
attention, in any dtype and on any device. `varlen` hands the segments to FlashAttention as ranges, without padding or
a mask; it takes 16-bit numbers on CUDA only. Both are registered with transformers under one name, so the model's own
code is unchanged. Without a layout (in the parity check and for other callers) it is transformers' own attention.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from inspect import signature
from typing import Any, Final, Literal, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.attention.varlen import varlen_attn
from transformers import AttentionInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import AttentionMaskInterface, sdpa_mask

from trainers.learner.ranges import ranges_of
from trainers.records import Segments, Stream

PACKED: Final = "interplay_packed"
Kernel = Literal["tables", "varlen"]
# torch 2.13 wants to be told that heads are grouped; 2.11, which a GPU machine may have, takes them as they come.
_GROUPED: Final = {"enable_gqa": True} if "enable_gqa" in signature(varlen_attn).parameters else {}


class Layout(Protocol):
    """How the tokens of a stream attend."""

    def attend(self, query: Tensor, key: Tensor, value: Tensor, scaling: float | None) -> Tensor:
        """[1, heads, T, width] in (keys and values may have fewer heads), [1, T, heads, width] out."""
        ...


def kernel_of(device: torch.device, dtype: torch.dtype) -> Kernel:
    """The kernel for a device and a dtype."""
    return "varlen" if device.type == "cuda" and dtype in (torch.bfloat16, torch.float16) else "tables"


def layout_of(stream: Stream, device: torch.device, dtype: torch.dtype) -> Layout:
    """The layout of a stream for the kernel of a device and a dtype."""
    return ranged(stream, device) if kernel_of(device, dtype) == "varlen" else tabled(stream, device)


def packed_attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    *,
    layout: Layout | None = None,
    scaling: float | None = None,
    **kwargs: Any,
) -> tuple[Tensor, None]:
    """transformers' attention interface: [1, heads, T, width] in, [1, T, heads, width] out."""
    if layout is None:
        return sdpa_attention_forward(module, query, key, value, attention_mask, scaling=scaling, **kwargs)
    return layout.attend(query, key, value, scaling), None


@dataclass(frozen=True, slots=True)
class RangedLayout:
    """Segments as ranges on the device; `keys` gathers the keys, None where they are the stream itself."""

    query_starts: Tensor
    key_starts: Tensor
    keys: Tensor | None
    longest_queries: int
    longest_keys: int
    attention: Callable[..., Any] = varlen_attn

    def attend(self, query: Tensor, key: Tensor, value: Tensor, scaling: float | None) -> Tensor:
        """See `Layout`."""
        asked, seen, values = (x[0].transpose(0, 1) for x in (query, key, value))
        if self.keys is not None:
            seen, values = (x.index_select(0, self.keys) for x in (seen, values))
        out = self.attention(
            asked,
            seen,
            values,
            self.query_starts,
            self.key_starts,
            self.longest_queries,
            self.longest_keys,
            scale=scaling,
            window_size=(-1, 0),  # causal, aligned to the last query and the last key
            **_GROUPED,
        )
        return out[None]


def ranged(stream: Stream, device: torch.device, attention: Callable[..., Any] = varlen_attn) -> RangedLayout:
    """The layout for the kernel `varlen`; `attention` has the signature of torch's `varlen_attn`."""
    ranges = ranges_of(stream)
    starts, key_starts = (
        torch.tensor(x, dtype=torch.int32).to(device) for x in (ranges.query_starts, ranges.key_starts)
    )
    gathered = any(not table.causal for table in stream.segments)
    keys = torch.tensor(ranges.keys).to(device) if gathered else None
    return RangedLayout(starts, key_starts, keys, ranges.longest_queries, ranges.longest_keys, attention)


@dataclass(frozen=True, slots=True)
class Table:
    """One attention table on the device: flat gather indices and, unless causal, the mask [S, 1, Lq, Lk]."""

    queries: Tensor
    keys: Tensor
    rows: int
    mask: Tensor | None


@dataclass(frozen=True, slots=True)
class TabledLayout:
    """Padded tables on the device; `places` brings the tables' outputs into stream order."""

    tables: tuple[Table, ...]
    places: Tensor

    def attend(self, query: Tensor, key: Tensor, value: Tensor, scaling: float | None) -> Tensor:
        """See `Layout`."""
        heads, width = query.shape[1], query.shape[3]
        q, k, v = (_flat(tensor) for tensor in (query, key, value))
        outputs = [_attend(table, q, k, v, heads, width, scaling) for table in self.tables]
        flat = torch.cat(outputs) if len(outputs) > 1 else outputs[0]
        return flat.index_select(0, self.places).view(1, -1, heads, width)


def tabled(stream: Stream, device: torch.device) -> TabledLayout:
    """The layout for the kernel `tables`: the gather indices and masks of a stream."""
    positions = torch.tensor(stream.positions).to(device)
    tables = tuple(_table(segments, positions) for segments in stream.segments)
    return TabledLayout(tables, torch.tensor(stream.places).to(device))


def _table(segments: Segments, positions: Tensor) -> Table:
    queries, keys = (torch.tensor(x).to(positions.device) for x in (segments.queries, segments.keys))
    mask = None
    if not segments.causal:
        # Padded queries attend to every key (without any the row would be NaN); their outputs are never read.
        asked = positions[queries.clamp(min=0)].masked_fill(queries < 0, positions.numel())
        seen = positions[keys.clamp(min=0)]
        mask = ((seen[:, None, :] <= asked[:, :, None]) & (keys >= 0)[:, None, :])[:, None]
    return Table(
        queries=queries.clamp(min=0).reshape(-1),
        keys=keys.clamp(min=0).reshape(-1),
        rows=len(queries),
        mask=mask,
    )


def _flat(tensor: Tensor) -> Tensor:
    return tensor[0].transpose(0, 1).flatten(1)


def _attend(table: Table, q: Tensor, k: Tensor, v: Tensor, heads: int, width: int, scaling: float | None) -> Tensor:
    """The outputs of one table, [rows * Lq, heads * width]."""
    asked = q.index_select(0, table.queries).view(table.rows, -1, heads, width).transpose(1, 2)
    seen, values = (
        x.index_select(0, table.keys).view(table.rows, -1, x.shape[1] // width, width).transpose(1, 2) for x in (k, v)
    )
    grouped = seen.shape[1] != heads
    if grouped and seen.is_cuda:
        # With a mask only the kernel that holds all scores takes grouped heads there: gigabytes a layer.
        seen, values = (x.repeat_interleave(heads // x.shape[1], dim=1) for x in (seen, values))
        grouped = False
    out = F.scaled_dot_product_attention(
        asked, seen, values, attn_mask=table.mask, is_causal=table.mask is None, scale=scaling, enable_gqa=grouped
    )
    return out.transpose(1, 2).reshape(-1, heads * width)


AttentionInterface.register(PACKED, packed_attention)
AttentionMaskInterface.register(PACKED, sdpa_mask)
