"""Counts of cells of several types, some of which are labelled: a mixture of types as the prior of `cells`.

    y ~ π,    z | y ~ N(μ_y, diag s_y²),    x | z, l, c   as in `cell_likelihood`
    log p(x, α times y | l, c) ≥ E_q[log p(x | z, l, c) + log p(z) + α log p(y | z) − log q(z | x, c)]
    log p(z) = log Σ_y π_y p(z | y),    p(y | z) = π_y p(z | y) / p(z),    α = 0 where there is no label
    q(y | x, c) = E_q[p(y | z)]

All else is scVI (Lopez et al. 2018, Nature Methods 15, doi:10.1038/s41592-018-0229-2). The task is that of scANVI (Xu
et al. 2021, Molecular Systems Biology 17 e9620, doi:10.15252/msb.20209620), which puts a
label-dependent prior below a second layer of latents and a classifier above the first. Here types are summed out in
closed form, and the classifier is Bayes' rule. A label counts α times, as if as many had looked at the cell: of a few
labels in thousands of cells the components would else learn nothing, and take cells as a clustering does. No
decoder reads y, so that all that is said of genes is said as `cells` does, after Lopez et al. (2018,
doi:10.1038/s41592-018-0229-2).
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import cast

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.distributions import Distribution

from lowerbound.model import Joint
from lowerbound.models.cell_autoencoder import CellModel, cell_autoencoder
from lowerbound.models.cell_likelihood import CellDispersion, CellFamily
from lowerbound.models.recipe import Recipe
from lowerbound.nets.softplus import positive, raw_of
from lowerbound.posteriors import DiagonalNormal
from lowerbound.posteriors.mixture_normal import MixtureNormalDistribution
from lowerbound.protocols import Context
from lowerbound.randomness import forked

__all__ = ["RECIPE", "LabelledCellModel", "TypePrior", "labelled_cells"]

_LEAST_SCALE, _FIRST_SCALE, _FIRST_SPREAD, _DRAWS = 0.05, 1.0, 0.1, 100
_HALF_LOG_2PI = 0.5 * math.log(2 * math.pi)


class LabelledMixture(MixtureNormalDistribution):
    """Σ_y π_y N(μ_y, diag s_y²) and α labellings of z: log p is log p(z) + α log p(y | z) where y is known.

    Arguments:
        logits, loc, scale: of the mixture, (type,) and (type, latent).
        y: one-hot labels (B, type), 0 where there is none.
        weight: α.
    """

    def __init__(self, logits: Tensor, loc: Tensor, scale: Tensor, y: Tensor, weight: float):
        lead = y.shape[:-1]
        super().__init__(logits.expand(*lead, -1), loc.expand(*lead, -1, -1), scale.expand(*lead, -1, -1))
        self.y, self.weight = y, weight

    def log_prob(self, value: Tensor) -> Tensor:
        """log p(value) + α log p(y | value), nats."""
        log_joint = _log_joint(value, self.log_weights, self.loc, self.scale)
        log_prior = torch.logsumexp(log_joint, -1)
        of_label = torch.where(self.y > 0, log_joint - log_prior.unsqueeze(-1), 0.0).sum(-1)
        return log_prior + self.weight * of_label


class TypePrior(nn.Module):
    """Σ_y π_y N(μ_y, diag s_y²), or the component of a type where it is given.

    Arguments:
        latent_dim: length of z.
        num_classes: types.
        width: how many numbers of the context come before the label.
        unknown_class: the class that stands for no label, whose share is 0.
        label_weight: α.

    Returns (when called with the context of `LabelledCellModel`, or with None):
        A mixture over z, of batch shape (B,) if there are labels in the context, and else ().
    """

    lr_factor: float = 10.0  # one vector for all cells of a type has further to go than a weight of a net
    never: Tensor

    def __init__(
        self,
        latent_dim: int,
        num_classes: int,
        *,
        width: int = 0,
        unknown_class: int | None = None,
        label_weight: float = 20.0,
    ):
        super().__init__()
        self.width, self.num_classes, self.label_weight = width, num_classes, label_weight
        self.logits = nn.Parameter(torch.zeros(num_classes))
        never = torch.arange(num_classes) == (-1 if unknown_class is None else unknown_class)
        self.register_buffer("never", never, persistent=False)
        self.loc = nn.Parameter(_FIRST_SPREAD * torch.randn(num_classes, latent_dim))
        self.raw_scale = nn.Parameter(raw_of(torch.full((num_classes, latent_dim), _FIRST_SCALE), _LEAST_SCALE))
        self.event_shape = (latent_dim,)

    def forward(self, context: Context | None = None) -> MixtureNormalDistribution:
        """p(z), or p(z | y)."""
        y = self.labels_in(context)
        if y is None:
            return MixtureNormalDistribution(*self._components())
        return LabelledMixture(*self._components(), y, self.label_weight)

    def labels_in(self, context: Context | None) -> Float[Tensor, "*lead type"] | None:
        """One-hot labels, 0 where there is none; None if the context is of covariates alone, with log l or without."""
        if not isinstance(context, Tensor) or context.shape[-1] < self.width + self.num_classes:
            return None
        return context[..., self.width : self.width + self.num_classes]

    def classify(self, z: Float[Tensor, "*lead latent"]) -> Float[Tensor, "*lead type"]:
        """p(y | z)."""
        return torch.softmax(_log_joint(z, *self._components()), -1)

    def _components(self) -> tuple[Tensor, Tensor, Tensor]:
        """log π up to a constant (type,), μ and s (type, latent)."""
        logits = self.logits.masked_fill(self.never, -torch.inf)
        return logits, self.loc, positive(self.raw_scale, _LEAST_SCALE)


def _log_joint(z: Tensor, logits: Tensor, loc: Tensor, scale: Tensor) -> Float[Tensor, "*lead type"]:
    """log π_y p(z | y), for π as it is normalised."""
    standard = (z.unsqueeze(-2) - loc) / scale
    log_density = -0.5 * standard.square().sum(-1) - scale.log().sum(-1) - loc.shape[-1] * _HALF_LOG_2PI
    return torch.log_softmax(logits, -1) + log_density


class LabelledCellModel(CellModel):
    """A model of cells that is given the types of some.

    The context is that of `CellModel`, with one-hot labels (B, type) after the covariates where some are known.

    Arguments:
        cells: whose parts it takes.
        num_classes: types.
        unknown_class: the one that stands for no label, if there is one.
        label_weight: α.
    """

    prior: TypePrior  # pyright: ignore[reportIncompatibleVariableOverride]

    def __init__(
        self, cells: CellModel, num_classes: int, *, unknown_class: int | None = None, label_weight: float = 20.0
    ):
        latent_dim, width = cells.likelihood.decoder.in_shapes[0][0], cells.likelihood.width
        prior = TypePrior(latent_dim, num_classes, width=width, unknown_class=unknown_class, label_weight=label_weight)
        super().__init__(
            prior=prior,
            likelihood=cells.likelihood,
            posterior=cast(DiagonalNormal, cells.posterior),
            sizes=cells.sizes,
            covariate_sizes=cells.covariate_sizes,
        )
        self.num_classes = num_classes

    def joint(self, x: Tensor, context: Context | None = None) -> Joint:
        """z ↦ (log p(x | z, l, c), log p(z | y) or log p(z)), for a batch x (B, G)."""
        found = super().joint(x, context)
        return found if self.prior.labels_in(context) is None else dataclasses.replace(found, prior=self.prior(context))

    def class_probabilities(self, x: Tensor, context: Context | None, *, seed: int) -> Float[Tensor, "batch type"]:
        """q(y | x, c) for a batch x (B, G): the mean of p(y | z) over draws that are the same for every row."""
        q = self.infer(x, context)
        with forked(x.device, seed):
            noise = torch.randn(_DRAWS, 1, *q.event_shape, device=x.device, dtype=q.mean.dtype)
        found = sum(self.prior.classify(q.mean + q.stddev * one) for one in noise)
        return cast(Tensor, found) / _DRAWS

    def _covariates(self, context: Context | None, num_rows: int | None) -> Tensor:
        return super()._covariates(self._without_labels(context), num_rows)

    def _given(self, c: Tensor, context: Context | None, log_l: Tensor) -> Tensor:
        return super()._given(c, self._without_labels(context), log_l)

    def _without_labels(self, context: Context | None) -> Context | None:
        """The context of `CellModel`."""
        if self.prior.labels_in(context) is None:
            return context
        c, width = cast(Tensor, context), self.likelihood.width
        return torch.cat([c[..., :width], c[..., width + self.num_classes :]], -1)

    def _prior(self, c: Tensor) -> Distribution:
        return self.prior(None)


def labelled_cells(
    event_shape: Sequence[int],
    *,
    num_classes: int,
    covariate_sizes: Sequence[int] = (),
    latent_dim: int = 10,
    hidden: Sequence[int] = (128,),
    likelihood: CellFamily = "negative-binomial",
    dispersion: CellDispersion = "gene",
    dropout: float = 0.1,
    label_weight: float = 20.0,
    unknown_class: int | None = None,
    num_added: int = 0,
) -> LabelledCellModel:
    """A model of the counts of cells of which some are labelled, the library observed.

    Arguments:
        event_shape: (genes,).
        num_classes: types.
        covariate_sizes: how many categories each covariate has, 1 for numbers; the first with categories is the batch.
        latent_dim: length of z.
        hidden: widths of the hidden layers from the data to z, mirrored back.
        likelihood: the family of the counts.
        dispersion: learned for each gene, for each gene and batch, or computed for each gene and cell.
        dropout: the fraction of the inputs of the encoder that are dropped in training.
        label_weight: how often a label counts, in training.
        unknown_class: the number of the class that stands for no label, if there is one.
        num_added: how many of the last categories of the batch came after a fit, whose weights are held fixed.

    Raises:
        ValueError: fewer than two types, a weight that is not positive, and as `cells` does.

    >>> labelled_cells((12,), num_classes=3, latent_dim=2, hidden=[16]).sample(5).shape
    torch.Size([5, 12])
    """
    types = num_classes - (unknown_class is not None)
    if types < 2:
        raise ValueError(f"labelled-cells got {types} type and tells types apart; label cells of two or more.")
    if not 0 < label_weight < math.inf:
        raise ValueError(f"labelled-cells got label_weight={label_weight:g}; give a number above 0.")
    cells = cell_autoencoder(
        event_shape,
        covariate_sizes=covariate_sizes,
        latent_dim=latent_dim,
        hidden=hidden,
        likelihood=likelihood,
        dispersion=dispersion,
        dropout=dropout,
        num_added=num_added,
    )
    return LabelledCellModel(cells, num_classes, unknown_class=unknown_class, label_weight=label_weight)


RECIPE = Recipe(
    name="labelled-cells",
    cites=("xu2021probabilistic", "lopez2018deep"),
    make=labelled_cells,
    labels="covariates",
    defaults={"objective": "elbo", "clip_norm": 50.0, "patience": 10},
    assigns=True,
)
