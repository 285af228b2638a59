"""A second, factorised likelihood of x given z beside an autoregressive one, so that z is used.

    −(bound + λ E_q(z|x)[log r(x | z)]),        r(x | z) = Π_d r(x_d | z), of the family of a site

An autoregressive p(x | z) can explain x without z. r cannot, for its elements are independent given z; to predict x it
needs the information in z, and the encoder learns to give it (Lucas & Verbeek 2018, arXiv:1711.11479, eq. 6). r is no
part of the model: the bound that is reported and chosen by is that of p, and r is dropped after training. Of texts with
a hybrid net, r reads the sequence to which that net unrolls z, a symbol at each position (Semeniuta, Severyn & Barth
2017, arXiv:1702.02390), with λ = 0.2 there: `weight=0.2`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, cast

import torch
from torch import Tensor, nn

from lowerbound.called import name_of
from lowerbound.inference import InferenceScheme
from lowerbound.likelihoods import Autoregressive, Tokens
from lowerbound.likelihoods.unrolled_tokens import UnrolledTokens
from lowerbound.losses.loss import LossOutput, first_two
from lowerbound.losses.variational import VariationalLoss
from lowerbound.model import LatentVariableModel, with_context
from lowerbound.nets import MLP
from lowerbound.nets.precision import nets_alone_autocast
from lowerbound.protocols import Context, Gradient, Objective, Penalty
from lowerbound.randomness import forked

__all__ = ["Auxiliary"]


class Auxiliary(VariationalLoss):
    """minus the mean bound and λ times the mean log r(x | z) of a factorised likelihood r.

    Arguments:
        model: p(x, z) with an `Autoregressive` likelihood, or `Tokens` with a hybrid net; and q(z | x), which must have
            `rsample`.
        objective: see `VariationalLoss`.
        gradient: see `VariationalLoss`.
        num_samples: see `VariationalLoss`.
        penalty: see `VariationalLoss`.
        inference: see `VariationalLoss`.
        weight: λ, 0 or more.
        hidden: widths of the hidden layers from z, or what it is unrolled to, to the parameters of r.

    Returns (when called with a batch x (B, *event)):
        As `VariationalLoss`, and the term auxiliary: the mean of log r(x | z), nats per datum.

    Raises:
        ValueError: another likelihood, or a negative weight.
    """

    cites: ClassVar[tuple[str, ...]] = ("lucas2018auxiliary", "semeniuta2017hybrid")

    def __init__(
        self,
        model: LatentVariableModel,
        objective: Objective,
        gradient: Gradient,
        num_samples: int = 1,
        penalty: Penalty | None = None,
        inference: InferenceScheme | None = None,
        weight: float = 1.0,
        hidden: Sequence[int] = (128,),
    ):
        super().__init__(model, objective, gradient, num_samples, penalty, inference)
        if weight < 0:
            raise ValueError(f"The auxiliary loss got weight={weight:g} and needs 0 or more.")
        self.weight, self.auxiliary = weight, _beside(model, hidden)

    @property
    def works(self) -> tuple[str, ...]:
        """See `cited.CitesByOptions`."""
        return self.cites[1:] if isinstance(self.auxiliary, UnrolledTokens) else self.cites[:1]

    @nets_alone_autocast
    def forward(self, x: Tensor, context: Context | None = None) -> LossOutput:
        """The loss of one batch. The first one is checked as `check` does."""
        if not torch.compiler.is_compiling():
            self._check_once(x, context)
        q = self.model.infer(x, context)
        loss, terms = self.of(q, self.model.joint(x, context))
        z = q.rsample()
        given = with_context(z, context) if isinstance(self.auxiliary, UnrolledTokens) else z
        value = self.auxiliary(given).log_prob(x).mean()
        return LossOutput(loss - self.weight * value, {**terms, "auxiliary": value.detach()})

    def check(self, x: Tensor, context: Context | None = None) -> None:
        """Raise a `ValueError` if the choices do not go together, before any training. Draws no random number."""
        super().check(x, context)
        rows, given = first_two(x, context)
        with forked(x.device, 0), torch.no_grad():
            q = self.model.posterior(with_context(rows, given))
        if not q.has_rsample:
            raise ValueError(
                f"The auxiliary loss needs a q(z | x) whose draws differentiate and {name_of(q)} has none; use a "
                "Gaussian posterior, or the variational loss."
            )


def _beside(model: LatentVariableModel, hidden: Sequence[int]) -> nn.Module:
    """r, for the likelihood of a model."""
    likelihood = model.likelihood
    if UnrolledTokens.fits(likelihood):
        return UnrolledTokens(cast(Tokens, likelihood), hidden)
    if not isinstance(likelihood, Autoregressive) or likelihood.net is None:
        raise ValueError(
            "The auxiliary loss is for the likelihood autoregressive, given z, or for texts with decoder=hybrid, and "
            f"got {type(likelihood).__name__}; use the variational loss."
        )
    latent_shape = tuple(model.prior(None).event_shape)
    return likelihood.factorised(lambda shape: MLP(latent_shape, hidden, shape))
