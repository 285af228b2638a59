"""Does each latent encode one factor, and is each factor encoded by one latent? Scores of classifiers of known factors.

    DCI         from the importances R_dk of latent d in a forest that predicts factor k (Eastwood & Williams 2018)
                disentanglement Σ_d ρ_d (1 − H_K(R_d· / Σ_k R_dk)), ρ_d = Σ_k R_dk / Σ_dk R_dk; H_K to base K
                completeness    the same with latents and factors exchanged;  informativeness: test accuracy
    FactorVAE   how well the latent that varies least, while one factor is held fixed, names that factor
                (Kim & Mnih 2018, arXiv:1802.05983, §4)
    β-VAE       how well a linear classifier names it from mean |z − z'| (Higgins et al. 2017)

The latents should be the means of q(z | x), for data whose factors were drawn independently. Factors are class numbers.
For latents without information about the factors, disentanglement and completeness are near 0 and the accuracies near
chance: 1/K for the last two. Standard errors are those of fractions for the last two and for informativeness, else of a
jackknife over ten groups of rows (`known_factors`). `latent_gaps` has two scores that need no classifier.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int64
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from torch import Tensor

from lowerbound.cited import cited
from lowerbound.evaluate.clustering import proportion
from lowerbound.evaluate.estimates import Score
from lowerbound.evaluate.known_factors import checked, jackknives
from lowerbound.randomness import derive_seed

__all__ = [
    "DCI",
    "beta_vae_score",
    "dci_scores",
    "factor_vae_score",
]

_ALIVE = 0.05  # of the largest standard deviation of a latent, in the FactorVAE score


@dataclass(frozen=True, kw_only=True)
class DCI:
    """Three scores of the same forests, each between 0 and 1.

    Attributes:
        disentanglement: whether each latent depends on one factor only.
        completeness: whether each factor is encoded by one latent only.
        informativeness: the fraction of factors of held-out rows that the forests predict.
    """

    disentanglement: Score
    completeness: Score
    informativeness: Score


@cited("eastwood2018framework")
def dci_scores(
    latents: Float[Tensor, "row latent"],
    factors: Int64[Tensor, "label factor"],
    *,
    num_trees: int = 20,
    seed: int = 0,
) -> DCI:
    """Disentanglement, completeness and informativeness by random forests.

    Half of the rows train the forests and half test them. The jackknife leaves out groups of training rows, so that
    eleven forests are fitted for each factor.

    Arguments:
        latents: z of each datum.
        factors: the class of each factor of each datum.
        num_trees: in each forest.
        seed: of the halves and the forests.

    Raises:
        ValueError: as `known_factors.checked`.
    """
    z, v = checked(latents, factors, fewest_latents=1)
    derived = derive_seed(seed, "dci_scores")
    order = np.random.default_rng(derived).permutation(len(z))
    train, test = order[: len(z) // 2], order[len(z) // 2 :]
    x, y = z.numpy(), v.numpy()

    def fitted(rows: np.ndarray) -> list[RandomForestClassifier]:
        return [_forest(x[train[rows]], each[train[rows]], num_trees, derived % 2**32) for each in y.T]

    def structure(rows: Tensor) -> Tensor:
        importance = np.stack([forest.feature_importances_ for forest in fitted(rows.numpy())], 1)
        return torch.tensor([_concentration(importance), _concentration(importance.T)], dtype=torch.float64)

    disentanglement, completeness = jackknives(structure, len(train))
    forests = fitted(np.arange(len(train)))
    right = np.stack([forest.predict(x[test]) == each[test] for forest, each in zip(forests, y.T, strict=True)])
    spread = right.mean(0).std(ddof=1) / len(test) ** 0.5  # the factors of one datum go together
    informativeness = Score(value=float(right.mean()), standard_error=float(spread))
    return DCI(disentanglement=disentanglement, completeness=completeness, informativeness=informativeness)


@cited("kim2018disentangling")
def factor_vae_score(
    latents: Float[Tensor, "row latent"],
    factors: Int64[Tensor, "label factor"],
    *,
    num_votes: int = 800,
    num_rows: int = 64,
    seed: int = 0,
) -> Score:
    """The accuracy with which the latent of least relative variance names the factor that was held fixed.

    Arguments:
        latents: z of each datum. Latents whose standard deviation is below 5 % of the largest are left out.
        factors: the class of each factor of each datum.
        num_votes: for the majority vote that maps latents to factors, and as many again to score it.
        num_rows: whose variance is taken for one vote, with one factor fixed.
        seed: of the draws.

    Raises:
        ValueError: as `known_factors.checked`.
    """
    z, v = checked(latents, factors, fewest_latents=1)
    deviation = z.std(0)
    z = (z / deviation)[:, deviation > _ALIVE * deviation.max()]
    fixed, pools = _fixed_factor(
        v, 2 * num_votes, num_rows, np.random.default_rng(derive_seed(seed, "factor_vae_score"))
    )
    winner = torch.cat([z[rows].var(1).argmin(1) for rows in pools.split(256)])
    votes = torch.zeros(z.shape[1], v.shape[1], dtype=torch.int64)
    votes.index_put_((winner[:num_votes], fixed[:num_votes]), torch.ones(num_votes, dtype=torch.int64), accumulate=True)
    right = votes.argmax(1)[winner[num_votes:]] == fixed[num_votes:]
    return proportion(int(right.sum()), num_votes)


@cited("higgins2017beta")
def beta_vae_score(
    latents: Float[Tensor, "row latent"],
    factors: Int64[Tensor, "label factor"],
    *,
    num_votes: int = 2000,
    num_pairs: int = 64,
    seed: int = 0,
) -> Score:
    """The accuracy with which a linear classifier names the factor that the data of every pair share.

    Arguments:
        latents: z of each datum.
        factors: the class of each factor of each datum.
        num_votes: mean differences to train the classifier, and as many again to score it.
        num_pairs: averaged in one of them.
        seed: of the draws.

    Raises:
        ValueError: as `known_factors.checked`.
    """
    z, v = checked(latents, factors, fewest_latents=1)
    rng = np.random.default_rng(derive_seed(seed, "beta_vae_score"))
    fixed, first, second = _shared_factor(v, 2 * num_votes, num_pairs, rng)
    blocks = zip(first.split(256), second.split(256), strict=True)
    difference = torch.cat([(z[one] - z[other]).abs().mean(1) for one, other in blocks])
    deviation = difference[:num_votes].std(0)
    difference = (difference / deviation.where(deviation > 0, torch.ones_like(deviation))).numpy()
    classifier = LogisticRegression(max_iter=1000).fit(difference[:num_votes], fixed[:num_votes].numpy())
    right = classifier.predict(difference[num_votes:]) == fixed[num_votes:].numpy()
    return proportion(int(right.sum()), num_votes)


def _forest(x: np.ndarray, y: np.ndarray, num_trees: int, seed: int) -> RandomForestClassifier:
    # Every split chooses among all latents: among a random few, one that knows nothing would be credited at times.
    return RandomForestClassifier(num_trees, min_samples_leaf=2, max_features=None, random_state=seed).fit(x, y)  # pyright: ignore


def _concentration(importance: np.ndarray) -> float:
    """Σ_d ρ_d (1 − H_K(R_d· / Σ_k R_dk)); 1 if there is only one column."""
    if importance.shape[1] == 1:
        return 1.0
    total = importance.sum(1, keepdims=True)
    p = np.where(total > 0, importance / np.where(total > 0, total, 1), 1 / importance.shape[1])
    entropy = -(p * np.log(np.where(p > 0, p, 1))).sum(1) / np.log(importance.shape[1])
    return float((total[:, 0] / total.sum() * (1 - entropy)).sum())


def _fixed_factor(v: Tensor, num_votes: int, num_rows: int, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    """For each vote a factor, and rows that all share the value that it has in one row."""
    fixed, sample = _sampler(v, num_votes, rng)
    return fixed, sample(rng.integers(len(v), size=(num_votes, 1)).repeat(num_rows, 1))


def _shared_factor(
    v: Tensor, num_votes: int, num_pairs: int, rng: np.random.Generator
) -> tuple[Tensor, Tensor, Tensor]:
    """For each vote a factor, and pairs of rows, each of which shares its value."""
    fixed, sample = _sampler(v, num_votes, rng)
    first = rng.integers(len(v), size=(num_votes, num_pairs))
    return fixed, torch.from_numpy(first), sample(first)


def _sampler(
    v: Tensor, num_votes: int, rng: np.random.Generator
) -> tuple[Int64[Tensor, "vote"], Callable[[np.ndarray], Tensor]]:
    """A factor for each vote, and rows (vote, *) → random rows with the same value of that factor."""
    fixed = rng.integers(v.shape[1], size=num_votes)
    classes = v.numpy()

    def alike(rows: np.ndarray) -> Tensor:
        found = np.empty_like(rows)
        for k in range(classes.shape[1]):
            order, count = np.argsort(classes[:, k], kind="stable"), np.bincount(classes[:, k])
            value = classes[rows[fixed == k], k]
            place = np.floor(rng.random(value.shape) * count[value]).astype(np.int64)
            found[fixed == k] = order[(np.cumsum(count) - count)[value] + place]
        return torch.from_numpy(found)

    return torch.from_numpy(fixed), alike
