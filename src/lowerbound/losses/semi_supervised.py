"""The loss of a labelled model where some labels are known: Kingma et al. (2014, arXiv:1406.5298, eqs. 6–9).

    labelled      log p(x, y) ≥ L(x, y) = L(x | y) + log p(y)                                  (eq. 6)
    unlabelled    log p(x) ≥ U(x) = Σ_y q(y | x) [L(x, y) − log q(y | x)]                      (eq. 7)
    loss          −(1/N) [Σ_labelled L(x, y) + Σ_unlabelled U(x)] − α (1/N_l) Σ_labelled log q(y | x)
                                                                                               (eqs. 8 and 9, over N)

U(x) is the ELBO of the single latent y, with log p(x | y) replaced by its bound L(x | y), which comes from
reparameterised latents z. Labels are therefore enumerated or sampled like any discrete latent, by the chosen estimator:
`gradients.Enumerate()` sums over all of them in one pass, `gradients.ScoreFunction()` draws some. Eq. 6 is eq. 7 with a
q(y | x) that is certain: a known label replaces q(y | x), has entropy zero and no gradient. All rows of a batch,
labelled or not, thus go through one computation, and no shape depends on the data.

Without the last term q(y | x) would learn from unlabelled rows only. The paper takes α = 0.1 N in its sums over N
data, which is `classification_weight=0.1` here, where bounds are means; that of Pyro's example is 46 N_l / N. With few
labels most batches contain none. `data.labelled.LabelledRows` adds labelled rows to every batch, for the last term
only, so that the bound remains that of the data.

This has a disadvantage: with 1,000 labels in 60,000 rows, p(x | z, y) learns the meaning of a label mostly from rows
whose labels q guessed. A further term −γ (1/N_l) Σ_labelled L(x, y), with γ = `labelled_weight`, gives the known labels
more weight: the relative weight of supervised data of Siddharth et al. (2017, arXiv:1706.00400). It also uses the added
rows.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, cast

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.distributions import Distribution, Independent, OneHotCategorical

from lowerbound.gradients import Enumerate
from lowerbound.hooks import Augmented
from lowerbound.labelled import LabelledModel
from lowerbound.losses.loss import Loss, LossOutput
from lowerbound.nets.precision import nets_alone_autocast
from lowerbound.objectives import ELBO
from lowerbound.protocols import Context, Gradient, Latents, Objective
from lowerbound.weights import LogWeights

__all__ = ["SemiSupervised"]

_CERTAIN = 1e4
"""A logit so large that all other classes have probability exactly zero but a finite log-probability."""


class SemiSupervised(Loss):
    """minus the mean bound of log p(x, y) or log p(x), minus α times the mean log q(y | x) of labelled rows, minus γ
    times their mean bound.

    Arguments:
        model: p(y) p(z | y) p(x | z, y) and q(y | x) q(z | x, y).
        classification_weight: α.
        gradient: how unknown labels are summed out: `Enumerate()`, or `ScoreFunction()` and others for discrete
            latents.
        num_labels: labels drawn per row, if the estimator draws them.
        objective: from the log w of z given x and y to L(x | y); `ELBO()`, or `IWAE()` with several samples.
        num_samples: latents z drawn for each label.
        labelled_weight: γ, in addition to the weight that labelled rows have as data.

    Returns (when called with x (B, *event) and labels y (B,), −1 where there is none):
        The loss in nats per datum, and the terms bound (nats per datum), classification (mean log q(y | x) of labelled
        rows, nats) and accuracy (fraction of them whose most probable label is theirs); these two are 0 where no row
        has a label.

    Gradient: of the bound, unbiased with an unbiased `gradient`. The terms of α and γ are means over the labelled rows
    of a batch: unbiased if their number is fixed (`LabelledRows`).

    Raises:
        ValueError: a negative weight, or no samples.
    """

    cites: ClassVar[tuple[str, ...]] = ("kingma2014semi", "siddharth2017learning")

    model: LabelledModel  # pyright: ignore[reportIncompatibleVariableOverride]

    def __init__(
        self,
        model: LabelledModel,
        classification_weight: float = 1.0,
        gradient: Gradient = Enumerate(),  # noqa: B008  (frozen)
        num_labels: int = 2,
        objective: Objective = ELBO(),  # noqa: B008  (frozen)
        num_samples: int = 1,
        labelled_weight: float = 0.0,
    ):
        super().__init__()
        if num_samples < 1 or num_labels < 1 or not (classification_weight >= 0 and labelled_weight >= 0):
            raise ValueError(
                f"SemiSupervised got num_samples={num_samples}, num_labels={num_labels}, classification_weight="
                f"{classification_weight} and labelled_weight={labelled_weight}; expected at least 1, 1, 0 and 0."
            )
        self.model, self.classification_weight = model, classification_weight
        self.labelled_weight = labelled_weight
        self.gradient, self.num_labels = gradient, num_labels
        self.objective, self.num_samples = objective, num_samples

    @nets_alone_autocast
    def forward(
        self,
        x: Tensor,
        context: Context | None = None,
        x_labelled: Tensor | None = None,
        y_labelled: Tensor | None = None,
    ) -> LossOutput:
        """The loss of one batch.

        Arguments:
            x: (B, *event).
            context: the labels of x (B,), −1 where there is none; None if there are none at all.
            x_labelled: rows (L, *event) for the terms of α and γ; the labelled rows of x if None.
            y_labelled: their labels (L,).
        """
        y = _labels(x, context)
        logits = self.model.posterior.classifier(x)
        bound = self._bound(x, y, logits).mean()
        if x_labelled is None or y_labelled is None:
            x_labelled, y_labelled = x, y
        else:
            logits = self.model.posterior.classifier(x_labelled)
        log_q, accuracy = _classification(logits, y_labelled)
        loss = -bound - self.classification_weight * log_q
        if self.labelled_weight:
            loss = loss - self.labelled_weight * self._labelled_bound(x_labelled, y_labelled)
        terms = {"bound": bound, "classification": log_q, "accuracy": accuracy}
        return LossOutput(loss, {name: term.detach() for name, term in terms.items()})

    def check(self, x: Tensor, context: Context | None = None) -> None:
        """Raise a `ValueError` if the choices or the labels do not go together, before any training."""
        self.check_rows(x)
        y = _labels(x, context)
        known = y[y >= 0]
        if not isinstance(self.model, LabelledModel):
            raise ValueError(
                f"The semi-supervised loss takes a model of labels and got {type(self.model).__name__}; use the recipe "
                "semi-supervised."
            )
        self.model.one_hot(known)
        if int(y.min()) < -1:
            raise ValueError(f"labels hold {int(y.min())}; give classes 0, 1, …, and −1 where there is no label.")
        if self.objective.rate != "sampled" or self.objective.bound != "lower":
            raise ValueError(
                f"SemiSupervised takes a sampled lower bound and got {self.objective}; use ELBO() or IWAE()."
            )
        self.gradient.check(ELBO(), self.model.posterior.label(x), self.num_labels)
        q = self.model.infer(x, self.model.one_hot(torch.zeros_like(y)))
        if not q.has_rsample or isinstance(q, Augmented):
            raise ValueError(
                "SemiSupervised needs reparameterised draws of z and their density, which this q(z | x, y) does "
                "not have; choose another posterior, such as DiagonalNormal."
            )

    def _labelled_bound(self, x: Tensor, y: Tensor) -> Float[Tensor, ""]:
        """The mean of L(x, y) over rows whose label is known; 0 if there are none."""
        known = (y >= 0).to(x.dtype)
        one_hot = _one_hot(y.clamp(min=0), self.model.num_classes, x.dtype)
        likelihood, prior = _JointOfLabels(self.model, x, self.objective, self.num_samples)(one_hot[None])
        return ((likelihood + prior)[0] * known).sum() / known.sum().clamp(min=1)

    def _bound(self, x: Tensor, y: Tensor, logits: Tensor) -> Float[Tensor, "batch"]:
        """L(x, y) where y is known and U(x) elsewhere."""
        certain = _CERTAIN * _one_hot(y, self.model.num_classes, logits.dtype)
        q = OneHotCategorical(logits=torch.where((y >= 0)[:, None], certain, logits), validate_args=False)
        joint = _JointOfLabels(self.model, x, self.objective, self.num_samples)
        estimate = self.gradient.estimate(ELBO(), Independent(q, 0, validate_args=False), joint, self.num_labels)
        return estimate.surrogate


@dataclass(frozen=True)
class _JointOfLabels:
    """y ↦ (L(x | y), log p(y)) for one batch x: a `protocols.JointDensity` of the latent y."""

    model: LabelledModel
    x: Tensor
    objective: Objective
    num_samples: int

    @property
    def prior(self) -> Distribution:
        """p(y)."""
        return self.model.prior.label()

    def __call__(self, z: Latents) -> tuple[Tensor, Tensor]:
        """Return L(x | y) and log p(y), each (S, B) in nats, for labels (S, B, C)."""
        y, model = cast(Tensor, z), self.model
        q, p = model.infer(self.x, y), model.prior(y)
        z = q.rsample(torch.Size((self.num_samples,)))
        parts = (model.decode(z, y).log_prob(self.x), p.log_prob(z), q.log_prob(z))
        log_likelihood, log_prior, log_q = (part.flatten(1) for part in parts)
        w = LogWeights(log_likelihood=log_likelihood, log_prior=log_prior, log_q=log_q, z=z.flatten(1, 2))
        bound = self.objective.reduce(self.objective.signal(w)).unflatten(0, y.shape[:2])
        return bound, self.prior.log_prob(y)


def _labels(x: Tensor, context: Context | None) -> Int[Tensor, "batch"]:
    if context is None:
        return torch.full((x.shape[0],), -1, device=x.device)
    if isinstance(context, tuple) or context.shape != x.shape[:1] or context.is_floating_point():
        got = "a tuple" if isinstance(context, tuple) else f"{context.dtype} of shape {tuple(context.shape)}"
        raise ValueError(
            f"SemiSupervised got labels that are {got} for {x.shape[0]} rows; give one whole number for each row, "
            "and −1 where there is no label."
        )
    return context


def _one_hot(y: Tensor, num_classes: int, dtype: torch.dtype) -> Float[Tensor, "batch label"]:
    """One-hot rows; zeros where y is −1."""
    return (y[:, None] == torch.arange(num_classes, device=y.device)).to(dtype)


def _classification(
    logits: Float[Tensor, "batch label"], y: Int[Tensor, "batch"]
) -> tuple[Float[Tensor, ""], Float[Tensor, ""]]:
    """The mean log q(y | x) of labelled rows, nats, and the fraction of them that the classifier gets right."""
    known = (y >= 0).to(logits.dtype)
    count = known.sum().clamp(min=1)
    log_q = (logits.log_softmax(-1) * _one_hot(y, logits.shape[1], logits.dtype)).sum()
    right = ((logits.argmax(-1) == y).to(logits.dtype) * known).sum()
    return log_q / count, right / count
