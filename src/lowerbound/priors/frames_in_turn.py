"""p̃(z_1, …, z_T) = p̃(z_1) Π_t p̃(z_t | z_{t−1}, …, z_{t−k}): codes of the frames of a clip (Habibian et al. 2019,
arXiv:1908.05717, §3.2, whose prior is autoregressive too, over discrete codes).

The first frame has a distribution for each channel (`FactorizedCumulative`). Each further one has Gaussians, convolved
with the noise of the codes, whose μ and σ a convolution computes from the k frames before it:

    (μ_t, s_t) = (z_{t−1}, 0) + f(z_{t−1}, …, z_{t−k}, 1[t − 1 ≥ 1], …, 1[t − k ≥ 1])
    σ_t = 0.1 + softplus(s_t + c),   c = softplus⁻¹(1)

or `Motion` from what they look like.
Frames before the first are zeros, and the last k inputs of f say which they are. All frames of a given z are scored at
once; draws, and files, take one after another. Without f every frame is like the first.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ClassVar, cast

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.distributions import Distribution, constraints

from lowerbound.chain import SampleShape
from lowerbound.nets.softplus import positive
from lowerbound.priors.factorized_cumulative import FactorizedCumulative
from lowerbound.priors.motion import Motion, convolutions
from lowerbound.priors.noisy_normal import NoisyNormalDistribution
from lowerbound.protocols import Context

__all__ = ["FramesInTurn", "FramesInTurnDistribution"]

_MIN_SCALE = 0.1


class FramesInTurn(nn.Module):
    """A prior of the codes of T frames.

    Arguments:
        latent_shape: (T, C, height, width).
        window: k, the frames that each frame is given; 0 makes all frames independent and alike.
        channels: of the layers of f, 3×3 convolutions.
        activation: makes the nonlinearity.
        motion: in place of f; of the same window.

    Returns (when called, with or without a context):
        A `FramesInTurnDistribution` of batch shape () and event shape `latent_shape`.
    """

    cites: ClassVar[tuple[str, ...]] = ("habibian2019video",)
    by_name: ClassVar[bool] = False  # made of other parts, in Python

    def __init__(
        self,
        latent_shape: tuple[int, int, int, int],
        *,
        window: int = 3,
        channels: Sequence[int] = (64, 64, 64),
        activation: Callable[[], nn.Module] = nn.ReLU,
        motion: Motion | None = None,
    ):
        super().__init__()
        self.latent_shape = self.event_shape = tuple(latent_shape)
        self.first, self.window, self.motion = FactorizedCumulative(self.latent_shape[1:]), window, motion
        codes = self.latent_shape[1]
        sizes = [window * (codes + 1), *channels, 2 * codes]
        self.net = convolutions(sizes, activation) if window and motion is None else None

    def forward(self, context: Context | None = None) -> FramesInTurnDistribution:
        """p̃(z); the context is not looked at."""
        return FramesInTurnDistribution(self)

    def given(
        self,
        before: Float[Tensor, "*lead window channel height width"],
        known: Tensor,
        pictures: Tensor | None = None,
    ) -> Distribution:
        """p̃(z_t | z_{t−k}, …, z_{t−1}), the latest last; `known` (*lead, window) is 1 for frames that there are.

        Under `motion` `pictures` are what the frames look like, which is computed if it is not given.
        """
        if self.motion is not None:
            loc, raw = self.motion(before, self.motion.shown(before) if pictures is None else pictures, known).unbind(
                -4
            )
            return NoisyNormalDistribution(loc, positive(raw, _MIN_SCALE), 3)
        lead, size = before.shape[:-4], before.shape[-2:]
        flags = known[..., None, None, None].expand(*lead, self.window, 1, *size)
        inputs = torch.cat([before, flags], -3).reshape(-1, self.window * (before.shape[-3] + 1), *size)
        loc, raw = cast(nn.Module, self.net)(inputs).reshape(*lead, 2, *before.shape[-3:]).unbind(-4)
        return NoisyNormalDistribution(before[..., -1, :, :, :] + loc, positive(raw, _MIN_SCALE), 3)


class FramesInTurnDistribution(Distribution):
    """Made by `FramesInTurn`.

    Arguments:
        module: p̃ of the first frame and the net of the others.
    """

    arg_constraints: ClassVar[dict[str, Any]] = {}
    has_rsample = False

    def __init__(self, module: FramesInTurn):
        self._module = module
        super().__init__(torch.Size(), torch.Size(module.event_shape), validate_args=False)

    @property
    def support(self) -> constraints.Constraint:
        """The reals."""
        return constraints.independent(constraints.real, 4)  # type: ignore[return-value]

    def log_prob(self, value: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        """log p̃(z) of z (..., T, C, height, width), nats, all frames at once."""
        p = self._module
        if not p.window:
            return p.first().log_prob(value).sum(-1)
        num_frames, lead, before = value.shape[-4], value.shape[:-4], value[..., :-1, :, :, :]
        known = _known(num_frames, p.window, value)[1:].expand(*lead, -1, -1)
        pictures = None if p.motion is None else _windows(p.motion.shown(before), p.window)
        rest = p.given(_windows(before, p.window), known, pictures).log_prob(value[..., 1:, :, :, :])
        return p.first().log_prob(value[..., 0, :, :, :]) + rest.sum(-1)

    def sample(self, sample_shape: SampleShape = ()) -> Tensor:
        """Draw whole numbers (*sample_shape, T, C, height, width), as constants."""
        lead = torch.Size(sample_shape)
        return self.chosen_in_turn(lambda _, d: d.sample(lead if not d.batch_shape else ()))

    def continued(self, given: Float[Tensor, "*lead frame channel height width"]) -> Tensor:
        """Draw the frames after the given ones: z (*lead, T, C, height, width), whose first frames are these."""
        lead, count = given.shape[:-4], given.shape[-4]

        def choose(t: int, d: Distribution) -> Tensor:
            if t < count:
                return given[..., t, :, :, :]
            return d.sample(lead if not d.batch_shape else torch.Size())

        return self.chosen_in_turn(choose)

    def parts_of(self, z: Tensor) -> tuple[Tensor, ...]:
        """The codes of each frame. See `hooks.ChosenInTurn`."""
        return z.unbind(-4)

    @torch.no_grad()
    def chosen_in_turn(self, choose: Callable[[int, Distribution], Tensor]) -> Tensor:
        """See `hooks.ChosenInTurn`; without a window the distribution of every frame has batch shape ()."""
        p, frames = self._module, [choose(0, self._module.first())]
        for t in range(1, self._module.latent_shape[0]):
            if not p.window:
                frames.append(choose(t, p.first()))
                continue
            zeros = [torch.zeros_like(frames[0])] * max(0, p.window - t)
            before = torch.stack([*zeros, *frames[max(0, t - p.window) :]], -4)
            known = _known(t + 1, p.window, before)[t].expand(*before.shape[:-4], -1)
            frames.append(choose(t, p.given(before, known)))
        return torch.stack(frames, -4)


def _windows(frames: Tensor, window: int) -> Tensor:
    """Of frames (*lead, T − 1, *picture) those up to each, zeros before the first: (*lead, T − 1, window, *picture)."""
    padded = torch.cat([frames.new_zeros(*frames.shape[:-4], window - 1, *frames.shape[-3:]), frames], -4)
    return padded.unfold(-4, window, 1).movedim(-1, -4)


def _known(num_frames: int, window: int, like: Tensor) -> Tensor:
    """1 where frame t − k, …, t − 1 is there (frame, window), t from 0."""
    t = torch.arange(num_frames, device=like.device)[:, None]
    back = torch.arange(window, 0, -1, device=like.device)
    return (t - back >= 0).to(like.dtype)
