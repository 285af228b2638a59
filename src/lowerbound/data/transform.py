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

`Standardize` maps each column of a table to mean 0 and standard deviation 1 over the training rows.
All draws come from torch's global generator, which the training loop seeds, forks and saves.
"""

from collections.abc import Sequence
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn

from lowerbound.data.blocks import row_blocks
from lowerbound.data.checks import check_array, check_columns_vary

__all__ = ["Binarization", "Identity", "Pixels", "Standardize"]

Binarization = Literal["dynamic", "threshold", "none"]


class Identity(nn.Module):
    """Rows as they are."""

    def forward(self, raw: Shaped[Tensor, "*shape"]) -> Shaped[Tensor, "*shape"]:
        """Return `raw`."""
        return raw

    def inverse(self, x: Shaped[Tensor, "*shape"]) -> Shaped[Tensor, "*shape"]:
        """Return `x`."""
        return x


class Pixels(nn.Module):
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

    def forward(self, raw: Shaped[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        """Intensities, or 0 and 1.

        Arguments:
            raw: pixels in [0, scale] (in [0, 1] without a scale), of any shape. Integers become
                torch's default floating-point type; floating-point pixels keep theirs.

        Returns:
            The pixels in [0, 1], of the same shape.

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
        x = raw if raw.is_floating_point() else raw.to(torch.get_default_dtype())
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


class Standardize(nn.Module):
    """x = (raw - mean) / scale, column by column; densities of x are in nats of the scaled columns.

    Arguments:
        mean: the mean of each column (D,).
        scale: the standard deviation of each column (D,), positive.

    Raises:
        ValueError: if a scale is not positive.
    """

    mean: Tensor
    scale: Tensor

    def __init__(self, mean: Float[Tensor, " column"], scale: Float[Tensor, " column"]) -> None:
        super().__init__()
        if not bool((scale > 0).all()):
            raise ValueError("a scale is not positive; expected one standard deviation > 0 per column.")
        self.register_buffer("mean", mean.clone())
        self.register_buffer("scale", scale.clone())

    @classmethod
    def fit(
        cls,
        x: np.ndarray,
        *,
        rows: np.ndarray | None = None,
        columns: Sequence[str] | None = None,
    ) -> "Standardize":
        """Measure mean and scale on training rows, in float64, a block at a time.

        Blocks are merged by the update of Chan, Golub and LeVeque (1983), equation 2.1, so that a
        memory map need not fit in memory.

        >>> Standardize.fit(np.array([[0.0], [2.0], [4.0]]))(torch.tensor([[2.0]]))
        tensor([[0.]])

        Arguments:
            x: a table (N, D).
            rows: the training rows, as in `Dataset.train_rows`; all of them if None.
            columns: the column names, for the message.

        Raises:
            DataError: if a value is not finite or a column is constant.
        """
        check_array(x, "the table to standardise", columns)
        check_columns_vary(x, "the table to standardise", columns=columns, rows=rows)
        mean, variance = _moments(x, rows)
        as_tensor = torch.as_tensor(np.stack([mean, np.sqrt(variance)]), dtype=torch.float32)
        return cls(as_tensor[0], as_tensor[1])

    def forward(self, raw: Shaped[Tensor, "*batch column"]) -> Float[Tensor, "*batch column"]:
        """Standardise rows."""
        return (raw - self.mean) / self.scale

    def inverse(self, x: Float[Tensor, "*batch column"]) -> Float[Tensor, "*batch column"]:
        """Back to the units of the table."""
        return x * self.scale + self.mean


def _moments(x: np.ndarray, rows: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    """Mean and (biased) variance of each column over the rows, float64."""
    count = 0
    mean = np.zeros(x.shape[1:])
    squares = np.zeros(x.shape[1:])
    for _, block in row_blocks(x, rows):
        n, block = len(block), block.astype(np.float64)
        gap = block.mean(axis=0) - mean
        squares += ((block - block.mean(axis=0)) ** 2).sum(axis=0) + gap**2 * (count * n / (count + n))
        mean += gap * (n / (count + n))
        count += n
    return mean, squares / count
