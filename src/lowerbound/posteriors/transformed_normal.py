"""A Gaussian pushed through a chain of invertible layers whose parameters depend on x.

    z_0 ~ N(μ, diag σ²),  z_k = f_k(z_{k−1}),      log q(z_K) = log q_0(z_0) − Σ_k log |det ∂f_k/∂z_{k−1}|

(Rezende & Mohamed 2015, arXiv:1505.05770, eqs. 5–7). `log_prob` accepts any z, not only its own draws, and is
differentiable along z and along the parameters. An estimator may therefore evaluate log q(z) at z (pathwise), at a view
of z that carries a hook, or at a constant z (score). Every layer has an inverse for this. Where the inverse is a
search, the draw remembers the roots, and a z that shares memory with the last draw (z itself, z.detach(), a view of it)
needs no search. Remembered or searched, the roots give the same log q(z) and derivatives to round-off.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor
from torch.distributions import Distribution, Independent, Normal

from lowerbound.posteriors.parameters import SampleShape

__all__ = ["Layer", "TransformedNormal"]


@runtime_checkable
class Layer(Protocol):
    """An invertible map of R^D for each datum, its parameters broadcast against leading sample axes."""

    def forward(self, z: Tensor) -> tuple[Tensor, Tensor | None]:
        """Map z (..., D) to y, and return the root that `inverse` would search for, if it searches."""
        ...

    def inverse(self, y: Tensor, root: Tensor | None) -> tuple[Tensor, Tensor]:
        """Map y (..., D) back to z, and return log |det ∂y/∂z| (...), nats; both differentiable."""
        ...


class TransformedNormal(Distribution):
    """f_K ∘ … ∘ f_1 of a factorised Gaussian.

    Arguments:
        loc: μ (..., D).
        scale: σ (..., D), positive.
        layers: f_1, …, f_K.
    """

    arg_constraints = {}  # noqa: RUF012  # pyright: ignore[reportAssignmentType]
    has_rsample = True

    def __init__(self, loc: Tensor, scale: Tensor, layers: Sequence[Layer]):
        self.base = Independent(Normal(loc, scale, validate_args=False), 1, validate_args=False)
        self.layers = tuple(layers)
        self._drawn: tuple[Tensor, int] | None = None
        self._roots: tuple[Tensor | None, ...] = ()
        super().__init__(loc.shape[:-1], loc.shape[-1:], validate_args=False)

    def rsample(self, sample_shape: SampleShape = ()) -> Tensor:
        """Draw (*sample_shape, ..., D) in one pass."""
        z = self.base.rsample(sample_shape)
        roots: list[Tensor | None] = []
        for layer in self.layers:
            z, root = layer.forward(z)
            roots.append(None if root is None else root.detach())
        self._drawn, self._roots = (z, _version(z)), tuple(roots)
        return z

    def log_prob(self, value: Tensor) -> Tensor:
        """Log-density of value (..., D): (...), nats."""
        # The roots are known for the last draw; `root` only spares the search and carries no gradient (`monotone`).
        known = self._drawn is not None and _shares(value, *self._drawn)
        roots = self._roots if known else (None,) * len(self.layers)
        z, log_det = value, value.new_zeros(())
        for layer, root in zip(reversed(self.layers), reversed(roots), strict=True):
            z, term = layer.inverse(z, root)
            log_det = log_det + term
        return self.base.log_prob(z) - log_det

    def of_noise(self, noise: Tensor) -> Tensor:
        """See `hooks.MapsNoise`."""
        z = self.base.mean + self.base.stddev * noise
        for layer in self.layers:
            z, _ = layer.forward(z)
        return z

    def to_noise(self, value: Tensor) -> Tensor:
        """See `hooks.MapsNoise`."""
        z = value
        for layer in reversed(self.layers):
            z, _ = layer.inverse(z, None)
        return (z - self.base.mean) / self.base.stddev


def _shares(z: Tensor, drawn: Tensor, version: int) -> bool:
    """Whether z is the drawn tensor, or a view of the same memory whose numbers have not changed since."""
    if torch.compiler.is_compiling():
        return z is drawn
    if _version(z) != version or version < 0:
        return False
    return z is drawn or (
        _address(z) == _address(drawn) and (z.shape, z.stride(), z.dtype) == (drawn.shape, drawn.stride(), drawn.dtype)
    )


def _version(z: Tensor) -> int:
    """How often z was written to in place; −1 where torch does not count (in inference mode, while compiling)."""
    return -1 if torch.compiler.is_compiling() or z.is_inference() else z._version


def _address(z: Tensor) -> tuple[torch.device, int]:
    return z.device, z.data_ptr()
