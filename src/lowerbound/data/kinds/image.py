"""Images: pixels that are levels 0 … K − 1, or intensities in [0, 1].

(N, H, W) are grey; (N, H, W, C) and (N, C, H, W) have one to four channels, and are stored with the channels first, as
convolutions want them. Whole numbers of any type are levels: 256 if any is above 1, else 2. A table holds images only
if the user says so and gives the shape of the image.

Under a likelihood of counts or classes a level k is the number k; under all others it is the intensity k / (K − 1).
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from lowerbound.data.blocks import row_blocks
from lowerbound.data.checks import check_features, check_finite, numbers_of
from lowerbound.data.contents import Contents, Given
from lowerbound.data.errors import DataError
from lowerbound.data.kinds.kind import Preparation
from lowerbound.data.on_disk import OnDisk
from lowerbound.data.overrides import Overrides
from lowerbound.data.remembered import remembered
from lowerbound.data.schema import Schema
from lowerbound.data.sparse import DENSE, IN_FILES, Array
from lowerbound.data.transform import Identity, Pixels, Transform
from lowerbound.support import LikelihoodFacts

if TYPE_CHECKING:
    from lowerbound.data.dataset import Dataset

__all__ = ["Image"]

_CHANNELS = (1, 2, 3, 4)
_LEVELS, _ROUNDING = 256, 1e-3


class Image:
    """Grey or colour images."""

    name = "image"

    def matches(self, contents: Contents, overrides: Overrides) -> bool:
        """Three axes, or four with one to four channels on the last or second one, and values that can be pixels."""
        x = contents.x
        if not isinstance(x, DENSE) or overrides.columns or x.dtype.kind not in "biuf":
            return False
        if not (x.ndim == 3 or (x.ndim == 4 and (x.shape[-1] in _CHANNELS or x.shape[1] in _CHANNELS))):
            return False
        return _levels(x) != "none"

    def infer(self, contents: Contents, overrides: Overrides) -> Schema:
        """Shape and levels of the pixels.

        Raises:
            DataError: values that are no pixels, or axes that are none of an image.
        """
        x = _array(contents.x, overrides.event_shape, contents.what)
        check_finite(x, contents.what)
        levels = _levels(x)
        if levels == "none":
            raise DataError(
                f"{contents.what} holds values that are no pixels; expected whole numbers 0 … 255 or numbers in "
                "[0, 1]: rescale them, or say kind='array'."
            )
        last = x.ndim == 4 and x.shape[-1] in _CHANNELS
        shape = (x.shape[-1], *x.shape[1:-1]) if last else x.shape[1:]
        return Schema(
            kind=self.name,
            event_shape=tuple(int(n) for n in shape),
            container=contents.container,
            dtype=str(x.dtype),
            pixel_levels=levels,
            intensity_levels=_LEVELS if levels is None and _are_bytes(x) else None,
            channels_last=last,
        )

    def rows(self, given: Given | Array, schema: Schema, what: str) -> Array:
        """Levels as uint8 or intensities as float32, channels first; rows on disk stay there.

        Raises:
            DataError: another shape, or values that the pixels of the schema cannot have.
        """
        shape = schema.event_shape
        as_given = (*shape[1:], shape[0]) if schema.channels_last else shape
        x = _array(given, as_given if _is_flat(given) else None, what)
        if schema.channels_last and x.shape[1:] == as_given:
            x = x.channels_first() if isinstance(x, OnDisk) else np.moveaxis(x, -1, 1)
        check_features(x, shape, what)
        check_finite(x, what)
        _check_levels(x, schema, what)
        if isinstance(x, IN_FILES):
            return x
        return np.ascontiguousarray(x, dtype=np.float32 if schema.pixel_levels is None else np.uint8)

    def transform(
        self,
        dataset: Dataset,
        facts: LikelihoodFacts,
        *,
        binarization: Preparation = "auto",
        standardize: bool | Literal["auto"] = "auto",
    ) -> Transform:
        """`Pixels`, but levels as they are for counts and classes."""
        if facts.domain in ("counts", "classes"):
            return Identity()
        if binarization == "auto":
            binarization = "dynamic" if facts.domain == "unit interval" and facts.discrete else "none"
        return Pixels(scale=dataset.pixel_scale, binarization=binarization)

    def default_likelihood(self, schema: Schema) -> str:
        """Bernoulli for grey; for colour bins of the levels, bytes or k / 255, or a density of other intensities."""
        colour, levels = len(schema.event_shape) == 3 and schema.event_shape[0] > 1, _levels_of(schema)
        if not colour or levels == 2:
            return "bernoulli"
        if levels is None:
            return "continuous-bernoulli"
        return f"discretized-logistic{'' if levels == _LEVELS else f':num_levels={levels}'}"

    def describe(self, schema: Schema) -> list[str]:
        """Shape and levels."""
        shape = " x ".join(str(n) for n in schema.event_shape)
        if schema.pixel_levels is None:
            grid = f": levels k / {schema.intensity_levels - 1}" if schema.intensity_levels else ""
            return [f"Images of {shape}, intensities in [0, 1]{grid}."]
        return [f"Images of {shape}, pixels of {schema.pixel_levels} levels."]

    def render(self, x: np.ndarray, schema: Schema) -> np.ndarray:
        """Levels as whole numbers of the user's type, or intensities clipped to [0, 1]; channels on the user's axis."""
        x = schema.laid_out(np.asarray(x))
        if schema.pixel_levels is None:
            return x.clip(0, 1).astype(schema.dtype)
        return np.round(x).clip(0, schema.pixel_levels - 1).astype(schema.dtype)


def _levels_of(schema: Schema) -> int | None:
    """How many values a pixel can have, whether it is stored as a level or as an intensity; None for any in [0, 1]."""
    return schema.intensity_levels if schema.pixel_levels is None else schema.pixel_levels


def _are_bytes(x: Array) -> bool:
    """Whether intensities are the levels k / 255, to the rounding of float32."""
    return remembered(x, "intensities are bytes", lambda: _all_bytes(x))


def _all_bytes(x: Array) -> bool:
    for _, block in row_blocks(x):
        k = block.astype(np.float64) * (_LEVELS - 1)
        if bool((np.abs(k - np.round(k)) > _ROUNDING).any()):
            return False
    return True


def _is_flat(given: Given | Array) -> bool:
    return not isinstance(given, DENSE) or given.ndim == 2


def _array(given: Any, event_shape: tuple[int, ...] | None, what: str) -> Any:
    """The images as an array of three or four axes."""
    x = numbers_of(given, what)
    if event_shape is not None and tuple(x.shape[1:]) != tuple(event_shape):
        if math.prod(event_shape) != math.prod(x.shape[1:]):
            raise DataError(f"{what} has shape {x.shape}; its rows cannot be images of {tuple(event_shape)}.")
        x = x.reshape(len(x), *event_shape)
    if x.ndim == 3 or (x.ndim == 4 and (x.shape[-1] in _CHANNELS or x.shape[1] in _CHANNELS)):
        return x
    raise DataError(
        f"{what} has shape {x.shape}; expected images (N, H, W) or (N, H, W, C) with 1 to 4 channels: reshape it, or "
        "give their shape by kind='image:event_shape=[H,W]'."
    )


def _levels(x: Array) -> int | Literal["none"] | None:
    """K if the values are whole numbers 0 … K − 1; None if they are intensities; "none" if they are no pixels."""
    return remembered(x, "levels of pixels", lambda: _found_levels(x))


def _found_levels(x: Array) -> int | Literal["none"] | None:
    high, whole = 0.0, True
    for _, block in row_blocks(x):
        low, top = float(block.min()), float(block.max())
        whole = whole and (block.dtype == np.uint8 or bool((block == np.round(block)).all()))
        high = max(high, top)
        if not (low >= 0 and high <= _LEVELS - 1) or (not whole and high > 1):
            return "none"
    return (_LEVELS if high > 1 else 2) if whole else None


def _check_levels(x: Array, schema: Schema, what: str) -> None:
    """Refuse levels where the fit had intensities, and the reverse: rows of 0 and 1 alone are no levels of many."""
    remembered(x, f"pixels of {schema.pixel_levels} levels", lambda: _pass_levels(x, schema, what))


def _pass_levels(x: Array, schema: Schema, what: str) -> None:
    highest = 1 if schema.pixel_levels is None else schema.pixel_levels - 1
    brightest = 0.0
    for _, block in row_blocks(x):
        brightest = max(brightest, float(block.max()))
        whole = schema.pixel_levels is None or bool((block == np.round(block)).all())
        if not whole or float(block.min()) < 0 or float(block.max()) > highest:
            expected = "numbers in [0, 1]" if schema.pixel_levels is None else f"whole numbers 0 … {highest}"
            raise DataError(
                f"{what} holds values from {float(block.min()):g} to {float(block.max()):g}; the model was fitted to "
                f"pixels that are {expected}: convert them first."
            )
    if brightest == 1 and highest > 1:
        raise DataError(
            f"{what} holds 0 and 1 alone; the model was fitted to levels 0 … {highest}, of which 1 is nearly black: "
            f"multiply by {highest}."
        )
