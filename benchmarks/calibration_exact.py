"""How often each test of calibration calls an exact q wrong, and how often it misses a q that was spoiled.

Twenty fits whose q(z | x) is the exact posterior: factor analysis and probabilistic PCA, by turns, of three tables,
each with a seed (and so a training part) of its own. Each q is tested as it is, with its scale twice too wide, and
with its mean moved by one standard deviation of each latent. Every test has the level 0.05:

    ranks of the latents    the smallest p-value of the coordinates, times their number
    expected coverage       ranks of log q(z | x)
    TARP                    ranks of the distance to a draw of the prior
    all ranks               `Calibration.p_value`
    two-sample test         of draws of q and of the exact posterior of four test rows: predictions of the classifiers
                            that are right, against half of them, one-sided
    diagnose                the finding that `lowerbound diagnose` reports, which has an allowance in place of a level

Of each fit the tests of ranks are run with 20 seeds and the two-sample test with five, each with rows of its own. The
rates are given with one test for each fit and with all.

python benchmarks/calibration_exact.py
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from scipy.stats import binomtest
from sklearn.datasets import load_breast_cancer, load_wine
from torch import Tensor, nn
from torch.distributions import MultivariateNormal

import lowerbound as lb
from lowerbound.diagnosis import PROBLEMS, Case
from lowerbound.evaluate import Calibration, calibration, posterior_two_sample
from lowerbound.fitted import Fitted
from lowerbound.model import LatentVariableModel
from lowerbound.protocols import Conditional
from lowerbound.randomness import derive_seed

RESULTS = Path(__file__).parent / "results"
LEVEL, LATENTS = 0.05, 4
SPOILED = {"exact": (1.0, 0.0), "twice too wide": (2.0, 0.0), "shifted by one sd": (1.0, 1.0)}
RECIPES = ("factor-analysis", "probabilistic-pca")
TABLES: dict[str, Callable[..., Any]] = {"wine": load_wine, "breast cancer": load_breast_cancer}
DATA = ("wine", "breast cancer", "digits")


class Spoiled(nn.Module):
    """A Gaussian q with its scale multiplied and its mean moved, in standard deviations of each latent."""

    def __init__(self, posterior: Conditional, scale: float, shift: float):
        super().__init__()
        self.posterior, self.scale, self.shift = posterior, scale, shift

    def forward(self, context: Tensor) -> MultivariateNormal:
        q = self.posterior(context)
        assert isinstance(q, MultivariateNormal)
        return MultivariateNormal(q.loc + self.shift * q.stddev, scale_tril=self.scale * q.scale_tril)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--fits", type=int, default=20)
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--out", type=Path, default=RESULTS / "calibration_exact.json")
    given = parser.parse_args()
    fits: list[dict[str, Any]] = []
    for seed in range(given.fits):
        fits.append(one_fit(seed, given.seeds))
        found = {"level": LEVEL, "seeds": given.seeds, "rates": rates(fits), "fits": fits}
        given.out.write_text(
            json.dumps(
                found,
            )
            + "\n"
        )
        print(f"{seed + 1} of {given.fits}: {fits[-1]['recipe']} of {fits[-1]['data']}", flush=True)
    for how, tests in rates(fits).items():
        for name, rate in tests.items():
            print(f"{how:18} {name:24} {rate}")


def one_fit(seed: int, num_seeds: int) -> dict[str, Any]:
    """Fit with a seed; the p-values of each test for each q and seed of the test."""
    begun, recipe, name = time.process_time(), RECIPES[seed % 2], DATA[seed // 2 % 3]
    data = "digits" if name == "digits" else TABLES[name](as_frame=True).data
    fitted = lb.fit(data, recipe, latent_dim=LATENTS, seed=seed, device="cpu")
    tested = {how: tests(fitted, num_seeds, *spoiling) for how, spoiling in SPOILED.items()}
    return {"seed": seed, "recipe": recipe, "data": name, "seconds": time.process_time() - begun, "p_values": tested}


def tests(fitted: Fitted, num_seeds: int, scale: float, shift: float) -> dict[str, list[float]]:
    """The p-value of each test by its seed; of the finding 0 where it is present and 1 where it is not."""
    model, exact = fitted.model, fitted.model.posterior
    spoiled = LatentVariableModel(
        prior=model.prior, likelihood=model.likelihood, posterior=Spoiled(exact, scale, shift)
    ).eval()
    x = fitted.events(fitted.test_rows().x)
    found: dict[str, list[float]] = {}
    for number in range(num_seeds):
        known = calibration(spoiled, num_rows=1000, seed=derive_seed(fitted.seed, number))  # else all fits share draws
        for name, p in of_ranks(known).items():
            found.setdefault(name, []).append(round(p, 6))
    for number in range(min(5, num_seeds)):
        some = x[4 * number : 4 * number + 4]
        p = two_sample(spoiled, exact, some, derive_seed(fitted.seed, number))
        found.setdefault("two-sample test", []).append(round(p, 6))
    case = Case(model=spoiled, x_train=x, x_held_out=x, seed=fitted.seed)
    return found | {"diagnose": [0.0 if PROBLEMS["miscalibration of q"](case).present else 1.0]}


def of_ranks(known: Calibration) -> dict[str, float]:
    p = dict(zip(known.quantities, known.p_values.tolist(), strict=True))
    latents = [value for name, value in p.items() if name.startswith("z")]
    return {
        "ranks of the latents": min(1.0, min(latents) * len(latents)),
        "expected coverage": p["log q(z | x)"],
        "TARP": p["distance to a reference"],
        "all ranks": known.p_value,
    }


def two_sample(model: LatentVariableModel, exact: Conditional, x: Tensor, seed: int) -> float:
    found = posterior_two_sample(model, x, lambda model, x, context: exact(x), seed=seed)
    total = 2 * int(found.num_draws.sum())
    right = round(float((found.accuracy.values.double() * 2 * found.num_draws).sum()))
    return float(binomtest(right, total, 0.5, alternative="greater").pvalue)


def rates(fits: list[dict[str, Any]]) -> dict[str, dict[str, dict[str, Any]]]:
    """How often p ≤ 0.05: with one seed for each fit, and with all seeds of all fits."""
    return {
        how: {
            name: {
                "one for each fit": rate([fit["p_values"][how][name][0] for fit in fits]),
                "all": rate([p for fit in fits for p in fit["p_values"][how][name]]),
            }
            for name in fits[0]["p_values"][how]
        }
        for how in SPOILED
    }


def rate(p: list[float]) -> dict[str, Any]:
    """With the 95 % interval of Clopper and Pearson."""
    present = sum(value <= LEVEL for value in p)
    interval = binomtest(present, len(p)).proportion_ci(method="exact")
    return {"alarms": present, "tests": len(p), "interval": [round(interval.low, 3), round(interval.high, 3)]}


if __name__ == "__main__":
    main()
