"""The reconstruction of x from the mean of its latent: −log p(x | z = E_q[z | x]), nats per datum.

This is for pretraining and is no bound. There is neither noise nor rate: a deterministic autoencoder with the nets of
the model (Hinton & Salakhutdinov 2006), which Jiang et al. (2017, arXiv:1611.05148, §3.2) train before VaDE so that a
mixture can be fitted to the latents. θ of the likelihood and the mean of q(z | x) learn; the scale of q and the prior
get no gradient. The latent can grow at no cost, so that the values say nothing about log p(x) and must not be compared
with a bound.
"""

from __future__ import annotations

from typing import ClassVar, cast

from torch import Tensor
from torch.distributions import Distribution

from lowerbound.called import name_of
from lowerbound.losses.loss import Loss, LossOutput
from lowerbound.model import LatentVariableModel
from lowerbound.nets.precision import nets_alone_autocast
from lowerbound.protocols import Context, Latents

__all__ = ["Autoencoding"]


class Autoencoding(Loss):
    """minus the mean over the batch of log p(x | z) at the mean z of q(z | x).

    Arguments:
        model: p(x, z) and q(z | x); its q needs a mean in closed form.

    Returns (when called with a batch x (B, *event)):
        The loss in nats per datum, and log p(x | E_q[z | x]) under the names bound and likelihood: the loop chooses
        weights by the first, which is valid only among values of this loss.

    >>> import torch
    >>> from lowerbound.models import vae
    >>> list(Autoencoding(vae((4,), latent_dim=2, hidden=[3]))(torch.ones(5, 4)).terms)
    ['bound', 'likelihood']
    """

    cites: ClassVar[tuple[str, ...]] = ("hinton2006reducing", "jiang2017variational")

    every_parameter_learns = False

    def __init__(self, model: LatentVariableModel):
        super().__init__()
        self.model = model

    @nets_alone_autocast
    def forward(self, x: Tensor, context: Context | None = None) -> LossOutput:
        """The loss of one batch."""
        z = mean_latent(self.model.infer(x, context))
        value = self.model.decode(z, context).log_prob(x).mean()
        return LossOutput(-value, {name: value.detach() for name in ("bound", "likelihood")})

    def check(self, x: Tensor, context: Context | None = None) -> None:
        """Raise a `ValueError` if q(z | x) has no mean."""
        self.check_rows(x, context)
        mean_latent(self.model.infer(x, context))


def mean_latent(q: Distribution) -> Latents:
    """E_q[z | x]: (B, *event).

    Raises:
        ValueError: there is no closed form.
    """
    try:
        return cast(Latents, q.mean)
    except NotImplementedError:
        raise ValueError(
            f"Autoencoding decodes the mean of q(z | x) and {name_of(q)} has none in closed form; use the "
            "posterior 'diagonal-normal'."
        ) from None
