"""Independent elements: the same likelihood without latents, which every latent variable model should beat.

    p(x) = p(x; θ̂),        θ̂ = argmax_θ Σ_n log p(x_n; θ) + Σ_j w_j log p(x̃_j; θ)

θ consists of one vector, which replaces the net's output, and of the other parameters of the likelihood (scales,
inverse dispersions, cut points), fitted by `maximum_likelihood`. Every step of a sequence counts as a row.

x̃ is one row of pseudo-data, of total weight 1, so that values that do not occur in training have a probability:

    bounded sets     spread evenly over the set: one count over K classes, half a one and half a zero for pixels
    tables of counts spread evenly over the table and its tail
    counts           the mean of the element rounded, but at least 1
    real numbers     none
"""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable
from typing import Any, cast

import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn

from lowerbound.evaluate.maximum_likelihood import WeightedRows, log_probs, maximise
from lowerbound.likelihoods import Autoregressive
from lowerbound.models.block_likelihood import BlockLikelihood
from lowerbound.models.sequence_steps import ChainRule, EachStep
from lowerbound.nets.shapes import as_shape
from lowerbound.protocols import InitializedFromData
from lowerbound.support import Support

__all__ = ["independent_elements"]

_MOST_VALUES, _MOST_PARAMETERS = 10_000_000, 30_000_000


def independent_elements(
    likelihood: nn.Module, train: Shaped[Tensor, "row *event"], test: Shaped[Tensor, "batch *event"], *, seed: int = 0
) -> Float[Tensor, "batch"]:
    """log p(x) of test rows under independent elements of the family of a likelihood, fitted to training rows, nats.

    Arguments:
        likelihood: has a `net`, or a part with one for each block; the fit uses a copy, and changes neither.
        train: rows as it scores them. If they have more than 10 million values, or 30 million parameters of their own
            as mixtures of levels have, some rows are drawn.
        test: rows to score.
        seed: of the rows drawn.

    Returns:
        Nats per row, in float64.

    Raises:
        ValueError: no training rows, a likelihood without a net, or whose net does not state its output shape.
    """
    if len(train) == 0:
        raise ValueError("independent_elements got no training rows and needs at least one.")
    if isinstance(likelihood, EachStep | ChainRule):
        return _independent_steps(cast(nn.Module, likelihood.step), train, test, seed)
    if isinstance(likelihood, BlockLikelihood):
        return _independent_blocks(likelihood, train, test, seed)
    if isinstance(likelihood, Autoregressive):
        likelihood = likelihood.factorised(_FreeVector)
    fitted = _without_latents(likelihood).to(train.device, torch.float64)
    x = _some(train, sum(p.numel() for p in fitted.parameters()), seed).double()
    if isinstance(fitted, InitializedFromData):
        fitted.initialize(x)
    pseudo_rows, weights = _pseudo_rows(getattr(likelihood, "support", None), x)
    maximise(fitted, WeightedRows(rows=x, pseudo_rows=pseudo_rows, weights=weights))
    return log_probs(fitted, test.to(x.device).double())


def _independent_steps(step: nn.Module, train: Tensor, test: Tensor, seed: int) -> Tensor:
    """Every observed step counts as a row; series of single numbers (N, T) have steps of one."""
    train, test = (x if x.ndim > 2 else x.unsqueeze(-1) for x in (train, test))
    known, seen = train.flatten(0, 1), ~test.isnan().flatten(2).all(-1)
    known = known[~known.isnan().flatten(1).all(-1)]
    found = torch.zeros(seen.shape, dtype=torch.float64, device=test.device)
    found[seen] = independent_elements(step, known, test[seen], seed=seed)
    return found.sum(1)


def _independent_blocks(likelihood: BlockLikelihood, train: Tensor, test: Tensor, seed: int) -> Tensor:
    """Each block by the rows that have it; 0 where a test row lacks it."""
    found = torch.zeros(len(test), dtype=torch.float64, device=test.device)
    for part, numbers in zip(likelihood.parts, likelihood.columns.values(), strict=True):
        known, asked = train[:, list(numbers)], test[:, list(numbers)]
        known, seen = known[~known.isnan().all(-1)], ~asked.isnan().all(-1)
        found[seen] += independent_elements(part, known, asked[seen], seed=seed)
    return found


