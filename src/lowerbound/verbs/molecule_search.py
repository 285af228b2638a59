"""Molecules with more, or less, of a property: along the direction in which a regressor on codes says it grows.

    f(z) = a + wᵀ z, fitted by ridge regression to the means of q(z | x) of training molecules
    z(s) = z + s w / |w|,    z ~ p(z),    s = 0 … S in standard deviations of the prior

Each z(s) is decoded by a draw from p(x | z), and the property of what is drawn is computed, not predicted. s = 0 are
plain samples, beside which the others have to be seen: a model whose latents say little does not move.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from lowerbound.data.kinds.strings import texts_in
from lowerbound.evaluate.molecule_properties import properties_of
from lowerbound.fitted import Fitted
from lowerbound.randomness import derive_seed, forked

if TYPE_CHECKING:
    import pandas

__all__ = ["MoleculeSearch", "searched"]

_SEARCH = 11  # a stream of random numbers beside those of `fitted`, `imputing`, `writing` and `interpolating`
_CPU = torch.device("cpu")
_PENALTIES = np.logspace(-2, 4, 13)


@dataclass(frozen=True, kw_only=True, eq=False)
class MoleculeSearch:
    """What was found.

    Attributes:
        of: the property.
        r_squared: the share of the variance of the property of test molecules that the regressor explains.
        shifts: s, in standard deviations of the prior (S + 1,).
        means: the mean of the property at each s.
        standard_errors: of these.
        training_mean: that of the training molecules that the regressor saw.
        best: different molecules with their property and s, the best first.
    """

    of: str
    r_squared: float
    shifts: np.ndarray
    means: np.ndarray
    standard_errors: np.ndarray
    training_mean: float
    best: pandas.DataFrame


@torch.no_grad()
def searched(
    fitted: Fitted,
    of: str,
    *,
    minimize: bool = False,
    num_draws: int = 200,
    num_shifts: int = 4,
    num_train: int = 2000,
    seed: int | None = None,
) -> MoleculeSearch:
    """Search for molecules. See `Fitted.search`.

    Raises:
        ValueError: a model of something else or without a vector of latents, another property, or too few draws.
    """
    import pandas

    if fitted.schema.molecules is None:
        raise ValueError(f"{fitted.called} is of {fitted.schema.kind}; a search by a property is for molecules.")
    if fitted.schema.covariates:
        raise ValueError(
            f"{fitted.called} is given covariates, and a search is for models of molecules alone; draw with a value of "
            "a property instead: sample --given NAME=VALUE (given={...})."
        )
    if min(num_draws, num_train) < 2 or num_shifts < 1:
        raise ValueError(
            f"search got num_draws={num_draws}, num_train={num_train}, num_shifts={num_shifts}; expected 2, 2 and 1 at "
            "least."
        )
    seed = derive_seed(fitted.seed if seed is None else seed, _SEARCH)
    direction, r_squared, training_mean = _direction(fitted, of, num_train)
    with forked(_CPU, seed):
        z = fitted.model.prior(None).sample(torch.Size((num_draws,)))
        steps = torch.arange(num_shifts + 1, dtype=z.dtype)
        shifted = z + steps[:, None, None] * torch.from_numpy(-direction if minimize else direction).to(z)
        drawn = [texts_in(fitted.render(fitted.model.decode(part).sample())) for part in shifted]
    values = np.stack([properties_of(part, of) for part in drawn])
    table = pandas.DataFrame(
        {
            "smiles": [one for part in drawn for one in part],
            of: values.ravel(),
            "shift": np.repeat(steps.numpy(), num_draws),
        }
    )
    best = table.drop_duplicates("smiles").sort_values([of, "smiles"], ascending=[minimize, True], ignore_index=True)
    return MoleculeSearch(
        of=of,
        r_squared=r_squared,
        shifts=steps.numpy(),
        means=values.mean(1),
        standard_errors=values.std(1, ddof=1) / np.sqrt(num_draws),
        training_mean=training_mean,
        best=best,
    )


def _direction(fitted: Fitted, of: str, num_train: int) -> tuple[np.ndarray, float, float]:
    """w / |w|, the share of variance explained of test molecules, and the mean of the training molecules."""
    from sklearn.linear_model import RidgeCV

    parts = []
    for rows in (fitted.dataset.x_train[:num_train], fitted.test_rows().x[:num_train]):
        codes = fitted.encode(rows).mean
        if codes.ndim != 2 or not codes.shape[1] or tuple(fitted.model.prior(None).event_shape) != codes.shape[1:]:
            raise ValueError(f"{fitted.called} has no single vector of latents, along which one could search.")
        parts.append((codes, properties_of(texts_in(fitted.render(fitted.events(rows))), of)))
    (codes, values), (test_codes, test_values) = parts
    regressor = RidgeCV(alphas=_PENALTIES).fit(codes, values)
    slope = np.asarray(regressor.coef_, dtype=np.float64)
    length = float(np.linalg.norm(slope))
    if not length > 0:
        raise ValueError(
            f"{of} does not change along the latents of {fitted.called_within}, so that there is no way to go."
        )
    return slope / length, float(regressor.score(test_codes, test_values)), float(values.mean())
