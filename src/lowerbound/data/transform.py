"""From raw rows to what a likelihood scores, inside the training step.

`Pixels` divides a raw pixel r by `scale` to the intensity x = r / scale in [0, 1], and then, for a
Bernoulli likelihood, makes it 0 or 1:

* dynamic: x' ~ Bernoulli(x), drawn anew at every visit (Burda, Grosse and Salakhutdinov 2016,
  arXiv:1509.00519, section 5; Salakhutdinov and Murray 2008). It is the protocol to compare with
  papers;
* threshold: x' = 1 if x > 1/2, else 0: the same at every visit;
* none: x' = x.

Integer pixels are drawn by comparing integers. With u uniform on {0, ..., scale - 1},
P(u < r) = r / scale, to the 32 bits of the generator: 0 is never drawn as 1, `scale` always is.

`Standardize` maps each column of a table to mean 0 and standard deviation 1 over the training rows, in float64: a
column of seconds since 1970 would lose its variation if it were rounded to float32 before its mean is subtracted.

Whatever the type of the raw rows, the result is in torch's default type, so that a model sees the same numbers from
bytes, integers and floating-point numbers. A transform that is deterministic may be applied once, before training
(`applied`), instead of at every step.

All draws come from torch's global generator, which the training loop seeds, forks and saves.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Bool, Float, Shaped
from torch import Tensor, nn

from lowerbound.data.blocks import row_blocks
from lowerbound.data.checks import check_array, check_columns_vary
from lowerbound.data.measured import moments, pooled_moments
from lowerbound.data.sparse import Array
from lowerbound.on_host import carried
from lowerbound.support import place_of

__all__ = [
    "Binarization",
    "Identity",
    "Pixels",
    "Standardize",
    "Transform",
    "applied",
    "describe_transform",
    "transform_of",
]

Binarization = Literal["dynamic", "threshold", "none"]

_VARIES_LITTLE = 0.01
_MOST_BINARY_SIZE = 40  # of a standard deviation whose square is taken in float32


class Transform(nn.Module, ABC):
    """From stored rows to what a likelihood scores, and back."""

    @property
    def deterministic(self) -> bool:
        """Whether a row gives the same result at every visit."""
        return True

    def log_scale_of(self, x: Shaped[Tensor, "row *event"]) -> Float[Tensor, "row"]:
        """log p of rows x as the likelihood scores them minus log p of them as they are stored, nats: the logarithm of
        the volume element, in which missing entries (NaN) have no part.
        """
        cells = self.log_scale_of_cells(x)
        return torch.where(x.isnan(), 0.0, cells).flatten(1).sum(1)

    def log_scale_of_cells(self, x: Shaped[Tensor, "row *event"]) -> Float[Tensor, "row *event"]:
        """The part of each entry in it, float64."""
        return torch.zeros_like(x, dtype=torch.float64)

    def check(self, raw: Shaped[Tensor, "*shape"], what: str, columns: Sequence[str] | None = None) -> None:
        """Refuse invalid stored rows that the transform would turn into valid values, which a likelihood would accept.

        Arguments:
            raw: stored rows.
            what: the name of the rows in messages.
            columns: names of the last axis.

        Raises:
            ValueError: giving such a value.
        """

    @abstractmethod
    def forward(self, raw: Shaped[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """What the likelihood scores."""

    @abstractmethod
    def inverse(self, x: Shaped[Tensor, "*shape"]) -> Shaped[Tensor, "*shape"]:
        """Back to the units of the stored rows."""


def applied(transform: Transform, x: Array, rows: np.ndarray | None = None) -> Float[Tensor, "row *event"]:
    """Transform all rows before training, on the CPU, a block at a time.

    Arguments:
        transform: a deterministic one gives the same values as in each step.
        x: stored rows (N, *event_shape).
        rows: which of them, in that order; all if None.
    """
    num_rows = len(x) if rows is None else len(rows)
    out = torch.empty((num_rows, *x.shape[1:]), dtype=torch.get_default_dtype())
    for start, block in row_blocks(x, rows):
        out[start : start + len(block)] = transform(torch.from_numpy(np.require(block, requirements=["C", "W"])))
    return out


class Identity(Transform):
    """Numbers as they are."""

    def forward(self, raw: Shaped[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """The same numbers in torch's default type."""
        return carried(raw, raw.to(torch.get_default_dtype()))

    def inverse(self, x: Shaped[Tensor, "*shape"]) -> Shaped[Tensor, "*shape"]:
        """Return `x`."""
        return x


