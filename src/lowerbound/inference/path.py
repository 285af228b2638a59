"""The way of an optimisation of q(z; λ): the λ of every datum at each step, and the ELBO about them.

    λ_0 → λ_1 → … → λ_K,      ELBO(x; λ) on a grid of two numbers of λ, the others as they are at the end

A scheme calls `keep` once a step. Nothing is kept outside of `recorded`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor
from torch.distributions import Distribution

from lowerbound.inference.families import Head
from lowerbound.model import LatentVariableModel
from lowerbound.randomness import forked
from lowerbound.weights import weigh

__all__ = ["Ascent", "elbo_surface", "keep", "path_of", "recorded"]

_KEPT: ContextVar[list[tuple[Tensor, Head]] | None] = ContextVar("kept", default=None)


@dataclass(frozen=True, kw_only=True)
class Ascent:
    """The λ of a batch.

    Attributes:
        parameters: λ at the start and after each step, (step, batch, …), in the units of its family (see `families`).
        head: from λ (batch, …) to q(z; λ).
    """

    parameters: Float[Tensor, "step batch ..."]
    head: Head

    def __len__(self) -> int:
        """The number of λ, one more than steps."""
        return len(self.parameters)

    def posterior(self, step: int) -> Distribution:
        """q(z; λ) of the batch after so many steps; −1 is the end."""
        return self.head(self.parameters[step])


@contextmanager
def recorded(wanted: bool) -> Iterator[list[tuple[Tensor, Head]]]:
    """A list to which `keep` adds in this context; nothing is added if it is not wanted."""
    kept: list[tuple[Tensor, Head]] = []
    token = _KEPT.set(kept if wanted else None)
    try:
        yield kept
    finally:
        _KEPT.reset(token)


def keep(parameters: Tensor, head: Head) -> None:
    """Add a step to the path, if one is recorded."""
    kept = _KEPT.get()
    if kept is not None:
        kept.append((parameters.detach().clone(), head))


def path_of(kept: Sequence[tuple[Tensor, Head]]) -> Ascent:
    """The path of all steps that were kept."""
    return Ascent(parameters=torch.stack([parameters for parameters, _ in kept]), head=kept[-1][1])


@torch.no_grad()
def elbo_surface(
    model: LatentVariableModel,
    x: Float[Tensor, "one *event"],
    path: Ascent,
    first: Float[Tensor, "rows"],
    second: Float[Tensor, "columns"],
    *,
    row: int = 0,
    axes: tuple[int, int] = (0, 1),
    num_samples: int = 1000,
    seed: int = 0,
) -> Float[Tensor, "rows columns"]:
    """The ELBO of one datum as a function of two numbers of λ, nats.

    Arguments:
        model: p and q.
        x: the datum, one row.
        path: of a batch in which the datum is `row`.
        first: values of the first number.
        second: of the second.
        row: of the datum in the batch of the path.
        axes: which numbers of λ, counted over its flattened entries. Of one Gaussian latent they are 0, its mean, and
            1, the logarithm of its standard deviation (families "diagonal" and "full").
        num_samples: draws of each estimate.
        seed: of the draws.

    Raises:
        ValueError: more than one datum, or axes that λ does not have.

    >>> import lowerbound as lb
    >>> exact = lb.exact.LinearGaussian(torch.ones(2, 1), torch.zeros(2), torch.tensor(1.0))
    >>> model, x = exact.model(), torch.ones(1, 2)
    >>> inferred = lb.infer(model, x, lb.inference.Local(20, family="diagonal"), keep_path=True)
    >>> elbo_surface(model, x, inferred.path, torch.linspace(-1, 1, 5), torch.linspace(-2, 0, 3)).shape
    torch.Size([5, 3])
    """
    end = path.parameters[-1, row].flatten()
    if len(x) != 1 or not all(0 <= axis < len(end) for axis in axes):
        raise ValueError(
            f"elbo_surface got {len(x)} rows and axes={axes}; it needs one row, and axes from 0 to {len(end) - 1}."
        )
    grid = end.repeat(len(first) * len(second), 1)
    grid[:, axes[0]] = first.repeat_interleave(len(second)).to(end)
    grid[:, axes[1]] = second.repeat(len(first)).to(end)
    q = path.head(grid.reshape(-1, *path.parameters.shape[2:]))
    joint = model.joint(x.expand(len(grid), *x.shape[1:]))
    with forked(x.device, seed, "elbo_surface"):
        log_w = weigh(q, joint, q.sample(torch.Size((num_samples,)))).log_w
    return log_w.mean(0).reshape(len(first), len(second))
