"""A model of several modalities that share their latents, each with an encoder, a decoder and a likelihood of its own.

    p(x_1, …, x_M, z) = p(z) Π_m p(x_m | z)             q(z | x_A), A the blocks that a row has     (`experts`)

Source: MVAE (Wu & Goodman 2018, arXiv:1802.05335) with a product of experts, MMVAE (Shi, Siddharth, Paige & Torr 2019,
arXiv:1911.03393) with a mixture, MoPoE (Sutter, Daunhawer & Vogt 2021, arXiv:2105.02470) with a mixture of products.
A block may be missing in any row, in training and after: the bound is one of log p(x_A).

The product is trained by `losses.Subsets`, which adds the bounds of single blocks and of random ones, without which its
experts are never asked alone. Mixtures are trained with draws from each of their components (`gradients.Stratified`)
and the density of the whole mixture.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn

from lowerbound import likelihoods as kinds_of_likelihood
from lowerbound.data.block_pictures import Picture, pictures_of_blocks
from lowerbound.data.column_blocks import columns_of_blocks, named_parts
from lowerbound.model import LatentVariableModel
from lowerbound.models.block_likelihood import BlockLikelihood, fill_of
from lowerbound.models.experts import BlockPosterior, Experts
from lowerbound.models.parts import Activation, nonlinearity, outputs_of, view_of, widths_of
from lowerbound.models.recipe import Recipe
from lowerbound.nets import MLP, Convolution, TransposedConvolution
from lowerbound.nets.in_picture import FromPicture, InPicture
from lowerbound.nets.shapes import as_shape
from lowerbound.posteriors import DiagonalNormal
from lowerbound.priors import StandardNormal
from lowerbound.spelling import construct, parse

__all__ = ["RECIPE", "multimodal"]


class _Filled(nn.Module):
    """A net that sees a value in the place of gaps, behind a view if there is one."""

    takes_leading_axes = True

    def __init__(self, net: nn.Module, view: nn.Module | None, fill: float | None):
        super().__init__()
        self.net, self.view, self.fill = net, view, fill

    def forward(self, x: Tensor) -> Tensor:
        seen = x if self.fill is None else torch.where(x.isnan(), self.fill, x)
        return self.net(seen if self.view is None else self.view(seen))


def multimodal(
    event_shape: Sequence[int],
    *,
    blocks: str | None = None,
    likelihoods: str | None = None,
    experts: Experts = "mixture-of-products",
    latent_dim: int = 16,
    hidden: Sequence[int] = (128,),
    pictures: str | None = None,
    activation: Activation = "relu",
) -> LatentVariableModel:
    """A model of blocks of columns. Perceptrons have the same widths (mirrored in the decoders); a block that is said
    to be a picture has a convolution in their place, with the channels of `parts.widths_of`.

    Arguments:
        event_shape: (columns,).
        blocks: needed; the numbers of the columns of each block: "image=0-783;label=784".
        likelihoods: needed; of each block, over its columns: "image=bernoulli;label=mixed:columns=categorical-10".
        experts: "product" (MVAE), "mixture" (MMVAE) or "mixture-of-products" (MoPoE) of the q(z | x_m).
        latent_dim: length of z.
        hidden: widths of the hidden layers, from a block to z.
        pictures: the size of blocks that are pictures, and the places of their columns: "image=28x28@0-783".
        activation: nonlinearity.

    Raises:
        ValueError: no blocks or no likelihoods, columns in no block or in two, a block without a
            likelihood, or an unknown name or option.

    >>> words = {"blocks": "a=0-1;b=2", "likelihoods": "a=normal;b=mixed:columns=categorical-3"}
    >>> multimodal((3,), **words, latent_dim=2, hidden=[8]).sample(5).shape
    torch.Size([5, 3])
    """
    shape, widths, nonlinear = tuple(event_shape), tuple(hidden), nonlinearity(activation)
    if len(shape) != 1 or latent_dim < 1:
        raise ValueError(f"multimodal got rows of shape {shape} and latent_dim={latent_dim}; it takes vectors.")
    if blocks is None or likelihoods is None:
        raise ValueError(
            "multimodal needs blocks and likelihoods, as in blocks='a=0-1;b=2', likelihoods='a=normal;b=normal'."
        )
    columns, words = columns_of_blocks(blocks, shape[0]), named_parts(likelihoods, "likelihoods")
    strange = next((name for name in words if name not in columns), None)
    if strange is not None:
        raise ValueError(
            f"likelihoods names the block {strange[:40]!r} and there are {', '.join(columns)}; name those."
        )
    decoders, encoders = {}, {}
    of_pictures = pictures_of_blocks(pictures, columns)
    for name, numbers in columns.items():
        if name not in words:
            raise ValueError(
                f"The block {name[:40]!r} has no likelihood; name it, as in likelihoods='{name[:40]}=normal'."
            )
        part = (len(numbers),)
        if name in of_pictures:
            encoder, decoder = _convolutions(of_pictures[name], words[name], latent_dim, nonlinear)
        else:
            encoder, decoder = _perceptrons(part, words[name], widths, latent_dim, nonlinear)
        decoders[name] = construct(kinds_of_likelihood, words[name], net=decoder, event_shape=part)
        encoders[name] = _Filled(encoder, view_of(words[name], part), fill_of(decoders[name]))
    return LatentVariableModel(
        prior=StandardNormal(latent_dim),
        likelihood=BlockLikelihood(decoders, columns),
        posterior=BlockPosterior(encoders, columns, experts, latent_dim),
    )


def _perceptrons(
    part: tuple[int], likelihood: str, widths: tuple[int, ...], latent_dim: int, nonlinear: type[nn.Module]
) -> tuple[nn.Module, nn.Module]:
    """From a block, as its likelihood lets an encoder see it, to q, and from z to the parameters of the likelihood."""
    view = view_of(likelihood, part)
    seen = part if view is None else as_shape(cast(tuple[int, ...], view.out_shape))
    encoder = MLP(seen, widths, DiagonalNormal.parameter_shape(latent_dim), nonlinear)
    return encoder, MLP(latent_dim, widths[::-1], outputs_of(kinds_of_likelihood, likelihood, part), nonlinear)


def _convolutions(
    picture: Picture, likelihood: str, latent_dim: int, nonlinear: type[nn.Module]
) -> tuple[nn.Module, nn.Module]:
    """The same for a block of pixels.

    Raises:
        ValueError: a likelihood whose parameters are no pictures, as of columns of several kinds.
    """
    part, view = (len(picture.places),), view_of(likelihood, (len(picture.places),))
    needed, size = outputs_of(kinds_of_likelihood, likelihood, part), None
    if (view is None or view.out_shape == part) and parse(likelihood)[0] != "mixed":
        size = outputs_of(kinds_of_likelihood, likelihood, picture.shape)
    if size is None or (*size[:-2], *part) != needed or size[-2:] != picture.shape:
        raise ValueError(
            f"A picture got the likelihood {likelihood[:60]!r}, whose parameters are no pictures; take bernoulli (of 0 "
            "and 1), normal, laplace, poisson or negative-binomial with likelihoods=, or leave pictures out."
        )
    channels = widths_of("convolution", picture.shape)
    posterior = DiagonalNormal.parameter_shape(latent_dim)
    encoder = InPicture(Convolution(picture.shape, channels, posterior, activation=nonlinear), picture.places)
    decoder = TransposedConvolution(latent_dim, channels[::-1], size, activation=nonlinear)
    return encoder, FromPicture(decoder, picture.places)


RECIPE = Recipe(
    name="multimodal",
    cites=("wu2018multimodal", "shi2019variational", "sutter2021generalized"),
    make=multimodal,
    defaults={"objective": "elbo"},
    likelihood="mixed",
)
