"""Rate–distortion autoencoders: pictures as whole numbers in few bits, and what they look like afterwards (Ballé,
Laparra & Simoncelli 2017, arXiv:1611.01704; Ballé et al. 2018, arXiv:1802.01436; Minnen et al. 2018, arXiv:1809.02736).

    z = f(x) + U(−½, ½) in training, round(f(x)) afterwards       rate R = −log p̃(z), nats
    x̂ = g(z)                                                      distortion D = ‖x − x̂‖² / (2 s²) + const

    log p(x | z) + β log p̃(z) = −D − β R

The ELBO with a uniform q of width 1, whose log q(z | x) is 0, is a rate and a distortion, and β traces the front: times
2 s² this is ‖x − x̂‖² + λ R with λ = 2 s² β. Priors of the codes:

=============  =========================================================================================
"factorized"   p̃(z): one distribution for each channel (`priors.FactorizedCumulative`)
"hyperprior"   p̃(z | w) p̃(w): Gaussians whose μ and σ come from further codes w = round(h(z)), which are
               themselves "factorized" and part of the rate
=============  =========================================================================================

The noise of training is not the rounding of files: a code that is always the same, f(x) = 0.4, has noise on both sides
of ½. After training the prior alone is therefore fitted to rounded codes (after Guo et al. 2021, arXiv:2104.05168),
by `prior_epochs` passes at most; pictures stay as they are.

Nets are convolutions, halved for every entry of `hidden`, for pictures of any size and number of channels.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypeAlias

from torch import Tensor

from lowerbound.likelihoods import Normal
from lowerbound.losses import Loss
from lowerbound.losses.prior_alone import RoundedPriorAlone
from lowerbound.model import LatentVariableModel
from lowerbound.models.layered import LowestLayer
from lowerbound.models.parts import Activation, nonlinearity
from lowerbound.models.recipe import Finish, Recipe, Stage, check_passes
from lowerbound.nets import FromMap, ToMap
from lowerbound.posteriors import UniformNoise, UniformNoiseLayers
from lowerbound.priors import FactorizedCumulative, Hierarchical, NoisyNormal

__all__ = [
    "FITS_ROUNDED",
    "RECIPE",
    "CodePrior",
    "check_pictures",
    "rate_distortion",
    "require_weighted_rate",
]

CodePrior: TypeAlias = Literal["factorized", "hyperprior"]
_HYPER_STAGES = 1


def rate_distortion(
    event_shape: Sequence[int],
    *,
    prior: CodePrior = "factorized",
    code_channels: int = 8,
    hyper_channels: int = 4,
    hidden: Sequence[int] = (32, 64),
    activation: Activation = "relu",
    noise: float = 0.05,
    prior_epochs: int = 1,
    prior_patience: int = 1,
) -> LatentVariableModel:
    """A model whose latents are whole numbers, which a file can hold.

    Arguments:
        event_shape: (height, width) or (channels, height, width).
        prior: "factorized" or "hyperprior".
        code_channels: numbers of a code at each position of the map.
        hyper_channels: those of the codes w, whose map is half as high and wide; for "hyperprior".
        hidden: channels of the stages, each of which halves the picture.
        activation: nonlinearity.
        noise: s, the standard deviation of p(x | z), where pixels are in [0, 1].
        prior_epochs: passes by which the prior is fitted to rounded codes after training, at most; 0 leaves it out.
        prior_patience: evaluations, one a pass, without a better held-out bound before it stops.

    Raises:
        ValueError: data that are no pictures, pictures too small for the stages, or a size below one.

    >>> model = rate_distortion((1, 13, 9), prior="hyperprior", hidden=[8, 8]).eval()
    >>> [tuple(z.shape) for z in model.prior().sample((5,))]
    [(5, 8, 4, 3), (5, 4, 2, 2)]
    """
    shape, widths, nonlinear = tuple(event_shape), tuple(hidden), nonlinearity(activation)
    check_pictures(shape, widths, code_channels=code_channels, hyper_channels=hyper_channels)
    check_passes(prior_epochs, prior_patience)
    encoder = ToMap(shape, widths, (code_channels,), nonlinear)
    codes, decoder = encoder.out_shape, FromMap(code_channels, widths[::-1], shape, nonlinear)
    if prior == "factorized":
        return LatentVariableModel(
            prior=FactorizedCumulative(codes), likelihood=Normal(decoder, noise), posterior=UniformNoise(encoder)
        )
    if prior != "hyperprior":
        raise ValueError(f"rate_distortion got prior={prior!r}; choose factorized or hyperprior.")
    width = widths[-1:] * _HYPER_STAGES
    above = ToMap(codes, width, (hyper_channels,), nonlinear)
    below = FromMap(hyper_channels, width, (2, *codes), nonlinear)
    return LatentVariableModel(
        prior=Hierarchical([NoisyNormal(below), FactorizedCumulative(above.out_shape)]),
        likelihood=Normal(LowestLayer(decoder, 2), noise),
        posterior=UniformNoiseLayers([UniformNoise(encoder), UniformNoise(above)]),
    )


def check_pictures(shape: tuple[int, ...], widths: tuple[int, ...], **counts: int) -> None:
    """Refuse what has no codes.

    Raises:
        ValueError: no pictures, pictures too small for the stages, or a size below one.
    """
    if len(shape) not in (2, 3) or not widths:
        raise ValueError(
            f"rate_distortion got rows of shape {shape} and {len(widths)} stages; it needs pictures (height, width) or "
            "(channels, height, width) and one stage at least."
        )
    if min(shape[-2:]) < 2 ** len(widths):
        raise ValueError(
            f"rate_distortion got pictures of {shape[-2]} x {shape[-1]}, which {len(widths)} halvings leave nothing "
            f"of; give larger pictures, or fewer entries of hidden."
        )
    for name, count in counts.items():
        if count < 1:
            raise ValueError(f"rate_distortion got {name}={count} and needs at least 1.")


def _fit_rounded(loss: Loss, x: Tensor, options: Mapping[str, Any]) -> Stage:
    """The second stage: the prior of rounded codes, from where training left it."""
    prior = RoundedPriorAlone(loss.model.eval(), x)
    return Stage(loss=prior, patience=options["prior_patience"], conclude=lambda: prior.keep_the_better(x))


FITS_ROUNDED = Finish(make=_fit_rounded, epochs="prior_epochs", part="prior")
"""Also of the recipe of clips."""


def require_weighted_rate(loss: Loss, x: Tensor, *, seed: int) -> None:
    """Refuse to train with codes that cost nothing: no file would hold what they grow to.

    Raises:
        ValueError: β is 0.
    """
    objective = getattr(loss, "objective", None)
    if getattr(objective, "beta", 1.0) == 0:
        raise ValueError(
            "The rate has the weight beta=0, so that codes cost nothing and grow without end; give a beta above 0."
        )


RECIPE = Recipe(
    name="rate-distortion",
    cites=("balle2017end", "balle2018variational", "minnen2018joint", "guo2021soft"),
    make=rate_distortion,
    defaults={"objective": "beta-elbo:beta=1.0", "num_samples": 1, "gradient": "pathwise"},
    start=require_weighted_rate,
    finish=FITS_ROUNDED,
    likelihood="normal",
)
