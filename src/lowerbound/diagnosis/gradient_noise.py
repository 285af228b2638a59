"""Variance of the gradient that dominates: noise from drawing latents that hides what the data say.

The gradient g of φ in one training step varies with the minibatch b and with the latents. By the law of total variance,
from two gradients g_b1, g_b2 of each of M minibatches,

    tr Cov[g] = W + B          W = E_b tr Cov[g | b] ≈ mean_b ½ ‖g_b1 − g_b2‖²
                               B = tr Cov_b E[g | b] ≈ M/(M−1) mean_b (g_b1 − ḡ_1) · (g_b2 − ḡ_2)

At an optimum for every row B is 0 and every sampled estimator has noise left, so that W / (W + B) alone would call the
best models ill. So W is set against B and the smallest noise at hand,

    H = E_b tr Cov[h | b],      h = ∇_φ mean log q(z | x) at fixed z

which is that of a score-function estimator whose learning signal is off by one nat; the pathwise gradient of the ELBO
has exactly H where q(z | x) = p(z | x). The evidence is W / (W + B + H), its error the jackknife's over minibatches.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from typing import cast

import torch
from jaxtyping import Float
from torch import Tensor, nn

from lowerbound.diagnosis.case import Case
from lowerbound.diagnosis.finding import Bars, Evidence, Finding, found, undefined
from lowerbound.losses import Loss
from lowerbound.randomness import forked

__all__ = ["MOST", "gradient_noise"]

NAME = "noise of the gradient"
MOST = 0.9
"""Nine tenths: the latents' noise is nine times all other."""
_MINIBATCHES = 32


def gradient_noise(case: Case) -> Finding:
    """Whether drawing latents makes more than nine tenths of the noise in the gradient of φ."""
    parameters = _parameters(case.model.posterior)
    if case.loss is None or not parameters:
        return undefined(NAME, "Not defined without a loss and a posterior with parameters to train.")
    g, h = _gradients(case, copy.deepcopy(case.loss))
    within, between, floor = (0.5 * (g[0] - g[1]).square().sum(1), _products(g), h.square().sum(1))
    value, without = _share(within, between, floor), []
    for left_out in range(len(within)):
        kept = torch.arange(len(within)) != left_out
        without.append(_share(within[kept], _products(g[:, kept]), floor[kept]))
    spread = torch.tensor(without).double()
    error = math.sqrt((len(spread) - 1) * float(spread.var(correction=0)))
    parts = {"latents": within, "minibatch": between, "one nat of signal": floor}
    evidence = Evidence(value=value, standard_error=error, high=MOST, unit="(share of the variance)")
    return found(
        NAME,
        evidence,
        ill=f"{value:.1%} of the noise in the encoder's gradient come from drawing latents, not from the data.",
        well=f"{value:.0%} of the noise in the encoder's gradient come from drawing latents.",
        remedy=_remedy(case),
        picture=Bars(
            values={
                name: (part.mean().item(), part.std().item() / math.sqrt(len(part))) for name, part in parts.items()
            },
            label="variance of the gradient of φ (nats²)",
        ),
    )


def _parameters(part: object) -> list[Tensor]:
    return [p for p in part.parameters() if p.requires_grad] if isinstance(part, nn.Module) else []


def _gradients(
    case: Case, loss: Loss
) -> tuple[Float[Tensor, "two minibatch coordinate"], Float[Tensor, "minibatch coordinate"]]:
    """g of two draws and h, for each minibatch, on the CPU."""
    x, parameters = case.x_train, _parameters(loss.model.posterior)
    size, num_samples = min(case.batch_size, len(x)), int(getattr(loss, "num_samples", 1))
    rows: list[list[Tensor]] = [[], [], []]
    with forked(x.device, case.seed), torch.enable_grad():
        for _ in range(_MINIBATCHES):
            batch = x[torch.randint(len(x), (size,), device=x.device)]
            for kept in rows[:2]:
                kept.append(_flat(loss(batch).loss, parameters))
            rows[2].append(_flat(_log_q(loss, batch, num_samples), parameters))
    one, two, h = (torch.stack(part) for part in rows)
    return torch.stack([one, two]), h


def _log_q(loss: Loss, x: Tensor, num_samples: int) -> Tensor:
    """The mean of log q(z | x) at draws that are held fixed."""
    q = loss.model.infer(x)
    with torch.no_grad():
        z = q.sample(torch.Size((num_samples,)))
    return q.log_prob(cast(Tensor, z)).mean()


def _flat(value: Tensor, parameters: Sequence[Tensor]) -> Float[Tensor, "coordinate"]:
    gradients = torch.autograd.grad(value, parameters, allow_unused=True)
    pairs = zip(parameters, gradients, strict=True)
    return torch.cat([(torch.zeros_like(p) if g is None else g).flatten() for p, g in pairs]).double().cpu()


def _products(g: Float[Tensor, "two minibatch coordinate"]) -> Float[Tensor, "minibatch"]:
    """Terms whose mean is B."""
    count = g.shape[1]
    centred = g - g.mean(1, keepdim=True)
    return (centred[0] * centred[1]).sum(1) * count / (count - 1)


def _share(within: Tensor, between: Tensor, floor: Tensor) -> float:
    rest = between.mean().clamp_min(0) + floor.mean()
    return float(within.mean() / (within.mean() + rest))


def _remedy(case: Case) -> str:
    """An estimator that uses the path of the draw where there is one; else more samples to compare with each other."""
    options = case.refit.options
    if case.posterior.has_rsample and options.get("gradient", "pathwise").startswith("score-function"):
        return case.refit(gradient="pathwise")
    num_samples = int(options.get("num-samples", 8 if options.get("objective", "iwae").startswith("iwae") else 1))
    return case.refit(num_samples=str(4 * num_samples))
