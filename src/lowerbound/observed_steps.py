"""Series with gaps: a step of NaN was not observed. A step is seen or not: one of which a part is NaN is refused."""

from __future__ import annotations

from jaxtyping import Bool, Float
from torch import Tensor

__all__ = ["observed_steps"]


def observed_steps(
    x: Float[Tensor, "*lead time data"], what: str = "x"
) -> tuple[Bool[Tensor, "*lead time"], Float[Tensor, "*lead time data"]]:
    """Which steps were observed, and the series with 0 in the others.

    Arguments:
        x: series, NaN in the whole of a step that was not observed.
        what: their name in the message.

    Raises:
        ValueError: a step of which some numbers are NaN and some are not.
    """
    missing = x.isnan()
    unseen = missing.all(-1)
    if bool((missing.any(-1) & ~unseen).any()):
        raise ValueError(
            f"{what} has steps of which some numbers are NaN and some are not; a step is seen or not: fill such steps, "
            "or make all of their numbers NaN."
        )
    return ~unseen, x.nan_to_num()
