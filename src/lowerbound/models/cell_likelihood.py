"""p(x | z, c) of the counts of a cell: the size of its library times the share of each gene.

    ρ = softmax(log π + f(z, c)),    μ_g = l ρ_g,    x_g ~ NB(μ_g, r_g), Poisson(μ_g) or either with extra zeros

Source: scVI (Lopez, Regier, Cole, Jordan & Yosef 2018, Nature Methods 15, doi:10.1038/s41592-018-0229-2, "Methods").
z are the latents of the cell, c its covariates (one-hot categories and standardised numbers), l the size of its
library, the sum of its counts: either given, or a latent whose logarithm is the last coordinate of z. π is the share of
each gene in the training cells, so that a net whose last layer is near zero begins at independent genes of a given
library. The inverse dispersion r is learned for each gene, for each gene and batch (the first covariate that is a
category), or computed for each gene and cell by the net.

In training log p is computed by gamma functions, which are faster and less accurate in float32 than what scores use. A
mean is at least 1e-8: a share can be smaller than any floating-point number.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Literal, TypeAlias

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.distributions import Independent
from torch.types import _size

from lowerbound.likelihoods.elementwise import ElementwiseDistribution
from lowerbound.likelihoods.negative_binomial import NegativeBinomialDistribution, best_dispersion
from lowerbound.likelihoods.poisson import PoissonDistribution
from lowerbound.likelihoods.quick_negative_binomial import log_negative_binomial
from lowerbound.likelihoods.zero_inflated import ZeroInflatedDistribution
from lowerbound.nets import MLP
from lowerbound.nets.added_categories import add_to_first_layer, added_differences, with_added
from lowerbound.nets.parameters import parameters_of
from lowerbound.protocols import Context
from lowerbound.support import LikelihoodFacts, Support, counts

__all__ = ["CellDispersion", "CellFamily", "CellLikelihood", "Library", "library_of", "shares_of"]

CellFamily: TypeAlias = Literal[
    "negative-binomial", "zero-inflated-negative-binomial", "poisson", "zero-inflated-poisson"
]
CellDispersion: TypeAlias = Literal["gene", "gene-batch", "gene-cell"]
Library: TypeAlias = Literal["observed", "latent"]

_LEAST_MEAN, _MOST_LOG_RATIO, _FIRST_GATE, _PSEUDO_COUNT, _SMALL = 1e-8, 8.0, -3.0, 0.5, 0.1
_MOST_COUNTS = 400_000


class CellLikelihood(nn.Module):
    """Counts of genes given latents, covariates and the size of the library.

    Arguments:
        num_genes: G.
        latent_dim: length of z without log l.
        hidden: widths of the hidden layers of f.
        width: how many numbers c has.
        batch: the first of them that says the batch and the one after the last; two of the same for none.
        family: of the counts.
        dispersion: what has an inverse dispersion of its own.
        library: "latent" reads log l as the last coordinate of z, "observed" as the last number of the context.
        num_added: how many of the last batches came after a fit.

    Returns (when called with (z, c)):
        A distribution over x in {0, 1, 2, …}^G; log-probabilities are nats per cell.

    Raises:
        ValueError: a dispersion of batches without a batch, or of a family that has none.
    """

    log_share: Tensor

    def __init__(
        self,
        num_genes: int,
        *,
        latent_dim: int,
        hidden: tuple[int, ...],
        width: int = 0,
        batch: tuple[int, int] = (0, 0),
        family: CellFamily = "negative-binomial",
        dispersion: CellDispersion = "gene",
        library: Library = "observed",
        num_added: int = 0,
    ):
        super().__init__()
        num_batches = batch[1] - batch[0]
        _check(family, dispersion, num_batches)
        self.family, self.dispersion, self.library = family, dispersion, library
        self.width, self.batch, self.event_shape = width, slice(*batch), (num_genes,)
        self.has_gate, self.has_dispersion = family.startswith("zero-inflated"), "negative-binomial" in family
        self.per_cell = self.has_dispersion and dispersion == "gene-cell"
        self.decoder = MLP([latent_dim, (width,)], hidden, (1 + self.has_gate + self.per_cell, num_genes))
        if num_added:
            add_to_first_layer(self.decoder, (latent_dim + batch[0], latent_dim + batch[1]), num_added)
        self.register_buffer("log_share", torch.full((num_genes,), 1.0 / num_genes).log())
        if self.has_dispersion:
            rows = (num_batches - num_added,) if dispersion == "gene-batch" else ()
            self.log_dispersion = nn.Parameter(torch.zeros(*rows, num_genes))
        self.added = added_differences(num_added if dispersion == "gene-batch" else 0, (num_genes,))
        given = "negative_binomials_given_library" if library == "observed" else "negative_binomials"
        self.facts = LikelihoodFacts(domain="counts", discrete=True, encoder_view="log1p", baselines=(given,))

    @property
    def support(self) -> Support:
        """0, 1, 2, …."""
        return counts

    def forward(self, context: Context) -> Independent:
        """p(x | z, c, l)."""
        z, c, log_library = self._parts(context)
        ratio, *others = self._outputs(z, c)
        log_mean = log_library + torch.log_softmax(self.log_share + ratio, -1)
        gate = others[0] if self.has_gate else None
        found = self._counts(log_mean.clamp_min(math.log(_LEAST_MEAN)), c, others[-1] if self.per_cell else None)
        if gate is not None:
            found = ZeroInflatedDistribution((_FIRST_GATE + gate).expand_as(log_mean), found)
        return Independent(found, 1, validate_args=False)

    def shares(
        self, z: Float[Tensor, "*lead latent"], c: Float[Tensor, "*rows covariate"]
    ) -> Float[Tensor, "*lead gene"]:
        """ρ: the share of each gene in the library, which has a sum of 1; z with or without log l."""
        return torch.softmax(self.log_share + self._outputs(z[..., : self.decoder.in_shapes[0][0]], c)[0], -1)

    @torch.no_grad()
    def initialize(self, x: Float[Tensor, "row gene"]) -> None:
        """Start at independent genes of a given library: their shares, and the dispersion that is likeliest."""
        x = x.to(self.log_share)
        share = shares_of(x)
        self.log_share.copy_(share.log())
        if self.has_dispersion:
            some = x[:: max(1, x.numel() // _MOST_COUNTS)]
            self.log_dispersion.copy_(best_dispersion(some, library_of(some)[:, None] * share).log())
        last = self.decoder.layers[-1]
        assert isinstance(last, nn.Linear)
        last.weight.mul_(_SMALL)
        last.bias.zero_()

    def _parts(self, context: Context) -> tuple[Tensor, Tensor, Tensor]:
        """z without log l, c without it, and log l (..., 1)."""
        assert isinstance(context, tuple)
        z, c = context
        if self.library == "latent":
            return z[..., :-1], c[..., : self.width], z[..., -1:]
        return z, c[..., : self.width], c[..., self.width :]

    def _outputs(self, z: Tensor, c: Tensor) -> tuple[Tensor, ...]:
        """What the net says of each gene, bounded softly: its log-ratio, its gate and its dispersion."""
        y = parameters_of(self.decoder, (z, c), self.decoder.out_shape)
        return (_MOST_LOG_RATIO * torch.tanh(y / _MOST_LOG_RATIO)).unbind(-2)

    def _counts(self, log_mean: Tensor, c: Tensor, of_cell: Tensor | None) -> ElementwiseDistribution:
        if not self.has_dispersion:
            return PoissonDistribution(log_mean.exp())
        log_r = self.log_dispersion
        if self.dispersion == "gene-batch":
            log_r = c[..., self.batch] @ with_added(log_r, self.added)
        if of_cell is not None:
            log_r = log_r + of_cell
        if self.training:
            return _InTraining(log_mean, log_r)
        return NegativeBinomialDistribution(log_mean.exp(), log_r.exp())


class _InTraining(ElementwiseDistribution):
    """The same log p by gamma functions, in a fifth of the time (`log_negative_binomial`).

    Arguments:
        log_mean: log μ.
        log_dispersion: log r, which may be of fewer axes.
    """

    has_rsample = False

    def __init__(self, log_mean: Tensor, log_dispersion: Tensor):
        super().__init__(log_mean, log_dispersion)
        self._logs = log_mean, log_dispersion

    @property
    def mean(self) -> Tensor:
        """μ."""
        return self.parameters[0].exp()

    @property
    def variance(self) -> Tensor:
        """μ + μ²/r."""
        return self._exact().variance

    def log_prob(self, value: Tensor) -> Tensor:
        """log p(value) per element, nats."""
        return log_negative_binomial(value, *self._logs)

    def cumulative(self) -> tuple[Callable[..., Any], tuple[Tensor, ...]]:
        """See `hooks.HasCumulative`."""
        return self._exact().cumulative()

    def sample(self, sample_shape: _size = ()) -> Tensor:
        """Draw counts: (*sample_shape, *batch_shape)."""
        return self._exact().sample(sample_shape)

    def _exact(self) -> NegativeBinomialDistribution:
        return NegativeBinomialDistribution(*(part.exp() for part in self.parameters))


def library_of(x: Float[Tensor, "*rows gene"]) -> Float[Tensor, "*rows"]:
    """l: the sum of the counts of a cell, at least 1.

    >>> library_of(torch.tensor([[1.0, 4.0], [0.0, 0.0]]))
    tensor([5., 1.])
    """
    return x.sum(-1).clamp_min(1)


def shares_of(x: Float[Tensor, "row gene"]) -> Float[Tensor, "gene"]:
    """π: the share of each gene in all counts, each with half a count more."""
    total = x.sum(0) + _PSEUDO_COUNT
    return total / total.sum()


def _check(family: str, dispersion: str, num_batches: int) -> None:
    if dispersion == "gene-batch" and not num_batches:
        raise ValueError(
            "dispersion is 'gene-batch' and no covariate is a category; name the batch with covariates (--covariates "
            "batch), or take 'gene'."
        )
    if "negative-binomial" not in family and dispersion != "gene":
        raise ValueError(f"likelihood is {family!r}, which has no dispersion, and dispersion={dispersion!r} was given.")
