"""How often the regions of highest density of q(z | x) hold the true latent (Hermans et al. 2022, arXiv:2110.06581).

The smallest region with probability c under q is {z: log q(z | x) ≥ t}, and it holds z* where at most a share c of
draws has a larger density than z*. Hence from the rank u of log q(z* | x) among log q(z_s | x), z_s ~ q(z | x),

    coverage(c) = P(u ≥ 1 − c),      which is c if q(z | x) = p(z | x)

(Deistler, Goncalves & Macke 2022, arXiv:2210.04815, §3.4 with algorithm 1). Above c, q is too wide; below it is too
narrow, or beside the truth. Any f(z, x) in the place of log q gives regions with the same property: log p(x, z) where q
has no density.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from lowerbound.cited import cited
from lowerbound.evaluate.ranks import Coverage, coverage_of, uniform_ranks

__all__ = ["LEVELS", "expected_coverage"]

LEVELS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95)


@cited("hermans2022trust", "deistler2022truncated")
def expected_coverage(
    true: Float[Tensor, "batch"],
    draws: Float[Tensor, "sample batch"],
    *,
    levels: tuple[float, ...] = LEVELS,
    seed: int = 0,
) -> Coverage:
    """The coverage of the regions of highest density, over cases (z*, x) drawn from the model.

    Arguments:
        true: log q(z* | x), or another f(z*, x), nats.
        draws: the same of draws z_s ~ q(z | x).
        levels: probabilities of the regions.
        seed: of what breaks ties, such as those of discrete latents.

    Raises:
        ValueError: as `uniform_ranks`.

    >>> log_q = -torch.linspace(0.0, 9.0, 10)[:, None].expand(10, 3)
    >>> expected_coverage(log_q[2], log_q, levels=(0.1, 0.5)).values  # two of ten draws are denser than the truth
    tensor([0., 1.], dtype=torch.float64)
    """
    inside = 1 - uniform_ranks(true, draws, seed=seed)
    return coverage_of(inside, torch.tensor(levels, dtype=torch.float64, device=inside.device))
