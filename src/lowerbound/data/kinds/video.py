"""Clips: arrays (N, T, C, H, W) or (N, T, H, W, C) of pixels, all of the same number of frames.

A frame is a picture, and is looked at as `Image` does: levels or intensities, and on which axis its channels are.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from lowerbound.data.contents import Contents, Given
from lowerbound.data.errors import DataError
from lowerbound.data.kinds.image import Image
from lowerbound.data.kinds.kind import Preparation
from lowerbound.data.overrides import Overrides
from lowerbound.data.schema import Schema
from lowerbound.data.sparse import Array
from lowerbound.data.transform import Transform
from lowerbound.support import LikelihoodFacts

if TYPE_CHECKING:
    from lowerbound.data.dataset import Dataset

__all__ = ["Video", "frames_of"]

_IMAGE = Image()


class Video:
    """Clips of grey or colour frames."""

    name = "video"

    def matches(self, contents: Contents, overrides: Overrides) -> bool:
        """Five axes whose frames are pictures."""
        x = contents.x
        if getattr(x, "ndim", 0) != 5 or overrides.columns:
            return False
        return _IMAGE.matches(replace(contents, x=frames_of(x), x_test=None, y=None), overrides)

    def infer(self, contents: Contents, overrides: Overrides) -> Schema:
        """Frames, and shape and levels of the pixels.

        Raises:
            DataError: other axes, a clip of one frame, or values that are no pixels.
        """
        x, what = contents.x, contents.what
        if getattr(x, "ndim", 0) != 5:
            raise DataError(
                f"{what} has shape {getattr(x, 'shape', None)}; expected clips (N, frames, channels, height, width) or "
                "(N, frames, height, width, channels): reshape it."
            )
        if x.shape[1] < 2:
            raise DataError(f"{what} holds clips of one frame; give two frames at least, or pictures (N, H, W).")
        of_frame = _IMAGE.infer(replace(contents, x=frames_of(x), x_test=None, y=None), overrides)
        return replace(of_frame, kind=self.name, event_shape=(x.shape[1], *of_frame.event_shape))

    def rows(self, given: Given | Array, schema: Schema, what: str) -> Array:
        """Levels as uint8 or intensities as float32, (N, T, C, H, W).

        Raises:
            DataError: clips of another length or shape, or values that the pixels of the schema cannot have.
        """
        x: Any = given
        length = schema.event_shape[0]
        if getattr(x, "ndim", 0) != 5:
            raise DataError(f"{what} has shape {getattr(x, 'shape', None)}; expected clips of five axes.")
        if x.shape[1] != length:
            raise DataError(f"{what} holds clips of {x.shape[1]} frames and the model is of {length}: cut them.")
        frames = _IMAGE.rows(frames_of(x), _of_frame(schema), what)
        return np.asarray(frames).reshape(-1, *schema.event_shape)

    def transform(
        self,
        dataset: Dataset,
        facts: LikelihoodFacts,
        *,
        binarization: Preparation = "auto",
        standardize: bool | Literal["auto"] = "auto",
    ) -> Transform:
        """That of pictures."""
        return _IMAGE.transform(dataset, facts, binarization=binarization, standardize=standardize)

    def default_likelihood(self, schema: Schema) -> str:
        """That of pictures."""
        return _IMAGE.default_likelihood(_of_frame(schema))

    def describe(self, schema: Schema) -> list[str]:
        """How many frames, and what they are."""
        return [f"Clips of {schema.event_shape[0]} frames.", *_IMAGE.describe(_of_frame(schema))]

    def render(self, x: np.ndarray, schema: Schema) -> np.ndarray:
        """Clips in the type and with the channels of the user's."""
        x = np.asarray(x)
        frames = _IMAGE.render(x.reshape(-1, *schema.event_shape[1:]), _of_frame(schema))
        return frames.reshape(len(x), schema.event_shape[0], *frames.shape[1:])


def frames_of(x: Any) -> np.ndarray:
    """The frames of all clips, one after another."""
    x = np.asarray(x)
    return x.reshape(-1, *x.shape[2:])


def _of_frame(schema: Schema) -> Schema:
    return replace(schema, kind="image", event_shape=schema.event_shape[1:])
