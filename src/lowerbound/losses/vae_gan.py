"""The VAE/GAN: reconstruction in the features of a discriminator (Larsen et al. 2016, arXiv:1512.09300, §2.3, alg. 1).

With h(x) features in an early layer of a discriminator D of data, x̃ = E[x | z] at z ~ q(z | x) and
x_p = E[x | z_p] at z_p ~ p(z),

    L_rec = ½ ‖h(x) − h(x̃)‖²        L_D = softplus(−D(x)) + softplus(D(x̃)) + softplus(D(x_p))
    L_G = softplus(−D(x̃)) + softplus(−D(x_p))

    encoder         β KL(q(z | x) ‖ p(z)) + L_rec
    decoder         γ L_rec + ω_t L_G               ω_t rises from 0 to ω in the first steps
    discriminator   L_D

β is 1 in the paper, whose thousands of features make L_rec large; L_G is the form that does not saturate (Goodfellow et
al. 2014, arXiv:1406.2661, §3). The three players share one backward pass and no gradient: in the loss of each, the
parameters of the others are constants. Losses that are back-propagated one after the other, with the gradients of the
next part alone set to zero, let the decoder descend L_D as well.

No part of it bounds log p(x), and the value of L_G says nothing of quality, since D moves. What a run is read by, and
what chooses its weights, is minus the energy distance of samples and held-out rows (Székely & Rizzo 2013, eq. 2.5)

    sample_score = −(2 E‖x_p − x‖ − E‖x_p − x_p'‖ − E‖x − x'‖)

which is at most 0 in expectation, and 0 where they are distributed alike.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, cast

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.functional import softplus

from lowerbound.called import name_of
from lowerbound.criterion import Criterion
from lowerbound.factors import is_product, kl_per_factor
from lowerbound.hooks import EndsInState
from lowerbound.losses.loss import Loss, LossOutput, first_two
from lowerbound.model import LatentVariableModel, with_context
from lowerbound.nets.feature_discriminator import FeatureDiscriminator
from lowerbound.nets.precision import nets_alone_autocast
from lowerbound.nets.shapes import Shape
from lowerbound.protocols import Conditional, Context
from lowerbound.randomness import forked

__all__ = ["VAEGAN", "sample_score"]


class VAEGAN(Loss):
    """The sum of the losses of encoder, decoder and discriminator, each with a gradient for its own part alone.

    Arguments:
        model: p(x, z) and q(z | x): factorised latents in one layer, and a likelihood with a mean.
        event_shape: shape of one datum.
        beta: β, the weight of the KL: smaller where there are few features, so that the latents stay in use.
        gamma: γ, the weight of the reconstruction in the loss of the decoder.
        weight: ω, the weight of the adversarial term in it; 0 leaves it out.
        warmup: steps in which it rises from 0.
        hidden: widths of the hidden layers of the discriminator before h(x); channels of its convolutions. None makes
            h linear in x: layers nearer to the logit keep little of x but whether it is real.
        features: length of h(x).
        after: widths of its hidden layers between h(x) and the logit.
        convolution: whether the discriminator has convolutions.
        lr_factor: its learning rate, as a multiple of that of the model.
        beta1: its decay of the first moment under Adam.

    Returns (when called with a batch x (B, *event)):
        The loss, and the terms sample_score (in the units of x as the likelihood sees it), reconstruction (L_rec), rate
        (the KL, nats), discriminator (L_D) and deception (L_G), means over the batch.

    Raises:
        ValueError: a weight or a size out of range.
    """

    cites: ClassVar[tuple[str, ...]] = ("larsen2016autoencoding", "goodfellow2014generative", "szekely2013energy")

    criterion: Criterion = "sample_score"
    compares_means = True
    every_parameter_learns = False  # the scale of a likelihood has no part in its mean
    adversarial: Tensor

    def __init__(
        self,
        model: LatentVariableModel,
        event_shape: Shape,
        beta: float = 0.1,
        gamma: float = 1.0,
        weight: float = 1.0,
        warmup: int = 1000,
        hidden: Sequence[int] = (),
        features: int = 128,
        after: Sequence[int] = (128,),
        convolution: bool = False,
        lr_factor: float = 1.0,
        beta1: float = 0.5,
    ):
        super().__init__()
        for name, value in {"beta": beta, "gamma": gamma, "weight": weight, "warmup": warmup}.items():
            if not 0 <= value < float("inf"):
                raise ValueError(f"VAEGAN got {name}={value} and needs a finite number, 0 or more.")
        self.model, self.beta, self.gamma, self.weight, self.warmup = model, beta, gamma, weight, warmup
        self.discriminator = FeatureDiscriminator(
            event_shape, hidden, features, after, convolution, lr_factor=lr_factor, optimizer_beta1=beta1
        )
        self.register_buffer("adversarial", torch.tensor(self._adversarial(0)))

    def at_step(self, step: int) -> None:
        """Set ω_t for this step."""
        self.adversarial.fill_(self._adversarial(step))

    @nets_alone_autocast
    def forward(self, x: Tensor, context: Context | None = None) -> LossOutput:
        """The loss of one batch."""
        q, p = self.model.infer(x, context), self.model.prior(context)
        z, z_p = cast(Tensor, q.rsample()), cast(Tensor, p.sample(torch.Size((len(x),) if not p.batch_shape else ())))
        rate = kl_per_factor(q, p).sum(-1).mean()
        through = _mean(self.model.likelihood, z, context, fixed=True)
        encoder = self.beta * rate + self._reconstruction(x, through).mean()
        seen, dreamt = (_mean(self.model.likelihood, part, context) for part in (z.detach(), z_p))
        reconstruction = self._reconstruction(x, seen).mean()
        deception = sum(softplus(-self._fixed(part)[1]).mean() for part in (seen, dreamt))
        decoder = self.gamma * reconstruction + self.adversarial * deception
        mistakes = self._mistakes(x, seen.detach(), dreamt.detach())
        terms = {
            "sample_score": sample_score(dreamt.detach(), x),
            "reconstruction": reconstruction,
            "rate": rate,
            "discriminator": mistakes,
            "deception": cast(Tensor, deception),
        }
        return LossOutput(encoder + decoder + mistakes, {name: term.detach() for name, term in terms.items()})

    def check(self, x: Tensor, context: Context | None = None) -> None:
        """Raise a `ValueError` if the model has no factorised latents in one layer, or no E[x | z]."""
        self.check_rows(x, context)
        if bool(x.isnan().any()):
            raise ValueError("VAEGAN compares whole rows and got rows with gaps; fill them first, or use a VAE.")
        x, context = first_two(x, context)
        with forked(x.device, 0), torch.no_grad():
            q, p = self.model.infer(x, context), self.model.prior(context)
            if not (is_product(q) and is_product(p) and q.has_rsample) or isinstance(self.model.prior, EndsInState):
                raise ValueError(
                    f"VAEGAN needs factorised real latents in one layer and got {name_of(q)}; use "
                    "diagonal-normal with standard-normal."
                )
            kl_per_factor(q, p)
            try:
                mean = _mean(self.model.likelihood, q.sample(), context)
            except NotImplementedError:
                raise ValueError(
                    f"VAEGAN compares E[x | z] with x, and {type(self.model.likelihood).__name__} has none in closed "
                    "form; use bernoulli or normal."
                ) from None
            self.discriminator(mean)

    def _adversarial(self, step: int) -> float:
        return self.weight * (min(step / self.warmup, 1.0) if self.warmup else 1.0)

    def _fixed(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Features and logits with the discriminator held fixed."""
        return functional_call(self.discriminator, _constants(self.discriminator), (x,))

    def _reconstruction(self, x: Tensor, seen: Tensor) -> Float[Tensor, "batch"]:
        """L_rec of each row, nats but for a constant, with the discriminator held fixed."""
        return 0.5 * (self._fixed(x)[0] - self._fixed(seen)[0]).square().sum(-1)

    def _mistakes(self, x: Tensor, seen: Tensor, dreamt: Tensor) -> Float[Tensor, ""]:
        """L_D, of data and of images as constants."""
        real, *false = (self.discriminator(part)[1] for part in (x, seen, dreamt))
        return softplus(-real).mean() + sum(softplus(logit).mean() for logit in false)


@torch.no_grad()
def sample_score(samples: Float[Tensor, "sample *event"], x: Float[Tensor, "row *event"]) -> Float[Tensor, ""]:
    """Minus the energy distance of samples and rows: unbiased, so that noise may bring it above 0. One row has none; a
    last batch of one row counts as 0.
    """
    a, b = samples.flatten(1), x.flatten(1).to(samples.dtype)
    if min(len(a), len(b)) < 2:
        return a.new_zeros(())

    def apart(one: Tensor) -> Tensor:
        return torch.cdist(one, one).sum() / (len(one) * (len(one) - 1))

    return apart(a) + apart(b) - 2 * torch.cdist(a, b).mean()


def _mean(likelihood: Conditional, z: Tensor, context: Context | None, *, fixed: bool = False) -> Tensor:
    """E[x | z] (B, *event), differentiable along z, with the likelihood held fixed if wanted."""
    given = with_context(z, context)
    if not fixed:
        return likelihood(given).mean
    module = cast(nn.Module, likelihood)
    return functional_call(module, _constants(module), (given,)).mean


def _constants(module: nn.Module) -> dict[str, Tensor]:
    return {name: p.detach() for name, p in module.named_parameters()}
