"""Clips as whole numbers in few bits: a code for each frame, with a prior over time (after Habibian et al. 2019,
arXiv:1908.05717).

    z_t = round(f(x_t))          x̂_t = g(z_t)          R = −log p̃(z_1) − Σ_t log p̃(z_t | z_{t−1}, …, z_{t−k})

Each frame is encoded and decoded alone, as by the recipe rate-distortion. What frames have in common is left to the
prior (`priors.FramesInTurn`), which predicts the code of a frame from those before it: the better, the fewer bits. It
is also a model of what comes next.

==========  ==========================================================================================
"motion"    sees what the frames before look like, and fetches every pixel from near by (`priors.Motion`)
"temporal"  sees their codes
"frames"    sees nothing: the coder of frames to compare with
==========  ==========================================================================================

With `clip_channels` there is one code of the whole clip beside those of its frames (after Han et al. 2019,
arXiv:1810.02845, §3): w = round(mean_t h(x_t)), x̂_t = g(z_t, w) and p̃(z | w) p̃(w). What all frames share need then not
stand in each of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, TypeAlias, get_args

import torch
from torch import Tensor, nn

from lowerbound.likelihoods import Normal
from lowerbound.model import LatentVariableModel
from lowerbound.models.parts import Activation, nonlinearity
from lowerbound.models.rate_distortion import FITS_ROUNDED, check_pictures, require_weighted_rate
from lowerbound.models.recipe import Recipe, check_passes
from lowerbound.models.sequence_steps import EachStep
from lowerbound.nets import FromMap, ToMap
from lowerbound.posteriors import UniformNoise, UniformNoiseBeside
from lowerbound.priors import ClipAndFrames, FactorizedCumulative, FramesInTurn, Motion

__all__ = ["RECIPE", "EachFrame", "OverFrames", "OverTime", "WithClip", "predicted", "rate_distortion_video"]

OverTime: TypeAlias = Literal["motion", "temporal", "frames"]


def rate_distortion_video(
    event_shape: Sequence[int],
    *,
    prior: OverTime = "temporal",
    window: int = 3,
    prior_channels: Sequence[int] = (64, 64, 64),
    code_channels: int = 8,
    clip_channels: int = 0,
    hidden: Sequence[int] = (32, 64),
    activation: Activation = "relu",
    noise: float = 0.05,
    prior_epochs: int = 1,
    prior_patience: int = 1,
) -> LatentVariableModel:
    """A model of clips whose latents are whole numbers, which a file can hold.

    Arguments:
        event_shape: (frames, channels, height, width).
        prior: "motion", which sees what the frames before look like; "temporal", which sees their codes; or "frames",
            under which frames have nothing in common.
        window: how many frames before it the prior of a frame sees.
        prior_channels: of the layers of the net of that prior.
        code_channels: numbers of a code at each position of the map of a frame.
        clip_channels: numbers, at each position, of one code of the whole clip; 0 for none.
        hidden: channels of the stages, each of which halves the frames.
        activation: nonlinearity.
        noise: the standard deviation of p(x | z), where pixels are in [0, 1].
        prior_epochs: passes by which the prior is fitted to rounded codes after training, at most; 0 leaves it out.
        prior_patience: evaluations, one a pass, without a better held-out bound before it stops.

    Raises:
        ValueError: data that are no clips, a clip of one frame, frames too small for the stages, or a size below one.

    >>> model = rate_distortion_video((5, 1, 12, 9), hidden=[4, 4], prior_channels=[4]).eval()
    >>> model.sample(3).shape
    torch.Size([3, 5, 1, 12, 9])
    """
    shape, widths, nonlinear = tuple(event_shape), tuple(hidden), nonlinearity(activation)
    if len(shape) != 4 or shape[0] < 2:
        raise ValueError(
            f"rate_distortion_video got rows of shape {shape}; it needs clips (frames, channels, height, width) of two "
            "frames at least. For pictures take rate-distortion."
        )
    if prior not in get_args(OverTime):
        raise ValueError(f"rate_distortion_video got prior={prior!r}; choose {', '.join(get_args(OverTime))}.")
    sizes = {f"prior_channels[{i}]": c for i, c in enumerate(prior_channels)}
    check_pictures(shape[1:], widths, code_channels=code_channels, window=window, **sizes)
    check_passes(prior_epochs, prior_patience)
    if clip_channels < 0:
        raise ValueError(f"rate_distortion_video got clip_channels={clip_channels} and needs 0 or more.")
    encoder = ToMap(shape[1:], widths, (code_channels,), nonlinear)
    decoder: nn.Module = FromMap(code_channels + clip_channels, widths[::-1], shape[1:], nonlinear)
    if clip_channels:
        decoder = WithClip(decoder)
    layers = {"channels": tuple(prior_channels), "activation": nonlinear, "content": clip_channels}
    motion = Motion(encoder, decoder, window=window, **layers) if prior == "motion" else None
    codes = (shape[0], code_channels, *encoder.out_shape[-2:])
    seen = 0 if prior == "frames" else window
    of_frames = FramesInTurn(codes, window=seen, motion=motion, **layers)
    likelihood, rounded = EachStep(Normal(decoder, noise), shape), UniformNoise(EachFrame(encoder, shape[0]))
    if not clip_channels:
        return LatentVariableModel(prior=of_frames, likelihood=likelihood, posterior=rounded)
    whole = OverFrames(ToMap(shape[1:], widths, (clip_channels,), nonlinear))
    return LatentVariableModel(
        prior=ClipAndFrames(of_frames, FactorizedCumulative(whole.out_shape)),
        likelihood=likelihood,
        posterior=UniformNoiseBeside([rounded, UniformNoise(whole)]),
    )


class EachFrame(nn.Module):
    """A net of pictures on every frame of clips.

    Arguments:
        net: from (..., *picture) to (..., *features, height, width), with any leading axes.
        num_frames: T.
    """

    takes_leading_axes: bool = True

    def __init__(self, net: ToMap, num_frames: int):
        super().__init__()
        self.net, self.out_shape = net, (num_frames, *net.out_shape)

    def forward(self, x: Tensor) -> Tensor:
        """Map clips (..., T, *picture) to (..., T, *features, height, width)."""
        return self.net(x)


class OverFrames(nn.Module):
    """The mean over the frames of clips of what a net of pictures says, of however many frames.

    Arguments:
        net: from (..., *picture) to (..., *features, height, width), with any leading axes.
    """

    takes_leading_axes: bool = True

    def __init__(self, net: ToMap):
        super().__init__()
        self.net, self.out_shape = net, net.out_shape

    def forward(self, x: Tensor) -> Tensor:
        """Map clips (..., T, *picture) to (..., *features, height, width)."""
        return self.net(x).mean(-1 - len(self.out_shape))


class WithClip(nn.Module):
    """A net of the codes of a frame and of its clip, side by side, for all frames.

    Arguments:
        net: from maps (..., code + clip, height, width).
    """

    takes_leading_axes: bool = True

    def __init__(self, net: FromMap):
        super().__init__()
        self.net, self.out_shape = net, net.out_shape

    @property
    def output_bias(self) -> Tensor:
        """The bias that a likelihood sets to the mean of the data."""
        return self.net.output_bias

    def forward(self, z: Tensor, w: Tensor) -> Tensor:
        """Map z (..., T, code, height, width) and w (..., clip, height, width) to (..., T, *picture)."""
        each = w[..., None, :, :, :].expand(*z.shape[:-3], *w.shape[-3:])
        return self.net(torch.cat([z, each], -3))


@torch.no_grad()
def predicted(model: LatentVariableModel, x: Tensor, num_given: int) -> Tensor:
    """Clips (N, T, C, H, W) with E[x_t | z_t] at draws z_t ~ p̃(z_t | the codes before) after the given frames.

    Arguments:
        model: in eval mode.
        x: clips, of which only the first frames are looked at.
        num_given: how many; the codes of these, and of a clip of these alone, are those of the encoder, and they come
            back decoded too.

    Raises:
        ValueError: no frame given, or none left, or a model of something else.
    """
    if not isinstance(model.prior, FramesInTurn | ClipAndFrames):
        raise ValueError("predict takes a model of clips; fit the recipe rate-distortion-video.")
    if not 0 < num_given < x.shape[1]:
        raise ValueError(f"predict got {num_given} given frames of clips of {x.shape[1]}; give 1 to {x.shape[1] - 1}.")
    z = model.infer(x[:, :num_given]).sample()
    return model.decode(model.prior().continued(z)).mean


RECIPE = Recipe(
    name="rate-distortion-video",
    cites=("habibian2019video", "han2019deep"),
    make=rate_distortion_video,
    defaults={"objective": "beta-elbo:beta=1.0", "num_samples": 1, "gradient": "pathwise", "batch_size": 32},
    start=require_weighted_rate,
    finish=FITS_ROUNDED,
    likelihood="normal",
)
