"""Residual quantisation: a stage codes what those before it have left (Zeghidour et al. 2021, arXiv:2107.03312, §3.3).

    r_1 = f,    k*_s = argmin_k ‖e^s_k − r_s‖²,    r_{s+1} = r_s − e^s_{k*_s},        f ≈ Σ_s e^s_{k*_s}

R stages of K codes tell K^R values apart with R K vectors. The stages of a position are R one-hot codes, which lie like
the channels of an image, so that an autoregressive prior sees the earlier stages of a position first.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from lowerbound.nets.parameters import parameters_of
from lowerbound.nets.shapes import Shape, as_shape
from lowerbound.posteriors.codebook import Codebook, Update
from lowerbound.posteriors.parameters import latent_shape_of, require_at_least
from lowerbound.posteriors.quantized import QuantizedDistribution, features_last, numbers_of, path_to
from lowerbound.posteriors.vector_quantized import check_codebook
from lowerbound.protocols import Context

__all__ = ["ResidualQuantized"]


class ResidualQuantized(nn.Module):
    """Codes of several learned lists, one after another.

    Arguments:
        net: from a context (..., *event) to (..., features, *latent_shape).
        num_codes: K, of each stage.
        stages: R.
        features: D, the length of a code; not more than K.
        update: how codes learn: "ema", as moving averages of what chose them, or "gradient".
        decay: of the averages.
        dead: a code that is chosen by less than this part of 1/K starts again at a residual of the data; 0 for never.
        latent_shape: the positions of the codes; read from `net.out_shape` if the net states it.

    Returns (when called with a context of B rows):
        A `QuantizedDistribution` with batch shape (B,) and event shape (stages, *latent_shape, num_codes).

    Raises:
        ValueError: as for `VectorQuantized`, or no stages.
    """

    cites: ClassVar[tuple[str, ...]] = ("zeghidour2021soundstream",)
    recipe: ClassVar[str] = "vq"  # whose nets have the shape of codes

    def __init__(
        self,
        net: nn.Module,
        num_codes: int = 64,
        stages: int = 4,
        features: int = 16,
        update: Update = "ema",
        decay: float = 0.99,
        dead: float = 0.1,
        latent_shape: Shape | None = None,
    ):
        super().__init__()
        check_codebook("ResidualQuantized", num_codes, features, decay, dead)
        require_at_least(1, owner="ResidualQuantized", stages=stages)
        self.net = net
        self.latent_shape = latent_shape_of(net, latent_shape, owner="ResidualQuantized", before=(features,))
        self.event_shape = (stages, *self.latent_shape, num_codes)
        self.codebooks = nn.ModuleList(
            Codebook(num_codes, features, update, decay, dead, normalized=False) for _ in range(stages)
        )

    @staticmethod
    def parameter_shape(latent_shape: Shape, features: int = 16) -> tuple[int, ...]:
        """What its net must output per datum."""
        return (features, *as_shape(latent_shape))

    def forward(self, context: Context) -> QuantizedDistribution:
        """q(k | context)."""
        f = self._vectors(context)
        indices, residuals, quantized = self._stages(f)
        zero = f.new_zeros(len(f))
        of_codes, of_vectors = zero, zero
        left = f
        for e, r in zip(quantized, residuals, strict=True):
            of_codes = of_codes + (e - r).square().flatten(1).sum(1)
            of_vectors = of_vectors + (e.detach() - left).square().flatten(1).sum(1)
            left = left - e.detach()
        first = self._books[0]
        path = path_to(f, first.codes)  # all of it along the codes of the first stage
        return QuantizedDistribution(
            torch.stack(indices, 1),
            len(first.vectors),
            path=torch.stack([path, *[torch.zeros_like(path)] * (len(indices) - 1)], 1),
            codebook_error=of_codes if first.update == "gradient" else None,
            commitment_error=of_vectors,
            observe=lambda: self._observe(residuals, indices),
            dtype=f.dtype,
        )

    @property
    def num_codes(self) -> int:
        """See `hooks.Embeds`."""
        return self.event_shape[-1]

    def numbers(self, z: Float[Tensor, "..."]) -> Int[Tensor, "..."]:
        """See `hooks.Embeds`."""
        return numbers_of(z, len(self.latent_shape))

    def embed(self, z: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        """See `hooks.Embeds`; the codes are constants here."""
        codes = torch.stack([book.codes.detach() for book in self._books])
        per_stage = z.movedim(-2 - len(self.latent_shape), 0)
        total = sum((part @ e for part, e in zip(per_stage, codes, strict=True)), start=z.new_zeros(()))
        return total.movedim(-1, -1 - len(self.latent_shape))

    def at_step(self, step: int) -> None:
        """Move the codes by what the last step has shown them."""
        for book in self._books:
            book.advance()

    @torch.no_grad()
    def initialize(self, x: Tensor) -> None:
        """Start the codes of each stage at the centres of what the stages before have left of the encoded rows.

        Raises:
            ValueError: fewer different vectors than codes.
        """
        left = self._vectors(x)
        for book in self._books:
            book.start(left, "ResidualQuantized")
            left = left - book.codes[book.nearest(left)]

    @property
    def _books(self) -> list[Codebook]:
        return [book for book in self.codebooks if isinstance(book, Codebook)]

    def _vectors(self, context: Context) -> Float[Tensor, "batch ... feature"]:
        return features_last(parameters_of(self.net, context), len(self.latent_shape))

    def _stages(self, f: Tensor) -> tuple[list[Tensor], list[Tensor], list[Tensor]]:
        """The code, the residual before it and the vector of the code, of each stage."""
        indices, residuals, quantized, left = [], [], [], f.detach()
        for book in self._books:
            index = book.nearest(left)
            e = book.codes[index]
            indices.append(index)
            residuals.append(left)
            quantized.append(e)
            left = left - e.detach()
        return indices, residuals, quantized

    def _observe(self, residuals: list[Tensor], indices: list[Tensor]) -> None:
        for book, left, index in zip(self._books, residuals, indices, strict=True):
            book.observe(left, index)
