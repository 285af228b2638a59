"""Sequence models: the chain rule over rows, with or without a global latent, and nonlinear state-space models.

    autoregressive_rows   p(x) = Π_t p(x_t | x_<t)        or        p(z) Π_t p(x_t | x_<t, z)
    state_space     p(z_1) Π_{t≥2} p(z_t | z_{t−1}) Π_t p(x_t | z_t)

Both are graphs (`models.directed`) and are trained like other models. The state-space model is the deep Markov model of
Krishnan, Shalit & Sontag (2017, arXiv:1609.09869), with the transition z_t = z_{t−1} + f(z_{t−1}) + noise of a learned
scale per dimension; without hidden layers it is linear-Gaussian. The global latent before an autoregressive decoder is
that of Bowman et al. (2016, arXiv:1511.06349), who show that it tends to be left unused.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor, nn

from lowerbound import likelihoods, posteriors, priors
from lowerbound.models.directed import DirectedModel
from lowerbound.models.directed_graph import Node
from lowerbound.models.parts import outputs_of
from lowerbound.models.recipe import Recipe
from lowerbound.models.sequence_steps import ChainRule, EachStep
from lowerbound.nets import MLP
from lowerbound.nets.shapes import Shape
from lowerbound.nets.steps_of_sequences import StepsNetwork, make_causal_steps, make_whole_steps
from lowerbound.posteriors.sequence_normal import SequenceNormal
from lowerbound.priors.markov_chain import MarkovChain
from lowerbound.spelling import construct

__all__ = ["RECIPES", "autoregressive_rows", "state_space"]


def autoregressive_rows(
    event_shape: Sequence[int],
    *,
    latent_dim: int = 0,
    likelihood: str = "bernoulli",
    hidden: Sequence[int] = (128,),
    recurrent_dim: int = 128,
    network: StepsNetwork = "gru",
    layers: int = 1,
) -> DirectedModel:
    """The chain rule over the rows of an image, or the steps of a sequence.

    Arguments:
        event_shape: (T, D): rows and pixels in one, or steps and numbers at one.
        latent_dim: length of one latent z for the whole of x; 0 for none, and then log p(x) is exact.
        likelihood: of one row given the rows before it, a name of `likelihoods` with options.
        hidden: widths of the hidden layers from (h_t, z) to the parameters of a row; also of those from x to q(z | x).
        recurrent_dim: width of h_t, and of every layer of its net.
        network: of h_t: "gru" (of one layer), or one of the nets of texts, "lstm", "transformer" or "convolution"
            (dilated).
        layers: of the net of h_t.

    Raises:
        ValueError: another shape, a size that is too small, or an unknown name or option.

    >>> autoregressive_rows((8, 8), recurrent_dim=16, hidden=[16]).sample(5).shape
    torch.Size([5, 8, 8])
    """
    length, data_dim = _steps(event_shape, "autoregressive_rows")
    _check("autoregressive_rows", least=0, latent_dim=latent_dim)
    _check("autoregressive_rows", least=1, recurrent_dim=recurrent_dim, layers=layers)
    inputs: list[Shape] = [recurrent_dim, latent_dim] if latent_dim else [recurrent_dim]
    step = _step(likelihood, data_dim, lambda shape: MLP(inputs, tuple(hidden), shape))
    chain = ChainRule(make_causal_steps(network, data_dim, recurrent_dim, layers, length), step, length)
    if latent_dim == 0:
        return DirectedModel([Node("x", chain)], observed="x")
    encoder = MLP((length, data_dim), tuple(hidden), (2, latent_dim))
    return DirectedModel(
        [Node("z", priors.StandardNormal(latent_dim)), Node("x", chain, "z")],
        observed="x",
        posterior=posteriors.DiagonalNormal(encoder),
    )


def state_space(
    event_shape: Sequence[int],
    *,
    latent_dim: int = 8,
    likelihood: str = "normal:scale=per-dimension",
    hidden: Sequence[int] = (64,),
    recurrent_dim: int = 64,
    network: StepsNetwork = "gru",
) -> DirectedModel:
    """A Markov chain of states, each of which emits one step of x.

    Arguments:
        event_shape: (T, D): steps and numbers at one.
        latent_dim: length of the state z_t.
        likelihood: of one step given its state, a name of `likelihoods` with options.
        hidden: widths of the hidden layers of the transition and of the emission; empty for a linear-Gaussian model.
        recurrent_dim: width, in each direction, of the net that reads x for q(z | x), and of the layer of its steps.
        network: of q(z | x): "gru" or "lstm" in both directions, or the "transformer" or "convolution" that read texts.

    Raises:
        ValueError: another shape, a size that is too small, or an unknown name or option.

    >>> state_space((20, 3), latent_dim=2, recurrent_dim=8).sample(5).shape
    torch.Size([5, 20, 3])
    """
    length, data_dim = _steps(event_shape, "state_space")
    _check("state_space", least=1, latent_dim=latent_dim, recurrent_dim=recurrent_dim)
    widths = tuple(hidden)
    transition = likelihoods.Normal(Residual(MLP(latent_dim, widths, latent_dim)), scale="per-dimension")
    step = _step(likelihood, data_dim, lambda shape: MLP(latent_dim, widths, shape))
    chain = MarkovChain(priors.StandardNormal(latent_dim), transition, length)
    reader = make_whole_steps(network, data_dim, recurrent_dim, length)
    smoother = SequenceNormal(reader, latent_dim, hidden=recurrent_dim)
    return DirectedModel(
        [Node("z", chain), Node("x", EachStep(step, (length, data_dim)), "z")], observed="x", posterior=smoother
    )


class Residual(nn.Module):
    """z + f(z), so that a state does not change if f = 0.

    Arguments:
        net: f, from (..., *event) to the same shape.
    """

    takes_leading_axes: bool = True

    def __init__(self, net: MLP):
        super().__init__()
        self.net, self.out_shape = net, net.out_shape

    def forward(self, z: Tensor) -> Tensor:
        """From z (..., *event) to the same shape."""
        return z + self.net(z)


def _step(likelihood: str, data_dim: int, net_to: Callable[[tuple[int, ...]], nn.Module]) -> Any:
    """The conditional of one step, with a net of the outputs that it needs."""
    net = net_to(outputs_of(likelihoods, likelihood, (data_dim,)))
    return construct(likelihoods, likelihood, net=net, event_shape=(data_dim,))


def _steps(event_shape: Sequence[int], owner: str) -> tuple[int, int]:
    shape = tuple(event_shape)
    if len(shape) != 2:
        raise ValueError(
            f"{owner} got data of shape {shape} and expected (steps, numbers at one step), such as the rows of an "
            "image with one channel; reshape the data, or name the series of a table of steps (--series COLUMN)."
        )
    return shape[0], shape[1]


def _check(owner: str, *, least: int, **sizes: int) -> None:
    for name, size in sizes.items():
        if size < least:
            raise ValueError(f"{owner} got {name}={size} and needs at least {least}.")


_DEFAULTS = {"objective": "elbo", "compile": False}  # torch does not compile recurrent nets

RECIPES = (
    Recipe(name="autoregressive-rows", cites=("bowman2016generating",), make=autoregressive_rows, defaults=_DEFAULTS),
    Recipe(name="state-space", cites=("krishnan2017structured",), make=state_space, defaults=_DEFAULTS),
)
