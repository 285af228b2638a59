"""The same in a compiled graph: a pass that replaces its products."""

from __future__ import annotations

from typing import Any

import torch
from torch import fx
from torch._inductor.custom_graph_pass import CustomGraphPass, get_hash_for_files

from lowerbound.nets import products

__all__ = ["ProductsByOneDNN"]


class ProductsByOneDNN(CustomGraphPass):
    """Replaces large products in float32 on a CPU."""

    def __call__(self, graph: fx.Graph) -> None:
        """Change a graph in place."""
        aten = torch.ops.aten
        for node in list(graph.nodes):
            if node.target is aten.mm.default:
                bias, (a, b) = None, node.args
            elif node.target is aten.addmm.default and not node.kwargs:
                bias, a, b = node.args
            else:
                continue
            if (bias is None or bias.meta["val"].ndim == 1) and products.is_large(a.meta["val"], b.meta["val"]):
                node.target, node.args = torch.ops.lowerbound.product.default, (a, b, bias)

    def uuid(self) -> Any:
        """What graphs are kept under."""
        return get_hash_for_files((__file__, products.__file__))
