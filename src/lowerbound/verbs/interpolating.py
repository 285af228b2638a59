"""What lies between two rows: p(x | z) at latents on a way from the mean of q(z | x_1) to that of q(z | x_2).

    line      z(t) = (1 − t) a + t b
    circle    z(t) = [sin((1 − t) ω) a + sin(t ω) b] / sin ω,    cos ω = a · b / (|a| |b|)        (Shoemake 1985)

In many dimensions draws from a standard normal prior lie near a sphere, and the middle of a line lies well inside of it
(White 2016, arXiv:1609.04468, §2.1); a circle stays at the distance of its ends.
"""

from __future__ import annotations

from typing import Any, Literal, TypeAlias

import torch
from jaxtyping import Float
from torch import Tensor

from lowerbound.fitted import Fitted
from lowerbound.latent_space.vectors import vectors_of
from lowerbound.randomness import derive_seed, forked
from lowerbound.shown import shown

__all__ = ["Way", "between", "interpolated", "walked"]

Way: TypeAlias = Literal["line", "circle"]

_BETWEEN = 9  # a stream of random numbers beside those of `fitted`, `imputing` and `writing`
_PARALLEL = 1e-4


def between(
    a: Float[Tensor, "latent"], b: Float[Tensor, "latent"], num_steps: int, way: Way = "line"
) -> Float[Tensor, "step latent"]:
    """Latents from a to b, with both.

    >>> between(torch.tensor([1.0, 0.0]), torch.tensor([0.0, 1.0]), 3, "circle")
    tensor([[1.0000, 0.0000],
            [0.7071, 0.7071],
            [0.0000, 1.0000]])
    """
    t = torch.linspace(0, 1, num_steps, dtype=a.dtype)[:, None]
    cosine = (a @ b) / (a.norm() * b.norm()).clamp_min(torch.finfo(a.dtype).tiny)
    angle = torch.acos(cosine.clamp(-1, 1))
    if way == "line" or torch.sin(angle) < _PARALLEL:  # where no circle, or any of them, is between
        return (1 - t) * a + t * b
    z = (torch.sin((1 - t) * angle) * a + torch.sin(t * angle) * b) / torch.sin(angle)
    return torch.where(z.abs() < torch.finfo(a.dtype).eps, 0.0, z)


def interpolated(fitted: Fitted, data: Any, num_steps: int = 7, *, way: Way = "line", seed: int | None = None) -> Any:
    """What the model shows between two rows. See `Fitted.interpolate`."""
    return fitted.render(walked(fitted, data, num_steps, way=way, seed=seed))


@torch.no_grad()
def walked(
    fitted: Fitted, data: Any, num_steps: int = 7, *, way: Way = "line", seed: int | None = None
) -> Float[Tensor, "step *event"]:
    """The same as the likelihood scores it."""
    if fitted.is_conditional or fitted.schema.covariates:
        raise ValueError(
            f"{fitted.called} needs a class or covariates for each row, between which there is none; fit without them."
        )
    rows = fitted.rows(data)
    if len(rows.x) != 2 or num_steps < 2:
        raise ValueError(
            f"interpolate got {len(rows.x)} rows and num_steps={num_steps}; give two rows and at least 2 steps."
        )
    if way not in ("line", "circle"):
        raise ValueError(f"interpolate got way={way!r}; choose line or circle.")
    found = vectors_of(fitted, rows, seed)
    z = between(found.mean[0], found.mean[1], num_steps, way).reshape(-1, *found.shape)
    with forked(torch.device("cpu"), derive_seed(fitted.seed if seed is None else seed, _BETWEEN)):
        return fitted.finite(shown(fitted.model.decode(z)).values)
