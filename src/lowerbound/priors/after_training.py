"""A prior in two stages: a plain one while the codes are learned, then a richer one that is fitted to them.

    first stage     p(k) = Π_n 1 / K, or N(z; 0, I)          second stage     p, fitted to the codes of the data

The codes of a model move while they are learned, and no prior of them is worth fitting before they stand (van den Oord
et al. 2017, arXiv:1711.00937, §3.3). Without the second stage the model has a bound and reconstructions, but its
samples would be decoded noise: they are refused. Real latents under a standard normal are scored and sampled in both
stages (Dai & Wipf 2019, arXiv:1903.05789).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.distributions import Distribution, Independent
from torch.types import _size

from lowerbound.distributions.one_hot import LinearOneHotCategorical
from lowerbound.nets.shapes import as_shape
from lowerbound.protocols import Conditional, Context

__all__ = ["AfterTraining"]


class AfterTraining(nn.Module):
    """A plain prior until the one that is fitted afterwards takes its place.

    Arguments:
        prior: with an `event_shape`; its parameters rest until the second stage.
        before: the prior of the first stage, over latents of the same shape; None for uniform codes (*sites, K).

    Returns (when called):
        What the prior returns, once `is_fitted`; until then what `before` returns, or independent uniform codes, which
        cannot be sampled.
    """

    cites: ClassVar[tuple[str, ...]] = ("vandenoord2017neural", "dai2019diagnosing")

    by_name = False
    fitted: Tensor

    def __init__(self, prior: nn.Module, before: nn.Module | None = None):
        super().__init__()
        self.prior = prior.requires_grad_(False)
        self.before = before
        self.event_shape = as_shape(prior.event_shape)  # type: ignore[arg-type]
        self.register_buffer("fitted", torch.zeros((), dtype=torch.bool))
        self._is_fitted = False  # the same, which does not wait for the device

    @property
    def is_fitted(self) -> bool:
        """Whether the second stage has come to its end."""
        return self._is_fitted

    @property
    def can_sample(self) -> bool:
        """Whether its draws are more than noise."""
        return self._is_fitted or self.before is not None

    def forward(self, context: Context | None = None) -> Distribution:
        """p(z | context)."""
        if self._is_fitted:
            return self.of_second_stage(context)
        if self.before is not None:
            return self.before(context)
        logits = torch.full(self.event_shape, -math.log(self.event_shape[-1]), device=self.fitted.device)
        dtype = next((p.dtype for p in self.prior.parameters()), logits.dtype)
        return _NotYet(LinearOneHotCategorical(logits=logits.to(dtype), validate_args=False), len(self.event_shape) - 1)

    def of_second_stage(self, context: Context | None = None) -> Distribution:
        """p(z | context) of the prior that is fitted."""
        prior: Conditional = self.prior
        return prior(context)

    @torch.no_grad()
    def conclude(self) -> None:
        """Use the fitted prior from now on."""
        self.fitted.fill_(True)
        self._is_fitted = True

    def _load_from_state_dict(self, state_dict: Mapping[str, Any], prefix: str, *args: Any) -> None:
        super()._load_from_state_dict(state_dict, prefix, *args)
        if f"{prefix}fitted" in state_dict:
            self._is_fitted = bool(state_dict[f"{prefix}fitted"])


class _NotYet(Independent):
    """Uniform codes, for scores alone."""

    def sample(self, sample_shape: _size = ()) -> Tensor:
        raise ValueError(
            "The codes of this model have no prior yet, so that samples would be noise; where the fit was stopped, let "
            "it come to its second stage (lowerbound fit --resume RUN); where prior_epochs was 0, fit again with more."
        )
