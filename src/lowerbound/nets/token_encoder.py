"""From a text to one vector: what an inference net of text needs.

    f = W pool_i body(u_1, …, u_n)_i,        u_i = E[x_i]

over the tokens of the text and its end; what follows the end is not read. The pool is the mean over positions: of an
LSTM it keeps a latent in use more than its last state does (Long et al. 2019, arXiv:1911.03976).

    "bag-of-words"   body = tanh(A u_i), which does not see the order
    "lstm"           a recurrent net in both directions
    "convolution"    two convolutions of width 3, and the maximum over positions for a pool
    "transformer"    attention over all positions
"""

from __future__ import annotations

from typing import ClassVar, Literal, TypeAlias

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from lowerbound.nets.lstm import run_lstm
from lowerbound.nets.shapes import Shape, as_shape, numel
from lowerbound.nets.texts import groups_of_length, is_text, lengths_of, symbols_on_host
from lowerbound.on_host import to_device

__all__ = ["TokenEncoder", "TokenEncoderNetwork", "make_body"]

TokenEncoderNetwork: TypeAlias = Literal["lstm", "bag-of-words", "convolution", "transformer"]

_SMALL, _HEADS = 0.1, 4


class TokenEncoder(nn.Module):
    """From texts x (..., T), which end at their first 0, to (..., *out_shape).

    Arguments:
        num_symbols: K, with the end.
        length: T.
        out_shape: of the output.
        network: "lstm", "bag-of-words", "convolution" or "transformer".
        embedding_dim: width of the embedding.
        width: of the body; of a transformer a multiple of 4.
        context: M, the length of a second input, which the last layer reads beside the pool; 0 for none.

    Raises:
        ValueError: sizes below one, or a width that the heads of a transformer do not divide.
    """

    cites: ClassVar[tuple[str, ...]] = ("long2019preventing",)

    takes_leading_axes: bool = True

    def __init__(
        self,
        num_symbols: int,
        length: int,
        out_shape: Shape,
        network: TokenEncoderNetwork = "lstm",
        embedding_dim: int = 128,
        width: int = 256,
        context: int = 0,
    ):
        super().__init__()
        if min(num_symbols, length, embedding_dim, width) < 1 or (network == "transformer" and width % _HEADS):
            raise ValueError(
                f"TokenEncoder got num_symbols={num_symbols}, length={length}, embedding_dim={embedding_dim}, "
                f"width={width}; expected at least 1 of each, and a width that {_HEADS} divides for a transformer."
            )
        self.network, self.out_shape = network, as_shape(out_shape)
        self.embedding = nn.Embedding(num_symbols, embedding_dim)
        nn.init.normal_(self.embedding.weight, std=_SMALL)
        self.body = make_body(network, embedding_dim, width, length)
        self.out = nn.Linear(width + context, numel(self.out_shape))

    def forward(self, x: Float[Tensor, "..."], context: Float[Tensor, "..."] | None = None) -> Float[Tensor, "..."]:
        """One output for each text (..., T), and its context (..., M) if there is one."""
        k = x.reshape(-1, x.shape[-1]).long()
        real = is_text(k)
        groups = groups_of_length(lengths_of(symbols_on_host(x)))
        place = to_device(np.concatenate([rows for rows, _ in groups]).argsort(), x.device)
        sent = [(to_device(rows, x.device), longest) for rows, longest in groups]
        pooled = torch.cat([self._pooled(k[rows, :longest], real[rows, :longest]) for rows, longest in sent])[place]
        if context is not None:
            pooled = torch.cat([pooled, context.expand(*x.shape[:-1], -1).reshape(len(pooled), -1)], -1)
        return self.out(pooled).reshape(*x.shape[:-1], *self.out_shape)

    def _pooled(self, k: Int[Tensor, "row position"], real: Bool[Tensor, "row position"]) -> Tensor:
        """What is left of the positions (N, width)."""
        h = self.body(self.embedding(k), real)
        if self.network == "convolution":
            return h.masked_fill(~real[..., None], -torch.inf).amax(1)
        return (h * real[..., None]).sum(1) / real.sum(1, keepdim=True)


def make_body(network: TokenEncoderNetwork, inputs: int, width: int, length: int) -> nn.Module:
    """From (N, T, inputs), and True (N, T) where a position is there, to features (N, T, width) of every position.

    Arguments:
        network: "lstm", "bag-of-words", "convolution" or "transformer".
        inputs: numbers at each position.
        width: of the features; of a transformer a multiple of 4.
        length: T, at most.
    """
    match network:
        case "lstm":
            return _Recurrent(inputs, width)
        case "bag-of-words":
            return _Each(inputs, width)
        case "convolution":
            return _Convolved(inputs, width)
        case "transformer":
            return _Attending(inputs, width, length)


class _Each(nn.Module):
    """tanh(A u) at each position by itself."""

    def __init__(self, inputs: int, width: int):
        super().__init__()
        self.linear = nn.Linear(inputs, width)

    def forward(self, u: Tensor, real: Bool[Tensor, "row position"]) -> Tensor:
        return torch.tanh(self.linear(u))


class _Recurrent(nn.Module):
    """An LSTM in both directions, each of half the width; the one from the right begins at the end of the text.

    Its states stay in the order in which it made them, because a pool does not ask for the order.
    """

    def __init__(self, inputs: int, width: int):
        super().__init__()
        self.forwards = nn.LSTM(inputs, -(-width // 2), batch_first=True)
        self.backwards = nn.LSTM(inputs, width // 2, batch_first=True) if width > 1 else None

    def forward(self, u: Tensor, real: Bool[Tensor, "row position"]) -> Tensor:
        h, _ = run_lstm(self.forwards, u)
        if self.backwards is None:
            return h
        last = real.sum(1, keepdim=True) - 1
        place = (last - torch.arange(u.shape[1], device=u.device)).clamp_min(0)
        again, _ = run_lstm(self.backwards, u.gather(1, place[..., None].expand_as(u)))
        return torch.cat([h, again], -1)


class _Convolved(nn.Module):
    """Two convolutions over three positions, the second added to the first; zeros lie around the text."""

    def __init__(self, inputs: int, width: int):
        super().__init__()
        self.first, self.second = nn.Conv1d(inputs, width, 3, padding=1), nn.Conv1d(width, width, 3, padding=1)

    def forward(self, u: Tensor, real: Bool[Tensor, "row position"]) -> Tensor:
        mask = real[:, None].to(u.dtype)
        h = torch.relu(self.first(u.mT * mask)) * mask
        return (h + torch.relu(self.second(h))).mT


class _Attending(nn.Module):
    """Two layers of attention over the positions of the text."""

    def __init__(self, inputs: int, width: int, length: int):
        super().__init__()
        self.linear = nn.Linear(inputs, width)
        self.position = nn.Parameter(_SMALL * torch.randn(length, width))
        layer = nn.TransformerEncoderLayer(width, _HEADS, 4 * width, 0.0, "gelu", batch_first=True, norm_first=True)
        self.layers = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)

    def forward(self, u: Tensor, real: Bool[Tensor, "row position"]) -> Tensor:
        return self.layers(self.linear(u) + self.position[: u.shape[1]], src_key_padding_mask=~real)
