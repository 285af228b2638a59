"""What follows the first frames of clips (`Fitted.predict`)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from lowerbound.fitted import Fitted
from lowerbound.models.rate_distortion_video import predicted
from lowerbound.randomness import derive_seed, forked

__all__ = ["predict", "predicted_events"]

_PREDICT = 15  # a stream of random numbers beside those of other modules


def predict(fitted: Fitted, data: Any, given_frames: int, *, seed: int | None) -> Any:
    """Clips in the form of the user's data, as `Fitted.predict` says."""
    rows = fitted.rows(data)
    return fitted.render(predicted_events(fitted, fitted.events(rows.x, seed), given_frames, seed=seed))


def predicted_events(fitted: Fitted, x: Tensor, given_frames: int, *, seed: int | None) -> Tensor:
    """The same of clips as the likelihood scores them (N, T, C, H, W)."""
    with forked(torch.device("cpu"), derive_seed(fitted.seed if seed is None else seed, _PREDICT)):
        return fitted.finite(predicted(fitted.model, x, given_frames))
