"""Rate, distortion and active latents of a fitted model, averaged over data.

ELBO = −distortion − rate          distortion = −E_q log p(x | z)          rate = E_q[log q(z | x) − log p(z)]
activity_d = Var_x E_q[z_d | x]    a latent is *active* where that exceeds 0.01 (Burda et al. 2016,
                                   arXiv:1509.00519, §5.2)
rate_d = E_x KL(q(z_d | x) ‖ p(z_d)), where q and p are both products over d: then Σ_d rate_d is the rate

Layers of a hierarchy follow one another, z_1 first. Each layer may be a product given the layers drawn before it;
rate_d is then an average over draws of these (`factors.rate_per_layer` says when it is a divergence).
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, cast

import torch
from jaxtyping import Float
from torch import Tensor
from torch.distributions import Distribution, Independent

from lowerbound.cited import cited
from lowerbound.evaluate.batches import check_rows, context_rows, row_blocks
from lowerbound.evaluate.posterior_moments import mean_of
from lowerbound.factors import has_layers, is_product, kl_per_factor, kl_per_layer, log_prob_per_factor
from lowerbound.hooks import PointMass
from lowerbound.model import LatentVariableModel
from lowerbound.protocols import Context, Latents
from lowerbound.randomness import forked
from lowerbound.row_numbers import rows_from
from lowerbound.weights import weigh

__all__ = ["ACTIVE_ABOVE", "Summary", "summary"]

ACTIVE_ABOVE = 0.01
"""The activity above which a latent is active."""


@dataclass(frozen=True, kw_only=True)
class Summary:
    """Averages over data, nats per datum.

    Attributes:
        elbo: mean ELBO.
        elbo_standard_error: of `elbo`, from the spread over the data; NaN for one datum.
        rate: E[log q(z | x) − log p(z)].
        distortion: −E log p(x | z).
        activity: Var_x E_q[z_d | x], (latent,), layers of a hierarchy one after another.
        rate_per_dimension: (latent,); None where q or p is not a product over dimensions.
        rate_per_layer: of a hierarchy, z_1 first; None for one latent.
        latents_per_layer: how many of the latents each layer has.
        num_data: N.
        num_samples: S drawn for each datum.
        num_dimensions: numbers in one datum.
    """

    elbo: float
    elbo_standard_error: float
    rate: float
    distortion: float
    activity: Float[Tensor, "latent"]
    rate_per_dimension: Float[Tensor, "latent"] | None
    rate_per_layer: Float[Tensor, "layer"] | None = None
    latents_per_layer: tuple[int, ...]
    num_data: int
    num_samples: int
    num_dimensions: int

    @property
    def active_units(self) -> int:
        """How many latents have an activity above 0.01."""
        return int((self.activity > ACTIVE_ABOVE).sum())

    @property
    def active_units_per_layer(self) -> list[int]:
        """How many of each layer have an activity above 0.01, z_1 first."""
        return [int((layer > ACTIVE_ABOVE).sum()) for layer in self.activity.split(self.latents_per_layer)]

    @property
    def bits_per_dim(self) -> float:
        """−ELBO / (D ln 2): an upper bound of the bits per dimension, for x as it was given."""
        return -self.elbo / (self.num_dimensions * math.log(2))


@dataclass(frozen=True)
class _Block:
    """One block of rows, reduced over samples."""

    log_likelihood: Tensor  # (B,)
    rate: Tensor  # (B,)
    rate_per_dimension: Tensor | None  # (B, latent)
    rate_per_layer: Tensor | None  # (B, layer)
    latents_per_layer: tuple[int, ...]


@cited("burda2016importance")
def summary(
    model: LatentVariableModel,
    x: Float[Tensor, "batch *event"],
    *,
    num_samples: int = 16,
    context: Context | None = None,
    seed: int = 0,
    max_elements: int = 2**18,
) -> Summary:
    """Summarise a model on data.

    Arguments:
        model: p and q.
        x: data in the form the model was trained on.
        num_samples: S, drawn from q(z | x) for each datum; where q has no mean in closed form, 1,000 more for the
            activity (`posterior_mean`).
        context: of the model, one row for each datum.
        seed: of the samples; the caller's random state is untouched.
        max_elements: numbers in one slice of decoder output.

    Raises:
        ValueError: no data, no samples, or a context of another length.
    """
    check_rows(model, x, context, num_samples, owner="summary")
    num_dimensions = math.prod(x.shape[1:])
    size = max(1, max_elements // (num_samples * num_dimensions))
    spread = _Spread()
    with torch.inference_mode(), forked(x.device, seed, "summary"):
        blocks = [_block(model, x, context, rows, num_samples, spread) for rows in row_blocks(x.shape[0], size)]
    log_likelihood = torch.cat([block.log_likelihood for block in blocks]).double()
    rate = torch.cat([block.rate for block in blocks]).double()
    elbo = log_likelihood - rate
    return Summary(
        elbo=elbo.mean().item(),
        elbo_standard_error=elbo.std().item() / math.sqrt(len(elbo)) if len(elbo) > 1 else math.nan,
        rate=rate.mean().item(),
        distortion=-log_likelihood.mean().item(),
        activity=spread.activity(),
        rate_per_dimension=_mean_rate(block.rate_per_dimension for block in blocks),
        rate_per_layer=_mean_rate(block.rate_per_layer for block in blocks),
        latents_per_layer=blocks[0].latents_per_layer,
        num_data=x.shape[0],
        num_samples=num_samples,
        num_dimensions=num_dimensions,
    )


class _Spread:
    """Var_x E_q[z | x], block by block, minus the part of it that comes from sampling the mean.

    The means of all rows are never held at once (those of codes are long): sums of squared deviations are merged.
    """

    def __init__(self) -> None:
        self.count = 0
        self.mean = self.squares = self.noise = torch.zeros(())
        self.dtype = torch.float32

    def add(self, mean: Float[Tensor, "row latent"], noise: Float[Tensor, "row latent"]) -> None:
        """Add the means of some rows and the variances of these from sampling."""
        here, self.dtype = mean.double(), mean.dtype
        step, total = here.mean(0) - self.mean.to(here), self.count + len(here)
        self.squares = self.squares.to(here) + (here - here.mean(0)).square().sum(0)
        self.squares = self.squares + step.square() * self.count * len(here) / total
        self.mean = self.mean.to(here) + step * len(here) / total
        self.noise, self.count = self.noise.to(here) + noise.double().sum(0), total

    def activity(self) -> Float[Tensor, "latent"]:
        """NaN for one row."""
        if self.mean.numel() == 0:  # a model without latents
            return self.mean.to(self.dtype)
        if self.count < 2:
            return torch.full_like(self.mean, math.nan, dtype=self.dtype)
        return (self.squares / (self.count - 1) - self.noise / self.count).to(self.dtype)


def _block(
    model: LatentVariableModel, x: Tensor, context: Context | None, rows: slice, num_samples: int, spread: _Spread
) -> _Block:
    x, context = x[rows], context_rows(context, rows)
    with rows_from(rows.start):
        q, joint = model.infer(x, context), model.joint(x, context)
    z = (q.rsample if q.has_rsample else q.sample)(torch.Size((1 if isinstance(q, PointMass) else num_samples,)))
    w = weigh(q, joint, z)
    mean = mean_of(q)
    per_dimension = _rate_per_dimension(q, joint.prior, z)
    per_layer = None if w.rate_per_group is None else w.rate_per_group.mean(0)
    sizes = tuple(math.prod(shape) for shape in mean.latent_shapes)
    spread.add(mean.values, mean.standard_error.square())
    return _Block(w.log_likelihood.mean(0), w.rate.mean(0), per_dimension, per_layer, sizes)


def _rate_per_dimension(q: Distribution, p: Distribution, z: Latents) -> Tensor | None:
    """KL(q(z_d | x) ‖ p(z_d)) (B, latent), in closed form or from the samples; None unless both are products."""
    if has_layers(q) and has_layers(p):
        return _rate_per_dimension_of_layers(q, p, cast(tuple[Tensor, ...], z))
    if not (isinstance(q, Independent) and isinstance(p, Independent)):
        return None
    if q.base_dist.event_shape != p.base_dist.event_shape or q.event_shape != p.event_shape:
        return None
    try:
        return kl_per_factor(q, p)
    except ValueError:
        value = cast(Tensor, z)
        return (log_prob_per_factor(q, value) - log_prob_per_factor(p, value)).mean(0)


def _rate_per_dimension_of_layers(q: Any, p: Any, z: tuple[Tensor, ...]) -> Tensor | None:
    """The same for every layer given those drawn before it, averaged over the draws, side by side."""
    layers = list(zip(q.layers_at(z), p.layers_at(z), z, strict=True))
    if not all(is_product(one) and is_product(other) for one, other, _ in layers):
        return None
    terms = [log_prob_per_factor(one, value) - log_prob_per_factor(other, value) for one, other, value in layers]
    if q.drawing_order() == p.drawing_order():
        with contextlib.suppress(ValueError):  # some layer has no closed form
            terms = [kl.expand(len(z[0]), *kl.shape[-2:]) for kl in kl_per_layer(q, p, z)]
    return torch.cat([term.mean(0) for term in terms], -1)


def _mean_rate(parts: Iterable[Tensor | None]) -> Tensor | None:
    known = [part for part in parts if part is not None]
    return torch.cat(known).mean(0) if known else None
