"""Simple models to compare with. Each returns log p(x) of test data in nats.

Binary data. Training values in [0, 1] count as probabilities and enter as expected sufficient statistics. A mixture
thus maximises Σ_n log Σ_k π_k exp(E log p(x_n | k)): the log-likelihood if x_n is binary, and a lower bound of its mean
over re-sampled x_n otherwise. Test on the same binarized array as the model.

    independent_bernoulli    p(x) = Π_d μ_d^x_d (1 − μ_d)^(1 − x_d)
    bernoulli_mixture        p(x) = Σ_k π_k Π_d μ_kd^x_d (1 − μ_kd)^(1 − x_d)      (Bishop 2006, §9.3.3)

Real data: `gaussian` and `gaussian_mixture`. Levels of images: `shrunk_gaussian`. Text: `unigram`. Counts:
`negative_binomials`, also given the size of a row. Any data: `independent_elements`, the likelihood itself with no
latents. Probabilities are maximum a posteriori under Beta(1 + α, 1 + α), which is α pseudo-counts of each
value, so that none is 0 or 1. The size of a mixture is chosen on rows that it is not fitted to.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from sklearn.mixture import GaussianMixture
from torch import Tensor
from torch.nn.functional import logsigmoid

from lowerbound.cited import cited
from lowerbound.evaluate.negative_binomials import negative_binomials, negative_binomials_given_library
from lowerbound.evaluate.shrunk_covariance import shrunk_gaussian
from lowerbound.evaluate.unigram import unigram
from lowerbound.evaluate.without_latents import independent_elements

__all__ = [
    "BernoulliMixture",
    "bernoulli_mixture",
    "gaussian",
    "gaussian_mixture",
    "independent_bernoulli",
    "independent_elements",
    "negative_binomials",
    "negative_binomials_given_library",
    "shrunk_gaussian",
    "unigram",
]

_PSEUDO_COUNT = 0.5


def independent_bernoulli(
    train: Float[Tensor, "row *event"], test: Float[Tensor, "batch *event"]
) -> Float[Tensor, "batch"]:
    """log p(x) of test data under independent Bernoulli variables fitted to training data, nats.

    Raises:
        ValueError: values outside [0, 1].
    """
    return BernoulliMixture.fit(train, 1).log_prob(test)


@dataclass(frozen=True, kw_only=True)
class BernoulliMixture:
    """A mixture of products of Bernoulli variables.

    Attributes:
        log_weights: log π (component,).
        logits: of μ (component, dimension).
        history: the log-posterior, up to a constant, before each step of EM, nats: it never falls.
    """

    log_weights: Float[Tensor, "component"]
    logits: Float[Tensor, "component dimension"]
    history: tuple[float, ...]

    @classmethod
    def fit(
        cls,
        train: Float[Tensor, "row *event"],
        num_components: int,
        *,
        seed: int = 0,
        num_iterations: int = 100,
        tolerance: float = 1e-4,
    ) -> BernoulliMixture:
        """Fit by EM from random rows as centres.

        Arguments:
            train: values in [0, 1].
            num_components: K.
            seed: of the start.
            num_iterations: of EM, at most.
            tolerance: stops when a step gains less than this, nats per row.

        Raises:
            ValueError: values outside [0, 1], or more components than rows.
        """
        x = _probabilities(train, "train")
        if not 1 <= num_components <= x.shape[0]:
            raise ValueError(
                f"BernoulliMixture got num_components={num_components} and needs between 1 and the {x.shape[0]} rows."
            )
        log_weights, logits = _start(x, num_components, seed)
        history: list[float] = []
        for _ in range(num_iterations):
            log_joint = _log_joint(x, log_weights, logits)
            history.append((torch.logsumexp(log_joint, 1).double().sum() + _log_prior(logits)).item())
            log_weights, logits = _maximise(x, torch.softmax(log_joint, 1))
            if len(history) > 1 and history[-1] - history[-2] < tolerance * x.shape[0]:
                break
        return cls(log_weights=log_weights, logits=logits, history=tuple(history))

    def log_prob(self, x: Float[Tensor, "batch *event"]) -> Float[Tensor, "batch"]:
        """log p(x), nats.

        Raises:
            ValueError: values outside [0, 1].
        """
        return torch.logsumexp(_log_joint(_probabilities(x, "x"), self.log_weights, self.logits), 1)


@cited("bishop2006pattern")
def bernoulli_mixture(
    train: Float[Tensor, "row *event"],
    test: Float[Tensor, "batch *event"],
    *,
    components: Sequence[int] = (10, 30, 100, 300),
    seed: int = 0,
) -> Float[Tensor, "batch"]:
    """log p(x) of test data under a mixture of Bernoulli variables, nats.

    The number of components is the best of a list on a tenth of the training data; the mixture is then fitted to all.

    Raises:
        ValueError: values outside [0, 1], or no number of components below nine tenths of the rows.
    """

    def fit(x: Tensor, size: int) -> Callable[[Tensor], Tensor]:
        return BernoulliMixture.fit(x, size, seed=seed).log_prob

    return _best(fit, train, components, seed)(test)


def gaussian(
    train: Float[Tensor, "row *event"], test: Float[Tensor, "batch *event"], *, seed: int = 0
) -> Float[Tensor, "batch"]:
    """log p(x) of test data under one full-covariance Gaussian, nats; `gaussian_mixture` of one component."""
    return gaussian_mixture(train, test, components=(1,), seed=seed)


def gaussian_mixture(
    train: Float[Tensor, "row *event"],
    test: Float[Tensor, "batch *event"],
    *,
    components: Sequence[int] = (1, 3, 10, 30),
    seed: int = 0,
) -> Float[Tensor, "batch"]:
    """log p(x) of test data under a mixture of full-covariance Gaussians (scikit-learn's), nats.

    The number of components is chosen as in `bernoulli_mixture`. Variances have a floor of 1e-6 of their mean.

    Raises:
        ValueError: no number of components below nine tenths of the rows.
    """

    def fit(x: Tensor, size: int) -> Callable[[Tensor], Tensor]:
        rows = _rows(x)
        floor = 1e-6 * float(rows.var(0).mean()) + 1e-12
        mixture = GaussianMixture(size, reg_covar=floor, random_state=seed, max_iter=500).fit(rows)
        return lambda y: torch.from_numpy(mixture.score_samples(_rows(y))).to(y)

    return _best(fit, train, components, seed)(test)


def _best(
    fit: Callable[[Tensor, int], Callable[[Tensor], Tensor]], train: Tensor, components: Sequence[int], seed: int
) -> Callable[[Tensor], Tensor]:
    """Choose the number of components on a tenth of the training data, then fit to all of it."""
    order = torch.randperm(train.shape[0], generator=torch.Generator().manual_seed(seed)).to(train.device)
    held, rest = train[order[: math.ceil(len(order) / 10)]], train[order[math.ceil(len(order) / 10) :]]
    sizes = [size for size in components if size <= rest.shape[0]]
    if not sizes:
        raise ValueError(
            f"A mixture got components={list(components)} and only {rest.shape[0]} rows to fit; give fewer."
        )
    if len(sizes) == 1:
        return fit(train, sizes[0])
    scores = [fit(rest, size)(held).mean().item() for size in sizes]
    return fit(train, sizes[int(np.argmax(scores))])


def _rows(x: Tensor) -> np.ndarray:
    return x.flatten(1).double().cpu().numpy()


def _probabilities(x: Tensor, name: str) -> Tensor:
    if x.numel() and not bool(((x >= 0) & (x <= 1)).all()):
        raise ValueError(f"A Bernoulli baseline got {name} with values outside [0, 1]; scale or binarize it first.")
    return x.flatten(1)


def _start(x: Tensor, num_components: int, seed: int) -> tuple[Tensor, Tensor]:
    """Distinct random rows, moved half way to the mean of all rows."""
    chosen = torch.randperm(x.shape[0], generator=torch.Generator().manual_seed(seed))[:num_components]
    mean = (0.5 * x[chosen.to(x.device)] + 0.5 * x.mean(0)).clamp(0.01, 0.99)
    return x.new_full((num_components,), -math.log(num_components)), mean.logit()


def _log_joint(x: Tensor, log_weights: Tensor, logits: Tensor) -> Float[Tensor, "row component"]:
    """log π_k + Σ_d x_d log μ_kd + (1 − x_d) log(1 − μ_kd) = log π_k + x · logits_k + Σ_d log(1 − μ_kd)."""
    return torch.addmm(log_weights + logsigmoid(-logits).sum(1), x, logits.mT)


def _maximise(x: Tensor, responsibilities: Tensor) -> tuple[Tensor, Tensor]:
    """π and μ from expected counts, with pseudo-counts for μ."""
    count = responsibilities.sum(0)
    ones = responsibilities.mT @ x + _PSEUDO_COUNT
    zeros = (count[:, None] + 2 * _PSEUDO_COUNT - ones).clamp_min(0.5 * _PSEUDO_COUNT)  # against rounding
    tiny = torch.finfo(x.dtype).tiny
    return (count / x.shape[0]).clamp_min(tiny).log(), ones.log() - zeros.log()


def _log_prior(logits: Tensor) -> Tensor:
    """log Beta(μ; 1 + α, 1 + α), up to a constant."""
    return _PSEUDO_COUNT * (logsigmoid(logits) + logsigmoid(-logits)).double().sum()
