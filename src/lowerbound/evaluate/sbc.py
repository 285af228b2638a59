"""Is q(z | x) the posterior of the model? Simulation-based calibration (Talts et al. 2018, arXiv:1804.06788).

    z* ~ p(z),   x ~ p(x | z*),   z_1, …, z_S ~ q(z | x)

z* is a draw of the exact posterior p(z | x). If q is it, then f(z*, x) and the f(z_s, x) are exchangeable for every f,
and the rank of the first among the others is uniform (`ranks`). The test quantities f are

    z[d]                          each coordinate; of a hierarchy z_l[d], layer by layer
    log p(x, z)                   which sees a q that does not look at x at all (Modrák et al. 2023, arXiv:2211.02383)
    log q(z | x), log q(z_l | ·)  where q has a density: regions of highest density (`expected_coverage`)
    distance to a reference       to another draw of p(z): TARP (`tarp`)

What this checks is q against the exact posterior of *this* model, averaged over the rows that the model makes itself.
It does not say whether the model is right about the data, nor what q is on rows unlike those that it makes. A q that
fails is wrong; one that passes is right in these respects, on average.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

import torch
from jaxtyping import Float64
from torch import Tensor
from torch.distributions import Distribution

from lowerbound.cited import cited
from lowerbound.evaluate.batches import context_rows, latents_at, row_blocks
from lowerbound.evaluate.coverage import LEVELS
from lowerbound.evaluate.rank_bands import uniformity_p_values
from lowerbound.evaluate.ranks import Coverage, coverage_of, largest_difference, rank_among
from lowerbound.evaluate.reference_points import distances_to
from lowerbound.hooks import Augmented, Layered
from lowerbound.model import LatentVariableModel, flat_latents
from lowerbound.protocols import Context, Latents
from lowerbound.randomness import forked
from lowerbound.weights import latents_of

__all__ = ["Calibration", "calibration"]

_JOINT, _POSTERIOR, _DISTANCE = "log p(x, z)", "log q(z | x)", "distance to a reference"


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """Ranks of true latents among draws of q, uniform on [0, 1] if q is exact.

    Attributes:
        ranks: u of each simulated row and test quantity.
        quantities: what the test quantities are; a posterior without a density has none of log q(z | x).
        num_draws: S.
    """

    ranks: Float64[Tensor, "row quantity"]
    quantities: tuple[str, ...]
    num_draws: int

    @property
    def differences(self) -> Float64[Tensor, "quantity"]:
        """D = sup_t |F(t) − t| of each quantity."""
        return largest_difference(self.ranks)[0]

    @property
    def p_values(self) -> Float64[Tensor, "quantity"]:
        """Of each quantity by itself, that it is uniform (`uniformity_p_values`)."""
        return torch.from_numpy(uniformity_p_values(self.ranks.cpu().numpy()))

    @property
    def p_value(self) -> float:
        """That all are uniform: the smallest times their number (Bonferroni), at most 1."""
        return min(1.0, float(self.p_values.min()) * len(self.quantities))

    def of(self, quantity: str) -> Float64[Tensor, "row"]:
        """The ranks of one quantity.

        Raises:
            ValueError: it was not looked at.
        """
        if quantity not in self.quantities:
            raise ValueError(f"There are no ranks of {quantity!r}; those of {_JOINT!r} and of coordinates are known.")
        return self.ranks[:, self.quantities.index(quantity)]

    @property
    def region(self) -> str:
        """By which density `coverage` bounds its regions: log q(z | x), or log p(x, z) where q has none."""
        return _POSTERIOR if _POSTERIOR in self.quantities else _JOINT

    def coverage(self, levels: tuple[float, ...] = LEVELS) -> Coverage:
        """How often regions of highest density hold z* (see `expected_coverage`)."""
        return coverage_of(1 - self.of(self.region), self._levels(levels))

    def tarp(self, levels: tuple[float, ...] = LEVELS) -> Coverage:
        """How often balls around a draw of the prior hold z* (see `tarp`)."""
        return coverage_of(self.of(_DISTANCE), self._levels(levels))

    def _levels(self, levels: tuple[float, ...]) -> Float64[Tensor, "level"]:
        return torch.tensor(levels, dtype=torch.float64, device=self.ranks.device)


@cited("talts2018validating", "modrak2023simulation")
@torch.no_grad()
def calibration(
    model: LatentVariableModel,
    *,
    num_rows: int = 500,
    num_draws: int = 63,
    context: Context | None = None,
    seed: int = 0,
    max_elements: int = 2**20,
    progress: Callable[[int, int], None] | None = None,
) -> Calibration:
    """Simulate rows, infer their latents, and rank the true ones.

    Arguments:
        model: p and q, in eval mode, on the device that is computed on; see `inference.with_inference` for another q
            than the encoder's.
        num_rows: N, rows that are simulated.
        num_draws: S, draws of q for each row.
        context: of the model, one row for each that is simulated.
        seed: of all draws; the caller's random state is untouched.
        max_elements: numbers in one slice of draws or of decoder output.
        progress: called after each block of rows with the rows done and their total.

    Raises:
        ValueError: no rows or draws, or a context of another length.

    >>> from lowerbound.exact import LinearGaussian
    >>> found = calibration(LinearGaussian.random(3, 2).model())  # q is exact
    >>> found.p_value > 0.01, found.quantities
    (True, ('z[0]', 'z[1]', 'log p(x, z)', 'log q(z | x)', 'distance to a reference'))
    """
    _check(num_rows, num_draws, context)
    device = next((parameter.device for parameter in model.parameters()), torch.device("cpu"))
    with forked(device, seed, "calibration"):
        z, x = _simulate(model, num_rows, context)
        references, _ = _simulate(model, num_rows, context)
        numbers = max(math.prod(x.shape[1:]), flat_latents(z).shape[-1])
        ranks, names = [], ()
        for rows in row_blocks(num_rows, max(1, max_elements // (num_draws * numbers))):
            case = _Case(model, latents_at(z, slice(None), rows), x[rows], context_rows(context, rows))
            names, true, drawn = case.quantities(num_draws, latents_at(references, slice(None), rows))
            ranks.append(rank_among(true[0], drawn))
            if progress is not None:
                progress(rows.stop, num_rows)
    return Calibration(ranks=torch.cat(ranks), quantities=names, num_draws=num_draws)


@dataclass(frozen=True)
class _Case:
    """Simulated rows with their latents (1, B, *event)."""

    model: LatentVariableModel
    z: Latents
    x: Tensor
    context: Context | None

    def quantities(self, num_draws: int, references: Latents) -> tuple[tuple[str, ...], Tensor, Tensor]:
        """The names of the test quantities, their values at z* (1, B, quantity) and at draws of q (S, B, quantity)."""
        q, joint = self.model.infer(self.x, self.context), self.model.joint(self.x, self.context)
        draws = latents_of(q, cast(Latents, q.sample(torch.Size((num_draws,)))))
        names, values = (), []
        for z in (self.z, draws):
            of_q = _log_q(q, z)
            flat, log_joint = flat_latents(z), sum(joint(z))
            distance = distances_to(flat_latents(references)[0], flat)
            every = [*flat.unbind(-1), log_joint, *of_q.values(), distance]
            values.append(torch.stack([value.expand(flat.shape[:2]).double() for value in every], -1))
            names = (*_coordinates(z), _JOINT, *of_q, _DISTANCE)
        return names, values[0], values[1]


def _simulate(model: LatentVariableModel, num_rows: int, context: Context | None) -> tuple[Latents, Tensor]:
    """z ~ p(z) (1, N, *event) and x ~ p(x | z) (N, *event)."""
    p = model.prior(context)
    z = cast(Latents, p.sample(torch.Size((1,) if p.batch_shape else (1, num_rows))))
    return z, model.decode(z, context).sample()[0]


def _log_q(q: Distribution, z: Latents) -> dict[str, Tensor]:
    """log q(z | x) and, of a hierarchy, log q of every layer given those drawn before it; nothing without a density."""
    if isinstance(q, Augmented):
        return {}
    try:
        found = {_POSTERIOR: q.log_prob(cast(Tensor, z))}
    except (NotImplementedError, ValueError):  # a flow without an inverse, draws of a chain
        return {}
    if isinstance(q, Layered) and isinstance(z, tuple):
        layers = zip(q.layers_at(z), z, strict=True)
        found |= {f"log q(z_{l} | ·)": layer.log_prob(part) for l, (layer, part) in enumerate(layers, 1)}
    return found


def _coordinates(z: Latents) -> list[str]:
    if not isinstance(z, tuple):
        return [f"z[{d}]" for d in range(flat_latents(z).shape[-1])]
    return [f"z_{l}[{d}]" for l, part in enumerate(z, 1) for d in range(flat_latents(part).shape[-1])]


def _check(num_rows: int, num_draws: int, context: Context | None) -> None:
    for name, value in {"num_rows": num_rows, "num_draws": num_draws}.items():
        if value < 1:
            raise ValueError(f"calibration got {name}={value} and needs at least 1.")
    for part in () if context is None else context if isinstance(context, tuple) else (context,):
        if len(part) != num_rows:
            raise ValueError(f"calibration got num_rows={num_rows} and {len(part)} rows of context; give one for each.")
