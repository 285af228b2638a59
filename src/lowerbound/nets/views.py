"""The encoder's view of x: a layer in front of its net, which a likelihood selects by its `encoder_view`.

==========  =================================================================================================
log1p       log(1 + x): for counts, because a net that sees raw counts learns only the largest
one-hot     e_x in {0, 1}^K for class numbers, which have no order
tokens      how often each symbol occurs in a text, divided by the number of its tokens
columns     each column by its kind, with gaps filled by a typical value and a mask of the gaps
==========  =================================================================================================
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from lowerbound.nets.shapes import Shape, as_shape

__all__ = ["BagOfTokens", "ColumnsView", "Log1p", "OneHot", "Seen"]


class Log1p(nn.Module):
    """log(1 + x) of counts x ≥ 0, of any shape."""

    takes_leading_axes = True

    def __init__(self, in_shape: Shape):
        super().__init__()
        self.out_shape = as_shape(in_shape)

    def forward(self, x: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        """log(1 + x)."""
        return torch.log1p(x)


class OneHot(nn.Module):
    """Class numbers (..., *in_shape) to one-hot vectors (..., K, *in_shape): as channels, where images have them.

    Arguments:
        in_shape: shape of one datum.
        num_classes: K, at least 2.

    Raises:
        ValueError: fewer than two classes.
    """

    takes_leading_axes = True

    def __init__(self, in_shape: Shape, num_classes: int):
        super().__init__()
        if num_classes < 2:
            raise ValueError(f"The encoder of classes got num_classes={num_classes} and expected at least 2.")
        self.num_classes, self._ndim = num_classes, len(as_shape(in_shape))
        self.out_shape = (num_classes, *as_shape(in_shape))

    def forward(self, x: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        """e_x."""
        hot = nn.functional.one_hot(x.long(), self.num_classes).to(x.dtype)
        return hot.movedim(-1, -1 - self._ndim)


class BagOfTokens(nn.Module):
    """Texts (..., T), which end at their first 0, to the frequencies (..., K) of the symbols in each.

    Arguments:
        num_symbols: K, with the end.

    Raises:
        ValueError: fewer than two symbols.
    """

    takes_leading_axes = True

    def __init__(self, num_symbols: int):
        super().__init__()
        if num_symbols < 2:
            raise ValueError(f"The encoder of texts got num_symbols={num_symbols} and expected at least 2.")
        self.num_symbols, self.out_shape = num_symbols, (num_symbols,)

    def forward(self, x: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        """The share of each symbol; the end counts for none."""
        counts = x.new_zeros(*x.shape[:-1], self.num_symbols)
        counts.scatter_add_(-1, x.long(), (x != 0).to(x.dtype))
        return counts / counts.sum(-1, keepdim=True).clamp_min(1)


class ColumnsView(nn.Module):
    """Rows of a table with columns of several kinds, NaN where an entry is missing, as numbers of similar size.

    Continuous and positive columns (in logarithms) are brought to mean 0 and standard deviation 1 over the observed
    training entries, counts are seen as log(1 + x), classes as one-hot vectors, ordinals as x / (K − 1). A missing
    entry is 0 everywhere, and one more number for each column that has gaps says whether it was observed.

    Arguments:
        kinds: the kind of each column, and its number of classes (0 for none).
    """

    takes_leading_axes = True
    mean: Tensor
    scale: Tensor

    def __init__(self, kinds: Sequence[tuple[str, int]]):
        super().__init__()
        self.kinds = list(kinds)
        names = [name for name, _ in kinds]
        self.num_columns = len(names)
        classes = [(i, k) for i, (name, k) in enumerate(kinds) if name == "categorical"]
        logs = [i for i, name in enumerate(names) if name == "positive"]
        counts = [i for i, name in enumerate(names) if name.endswith("count")]
        plain = [i for i, name in enumerate(names) if name != "categorical"]
        for key, value in (("plain", plain), ("logs", logs), ("counts", counts)):
            self.register_buffer(f"_{key}", torch.tensor(value, dtype=torch.long), persistent=False)
        owner = torch.tensor([i for i, k in classes for _ in range(k)], dtype=torch.long)
        number = torch.tensor([c for _, k in classes for c in range(k)], dtype=torch.long)
        self.register_buffer("_owner", owner, persistent=False)
        self.register_buffer("_number", number, persistent=False)
        self.register_buffer("mean", torch.zeros(self.num_columns))
        self.register_buffer("scale", torch.ones(self.num_columns))
        self.out_shape = (len(plain) + len(owner) + self.num_columns,)

    def forward(self, x: Float[Tensor, "*lead column"]) -> Float[Tensor, "*lead feature"]:
        """Features of rows: plain columns, then classes, then which entries were observed."""
        seen = ~x.isnan()
        plain = (self._bent(x) - self.mean) / self.scale
        plain = torch.where(seen, plain, 0.0).index_select(-1, self._buffer("_plain"))
        owner = self._buffer("_owner")
        classes = (x.index_select(-1, owner) == self._buffer("_number")).to(x.dtype)
        return torch.cat([plain, classes, seen.to(x.dtype)], -1)

    @torch.no_grad()
    def initialize(self, x: Float[Tensor, "row column"]) -> None:
        """Measure mean and spread of each column over the entries that are there."""
        bent = self._bent(x)
        seen = ~bent.isnan()
        count = seen.sum(0).clamp(min=1)
        mean = torch.where(seen, bent, 0.0).sum(0) / count
        variance = torch.where(seen, bent - mean, 0.0).square().sum(0) / count
        self.mean.copy_(mean)
        self.scale.copy_(torch.where(variance > 0, variance.sqrt(), 1.0))

    def _bent(self, x: Tensor) -> Tensor:
        """x with counts and positive columns in logarithms."""
        logs, counts = self._buffer("_logs"), self._buffer("_counts")
        if not len(logs) and not len(counts):
            return x
        x = x.index_copy(-1, counts, torch.log1p(x.index_select(-1, counts)))
        return x.index_copy(-1, logs, torch.log(x.index_select(-1, logs)))

    def _buffer(self, name: str) -> Tensor:
        return self.get_buffer(name)


class Seen(nn.Module):
    """A net that sees x through a view; further arguments (a label) go to the net directly.

    Arguments:
        view: from x (..., *in_shape) to (..., *view.out_shape).
        net: the net behind the view.
    """

    takes_leading_axes = True

    def __init__(self, view: nn.Module, net: nn.Module):
        super().__init__()
        self.view, self.net = view, net
        self.out_shape = net.out_shape

    def forward(self, x: Tensor, *others: Tensor) -> Tensor:
        """net(view(x), …)."""
        return self.net(self.view(x), *others)
