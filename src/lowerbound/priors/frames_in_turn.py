"""p̃(z_1, …, z_T) = p̃(z_1) Π_t p̃(z_t | z_{t−1}, …, z_{t−k}): codes of the frames of a clip (Habibian et al. 2019,
arXiv:1908.05717, §3.2, whose prior is autoregressive too, over discrete codes).

The first frame has a distribution for each channel (`FactorizedCumulative`). Each further one has Gaussians, convolved
with the noise of the codes, whose μ and σ a convolution computes from the k frames before it:

    (μ_t, s_t) = (z_{t−1}, 0) + f(z_{t−1}, …, z_{t−k}, 1[t − 1 ≥ 1], …, 1[t − k ≥ 1])
    σ_t = 0.1 + softplus(s_t + c),   c = softplus⁻¹(1)

or `Motion` from what they look like. Given a code w of the whole clip, which f sees too, p̃(z_1 | w) is Gaussian as
well, and p̃(w) has a distribution for each channel (`ClipAndFrames`).

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

from lowerbound.chain import Chain, SampleShape
from lowerbound.hooks import Latents
from lowerbound.nets.softplus import positive
from lowerbound.priors.factorized_cumulative import FactorizedCumulative
from lowerbound.priors.hierarchical import Hierarchical
from lowerbound.priors.motion import Motion, convolutions
from lowerbound.priors.noisy_normal import NoisyNormalDistribution
from lowerbound.priors.whole_numbers import WholeNumbers
from lowerbound.protocols import Context

__all__ = ["ClipAndFrames", "FramesInTurn", "FramesInTurnDistribution"]

_MIN_SCALE = 0.1


class FramesInTurn(nn.Module):
    """A prior of the codes of T frames.

    Arguments:
        latent_shape: (T, C, height, width).
        window: k, the frames that each frame is given; 0 makes all frames independent and alike.
        channels: of the layers of f, 3×3 convolutions.
        activation: makes the nonlinearity.
        motion: in place of f; of the same window and content.
        content: numbers of w at each position; 0 where there is no w.

    Returns (when called, with w (*lead, content, height, width), or without a context):
        A `FramesInTurnDistribution` of batch shape `lead`, or (), and event shape `latent_shape`.
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
        content: int = 0,
    ):
        super().__init__()
        self.latent_shape = self.event_shape = tuple(latent_shape)
        codes = self.latent_shape[1]
        self.first = None if content else FactorizedCumulative(self.latent_shape[1:])
        self.first_given = convolutions([content, *channels, 2 * codes], activation) if content else None
        self.window, self.motion, self.content = window, motion, content
        sizes = [window * (codes + 1) + content, *channels, 2 * codes]
        self.net = convolutions(sizes, activation) if window and motion is None else None

    def forward(self, context: Context | None = None) -> FramesInTurnDistribution:
        """p̃(z | w); without w the context is not looked at."""
        return FramesInTurnDistribution(self, cast(Tensor, context) if self.content else None)

    def beginning(self, content: Tensor | None) -> WholeNumbers:
        """p̃(z_1 | w)."""
        if self.first is not None:
            return self.first()
        assert content is not None
        found = cast(nn.Module, self.first_given)(content.reshape(-1, *content.shape[-3:]))
        loc, raw = found.reshape(*content.shape[:-3], 2, *self.latent_shape[1:]).unbind(-4)
        return NoisyNormalDistribution(loc, positive(raw, _MIN_SCALE), 3)

    def given(
        self,
        before: Float[Tensor, "*lead window channel height width"],
        known: Tensor,
        pictures: Tensor | None = None,
        content: Tensor | None = None,
    ) -> Distribution:
        """p̃(z_t | z_{t−k}, …, z_{t−1}, w), the latest last; `known` (*lead, window) is 1 for frames that there are.

        Under `motion` `pictures` are what the frames look like, which is computed if it is not given.
        """
        if self.motion is not None:
            seen = self.motion.shown(before, content) if pictures is None else pictures
            loc, raw = self.motion(before, seen, known, content).unbind(-4)
            return NoisyNormalDistribution(loc, positive(raw, _MIN_SCALE), 3)
        lead, size = before.shape[:-4], before.shape[-2:]
        flags = known[..., None, None, None].expand(*lead, self.window, 1, *size)
        inputs = torch.cat([before, flags], -3).flatten(-4, -3)
        inputs = inputs if content is None else torch.cat([inputs, content], -3)
        found = cast(nn.Module, self.net)(inputs.reshape(-1, *inputs.shape[-3:]))
        loc, raw = found.reshape(*lead, 2, *before.shape[-3:]).unbind(-4)
        return NoisyNormalDistribution(before[..., -1, :, :, :] + loc, positive(raw, _MIN_SCALE), 3)


