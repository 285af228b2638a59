"""One value of x for each z to show for p(x | z), such as the pixels of a picture.

It is the mean E[x | z] if that is known in closed form. For an autoregressive p(x | z) = Π_d p(x_d | x_<d, z) it is
not; then it consists of the means E[x_d | x_<d, z] along one draw, that is the draw without the noise of each step. The
result says which of the two it is.
"""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor
from torch.distributions import Distribution

from lowerbound.called import name_of
from lowerbound.hooks import HasConditionalMeans

__all__ = ["Shown", "shown", "shown_as"]


def shown_as(is_mean: bool) -> str:
    """The formula of what is shown, for titles."""
    return "E[x | z]" if is_mean else "E[x_d | x_<d, z] along one draw of x"


class Shown(NamedTuple):
    """The values that are shown for a distribution.

    Attributes:
        values: (*batch, *event), in the units of x.
        is_mean: whether they are E[x]; if not, the means of every x_d given one draw of those before it.
    """

    values: Tensor
    is_mean: bool


def shown(p: Distribution) -> Shown:
    """The mean of p, or the conditional means along one draw of it where there is no mean in closed form.

    Raises:
        ValueError: p has neither.

    >>> import torch
    >>> shown(torch.distributions.Normal(torch.tensor(2.0), 1.0))
    Shown(values=tensor(2.), is_mean=True)
    """
    try:
        return Shown(p.mean, is_mean=True)
    except NotImplementedError:
        if isinstance(p, HasConditionalMeans):
            return Shown(p.conditional_means(), is_mean=False)
        raise ValueError(
            f"{name_of(p)} has no mean in closed form and no means along a draw, so there is nothing to show but "
            "draws; use sample, or give it `conditional_means`."
        ) from None
