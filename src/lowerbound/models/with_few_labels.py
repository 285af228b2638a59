"""M2: a label and a style (Kingma, Rezende, Mohamed & Welling 2014, arXiv:1406.5298, eqs. 2 and 4).

    p(y) = Cat(π)        p(z) = N(0, I)        p(x | z, y)  by a net of (z, y)
    q(y | x)  by a net of x                    q(z | x, y)  by a net of (x, y)

Trained by `losses.SemiSupervised`. If every label is enumerated, a batch of B rows becomes B C pairs (x, y). The first
layer of a net of several inputs is a sum of one linear map for each input, so that the large map, of x, is applied B
times instead of B C times.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from typing import Any

from torch import Tensor
from torch.nn.functional import linear

from lowerbound import likelihoods, posteriors
from lowerbound.labelled import LabelledModel
from lowerbound.model import LatentVariableModel
from lowerbound.models.parts import Activation, nonlinearity, outputs_of, seen_by, view_of
from lowerbound.models.real_vectors import require_real_vectors
from lowerbound.models.recipe import Recipe
from lowerbound.nets import MLP
from lowerbound.priors import StandardNormal
from lowerbound.spelling import construct

__all__ = ["RECIPE", "BroadcastMLP", "semi_supervised"]


class BroadcastMLP(MLP):
    """An `MLP` of several inputs whose first layer is W_1 x_1 + W_2 x_2 + … + b, added up by broadcasting.

    It computes the same function with the same parameters, but does not repeat an input along leading axes that only
    other inputs have.
    """

    def forward(self, *inputs: Tensor) -> Tensor:
        """Map inputs (..., *in_shape) to (..., *out_shape)."""
        flat = [x.flatten(x.ndim - len(shape)) for x, shape in zip(inputs, self.in_shapes, strict=True)]
        first: Any = self.layers[0]
        ends = list(accumulate(x.shape[-1] for x in flat))
        parts = [linear(x, first.weight[:, end - x.shape[-1] : end]) for x, end in zip(flat, ends, strict=True)]
        y = self.layers[1:](sum(parts[1:], parts[0]) + first.bias)
        return y if len(self.out_shape) == 1 else y.unflatten(-1, self.out_shape)


def semi_supervised(
    event_shape: Sequence[int],
    *,
    num_classes: int,
    latent_dim: int = 50,
    likelihood: str = "bernoulli",
    posterior: str = "diagonal-normal",
    hidden: Sequence[int] = (500,),
    activation: Activation = "softplus",
) -> LabelledModel:
    """The model M2, with the same widths in all three nets (mirrored in the likelihood).

    Arguments:
        event_shape: shape of one datum.
        num_classes: C.
        latent_dim: length of z.
        likelihood: name of a class of `likelihoods`, with options (see `spelling`).
        posterior: of `posteriors`, for q(z | x, y).
        hidden: widths of the hidden layers.
        activation: nonlinearity.

    Raises:
        ValueError: an unknown name or option, fewer than two classes, or latents that are not real vectors.

    >>> model = semi_supervised((8, 8), num_classes=10, latent_dim=4, hidden=[32])
    >>> x = model.sample(5)
    >>> x.shape, model.classify(x).shape
    (torch.Size([5, 8, 8]), torch.Size([5, 10]))
    """
    shape, nonlinear = tuple(event_shape), nonlinearity(activation)
    if latent_dim < 1:
        raise ValueError(f"latent_dim is {latent_dim} and must be at least 1.")
    outputs = outputs_of(posteriors, posterior, latent_dim)
    view = view_of(likelihood, shape)
    encoder = seen_by(view, lambda seen: BroadcastMLP([seen, num_classes], hidden, outputs, nonlinear), shape)
    q = construct(posteriors, posterior, net=encoder, latent_dim=latent_dim, latent_shape=latent_dim)
    require_real_vectors(q, shape, (num_classes,), latent_dim, posterior)
    decoded = outputs_of(likelihoods, likelihood, shape)
    decoder = BroadcastMLP([latent_dim, num_classes], list(hidden)[::-1], decoded, nonlinear)
    conditional = LatentVariableModel(
        prior=StandardNormal(latent_dim),
        likelihood=construct(likelihoods, likelihood, net=decoder, event_shape=shape),
        posterior=q,
    )
    classifier = seen_by(view, lambda seen: MLP(seen, hidden, num_classes, nonlinear), shape)
    return LabelledModel(conditional=conditional, classifier=classifier, num_classes=num_classes)


RECIPE = Recipe(
    name="semi-supervised",
    cites=("kingma2014semi",),
    make=semi_supervised,
    labels="partial",
    defaults={"objective": "elbo", "loss": "semi-supervised", "gradient": "enumerate"},
    assigns=True,
)
