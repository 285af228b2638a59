"""q(k | x) = 1[k = k*(x)]: codes of probability one, as one-hot vectors z.

A net encodes x as vectors f_n(x), one for each position n, and k*_n is the code whose vector e_k is nearest to f_n (van
den Oord et al. 2017, arXiv:1711.00937, eq. 1 and 2). With log q(k* | x) = 0,

    log w = log p(x | k*) + log p(k*) = log p(x) + log p(k* | x)

so that the bound is below log p(x) by exactly −log p(k* | x), whatever the prior of the codes.

A likelihood reads the embedded codes e_k* = Eᵀ z. A gradient for e_k* is to reach f unchanged (ibid., §3.2), and z is
all that a likelihood is given. The path is therefore a step in one-hot space that embeds as f itself:

    z = z* + (f − sg f) E⁺,        E⁺ E = 1

with the pseudo-inverse E⁺ of the codes E (K, D). It is exact if there are D codes in general position.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Any, ClassVar

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.distributions import Distribution, OneHotCategorical, constraints
from torch.types import _size

from lowerbound.hooks import Turn

__all__ = ["QuantizedDistribution", "features_last", "numbers_of", "path_to"]

_RIDGE = 1e-12  # of the mean squared length of the codes, in float64


class QuantizedDistribution(Distribution):
    """Probability one at the codes of B rows.

    Arguments:
        index: the code of each site (B, *sites).
        num_codes: K.
        path: (B, *sites, K) zeros with the derivative of a step in one-hot space; None for no gradient.
        codebook_error: (B,) the squared distance of the codes from the vectors, differentiable along the codes.
        commitment_error: (B,) the same, or their distance from where codes are, differentiable along the vectors.
        observe: shows the vectors to a codebook.
        dtype: of the one-hot vectors.
    """

    arg_constraints: ClassVar[dict[str, Any]] = {}
    has_rsample = False

    def __init__(
        self,
        index: Int[Tensor, "batch *site"],
        num_codes: int,
        *,
        path: Tensor | None = None,
        codebook_error: Tensor | None = None,
        commitment_error: Tensor | None = None,
        observe: Callable[[], None] | None = None,
        dtype: torch.dtype = torch.float32,
    ):
        self.index, self._path, self._observe = index, path, observe
        self._errors = codebook_error, commitment_error
        self.one_hot = torch.nn.functional.one_hot(index, num_codes).to(dtype)
        super().__init__(index.shape[:1], self.one_hot.shape[1:], validate_args=False)

    @property
    def support(self) -> constraints.Constraint:
        """One-hot vectors, one at each site."""
        return constraints.independent(constraints.one_hot, self.index.ndim - 1)

    @property
    def mean(self) -> Tensor:
        """z* itself."""
        return self.one_hot

    @property
    def variance(self) -> Tensor:
        """Zero."""
        return torch.zeros_like(self.one_hot)

    def expand(self, batch_shape: _size, _instance: Distribution | None = None) -> QuantizedDistribution:
        """The same codes for more rows."""
        index = self.index.expand(*batch_shape, *self.index.shape[1:])
        return QuantizedDistribution(index, self.one_hot.shape[-1], dtype=self.one_hot.dtype)

    def sample(self, sample_shape: _size = ()) -> Tensor:
        """z* (*sample_shape, B, *sites, K)."""
        return self.one_hot.expand(*sample_shape, *self.one_hot.shape)

    def log_prob(self, value: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        """0 at z*, and −∞ elsewhere."""
        index = self.index[..., None].expand(*value.shape[:-1], 1)
        same = (value.gather(-1, index)[..., 0] == 1).flatten(value.ndim - self.index.ndim).all(-1)
        return torch.zeros_like(same, dtype=value.dtype).masked_fill(~same, -torch.inf)

    def entropy(self) -> Tensor:
        """Zero."""
        return self.one_hot.new_zeros(self.batch_shape)

    def point(self) -> Tensor:
        """See `hooks.PointMass`."""
        return self.one_hot

    def straight_through(self) -> Tensor:
        """See `hooks.Quantizes`."""
        return self.one_hot if self._path is None else self.one_hot + self._path

    def pull(self, commitment: float) -> Tensor:
        """See `hooks.Quantizes`."""
        of_codes, of_vectors = self._errors
        zero = self.one_hot.new_zeros(self.batch_shape)
        return zero + (0 if of_codes is None else of_codes) + (0 if of_vectors is None else commitment * of_vectors)

    def observe(self) -> None:
        """See `hooks.Quantizes`."""
        if self._observe is not None:
            self._observe()

    def in_turn(self, rows: int) -> Generator[Turn, Tensor, None]:
        """See `hooks.ComesInTurn`; each code is certain, and takes no bits."""
        codes = self.one_hot.flatten(1, -2)
        yield OneHotCategorical(probs=codes, validate_args=False), torch.arange(codes.shape[1])


def path_to(f: Float[Tensor, "*lead feature"], codes: Float[Tensor, "code feature"]) -> Float[Tensor, "*lead code"]:
    """(f − sg f) E⁺: zeros whose embedding by the codes E has the derivative of f."""
    e = codes.detach()
    exact = e if e.device.type == "mps" else e.double()
    gram = exact.T @ exact
    ridge = _RIDGE * gram.diagonal().mean().clamp_min(torch.finfo(gram.dtype).tiny)
    inverse, _ = torch.linalg.solve_ex(
        gram + ridge * torch.eye(len(gram), dtype=gram.dtype, device=gram.device), exact.T
    )
    return (f - f.detach()) @ inverse.to(f.dtype)


def numbers_of(z: Float[Tensor, "..."], num_positions: int) -> Int[Tensor, "..."]:
    """The numbers (..., site axes, position) of one-hot codes (..., *positions, K), with the positions in one axis."""
    return z.argmax(-1).flatten(-num_positions)


def features_last(f: Float[Tensor, "*lead feature ..."], num_positions: int) -> Float[Tensor, "*lead ... feature"]:
    """From the axes of a map (..., D, *positions) to those of vectors (..., *positions, D)."""
    return f.movedim(-1 - num_positions, -1)
