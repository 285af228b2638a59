"""Vector quantisation: the nearest of K learned vectors (van den Oord et al. 2017, arXiv:1711.00937, §3.1 and 3.2).

    k*_n = argmin_k ‖e_k − f_n(x)‖²        loss = −log p(x | e_k*) + Σ_n ‖sg f_n − e_k*‖² + β Σ_n ‖f_n − sg e_k*‖²

(eq. 3). The second term moves codes to their vectors and is replaced by moving averages with update="ema"
(`codebook`). The third commits the encoder to its codes; `gradients.Quantized` has β.

With `normalized` both f and e have length 1 (Yu et al. 2022, arXiv:2110.04627, §3.2), so that the nearest code is the
most similar one and no length can grow without bound.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn.functional import normalize

from lowerbound.nets.parameters import parameters_of
from lowerbound.nets.shapes import Shape, as_shape
from lowerbound.posteriors.codebook import Codebook, Update
from lowerbound.posteriors.finite_scalar import MOST_CODES
from lowerbound.posteriors.parameters import latent_shape_of, require_at_least
from lowerbound.posteriors.quantized import QuantizedDistribution, features_last, numbers_of, path_to
from lowerbound.protocols import Context

__all__ = ["VectorQuantized", "check_codebook"]


class VectorQuantized(nn.Module):
    """Codes of a learned list.

    Arguments:
        net: from a context (..., *event) to (..., features, *latent_shape).
        num_codes: K.
        features: D, the length of a code; 8 to 32 is usual, and not more than K.
        update: how codes learn: "ema", as moving averages of the vectors that chose them, or "gradient".
        decay: of the averages.
        dead: a code that is chosen by less than this part of 1/K starts again at a vector of the data; 0 for never.
        normalized: whether vectors and codes have length 1.
        latent_shape: the positions of the codes; read from `net.out_shape` if the net states it.

    Returns (when called with a context of B rows):
        A `QuantizedDistribution` with batch shape (B,) and event shape (*latent_shape, num_codes).

    Raises:
        ValueError: fewer than two codes, more than 8,192, more features than codes, a decay or dead outside of [0, 1),
            or a net of another output shape.
    """

    cites: ClassVar[tuple[str, ...]] = ("vandenoord2017neural", "yu2022vector")
    recipe: ClassVar[str] = "vq"  # whose nets have the shape of codes

    def __init__(
        self,
        net: nn.Module,
        num_codes: int = 256,
        features: int = 16,
        update: Update = "ema",
        decay: float = 0.99,
        dead: float = 0.1,
        normalized: bool = False,
        latent_shape: Shape | None = None,
    ):
        super().__init__()
        check_codebook("VectorQuantized", num_codes, features, decay, dead)
        self.net = net
        self.latent_shape = latent_shape_of(net, latent_shape, owner="VectorQuantized", before=(features,))
        self.event_shape = (*self.latent_shape, num_codes)
        self.codebook = Codebook(num_codes, features, update, decay, dead, normalized)

    @staticmethod
    def parameter_shape(latent_shape: Shape, features: int = 16) -> tuple[int, ...]:
        """What its net must output per datum."""
        return (features, *as_shape(latent_shape))

    def forward(self, context: Context) -> QuantizedDistribution:
        """q(k | context)."""
        f, book = self._vectors(context), self.codebook
        index = book.nearest(f)
        e = book.codes[index]
        return QuantizedDistribution(
            index,
            len(book.vectors),
            path=path_to(f, book.codes),
            codebook_error=_distance(e, f.detach()) if book.update == "gradient" else None,
            commitment_error=_distance(e.detach(), f),
            observe=lambda: book.observe(f, index),
            dtype=f.dtype,
        )

    @property
    def works(self) -> tuple[str, ...]:
        """Codes of length 1 only where they are."""
        return self.cites if self.codebook.normalized else self.cites[:1]

    @property
    def num_codes(self) -> int:
        """See `hooks.Embeds`."""
        return self.event_shape[-1]

    def numbers(self, z: Float[Tensor, "..."]) -> Int[Tensor, "..."]:
        """See `hooks.Embeds`; there is one stage."""
        return numbers_of(z, len(self.latent_shape)).unsqueeze(-2)

    def embed(self, z: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        """See `hooks.Embeds`; the codes are constants here."""
        return (z @ self.codebook.codes.detach()).movedim(-1, -1 - len(self.latent_shape))

    def at_step(self, step: int) -> None:
        """Move the codes by what the last step has shown them."""
        self.codebook.advance()

    def initialize(self, x: Tensor) -> None:
        """Start the codes at the centres of the encoded rows.

        Raises:
            ValueError: fewer different vectors than codes.
        """
        with torch.no_grad():
            self.codebook.start(self._vectors(x), "VectorQuantized")

    def _vectors(self, context: Context) -> Float[Tensor, "batch ... feature"]:
        f = features_last(parameters_of(self.net, context), len(self.latent_shape))
        return normalize(f, dim=-1) if self.codebook.normalized else f


def check_codebook(owner: str, num_codes: int, features: int, decay: float, dead: float) -> None:
    """Refuse a codebook that cannot be, or along which no gradient could be copied.

    Raises:
        ValueError: naming the option.
    """
    require_at_least(2, owner=owner, num_codes=num_codes)
    require_at_least(1, owner=owner, features=features)
    if num_codes > MOST_CODES:
        raise ValueError(
            f"{owner} got num_codes={num_codes:,} and takes at most {MOST_CODES:,}; take several stages of fewer codes "
            "with residual-quantized, or lookup-free."
        )
    if features > num_codes:
        raise ValueError(
            f"{owner} got features={features} and num_codes={num_codes}; a gradient is copied along codes that span "
            "all features, so take as many codes as features, or fewer features."
        )
    for name, value in (("decay", decay), ("dead", dead)):
        if not 0 <= value < 1:
            raise ValueError(f"{owner} got {name}={value:g} and expected a number in [0, 1).")


def _distance(e: Float[Tensor, "batch ..."], f: Float[Tensor, "batch ..."]) -> Float[Tensor, "batch"]:
    return (e - f).square().flatten(1).sum(1)
