"""p(z) = (1/K) Σ_k q(z | u_k): the VampPrior of Tomczak & Welling (2018, arXiv:1705.07120, eq. 9).

The prior that maximises the ELBO for a given q is the aggregate posterior (1/N) Σ_n q(z | x_n);
the VampPrior replaces the N data by K pseudo-inputs u_k, which are learned by gradient descent through the posterior.
It leaves fewer holes: places where p(z) is large and no datum is encoded.

Pseudo-inputs for data in [0, 1] are u = sigmoid(r), which can never leave the range of the data;
unbounded data use u = r.

Where q(z | u) is a diagonal Gaussian the mixture is computed in memory samples × components
(`normal_mixture`); for any other posterior it is the same sum through tensors with one more axis.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn
from torch.distributions import Categorical, Distribution, Independent, MixtureSameFamily, Normal

from lowerbound.hooks import Augmented
from lowerbound.k_means import k_means
from lowerbound.nets.shapes import Shape, as_shape
from lowerbound.priors.mixture_distribution import NormalMixture
from lowerbound.protocols import Conditional, Context

__all__ = ["VampPrior"]

_NOISE = 0.01


class VampPrior(nn.Module):
    """A mixture of the posteriors of learned pseudo-inputs.

    Arguments:
        posterior: q(z | x), the module that the model uses. The prior refers to it and does not own it: the model
            lists, saves, moves and freezes its parameters, and in a deep copy of the whole model the prior refers to
            the copied posterior.
        event_shape: shape of one datum x.
        components: K pseudo-inputs.
        bounded: whether data lie in [0, 1]; choose False for any other range.
        start: how `initialize` takes pseudo-inputs from training rows: "rows" draws some of them, "means" takes the
            centres of k-means.

    Returns (when called):
        A distribution with batch shape () and the event shape of q. A context is ignored, so that a posterior q(z | x,
        c) cannot be used.

    Raises:
        ValueError: fewer than one component, or an unknown start.
    """

    cites: ClassVar[tuple[str, ...]] = ("tomczak2018vae",)

    def __init__(
        self,
        posterior: Conditional,
        event_shape: Shape,
        components: int = 500,
        bounded: bool = True,
        start: str = "rows",
    ):
        super().__init__()
        if components < 1:
            raise ValueError(f"VampPrior got components={components} and needs at least 1.")
        if start not in ("rows", "means"):
            raise ValueError(f"VampPrior got start={start!r} and expected 'rows' or 'means'.")
        self.data_shape, self.bounded, self.start = as_shape(event_shape), bounded, start
        # Into __dict__, or nn.Module would register it and list its parameters a second time.
        self.__dict__["_posterior"] = posterior
        self.raw_pseudo_inputs = nn.Parameter(torch.randn(components, *self.data_shape))

    @property
    def pseudo_inputs(self) -> Float[Tensor, "component *event"]:
        """u (component, *event_shape), in the units of x."""
        raw = self.raw_pseudo_inputs
        return torch.sigmoid(raw) if self.bounded else raw

    def forward(self, context: Context | None = None) -> Distribution:
        """p(z); the context is ignored."""
        q = self.__dict__["_posterior"](self.pseudo_inputs)
        if isinstance(q, Augmented):
            raise ValueError(
                f"VampPrior is a mixture of densities q(z | u) and {type(q).__name__} has none for z alone; "
                "use MixtureNormal, or another posterior."
            )
        uniform = self.raw_pseudo_inputs.new_zeros(len(self.raw_pseudo_inputs))
        if isinstance(q, Independent) and isinstance(q.base_dist, Normal) and len(q.event_shape) == 1:
            return NormalMixture(uniform, q.base_dist.loc, q.base_dist.scale)
        return MixtureSameFamily(Categorical(logits=uniform, validate_args=False), q, validate_args=False)

    @torch.no_grad()
    def initialize(self, x: Shaped[Tensor, "row *event"]) -> None:
        """Start the pseudo-inputs at training rows, or at their k-means centres, plus a little
        noise.

        Rows are drawn without replacement while there are enough. Bounded pseudo-inputs begin
        inside [0.01, 0.99], where the sigmoid still has a slope.

        Arguments:
            x: training rows, in the units of x.

        Raises:
            ValueError: rows of another shape; rows outside [0, 1] for bounded pseudo-inputs; fewer
                rows than centres.
        """
        if x.shape[1:] != self.data_shape:
            raise ValueError(
                f"VampPrior got rows of shape {tuple(x.shape[1:])} and expected "
                f"{self.data_shape}; give it the event_shape of the data."
            )
        x = x.to(self.raw_pseudo_inputs)
        if self.bounded and bool(((x < 0) | (x > 1)).any()):
            raise ValueError(
                f"VampPrior got rows in [{x.min():.3g}, {x.max():.3g}] and its pseudo-inputs are "
                "bounded to [0, 1]; pass bounded=False."
            )
        u = self._centres(x) if self.start == "means" else self._rows(x)
        u = u + _NOISE * torch.randn_like(u)
        self.raw_pseudo_inputs.copy_(u.clamp(0.01, 0.99).logit() if self.bounded else u)

    def _rows(self, x: Tensor) -> Tensor:
        size = len(self.raw_pseudo_inputs)
        rounds = [torch.randperm(len(x), device=x.device) for _ in range(-(-size // len(x)))]
        return x[torch.cat(rounds)[:size]]

    def _centres(self, x: Tensor) -> Tensor:
        centres, _ = k_means(x.flatten(1), len(self.raw_pseudo_inputs))
        return centres.unflatten(-1, self.data_shape)
