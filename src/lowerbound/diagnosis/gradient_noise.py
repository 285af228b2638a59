"""Noise of the gradient: the variance from drawing latents dominates that from the data.

The gradient g of φ in one training step varies with the minibatch b and with the latents. By the law of total variance,
from two gradients g_b1, g_b2 of each of M minibatches,

    tr Cov[g] = W + B          W = E_b tr Cov[g | b] ≈ mean_b ½ ‖g_b1 − g_b2‖²
                               B = tr Cov_b E[g | b] ≈ M/(M−1) mean_b (g_b1 − ḡ_1) · (g_b2 − ḡ_2)

If the parameters are optimal for every row, B is 0 but sampled estimators still have noise, so that W / (W + B) alone
would reject the best models. W is therefore compared with B plus a reference,

    H = E_b tr Cov[h | b],      h = ∇_φ mean log q(z | x) at fixed z

the variance of a score-function estimator whose learning signal is wrong by one nat. Where q(z | x) = p(z | x) the
pathwise gradient of the ELBO has exactly the variance H. The evidence is W / (W + B + H), its error the jackknife's
over minibatches.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from typing import cast

import torch
from jaxtyping import Float
from torch import Tensor, nn

from lowerbound.diagnosis.case import Case, error_of_mean
from lowerbound.diagnosis.finding import Bars, Finding, Measurement, found, undefined
from lowerbound.evaluate.batches import context_rows
from lowerbound.hooks import PointMass
from lowerbound.losses import Loss
from lowerbound.protocols import Context
from lowerbound.randomness import forked
from lowerbound.weights import is_exact

__all__ = ["MOST", "gradient_noise"]

NAME = "noise of the gradient"
MOST = 0.9
"""At nine tenths the noise from the latents is nine times all other noise."""
_MINIBATCHES, _MOST_COORDINATES = 96, 2**16


def gradient_noise(case: Case) -> Finding:
    """Whether drawing latents causes more than nine tenths of the noise in the gradient for φ."""
    parameters = _parameters(case.model.posterior)
    if case.loss is None or not parameters:
        return undefined(NAME, "Not defined without a loss and a posterior with parameters to train.")
    if isinstance(case.posterior, PointMass):
        return undefined(NAME, "Not defined for codes, of which none is drawn.")
    if is_exact(case.model):
        return undefined(NAME, "Not asked: q(z | x) of this model is p(z | x); log w is the same for every draw.")
    one, two, h = _gradients(case, copy.deepcopy(case.loss))
    within, floor = 0.5 * (one - two).square().sum(1), h.square().sum(1)
    between = _between(one @ two.mT)
    value, without = float(_share(within.mean(), between[0], floor.mean())), _left_out(within, floor)
    spread = _share(without[0], between[1:], without[1])
    error = math.sqrt((len(spread) - 1) * float(spread.var(correction=0)))
    evidence = Measurement(value=value, standard_error=error, high=MOST, unit="(share of the variance)")
    return found(
        NAME,
        evidence,
        ill=f"{value:.1%} of the noise in the encoder's gradient come from drawing latents, not from the data.",
        well=f"{value:.0%} of the noise in the encoder's gradient come from drawing latents.",
        remedy=_remedy(case),
        picture=Bars(
            values={
                "latents": (within.mean().item(), error_of_mean(within)),
                "minibatch": (between[0].item(), 0.0),
                "one nat of signal": (floor.mean().item(), error_of_mean(floor)),
            },
            label="variance of the gradient of φ (nats²)",
        ),
    )


def _parameters(part: object) -> list[Tensor]:
    return [p for p in part.parameters() if p.requires_grad] if isinstance(part, nn.Module) else []


def _gradients(case: Case, loss: Loss) -> tuple[Tensor, Tensor, Tensor]:
    """g of two draws and h, each (minibatch, coordinate), of some coordinates if there are many."""
    x, parameters = case.x_train, _parameters(loss.model.posterior)
    told = case.context_train if case.told is None else case.told
    size, total = min(case.batch_size, len(x)), sum(p.numel() for p in parameters)
    rows: list[list[Tensor]] = [[], [], []]
    with forked(x.device, case.seed), torch.enable_grad():
        some = torch.randperm(total, device=x.device)[:_MOST_COORDINATES]
        for _ in range(_MINIBATCHES):
            chosen = torch.randint(len(x), (size,), device=x.device)
            batch, context = x[chosen], context_rows(case.context_train, chosen)
            for kept in rows[:2]:
                kept.append(_flat(loss(batch, context_rows(told, chosen)).loss, parameters)[some])
            rows[2].append(_flat(_log_q(loss, batch, context, case.num_samples), parameters)[some])
    one, two, h = (torch.stack(part) for part in rows)
    return one, two, h


def _log_q(loss: Loss, x: Tensor, context: Context | None, num_samples: int) -> Tensor:
    """The mean of log q(z | x) at draws that are held fixed."""
    q = loss.model.infer(x, context)
    with torch.no_grad():
        z = q.sample(torch.Size((num_samples,)))
    return q.log_prob(cast(Tensor, z)).mean()


def _flat(value: Tensor, parameters: Sequence[Tensor]) -> Float[Tensor, "coordinate"]:
    gradients = torch.autograd.grad(value, parameters, allow_unused=True)
    pairs = zip(parameters, gradients, strict=True)
    return torch.cat([(torch.zeros_like(p) if g is None else g).flatten() for p, g in pairs])


def _between(products: Float[Tensor, "minibatch minibatch"]) -> Float[Tensor, "set"]:
    """B of all minibatches, then without each, from the g_b1 · g_c2."""
    products = products.double()
    count, same, every = len(products), products.diagonal(), products.sum()
    without = every - products.sum(0) - products.sum(1) + same
    left_out = ((same.sum() - same) - without / (count - 1)) / (count - 2)
    return torch.cat([((same.sum() - every / count) / (count - 1))[None], left_out]).clamp_min(0)


def _left_out(*parts: Float[Tensor, "minibatch"]) -> list[Float[Tensor, "minibatch"]]:
    """Means without each minibatch."""
    return [(part.double().sum() - part) / (len(part) - 1) for part in parts]


def _share(within: Tensor, between: Tensor, floor: Tensor) -> Tensor:
    return within / (within + between + floor)


def _remedy(case: Case) -> str | None:
    """A pathwise estimator if q is reparameterised; otherwise more samples."""
    options = case.refit.options
    if case.posterior.has_rsample and options.get("gradient", "pathwise").startswith("score-function"):
        return case.refit(gradient="pathwise")
    return case.refit(num_samples=str(4 * case.num_samples))
