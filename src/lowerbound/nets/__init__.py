"""Small networks that give conditionals their parameters. Any `torch.nn.Module` will do in their place."""

from lowerbound.nets.convolution import Convolution, TransposedConvolution
from lowerbound.nets.mlp import MLP
from lowerbound.nets.positive import positive, raw_of
from lowerbound.nets.recurrent import BidirectionalGRU, CausalGRU
from lowerbound.nets.shapes import Shape, as_shape, numel, out_shape_of

__all__ = [
    "MLP",
    "BidirectionalGRU",
    "CausalGRU",
    "Convolution",
    "Shape",
    "TransposedConvolution",
    "as_shape",
    "numel",
    "out_shape_of",
    "positive",
    "raw_of",
]
