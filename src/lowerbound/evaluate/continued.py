"""Draws of the steps that follow the beginning of a series, from models that give each step given those before.

    state space           particles of z_t given x_≤t (`evaluate.filtering`), moved on by the transition, a step of each
    autoregressive rows   x_{t+1} ~ p(x_{t+1} | x_≤t), x_{t+2} ~ p(x_{t+2} | x_≤t, x_{t+1}), …

The posterior of a latent of whole series was trained on whole series and says nothing of a beginning, so that a model
with one is refused.
"""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from lowerbound.evaluate.filtering import particles_of
from lowerbound.models.directed import DirectedModel
from lowerbound.models.sequence_steps import ChainRule, EachStep
from lowerbound.priors.markov_chain import MarkovChain

__all__ = ["continued"]


def continued(
    model: Any,
    x: Float[Tensor, "series time channel"],
    lengths: Int[Tensor, "series"],
    num_steps: int,
    num_samples: int,
    called: str = "this model",
) -> Float[Tensor, "sample series step channel"]:
    """Draw the next steps of each series.

    Arguments:
        model: of the recipe state-space, or autoregressive-rows without a latent.
        x: series, NaN after the end of each.
        lengths: how many steps of each were observed.
        num_steps: H.
        num_samples: S draws of each.
        called: what messages call the model.

    Raises:
        ValueError: another model, or a chain rule over series with gaps.
    """
    parts = [node.conditional for node in model.order] if isinstance(model, DirectedModel) else []
    x = torch.nn.functional.pad(x, (0, 0, 0, max(0, int(lengths.max()) + num_steps - x.shape[1])), value=torch.nan)
    if len(parts) == 2 and isinstance(parts[0], MarkovChain) and isinstance(parts[1], EachStep):
        draws = torch.stack([p.sample() for p, _, _ in particles_of(model, x, num_samples)], 2)
    elif len(parts) == 1 and isinstance(parts[0], ChainRule):
        draws = _along_the_chain(parts[0], x, lengths, num_samples)
    else:
        raise ValueError(
            f"{called} cannot say what follows the beginning of a series; fit the recipe hidden-markov or "
            "mixture-of-factor-analysers, or state-space, or autoregressive-rows without a latent."
        )
    step = (lengths[:, None] + torch.arange(num_steps))[None, :, :, None]
    return draws.gather(2, step.expand(num_samples, -1, -1, draws.shape[-1]))


def _along_the_chain(
    rule: ChainRule, x: Tensor, lengths: Tensor, num_samples: int
) -> Float[Tensor, "sample series time channel"]:
    """Series as they were observed, and after that drawn one step after another."""
    known = torch.arange(x.shape[1]) < lengths[:, None]
    if bool((x.isnan().any(-1) & known).any()):
        raise ValueError(
            "series have gaps before their end, which the chain rule over steps does not take; fill them, or fit the "
            "recipe hidden-markov."
        )
    before, state, drawn = x.new_zeros(num_samples, *x[:, 0].shape), None, []
    for t, x_t in enumerate(x.nan_to_num().unbind(1)):
        h, state = rule.history.step(before, state)
        before = torch.where(known[:, t, None], x_t, rule.step(h).sample())
        drawn.append(before)
    return torch.stack(drawn, 2)
