"""A ratio of two densities, learned by telling their draws apart (Sugiyama et al. 2012; Goodfellow et al. 2014,
arXiv:1406.2661).

With the logit ℓ = log D/(1 − D) of a net that tells draws of q from as many draws of p, the cross-entropy

    C(ℓ) = ½ E_q[softplus(−ℓ)] + ½ E_p[softplus(ℓ)]              min C at ℓ = log q/p,  C = log 2 nats where q = p

ℓ is a player of its own: it descends C in the same steps as the model, at its own rate and with its own momentum. The
model reads ℓ with the net held fixed (`log_ratio`), and the draws that C reads are constants (`cross_entropy`), so that
no parameter learns from the loss of the other side.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.functional import softplus

from lowerbound.limits import MOST_LAYERS, require_at_most
from lowerbound.nets.mlp import MLP
from lowerbound.nets.precision import call_net
from lowerbound.nets.shapes import Shape

__all__ = ["Discriminator"]


class Discriminator(MLP):
    """A perceptron from one or several inputs to ℓ.

    Arguments:
        in_shape: shape of the input; a list of shapes for several inputs.
        hidden: width of the hidden layers.
        depth: number of them.
        lr_factor: its learning rate, as a multiple of that of the model.
        optimizer_beta1: its decay of the first moment under Adam and its kin; None for that of the model.
        activation: makes the nonlinearity.
        owner: the choice to name in an error.

    Raises:
        ValueError: no layers or more than 256, no units, or a rate or decay out of range.
    """

    cites: ClassVar[tuple[str, ...]] = ("sugiyama2012density", "goodfellow2014generative")

    def __init__(
        self,
        in_shape: Shape | list[Shape],
        hidden: int,
        depth: int,
        *,
        lr_factor: float = 1.0,
        optimizer_beta1: float | None = None,
        activation: Callable[[], nn.Module] = nn.SiLU,
        owner: str,
    ):
        if min(hidden, depth) < 1:
            raise ValueError(f"{owner} got hidden={hidden}, depth={depth} and needs 1 at least of each.")
        require_at_most(owner, MOST_LAYERS, depth=depth)
        if not 0 < lr_factor < float("inf"):
            raise ValueError(f"{owner} got lr_factor={lr_factor} and needs a finite number above 0.")
        if optimizer_beta1 is not None and not 0 <= optimizer_beta1 < 1:
            raise ValueError(f"{owner} got beta1={optimizer_beta1} and needs a number from 0 to below 1.")
        super().__init__(in_shape, [hidden] * depth, 1, activation)
        self.lr_factor, self.optimizer_beta1 = lr_factor, optimizer_beta1

    def log_ratio(self, *inputs: Tensor) -> Float[Tensor, "*lead"]:
        """ℓ (...) at inputs (..., *in_shape), differentiable along them, with the net held fixed."""
        fixed = {name: p.detach() for name, p in self.named_parameters()}
        return functional_call(self, fixed, inputs).squeeze(-1)

    def cross_entropy(self, of_q: Sequence[Tensor], of_p: Sequence[Tensor]) -> Float[Tensor, "*lead"]:
        """C at draws of both, as many of each, with a gradient for the net alone; nats, one per draw."""
        q, p = (call_net(self, tuple(z.detach() for z in inputs)).squeeze(-1) for inputs in (of_q, of_p))
        return 0.5 * (softplus(-q) + softplus(p))

    @torch.no_grad()
    def start_at_zero(self) -> None:
        """Let ℓ be 0 at the start: q and p are taken for the same until they are told apart."""
        last = self.layers[-1]
        assert isinstance(last, nn.Linear)
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)
