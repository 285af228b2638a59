"""K vectors that learn: by a gradient, or as moving averages of the vectors that chose them.

    N_k ← γ N_k + (1 − γ) n_k        m_k ← γ m_k + (1 − γ) s_k        e_k = m_k / N_k

with the share n_k of the vectors of a batch that chose code k, and their sum s_k over the number of all vectors (van
den Oord et al. 2017, arXiv:1711.00937, appendix A.1, eq. 6 to 8, there with counts in place of shares). What a batch
adds is kept, and applied before the next step: the codes of a step are those that its loss was computed with.

A code that fewer than a tenth of its equal share 1/K chooses is dead, and is moved to a vector of the last batch. The
codes start at the centres of k-means of encoded data.
"""

from __future__ import annotations

from typing import ClassVar, Literal, TypeAlias

import torch
from jaxtyping import Float, Int
from torch import Tensor, distributed, nn
from torch.nn.functional import normalize

from lowerbound.several_processes import are_several, sum_over_processes

__all__ = ["Codebook", "Update"]

Update: TypeAlias = Literal["ema", "gradient"]
_MOST_POINTS = 20_000  # of k-means
_AT_ONCE = 2**24  # distances


class Codebook(nn.Module):
    """K vectors of length D.

    Arguments:
        num_codes: K.
        features: D.
        update: "ema" or "gradient".
        decay: γ.
        dead: the part of the equal share below which a code is dead; 0 leaves all where they are.
        normalized: whether codes have length 1.
    """

    cites: ClassVar[tuple[str, ...]] = ("vandenoord2017neural",)

    vectors: Tensor
    share: Tensor
    total: Tensor
    counted: Tensor
    summed: Tensor
    recent: Tensor

    def __init__(self, num_codes: int, features: int, update: Update, decay: float, dead: float, normalized: bool):
        super().__init__()
        self.update, self.decay, self.dead, self.normalized = update, decay, dead, normalized
        vectors = torch.randn(num_codes, features) / features**0.5
        if update == "gradient":
            self.vectors = nn.Parameter(vectors)
        else:
            self.register_buffer("vectors", vectors)
        self.register_buffer("share", torch.full((num_codes,), 1 / num_codes))
        self.register_buffer("total", vectors / num_codes)
        self.register_buffer("counted", torch.zeros(num_codes))
        self.register_buffer("summed", torch.zeros(num_codes, features))
        self.register_buffer("recent", torch.zeros(num_codes, features))

    @property
    def codes(self) -> Float[Tensor, "code feature"]:
        """e, differentiable where they learn by a gradient."""
        return normalize(self.vectors, dim=-1) if self.normalized else self.vectors

    @torch.no_grad()
    def nearest(self, f: Float[Tensor, "*lead feature"]) -> Int[Tensor, "*lead"]:
        """argmin_k ‖e_k − f‖² of each vector."""
        e, points = self.codes, f.reshape(-1, f.shape[-1])
        length = e.square().sum(-1)
        parts = [(length - 2 * part @ e.T).argmin(-1) for part in points.split(max(1, _AT_ONCE // len(e)))]
        return torch.cat(parts).view(f.shape[:-1])

    @torch.no_grad()
    def observe(self, f: Float[Tensor, "*lead feature"], index: Int[Tensor, "*lead"]) -> None:
        """Keep what a batch adds to the averages, and some of its vectors."""
        points, chosen = f.detach().reshape(-1, f.shape[-1]), index.reshape(-1)
        self.counted.index_add_(0, chosen, self.counted.new_ones(len(chosen)))
        self.summed.index_add_(0, chosen, points.to(self.summed.dtype))
        some = torch.randint(len(points), (len(self.recent),), device=points.device)
        self.recent.copy_(points[some])

    @torch.no_grad()
    def advance(self) -> None:
        """Apply what was kept since the last step; nothing if there was none."""
        sum_over_processes(self.counted, self.summed)
        if are_several():
            distributed.broadcast(self.recent, 0)
        num = self.counted.sum()
        weight = torch.where(num > 0, 1 - self.decay, 0.0).to(self.share.dtype)
        self.share.lerp_(self.counted / num.clamp_min(1), weight)
        self.total.lerp_(self.summed / num.clamp_min(1), weight)
        if self.update == "ema":
            seen = (self.share > torch.finfo(self.share.dtype).tiny)[:, None] & (num > 0)
            mean = self.total / self.share.clamp_min(torch.finfo(self.share.dtype).tiny)[:, None]
            self._move(seen, normalize(mean, dim=-1) if self.normalized else mean)
        if self.dead > 0:
            self._revive((self.share < self.dead / len(self.share)) & (num > 0))
        self.counted.zero_()
        self.summed.zero_()

    @torch.no_grad()
    def start(self, f: Float[Tensor, "*lead feature"], owner: str) -> None:
        """Begin at the centres of k-means of encoded vectors.

        Raises:
            ValueError: fewer different vectors than codes.
        """
        from lowerbound.k_means import k_means

        points = f.detach().reshape(-1, f.shape[-1])
        different = len(points.unique(dim=0))
        if different < len(self.vectors):
            raise ValueError(
                f"{owner} got num_codes={len(self.vectors):,} and the data give {different:,} different vectors to "
                "start them from; take fewer codes, or the recipe fsq, whose codes are not learned."
            )
        chosen = points[torch.randperm(len(points))[:_MOST_POINTS]]
        if len(chosen.unique(dim=0)) < len(self.vectors):
            chosen = points
        centres, cluster = k_means(chosen, len(self.vectors))
        self._move(torch.ones_like(self.share, dtype=torch.bool)[:, None], centres)
        self.share.copy_(torch.bincount(cluster, minlength=len(self.share)) / len(cluster))
        self.total.copy_(self.share[:, None] * centres)

    def _revive(self, dead: Tensor) -> None:
        """Move dead codes to vectors of the last batch, with an equal share."""
        each = 1 / len(self.share)
        self._move(dead[:, None], self.recent)
        self.share.copy_(torch.where(dead, each, self.share))
        self.total.copy_(torch.where(dead[:, None], each * self.recent, self.total))

    def _move(self, which: Tensor, to: Tensor) -> None:
        self.vectors.data.copy_(torch.where(which, to.to(self.vectors.dtype), self.vectors))