class FramesInTurnDistribution(Distribution):
    """Made by `FramesInTurn`.

    Arguments:
        module: p̃ of the first frame and the net of the others.
        content: w (*lead, content, height, width), if there is one.
    """

    arg_constraints: ClassVar[dict[str, Any]] = {}
    has_rsample = False

    def __init__(self, module: FramesInTurn, content: Tensor | None = None):
        self._module, self._content = module, content
        lead = torch.Size() if content is None else content.shape[:-3]
        super().__init__(lead, torch.Size(module.event_shape), validate_args=False)

    @property
    def support(self) -> constraints.Constraint:
        """The reals."""
        return constraints.independent(constraints.real, 4)  # type: ignore[return-value]

    def log_prob(self, value: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        """log p̃(z) of z (..., T, C, height, width), nats, all frames at once."""
        p, w = self._module, self._content
        first = p.beginning(w)
        if not p.window:
            return first.log_prob(value.movedim(-4, 0)).sum(0)
        num_frames, lead, before = value.shape[-4], value.shape[:-4], value[..., :-1, :, :, :]
        known = _known(num_frames, p.window, value)[1:].expand(*lead, -1, -1)
        each = None if w is None else w[..., None, :, :, :].expand(*lead, num_frames - 1, *w.shape[-3:])
        pictures = None if p.motion is None else _windows(p.motion.shown(before, w), p.window)
        rest = p.given(_windows(before, p.window), known, pictures, each).log_prob(value[..., 1:, :, :, :])
        return first.log_prob(value[..., 0, :, :, :]) + rest.sum(-1)

    def sample(self, sample_shape: SampleShape = ()) -> Tensor:
        """Draw whole numbers (*sample_shape, T, C, height, width), as constants."""
        first = torch.Size(sample_shape)
        lead = first + self.batch_shape
        return self.chosen_in_turn(lambda _, d: d.sample(lead[: len(lead) - len(d.batch_shape)]))

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
        p, w = self._module, self._content
        frames = [choose(0, p.beginning(w))]
        for t in range(1, self._module.latent_shape[0]):
            if not p.window:
                frames.append(choose(t, p.beginning(w)))
                continue
            zeros = [torch.zeros_like(frames[0])] * max(0, p.window - t)
            before = torch.stack([*zeros, *frames[max(0, t - p.window) :]], -4)
            known = _known(t + 1, p.window, before)[t].expand(*before.shape[:-4], -1)
            frames.append(choose(t, p.given(before, known, content=w)))
        return torch.stack(frames, -4)


class ClipAndFrames(Hierarchical):
    """p̃(z | w) p̃(w): one code w of the whole clip beside those of its frames (Han et al. 2018, arXiv:1810.02845).

    Arguments:
        frames: p̃(z | w).
        clip: p̃(w).

    Returns (when called, with or without a context):
        A chain over (z, w), w drawn first, each frame of z in turn.
    """

    cites: ClassVar[tuple[str, ...]] = ("han2019deep",)

    def __init__(self, frames: FramesInTurn, clip: FactorizedCumulative):
        super().__init__([frames, clip])

    def forward(self, context: Context | None = None) -> ClipAndFramesChain:
        """p̃(z, w); the context is not looked at."""
        frames, clip = self.conditionals
        return ClipAndFramesChain(lambda: clip(None), [frames], downward=True, layer_shapes=self.layer_shapes)


class ClipAndFramesChain(Chain):
    """Made by `ClipAndFrames`."""

    def parts_of(self, z: Latents) -> tuple[Tensor, ...]:
        """The codes of each frame, and that of the clip. See `hooks.ChosenInTurn`."""
        frames, clip = z
        return (*frames.unbind(-4), clip)

    def chosen_in_turn(self, choose: Callable[[int, Distribution], Tensor]) -> tuple[Tensor, ...]:
        """See `hooks.ChosenInTurn`."""
        (count, *_), _ = cast(list[tuple[int, ...]], self._shapes)
        clip = choose(count, self.first)
        of_frames = cast(FramesInTurnDistribution, self.following[0](clip))
        return of_frames.chosen_in_turn(choose), clip

    def continued(self, given: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        """Draw the frames after the given ones under the given code of the clip: z and w."""
        frames, clip = given
        return cast(FramesInTurnDistribution, self.following[0](clip)).continued(frames), clip


def _windows(frames: Tensor, window: int) -> Tensor:
    """Of frames (*lead, T − 1, *picture) those up to each, zeros before the first: (*lead, T − 1, window, *picture)."""
    padded = torch.cat([frames.new_zeros(*frames.shape[:-4], window - 1, *frames.shape[-3:]), frames], -4)
    return padded.unfold(-4, window, 1).movedim(-1, -4)


def _known(num_frames: int, window: int, like: Tensor) -> Tensor:
    """1 where frame t − k, …, t − 1 is there (frame, window), t from 0."""
    t = torch.arange(num_frames, device=like.device)[:, None]
    back = torch.arange(window, 0, -1, device=like.device)
    return (t - back >= 0).to(like.dtype)
