"""p(z) = N(f(z); 0, I) |det ∂f/∂z|: a normalizing flow as a prior, built by zuko.

==========  =========================================================================  ========
kind        f                                                                          sampling
==========  =========================================================================  ========
"spline"    autoregressive rational-quadratic splines (Durkan et al. 2019,             D passes
            arXiv:1906.04032), which leave z outside [−5, 5] as it is
"affine"    masked autoregressive flow (Papamakarios et al. 2017, arXiv:1705.07057)    D passes
"coupling"  RealNVP (Dinh et al. 2017, arXiv:1605.08803)                               one pass
==========  =========================================================================  ========

The density takes one pass for all three.

A zuko flow is a `protocols.Conditional` already and needs no wrapper. `FlowPrior` chooses one by name, for
`models.vae(prior="flow-prior:kind=coupling")` and for the command line.
"""

from __future__ import annotations

from typing import ClassVar

import zuko
from torch import nn
from zuko.distributions import NormalizingFlow

from lowerbound.distributions.composed import composed, transforms_of
from lowerbound.limits import MOST_LAYERS, require_at_most
from lowerbound.nets.shapes import Shape, vector_length
from lowerbound.priors.standard_normal import StandardNormal
from lowerbound.protocols import Context

__all__ = ["FlowPrior"]

_FITTING_RATES = {"affine": 3e-3}  # on codes of pictures ahead of 1e-3; the other kinds were not compared
_FLOWS = {"spline": zuko.flows.NSF, "affine": zuko.flows.MAF, "coupling": zuko.flows.RealNVP}


class FlowPrior(nn.Module):
    """A normalizing flow over z.

    Arguments:
        latent_shape: length of z.
        kind: "spline", "affine" or "coupling".
        transforms: how many are composed.
        hidden: width of each of the two hidden layers of every transform; at least latent_shape − 1,
            because a narrower masked net cannot connect every earlier dimension to every later one.

    Attributes:
        fitting_rate: the learning rate of a fit to latents (`fit_prior_to_latents`, the recipe `two-stage`).

    Returns (when called):
        A reparameterised distribution with batch shape () and event shape (latent_shape,). A context
        is ignored.

    Raises:
        ValueError: an unknown kind, fewer than one transform, a net that is too narrow, or a shape of several axes.

    >>> import torch
    >>> FlowPrior(latent_shape=3, kind="coupling")().rsample(torch.Size((5,))).shape
    torch.Size([5, 3])
    """

    cites: ClassVar[tuple[str, ...]] = ("durkan2019neural", "papamakarios2017masked", "dinh2017density")

    def __init__(
        self,
        latent_shape: Shape,
        kind: str = "spline",
        transforms: int = 3,
        hidden: int = 128,
    ):
        super().__init__()
        latent_dim = vector_length(latent_shape, owner="FlowPrior")
        self.kind, self.event_shape = kind, (latent_dim,)
        self.fitting_rate = _FITTING_RATES.get(kind, 1e-3)
        if kind not in _FLOWS:
            raise ValueError(f"FlowPrior got kind={kind!r} and expected one of {', '.join(_FLOWS)}.")
        if transforms < 1:
            raise ValueError(f"FlowPrior got transforms={transforms} and needs at least 1.")
        require_at_most("FlowPrior", MOST_LAYERS, transforms=transforms)
        if hidden < max(latent_dim - 1, 1):
            raise ValueError(
                f"FlowPrior got hidden={hidden} for latent_shape={latent_dim} and needs at least "
                "latent_shape − 1, or some dimensions would be cut off from others."
            )
        flow = _FLOWS[kind](latent_dim, transforms=transforms, hidden_features=(hidden, hidden))
        self.transform, self.base = flow.transform, StandardNormal(latent_dim)

    @property
    def works(self) -> tuple[str, ...]:
        """That of its kind of flow."""
        return (self.cites[tuple(_FLOWS).index(self.kind)],)

    def forward(self, context: Context | None = None) -> NormalizingFlow:
        """p(z); the context is ignored."""
        return NormalizingFlow(composed(transforms_of(self.transform, None)), self.base())
