"""What the evaluations share: rows of a context, rows of latents."""

from __future__ import annotations

from torch import Tensor

from lowerbound.limits import MOST_SAMPLES, require_at_most
from lowerbound.model import LatentVariableModel
from lowerbound.protocols import Context, Latents
from lowerbound.support import require_support

__all__ = ["check_rows", "context_rows", "latents_at", "row_blocks"]


def row_blocks(num_rows: int, size: int) -> list[slice]:
    """Consecutive slices of at most `size` rows."""
    return [slice(start, min(start + size, num_rows)) for start in range(0, num_rows, size)]


def context_rows(context: Context | None, rows: slice | Tensor) -> Context | None:
    """The rows of every tensor of a context."""
    if context is None:
        return None
    return tuple(part[rows] for part in context) if isinstance(context, tuple) else context[rows]


def latents_at(z: Latents, samples: slice, rows: slice) -> Latents:
    """Some samples and rows of latents (S, B, *event), or of each layer."""
    if isinstance(z, tuple):
        return tuple(part[samples, rows] for part in z)
    return z[samples, rows]


def check_rows(
    model: LatentVariableModel | None, x: Tensor, context: Context | None, num_samples: int, *, owner: str
) -> None:
    """Refuse no data, values outside the support of the model's likelihood (of None, nothing is known), no samples or
    so many that they would not end, and contexts of another length.
    """
    if x.ndim < 2 or x.shape[0] == 0:
        raise ValueError(f"{owner} got x of shape {tuple(x.shape)} and needs (N, *event) with N ≥ 1.")
    if model is not None:
        require_support(model.likelihood, x, what=f"{owner}: x")
    if num_samples < 1:
        raise ValueError(f"{owner} got num_samples={num_samples} and needs at least 1.")
    require_at_most(owner, MOST_SAMPLES, num_samples=num_samples)
    parts = () if context is None else context if isinstance(context, tuple) else (context,)
    for part in parts:
        if part.shape[0] != x.shape[0]:
            raise ValueError(
                f"{owner} got {x.shape[0]} rows of x and {part.shape[0]} of context; give one row of context for each."
            )
