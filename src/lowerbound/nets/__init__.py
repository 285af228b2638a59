"""Small networks that compute the parameters of conditionals. Any `torch.nn.Module` can replace them.

These networks take any axes in front of the event, (..., *event), and state it by `takes_leading_axes`. A likelihood
calls any other net with one axis in front of z, (N, latent_dim), for any number of samples: see `per_datum`.
"""

from lowerbound.nets.causal_transformer import CausalTransformer
from lowerbound.nets.convolution import Convolution, TransposedConvolution
from lowerbound.nets.discriminator import Discriminator
from lowerbound.nets.embedded import Embedded
from lowerbound.nets.feature_discriminator import FeatureDiscriminator
from lowerbound.nets.maps import FromMap, ToMap
from lowerbound.nets.masked_convolution import MaskedConvolution
from lowerbound.nets.mlp import MLP
from lowerbound.nets.per_datum import PerDatum, TakesLeadingAxes
from lowerbound.nets.pyramid import Pyramid
from lowerbound.nets.recurrent import BidirectionalGRU, CausalGRU
from lowerbound.nets.residual import Bottleneck, Enlarged, Pointwise, ResidualStack
from lowerbound.nets.shapes import Shape, as_shape, numel, out_shape_of
from lowerbound.nets.site_net import CausalTrunk, SiteNet, make_site_net
from lowerbound.nets.skip_mlp import SkipMLP
from lowerbound.nets.softplus import positive, raw_of
from lowerbound.nets.whitening import Whitening

__all__ = [
    "MLP",
    "BidirectionalGRU",
    "Bottleneck",
    "CausalGRU",
    "CausalTransformer",
    "CausalTrunk",
    "Convolution",
    "Discriminator",
    "Embedded",
    "Enlarged",
    "FeatureDiscriminator",
    "FromMap",
    "MaskedConvolution",
    "PerDatum",
    "Pointwise",
    "Pyramid",
    "ResidualStack",
    "Shape",
    "SiteNet",
    "SkipMLP",
    "TakesLeadingAxes",
    "ToMap",
    "TransposedConvolution",
    "Whitening",
    "as_shape",
    "make_site_net",
    "numel",
    "out_shape_of",
    "positive",
    "raw_of",
]
