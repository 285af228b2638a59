"""A causal net over tokens that are chosen in two steps: the class of the next one, then which of its class.

    p(x_t | x_<t, z) = p(c_t | c_<t, z_T) · p(x_t | c_t, x_<t, z_T, z_G)            c_t the class of x_t

Of molecules a class is a fragment with its number of points, so that the classes of a row are a tree of fragments, and
what is chosen within a class are the atoms at which it is attached: p(x | z) = p(T | z_T) p(G | T, z_T, z_G), T the
tree and G the graph (after Jin, Barzilay & Jaakkola 2018, arXiv:1802.04364, §2). z_G has no way to the classes.
Both steps are softmaxes, so that the scores of all tokens are

    θ_k = a_c(k) + b_k − log Σ_{j: c(j) = c(k)} exp b_j

with a the scores of the classes and b those of the tokens. Where a mask of what may follow allows a class as a whole or
not at all, as the grammar of molecules does, the softmax of the θ_k that are left is the product above.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, cast

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from lowerbound.nets.texts import symbols_on_host
from lowerbound.nets.token_net import TokenNet
from lowerbound.on_host import remember

__all__ = ["TreeAndGraphContext", "TreeAndGraphNet"]


class TreeAndGraphNet(nn.Module):
    """A causal net of two nets (see `autoregressive.CausalNet`).

    Arguments:
        tree: of the C classes, with the first half of the context.
        graph: of the K tokens, with the second half.
        classes: the class of each token; 0 for 0, the end.

    Raises:
        ValueError: nets of other sizes, or contexts of different lengths.
    """

    cites: ClassVar[tuple[str, ...]] = ("jin2018junction",)

    takes_leading_axes: bool = False

    def __init__(self, tree: TokenNet, graph: TokenNet, classes: Sequence[int]):
        super().__init__()
        sizes = (max(classes) + 1, len(classes))
        if (tree.num_symbols, graph.num_symbols) != sizes or tree.context_shape != graph.context_shape:
            raise ValueError(
                f"TreeAndGraphNet got nets of {tree.num_symbols} and {graph.num_symbols} symbols with contexts "
                f"{tree.context_shape} and {graph.context_shape}; expected {sizes[0]} and {sizes[1]}, and equal ones."
            )
        self.tree, self.graph, self.num_symbols = tree, graph, graph.num_symbols
        self.site_shape, self.value_shape = graph.site_shape, graph.value_shape
        self.context_shape = None if graph.context_shape is None else (2 * graph.context_shape[0],)
        self.classes: Tensor
        self.shared: Tensor
        self.register_buffer("classes", torch.tensor(classes), persistent=False)
        counts = torch.bincount(self.classes, minlength=sizes[0])
        self.register_buffer("shared", (counts[self.classes] > 1).nonzero()[:, 0], persistent=False)

    @torch.no_grad()
    def start_at(self, log_p: Float[Tensor, "symbol"]) -> None:
        """Set the offsets of both steps to the log-frequencies of tokens."""
        p = log_p.new_zeros(self.tree.num_symbols).index_add(0, self.classes, log_p.exp())
        self.tree.start_at(p.log())
        self.graph.start_at(log_p)

    def forward(
        self, x: Float[Tensor, "row position"], context: Tensor | None = None
    ) -> Float[Tensor, "row position symbol"]:
        """The scores of every token at each position."""
        return self.scores(self.features(x.long(), context))

    def features(self, x: Int[Tensor, "row position"], context: Tensor | None) -> Float[Tensor, "row position width"]:
        """What both nets make of sequences (N, t), side by side."""
        of_tree, of_graph = _halves(context)
        return torch.cat([self.tree.features(self.classes[x], of_tree), self.graph.features(x, of_graph)], -1)

    def scores(self, h: Float[Tensor, "*lead width"]) -> Float[Tensor, "*lead symbol"]:
        """θ."""
        of_tree, of_graph = h.chunk(2, -1)
        return self._of_tokens(self.tree.scores(of_tree), of_graph)

    def log_p(self, h: Float[Tensor, "row width"], k: Int[Tensor, "row"]) -> Float[Tensor, "row"]:
        """log p of token k of each row, nats."""
        return -cross_entropy(self.scores(h), k, reduction="none")

    def begin(self, num: int, context: Tensor | None) -> _Caches:
        """A cache for drawing `num` sequences."""
        of_tree, of_graph = _halves(context)
        return _Caches(self.tree.begin(num, of_tree), self.graph.begin(num, of_graph))

    def step(self, cache: _Caches, site: int, before: Tensor | None) -> Float[Tensor, "row symbol"]:
        """The scores at one position, given the tokens (N,) at the one before it."""
        chosen = None if before is None else self.classes[before.long()]
        return self._of_tokens(
            self.tree.step(cache.tree, site, chosen), self.graph.feature_step(cache.graph, site, before)
        )

    def _of_tokens(self, of_classes: Tensor, h: Tensor) -> Tensor:
        """θ, from the scores of classes and the features of tokens. Tokens that are alone in their class have b = 0."""
        found = of_classes[..., self.classes]
        if not len(self.shared):
            return found
        b = self.graph.scores(h, self.shared)
        group = self.classes[self.shared].expand_as(b)
        top = torch.full_like(of_classes, -torch.inf).scatter_reduce(-1, group, b.detach(), "amax").gather(-1, group)
        total = torch.zeros_like(of_classes).scatter_add(-1, group, (b - top).exp()).gather(-1, group)
        return found.index_add(-1, self.shared, b - top - total.log())


class TreeAndGraphContext(nn.Module):
    """z = (z_T, z_G) to the context of a `TreeAndGraphNet`: a half that z_T alone enters, and one that both enter.

    Arguments:
        tree: the net of z_T (..., d_T), or of z_T and covariates, to (..., M).
        graph: the net of z (..., d_T + d_G), or of z and covariates, to (..., M).
        latent_dims: d_T and d_G.
    """

    takes_leading_axes: bool = True

    def __init__(self, tree: nn.Module, graph: nn.Module, latent_dims: tuple[int, int]):
        super().__init__()
        self.tree, self.graph, self.latent_dims = tree, graph, latent_dims
        self.out_shape = (2 * cast(tuple[int, ...], graph.out_shape)[0],)

    def latent_parts(self) -> dict[str, int]:
        """See `hooks.NamesLatents`."""
        return dict(zip(("tree", "graph"), self.latent_dims, strict=True))

    def forward(self, z: Float[Tensor, "..."], *given: Tensor) -> Float[Tensor, "..."]:
        """Both halves (..., 2 M)."""
        return torch.cat([self.tree(z[..., : self.latent_dims[0]], *given), self.graph(z, *given)], -1)


class OfClasses(nn.Module):
    """A net of classes, given rows of tokens.

    Arguments:
        net: reads rows of classes.
        classes: the class of each token.
    """

    takes_leading_axes: bool = True

    def __init__(self, net: nn.Module, classes: Sequence[int]):
        super().__init__()
        self.net, self.out_shape = net, cast(tuple[int, ...], net.out_shape)
        self.classes: Tensor
        self.register_buffer("classes", torch.tensor(classes), persistent=False)
        self._on_host = np.array(classes)

    def forward(self, x: Float[Tensor, "..."], *context: Tensor) -> Float[Tensor, "..."]:
        """The output for rows x (..., T)."""
        rows = self.classes[x.long()].to(x)
        remember(rows, torch.from_numpy(self._on_host[symbols_on_host(x)]).view(x.shape))
        return self.net(rows, *context)


class SideBySide(nn.Module):
    """The outputs of two nets (..., 2, d_T) and (..., 2, d_G) as one (..., 2, d_T + d_G)."""

    takes_leading_axes: bool = True

    def __init__(self, tree: nn.Module, graph: nn.Module):
        super().__init__()
        self.tree, self.graph = tree, graph
        shapes = [cast(tuple[int, ...], net.out_shape) for net in (tree, graph)]
        self.out_shape = (*shapes[0][:-1], shapes[0][-1] + shapes[1][-1])

    def forward(self, *inputs: Tensor) -> Float[Tensor, "..."]:
        """Both, of the same inputs."""
        return torch.cat([self.tree(*inputs), self.graph(*inputs)], -1)


@dataclass
class _Caches:
    tree: Any
    graph: Any


def _halves(context: Tensor | None) -> tuple[Tensor | None, Tensor | None]:
    return (None, None) if context is None else cast(tuple[Tensor, Tensor], context.chunk(2, -1))