class Pixels(Transform):
    """Raw pixels to intensities in [0, 1], and to 0 or 1 if asked.

    >>> Pixels(binarization="none")(torch.tensor([0, 51, 255], dtype=torch.uint8))
    tensor([0.0000, 0.2000, 1.0000])

    Arguments:
        scale: the raw value that stands for intensity 1, or None if raw pixels are intensities
            already (`Dataset.pixel_scale` says which).
        binarization: "dynamic", "threshold" or "none"; see the module's docstring.

    Raises:
        ValueError: if `scale` is not positive or `binarization` is not one of the three.
    """

    def __init__(self, *, scale: float | None = 255.0, binarization: Binarization = "dynamic") -> None:
        super().__init__()
        if scale is not None and not scale > 0:
            raise ValueError(f"scale is {scale}; expected a positive number: give 255 for bytes.")
        if binarization not in ("dynamic", "threshold", "none"):
            raise ValueError(
                f"binarization is '{binarization}'; expected 'dynamic', 'threshold' or 'none': choose one of them."
            )
        self.scale = scale
        self.binarization = binarization

    @property
    def deterministic(self) -> bool:
        """Whether pixels are not drawn at random."""
        return self.binarization != "dynamic"

    def check(self, raw: Shaped[Tensor, "*shape"], what: str, columns: Sequence[str] | None = None) -> None:
        """Refuse values outside [0, 1] before they become 0 or 1."""
        highest = 1.0 if self.scale is None else self.scale
        outside = raw[~((raw >= 0) & (raw <= highest))] if self.binarization != "none" else raw[:0]
        if outside.numel():
            raise ValueError(
                f"{what} holds {outside.flatten()[0].item():g}; binarization takes numbers in [0, {highest:g}]: give "
                "such values, or choose another likelihood."
            )

    def forward(self, raw: Shaped[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """Intensities, or 0 and 1.

        Arguments:
            raw: pixels in [0, scale] (in [0, 1] without a scale), of any shape.

        Returns:
            The pixels in [0, 1], of the same shape, in torch's default type.

        Raises:
            ValueError: if the pixels are integers and there is no scale.
        """
        if self.scale is None and not raw.is_floating_point():
            raise ValueError(
                f"pixels have type {raw.dtype} but scale is None; expected floating-point "
                "intensities in [0, 1]: give scale=255 for bytes."
            )
        if self.binarization == "dynamic":
            return self._draw(raw)
        x = self._intensity(raw)
        return (x > 0.5).to(x.dtype) if self.binarization == "threshold" else x

    def inverse(self, x: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """Intensities back to the units of raw pixels, unrounded; binarization is not undone."""
        return x if self.scale is None else x * self.scale

    def _intensity(self, raw: Tensor) -> Tensor:
        x = raw.to(torch.get_default_dtype())
        return x if self.scale is None else x / self.scale

    def _draw(self, raw: Tensor) -> Tensor:
        scale = self.scale
        if not raw.is_floating_point() and scale is not None and float(scale).is_integer():
            u = torch.randint(0, int(scale), raw.shape, dtype=torch.int32, device=raw.device)
            return (u < raw).to(torch.get_default_dtype())
        x = self._intensity(raw)
        return (torch.rand_like(x) < x).to(x.dtype)

    def extra_repr(self) -> str:
        """The choices, for `print`."""
        return f"scale={self.scale}, binarization={self.binarization!r}"


class Standardize(Transform):
    """x = (raw - mean) / scale, column by column; densities of x are in nats of the scaled columns.

    Of columns on the scale of their logarithm x = (log raw - mean) / scale; `inverse` of a mean of x is then the
    exponential of the mean logarithm, the median if x is symmetric.

    Arguments:
        mean: the mean of each column (D,), or one for all ().
        scale: the standard deviation of each column (D,), positive, or one for all ().
        logs: which columns (D,) are on the scale of their logarithm, of which `mean` and `scale` then are; None for
            none.

    Raises:
        ValueError: if a scale is not positive.
    """

    mean: Tensor
    scale: Tensor
    logs: Tensor | None

    def __init__(
        self, mean: Float[Tensor, "..."], scale: Float[Tensor, "..."], logs: Bool[Tensor, "column"] | None = None
    ) -> None:
        super().__init__()
        if not bool((scale > 0).all()):
            raise ValueError("a scale is not positive; expected one standard deviation > 0 per column.")
        self.register_buffer("mean", mean.double())
        self.register_buffer("scale", scale.double())
        self.register_buffer("logs", logs)

    @classmethod
    def fit(
        cls,
        x: Array,
        *,
        rows: np.ndarray | None = None,
        columns: Sequence[str] | None = None,
        logs: np.ndarray | None = None,
        scaled: bool = True,
    ) -> Standardize:
        """Measure mean and scale on training rows, in float64, a block at a time.

        >>> Standardize.fit(np.array([[0.0], [2.0], [4.0]]))(torch.tensor([[2.0]]))
        tensor([[0.]])

        Arguments:
            x: a table (N, D).
            rows: the training rows, as in `Dataset.train_rows`; all of them if None.
            columns: the column names, for the message.
            logs: which columns (D,), of positive numbers, are taken on the scale of their logarithm.
            scaled: False takes logarithms alone.

        Raises:
            DataError: if a value is not finite or a column is constant.
        """
        check_array(x, "the table to standardise", columns)
        check_columns_vary(x, "the table to standardise", columns=columns, rows=rows)
        known = None if logs is None else torch.from_numpy(logs)
        if not scaled:
            return cls(torch.zeros(x.shape[1]), torch.ones(x.shape[1]), known)
        mean, variance = moments(x, rows, logs)
        return cls(torch.from_numpy(mean), torch.from_numpy(np.sqrt(variance)), known)

    @classmethod
    def fit_together(cls, x: Array, *, rows: np.ndarray | None = None) -> Standardize:
        """One mean and one scale for all numbers of an array (N, *event_shape), those that are NaN apart.

        Raises:
            DataError: if a value is infinite or all are the same.
        """
        check_array(x, "the array to standardise", missing=True)
        mean, variance = pooled_moments(x, rows)
        return cls(torch.tensor(mean), torch.tensor(np.sqrt(variance)))

    @classmethod
    def within_range(
        cls, x: Array, centred: np.ndarray, scaled: np.ndarray, *, rows: np.ndarray | None = None
    ) -> Transform:
        """Change only columns whose values or squares float32 could not tell apart or hold.

        The mean of columns that vary by less than a hundredth of it is subtracted, and columns whose standard deviation
        is below 2⁻⁴⁰ or above 2⁴⁰ are divided by the power of two next to it. Densities are those of the table in all
        units up to `log_scale_of`.

        Arguments:
            x: a table (N, D), NaN where an entry is missing.
            centred: the columns (D,) that may be centred.
            scaled: the columns (D,) that may be divided.
            rows: the training rows.
        """
        mean, variance = moments(x, rows)
        deviation = np.sqrt(variance)
        far = centred & (deviation < _VARIES_LITTLE * np.abs(mean))
        binary_size = np.round(np.log2(np.where(deviation > 0, deviation, 1.0)))
        out = scaled & (np.abs(binary_size) > _MOST_BINARY_SIZE)
        if not (far | out).any():
            return Identity()
        scale = np.where(out, 2.0**binary_size, 1.0)
        centre = np.where(far, np.where(out, mean, np.round(mean)), 0.0)
        return cls(torch.from_numpy(centre), torch.from_numpy(scale))

    @property
    def keeps_units(self) -> bool:
        """Whether columns keep their units, but for powers of two (`within_range`)."""
        return bool((self.scale.frexp().mantissa == 0.5).all())

    def log_scale_of_cells(self, x: Shaped[Tensor, "row *event"]) -> Float[Tensor, "row *event"]:
        """log scale_d of each entry, and log raw_d besides on the scale of logarithms: log p(x) − log p(raw)."""
        found = self.scale.to(x.device).log().expand(x.shape)
        return found if self.logs is None else torch.where(self.logs.to(x.device), found + self._in_units(x), found)

    @property
    def log_rates(self) -> Float[Tensor, "column"]:
        """a (D,) of columns on the scale of their logarithm, whose raw values are proportional to e^{a x}; else 0."""
        return self.scale.new_zeros(1) if self.logs is None else torch.where(self.logs, self.scale, 0.0)

    def check(self, raw: Shaped[Tensor, "*shape"], what: str, columns: Sequence[str] | None = None) -> None:
        """Refuse a number that has no logarithm."""
        if self.logs is None or not bool((wrong := (raw <= 0) & self.logs).any()):
            return
        index = tuple(int(i) for i in wrong.nonzero()[0])
        raise ValueError(
            f"{what} holds {raw[index].item():g} at {place_of(index, columns)}, of which the model takes the "
            "logarithm; leave such rows out, or fit with log_columns that leave it out."
        )

    def forward(self, raw: Shaped[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """Standardise rows (*batch, D); values beyond float32 become infinite."""
        raw = raw.double()
        raw = raw if self.logs is None else torch.where(self.logs, raw.log(), raw)
        return ((raw - self.mean) / self.scale).to(torch.get_default_dtype())

    def inverse(self, x: Shaped[Tensor, "*shape"]) -> Shaped[Tensor, "*shape"]:
        """Back to the units of the table, float64."""
        found = self._in_units(x)
        return found if self.logs is None else torch.where(self.logs.to(x.device), found.exp(), found)

    def _in_units(self, x: Tensor) -> Tensor:
        """Without the exponential of logarithms."""
        return x.double() * self.scale.to(x.device) + self.mean.to(x.device)


def describe_transform(transform: nn.Module) -> dict[str, Any]:
    """What a file must hold of a transform besides its tensors."""
    if isinstance(transform, Pixels):
        return {"kind": "pixels", "scale": transform.scale, "binarization": transform.binarization}
    return {"kind": "standardize" if isinstance(transform, Standardize) else "identity"}


def transform_of(description: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> Transform:
    """Make a transform from the result of `describe_transform` and its `state_dict`.

    Raises:
        ValueError, KeyError, TypeError: they belong to no transform.
    """
    if not isinstance(description, Mapping):
        raise TypeError(f"a transform is described by names and values, not by {type(description).__name__}")
    options = {name: value for name, value in description.items() if name != "kind"}
    match description["kind"]:
        case "pixels":
            return Pixels(**options)
        case "standardize":
            return Standardize(tensors["mean"], tensors["scale"], tensors.get("logs"))
        case "identity":
            return Identity()
    raise ValueError(f"there is no transform of kind {description['kind']!r}")
