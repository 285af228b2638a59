"""Recurrent nets over sequences (..., T, D), for any leading axes.

    BidirectionalGRU    h_t, a function of x_1 … x_T: what an inference net needs
    CausalGRU           h_t, a function of x_1 … x_{t−1} alone: what the chain rule Π_t p(x_t | x_<t) needs

Both are gated recurrent units (Cho et al. 2014, arXiv:1406.1078, §2.3).
"""

from __future__ import annotations

from typing import ClassVar, TypeAlias

from jaxtyping import Float
from torch import Tensor, nn

__all__ = ["BidirectionalGRU", "CausalGRU"]

State: TypeAlias = Tensor


class BidirectionalGRU(nn.Module):
    """From x (..., T, data_dim) to features (..., T, 2 width) of the whole sequence.

    Arguments:
        data_dim: numbers at one time.
        width: of the state in each direction.

    Raises:
        ValueError: (when called) x of another width.
    """

    cites: ClassVar[tuple[str, ...]] = ("cho2014learning",)

    takes_leading_axes: bool = True

    def __init__(self, data_dim: int, width: int):
        super().__init__()
        self.data_dim, self.features = data_dim, 2 * width
        self.recurrent = nn.GRU(data_dim, width, batch_first=True, bidirectional=True)

    def forward(self, x: Float[Tensor, "*batch time data"]) -> Float[Tensor, "*batch time feature"]:
        """The features of every time."""
        _check(x, self.data_dim, type(self).__name__)
        h, _ = self.recurrent(x.reshape(-1, *x.shape[-2:]))
        return h.reshape(*x.shape[:-1], self.features)


class CausalGRU(nn.Module):
    """From x (..., T, data_dim) to features (..., T, width), those at time t being a function of x_1 … x_{t−1}.

    Arguments:
        data_dim: numbers at one time.
        width: of the state.

    Raises:
        ValueError: (when called) x of another width.
    """

    cites: ClassVar[tuple[str, ...]] = ("cho2014learning",)

    takes_leading_axes: bool = True

    def __init__(self, data_dim: int, width: int):
        super().__init__()
        self.data_dim, self.features = data_dim, width
        self.recurrent = nn.GRU(data_dim, width, batch_first=True)

    def forward(self, x: Float[Tensor, "*batch time data"]) -> Float[Tensor, "*batch time feature"]:
        """The features of every time; those of the first time come from a zero in place of x_0."""
        _check(x, self.data_dim, type(self).__name__)
        before = nn.functional.pad(x, (0, 0, 1, -1))
        h, _ = self.recurrent(before.reshape(-1, *x.shape[-2:]))
        return h.reshape(*x.shape[:-1], self.features)

    def step(
        self, before: Float[Tensor, "*batch data"], state: State | None
    ) -> tuple[Float[Tensor, "*batch feature"], State]:
        """The features of one time, from x_{t−1} (zeros at first) and the state that the last call returned."""
        h, after = self.recurrent(before.reshape(-1, 1, self.data_dim), state)
        return h.reshape(*before.shape[:-1], self.features), after


def _check(x: Tensor, data_dim: int, owner: str) -> None:
    if x.ndim < 3 or x.shape[-1] != data_dim:
        raise ValueError(
            f"{owner} got x of shape {tuple(x.shape)} and expected (..., time, {data_dim}) with a batch axis; give "
            "sequences of that width."
        )
