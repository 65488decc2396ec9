"""Attention over packed streams: it gathers each segment's queries and keys, attends, and reorders the outputs.

It is registered with transformers under a name, so the model's own code is unchanged. Without a layout (in the
parity check and for other callers) it is transformers' own scaled-dot-product attention.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import AttentionInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import AttentionMaskInterface, sdpa_mask

from trainers.records import Segments, Stream

PACKED: Final = "interplay_packed"


@dataclass(frozen=True, slots=True)
class Table:
    """One attention table on the device: flat gather indices and, unless causal, the mask [S, 1, Lq, Lk]."""

    queries: Tensor
    keys: Tensor
    rows: int
    mask: Tensor | None


@dataclass(frozen=True, slots=True)
class Layout:
    """How the tokens of a stream attend; `places` brings the tables' outputs into stream order."""

    tables: tuple[Table, ...]
    places: Tensor


def layout_of(stream: Stream, device: torch.device) -> Layout:
    """The gather indices and masks of a stream."""
    positions = torch.tensor(stream.positions)
    tables = tuple(_table(segments, positions, device) for segments in stream.segments)
    return Layout(tables, torch.tensor(stream.places).to(device))


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
    heads, width = query.shape[1], query.shape[3]
    q, k, v = (_flat(tensor) for tensor in (query, key, value))
    outputs = [_attend(table, q, k, v, heads, width, scaling) for table in layout.tables]
    flat = torch.cat(outputs) if len(outputs) > 1 else outputs[0]
    return flat.index_select(0, layout.places).view(1, -1, heads, width), None


def _table(segments: Segments, positions: Tensor, device: torch.device) -> Table:
    queries, keys = torch.tensor(segments.queries), torch.tensor(segments.keys)
    mask = None
    if not segments.causal:
        # Padded queries attend to every key (without any the row would be NaN); their outputs are never read.
        asked = positions[queries.clamp(min=0)].masked_fill(queries < 0, positions.numel())
        seen = positions[keys.clamp(min=0)]
        mask = (seen[:, None, :] <= asked[:, :, None]) & (keys >= 0)[:, None, :]
        mask = mask[:, None].to(device)
    return Table(
        queries=queries.clamp(min=0).reshape(-1).to(device),
        keys=keys.clamp(min=0).reshape(-1).to(device),
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
    out = F.scaled_dot_product_attention(
        asked, seen, values, attn_mask=table.mask, is_causal=table.mask is None, scale=scaling, enable_gqa=grouped
    )
    return out.transpose(1, 2).reshape(-1, heads * width)


AttentionInterface.register(PACKED, packed_attention)
AttentionMaskInterface.register(PACKED, sdpa_mask)
