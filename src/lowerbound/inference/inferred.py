"""The result of inference for a batch, in the same form for every scheme.

    bound_i = (1/S) Σ_s log w_is,      log w = log p(x, z) − log q(z | x),      z_s ~ q(z | x_i)

with the standard error sd(log w_i) / √S: an estimate of the ELBO of datum i under the q that the scheme computed.
Means, standard deviations and credible intervals are those of q in closed form where it has one, else those of the
draws.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor
from torch.distributions import Distribution, Independent, MultivariateNormal, Normal

from lowerbound.hooks import Augmented, WithoutDensity
from lowerbound.html_tables import html_table
from lowerbound.inference.draws import Draws, warn_of_problems
from lowerbound.inference.families import Head
from lowerbound.inference.path import Ascent, path_of, recorded
from lowerbound.inference.scheme import Amortised, InferenceScheme, with_inference
from lowerbound.model import LatentVariableModel
from lowerbound.protocols import Context
from lowerbound.randomness import forked
from lowerbound.support import require_support
from lowerbound.weights import latents_of, weigh

__all__ = ["Inferred", "infer"]

_LATENTS_PER_BLOCK = 2**14


@dataclass(frozen=True, kw_only=True)
class Inferred:
    """q(z | x) of a batch.

    Attributes:
        posterior: q(z | x), batch shape (B,).
        scheme: how it was computed.
        draws: z (draw, batch, *event) from it; of a chain, all that were kept.
        bound: estimate of the ELBO, nats; None where q has no density.
        bound_standard_error: of `bound`, from the spread of log w, nats.
        path: the λ of every step, if `infer` was asked to keep it.
    """

    posterior: Distribution
    scheme: InferenceScheme
    draws: Float[Tensor, "draw batch *event"]
    bound: Float[Tensor, "batch"] | None
    bound_standard_error: Float[Tensor, "batch"] | None
    path: Ascent | None = None

    @property
    def problems(self) -> tuple[str, ...]:
        """Sentences that say why rows of a chain are unreliable; empty for other posteriors."""
        return self.posterior.problems if isinstance(self.posterior, Draws) else ()

    @property
    def trustworthy(self) -> bool:
        """Whether there are no `problems`."""
        return not self.problems

    @property
    def r_hat(self) -> Float[Tensor, "batch *event"] | None:
        """R̂ of each coordinate of z (see `draws`); None where q is no chain."""
        return self.posterior.r_hat if isinstance(self.posterior, Draws) else None

    @property
    def effective_sample_size(self) -> Float[Tensor, "batch *event"] | None:
        """How many independent draws would give E_q[z] as precisely; None if q is no chain."""
        return self.posterior.effective_sample_size if isinstance(self.posterior, Draws) else None

    @property
    def divergences(self) -> Int64[Tensor, "batch"] | None:
        """How many transitions diverged; None where q is no chain."""
        return self.posterior.divergences if isinstance(self.posterior, Draws) else None

    def sample(self, num_samples: int, seed: int = 0) -> Float[Tensor, "sample batch *event"]:
        """Draw z from q(z | x); the same for the same seed. The caller's random state is untouched."""
        with torch.no_grad(), forked(self.draws.device, seed, "Inferred.sample"):
            return _latents(self.posterior, num_samples)

    def log_prob(self, z: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        """log q(z | x) of z (sample, batch, *event): (sample, batch), nats.

        Raises:
            ValueError: q has no density of z, because it consists of draws or has auxiliary variables.
        """
        if isinstance(self.posterior, Augmented):
            raise ValueError(
                f"{type(self.posterior).__name__} has a density of z and its auxiliary variables together, not of z; "
                "choose another posterior."
            )
        with torch.no_grad():
            return self.posterior.log_prob(z)

    @property
    def mean(self) -> Float[Tensor, "batch *event"]:
        """E_q[z]."""
        return self.draws.mean(0) if _lacks(self.posterior, "mean") else self.posterior.mean.detach()

    @property
    def stddev(self) -> Float[Tensor, "batch *event"]:
        """The standard deviation of each coordinate of z under q."""
        return self.draws.std(0) if _lacks(self.posterior, "stddev") else self.posterior.stddev.detach()

    def chains(self, name: str = "z") -> dict[str, np.ndarray]:
        """The draws as arviz and other programs take them: {name: (chain, draw, row, *event)}.

        Draws of a q that is no chain are one chain, whose draws are independent. `arviz.from_dict(posterior=…)` of
        arviz 0.23 takes it.

        Arguments:
            name: of the variable.
        """
        if isinstance(self.posterior, Draws):
            return {name: self.posterior.values.transpose(0, 1).numpy(force=True)}
        return {name: self.draws.unsqueeze(0).numpy(force=True)}

    def _repr_html_(self) -> str:
        """A table for notebooks."""
        count, rows, *event = self.draws.shape
        shape = " × ".join(str(n) for n in event)
        bound = "none" if self.bound is None else f"{self.bound.double().mean().item():.4g} nats a row, on average"
        problems = [("problem", problem) for problem in self.problems]
        told = [("scheme", self.scheme), ("rows", rows), ("latents", shape), ("draws", count), ("bound", bound)]
        return html_table("q(z | x)", [*told, *problems])

    def interval(self, level: float = 0.9) -> tuple[Float[Tensor, "batch *event"], Float[Tensor, "batch *event"]]:
        """For each coordinate of z the equal-tailed credible interval of this probability: its lower and upper ends.

        Raises:
            ValueError: a level that is not between 0 and 1.
        """
        if not 0 < level < 1:
            raise ValueError(f"interval got level={level} and needs a probability between 0 and 1.")
        if _is_normal(self.posterior):
            half = self.stddev * math.sqrt(2) * torch.erfinv(torch.tensor(level, dtype=torch.float64)).item()
            return self.mean - half, self.mean + half
        ordered = self.draws.sort(0).values
        return _quantile(ordered, (1 - level) / 2), _quantile(ordered, (1 + level) / 2)


@torch.no_grad()
def infer(
    model: LatentVariableModel,
    x: Float[Tensor, "batch *event"],
    scheme: InferenceScheme = Amortised(),  # noqa: B008  (frozen, shared safely)
    context: Context | None = None,
    *,
    num_samples: int = 100,
    seed: int = 0,
    keep_path: bool = False,
) -> Inferred:
    """Infer the latents of a batch by a scheme.

    Arguments:
        model: p and q, used in the mode (train or eval) and on the device they are in.
        x: data in the form the model was trained on (binarized, scaled), on the device of the model.
        scheme: `Amortised()` (the encoder), `Local()`, `SemiAmortised()`, `HMC()`, …
        context: of the model, one row for each datum.
        num_samples: S, draws for the bound and for moments without a closed form; a chain has its own number.
        seed: of everything random; the caller's random state is untouched.
        keep_path: whether to keep the λ of every step of a scheme that optimises q(z; λ), `Local` or `SemiAmortised`.

    Raises:
        ValueError: no samples, values outside the support of the likelihood, a scheme that does not fit the model, or
            one without a path, or with several, where it was to be kept.

    Warns:
        InferenceWarning: for each of the `problems` of a chain.

    >>> import lowerbound as lb
    >>> exact = lb.exact.LinearGaussian(torch.ones(2, 1), torch.zeros(2), torch.tensor(1.0))
    >>> inferred = infer(exact.model(), torch.ones(1, 2))
    >>> inferred.mean, inferred.stddev, inferred.bound
    (tensor([[0.6667]]), tensor([[0.5774]]), tensor([-2.7205]))
    """
    if num_samples < 1:
        raise ValueError(f"infer got num_samples={num_samples} and needs at least 1.")
    require_support(model.likelihood, x, what="infer: x")
    refined = with_inference(model, scheme)
    with forked(x.device, seed, "infer"), recorded(keep_path) as kept:
        q = refined.infer(x, context)
        path = _path(kept, scheme) if keep_path else None
        if isinstance(q, Draws):
            warn_of_problems(q)
            pool = q.values.flatten(0, 1)
            return Inferred(posterior=q, scheme=scheme, draws=pool, bound=None, bound_standard_error=None)
        if isinstance(q, WithoutDensity):
            pool = _latents(q, num_samples)
            return Inferred(posterior=q, scheme=scheme, draws=pool, bound=None, bound_standard_error=None)
        draws, log_w = _draw_and_weigh(refined, q, x, context, num_samples)
    error = log_w.std(0) / math.sqrt(num_samples) if num_samples > 1 else torch.full_like(log_w[0], math.nan)
    return Inferred(posterior=q, scheme=scheme, draws=draws, bound=log_w.mean(0), bound_standard_error=error, path=path)


def _path(kept: Sequence[tuple[Tensor, Head]], scheme: InferenceScheme) -> Ascent:
    if not kept or getattr(scheme, "num_restarts", 1) > 1:
        name, why = type(scheme).__name__, "takes several ways" if kept else "does not optimise q(z; λ)"
        raise ValueError(f"infer got keep_path=True and {name}, which {why}; use Local() with one start.")
    return path_of(kept)


def _draw_and_weigh(
    model: LatentVariableModel, q: Distribution, x: Tensor, context: Context | None, num_samples: int
) -> tuple[Tensor, Tensor]:
    """z (S, B, *event) and log w (S, B), some draws of all data at a time."""
    joint, size = model.joint(x, context), max(1, _LATENTS_PER_BLOCK // len(x))
    latents, log_w = [], []
    for first in range(0, num_samples, size):
        draw = q.sample(torch.Size((min(size, num_samples - first),)))
        latents.append(cast(Tensor, latents_of(q, draw)))
        log_w.append(weigh(q, joint, draw).log_w)
    return torch.cat(latents), torch.cat(log_w)


def _latents(q: Distribution, num_samples: int) -> Tensor:
    return cast(Tensor, latents_of(q, q.sample(torch.Size((num_samples,)))))


def _lacks(q: Distribution, moment: str) -> bool:
    """Whether q lacks this moment of z in closed form."""
    try:
        getattr(q, moment)
    except NotImplementedError:
        return True
    return False


def _is_normal(q: Distribution) -> bool:
    return isinstance(q, MultivariateNormal) or (isinstance(q, Independent) and isinstance(q.base_dist, Normal))


def _quantile(ordered: Tensor, probability: float) -> Tensor:
    """A quantile by interpolation between two order statistics, because `torch.quantile` refuses large tensors."""
    at = probability * (ordered.shape[0] - 1)
    return torch.lerp(ordered[math.floor(at)], ordered[math.ceil(at)], at - math.floor(at))