class _FreeVector(nn.Module):
    """Replaces a net: its output is one learned vector for every context."""

    def __init__(self, out_shape: tuple[int, ...]):
        super().__init__()
        self.out_shape = out_shape
        self.output_bias = nn.Parameter(torch.zeros(out_shape))

    def forward(self, *context: Tensor) -> Tensor:
        return self.output_bias.expand(*context[0].shape[:1], *self.out_shape)


def _without_latents(likelihood: nn.Module) -> nn.Module:
    """A copy whose net is a free vector; the net itself is never copied."""
    net = getattr(likelihood, "net", None)
    if not isinstance(net, nn.Module):
        raise ValueError(
            f"independent_elements got a {type(likelihood).__name__} and expected a likelihood with a `net`, which it "
            "replaces by a free vector."
        )
    return copy.deepcopy(likelihood, {id(net): _FreeVector(_output_shape(likelihood, net))})


def _output_shape(likelihood: nn.Module, net: nn.Module) -> tuple[int, ...]:
    """The output shape as the net states it, or as the likelihood derives it from its attributes."""
    stated = getattr(net, "out_shape", None)
    if stated is not None:
        return as_shape(stated)
    shape_of: Callable[..., tuple[int, ...]] | None = getattr(likelihood, "parameter_shape", None)
    needed: list[Any] = [] if shape_of is None else list(inspect.signature(shape_of).parameters)
    if shape_of is None or not all(hasattr(likelihood, name) for name in needed):
        raise ValueError(
            f"independent_elements cannot tell the output shape of {type(net).__name__}; give it an `out_shape`, the "
            "shape of its output per datum."
        )
    return shape_of(**{name: getattr(likelihood, name) for name in needed})


def _some(train: Tensor, num_parameters: int, seed: int) -> Tensor:
    """All rows, or as many random rows as have ten million values and 30 million parameters, but at least 1,000."""
    most = max(1000, min(_MOST_VALUES // train[0].numel(), _MOST_PARAMETERS // max(1, num_parameters)))
    if len(train) <= most:
        return train
    chosen = torch.randperm(len(train), generator=torch.Generator().manual_seed(seed))[:most]
    return train[chosen.to(train.device)]


def _pseudo_rows(support: Support | None, x: Tensor) -> tuple[Tensor, Tensor]:
    """Rows (J, *event) and their weights (J,), which sum to 1 for each element that has any."""
    if support is None:
        return x[:0], x.new_zeros(0)
    if support.columns is None:
        values = _pseudo_values(support, x)
        return values, x.new_full((len(values),), 1 / max(1, len(values)))
    rows, weights = [x[:0]], [x.new_zeros(0)]
    each = [_pseudo_values(s, x[..., i]) for i, s in enumerate(support.columns)]
    for size in {len(values) for values in each if support.allows_missing} - {0}:
        block = x.new_full((size, len(each)), torch.nan)
        for column, values in enumerate(each):
            if len(values) == size:
                block[:, column] = values
        rows.append(block)
        weights.append(x.new_full((size,), 1 / size))
    return torch.cat(rows), torch.cat(weights)


def _pseudo_values(support: Support, x: Tensor) -> Tensor:
    """Values (J, ...) of equal weight for elements x (N, ...) that lie in one set."""
    values = support.grid or support.table
    if values is not None:
        grid = x.new_tensor(values)
        return grid.view(-1, *[1] * (x.ndim - 1)).expand(len(grid), *x.shape[1:])
    whole = support.contains(x.new_tensor([0.5, 1.0, 2.0])).tolist() == [False, True, True]
    return x.nanmean(0).nan_to_num().round().clamp(min=1)[None] if whole else x[:0]
