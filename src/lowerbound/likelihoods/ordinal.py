"""Ordered classes by cut points on a logistic scale: the cumulative-logit model of McCullagh (1980).

    P(x ≤ k) = F(c_k − μ),   c_0 < c_1 < … < c_{K−2},      p(k) = F(c_k − μ) − F(c_{k−1} − μ),    F the sigmoid.

The one location μ moves all probability up or down the scale, so that the order of the classes matters. As for
`discretized_logistic`, log p(k) = log F(c_k − μ) + log F(μ − c_{k−1}) + log(1 − e^(c_{k−1} − c_k)) never cancels.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import logsigmoid, pad

from lowerbound.nets.softplus import positive

__all__ = ["cut_points", "ordinal_log_probs"]

_MIN_GAP = 1e-3


def cut_points(raw: Float[Tensor, "*shape cuts"]) -> Float[Tensor, "*shape cuts"]:
    """Turn any reals into increasing cut points: the first is unchanged, and each step is larger than 1e-3."""
    steps = positive(raw[..., 1:], _MIN_GAP)
    return torch.cat([raw[..., :1], steps], -1).cumsum(-1)


def ordinal_log_probs(loc: Float[Tensor, "*shape"], cuts: Float[Tensor, "... cuts"]) -> Float[Tensor, "*shape classes"]:
    """log p(k) of each of the K classes, nats, normalised.

    Arguments:
        loc: μ.
        cuts: the K − 1 increasing cut points, whose leading axes broadcast against those of loc.

    >>> ordinal_log_probs(torch.zeros(()), torch.zeros(1)).exp()
    tensor([0.5000, 0.5000])
    """
    offset = cuts - loc.unsqueeze(-1)
    below_end = pad(logsigmoid(offset), (0, 1))
    above_start = pad(logsigmoid(-offset), (1, 0))
    width = pad(torch.log(-torch.expm1(-cuts.diff(dim=-1))), (1, 1))
    return below_end + above_start + width
