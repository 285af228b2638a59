"""The data of a training loop: rows by number, and the transform to a loss's tensors.

A loop asks `gather` for the raw rows of a batch, on the device, and hands them to `transform`,
which may run inside the compiled training step. The two sources differ in where rows are kept and give the same rows:

* `InMemory` keeps all rows on the device, so that a batch costs one `index_select`;
* `MemoryMapped` reads each batch from files. Rows are read in the order of the files, which is faster, and put back in
  the order of the request, so that both sources give the same bits.
"""

from collections.abc import Callable
from functools import cached_property
from threading import Thread
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Int64, Shaped
from torch import Tensor, nn

from lowerbound.data.blocks import exact_dtype
from lowerbound.data.dataset import Dataset
from lowerbound.data.on_disk import OnDisk
from lowerbound.data.sparse import Array
from lowerbound.data.stream import Stream, Units
from lowerbound.on_host import remember, to_device

__all__ = ["InMemory", "InUnits", "MemoryMapped", "OnData", "Source", "Stream", "source_for", "units_of"]


@runtime_checkable
class Source(Protocol):
    """Numbered rows, and the transform that turns them into the tensors a loss takes."""

    @property
    def transform(self) -> Callable[..., tuple[Tensor, ...]]:
        """From raw rows, as `gather` gives them, to the tensors a loss takes."""
        ...

    def __len__(self) -> int:
        """How many rows there are."""
        ...

    def gather(self, rows: Int64[Tensor, " batch"]) -> tuple[Tensor, ...]:
        """The raw rows with these numbers, on the device; `rows` is on the CPU."""
        ...


@runtime_checkable
class InUnits(Protocol):
    """A source whose rows are read in units."""

    @property
    def units(self) -> Units | None:
        """Which rows are read together, by the numbers of the source; None if any row can be read alone."""
        ...


def units_of(source: Source) -> Units | None:
    """The units in which a source reads its rows; None if any row can be read alone."""
    return source.units if isinstance(source, InUnits) else None


class OnData(nn.Module):
    """Apply a transform to the first tensor of a batch, the data; pass the others (labels) on.

    Arguments:
        transform: from raw rows to a tensor; None passes the data on too.
    """

    def __init__(self, transform: Callable[[Tensor], Tensor] | None = None) -> None:
        super().__init__()
        self.transform = transform

    def forward(self, raw: Tensor, *others: Tensor) -> tuple[Tensor, ...]:
        """The transformed data and the other tensors, as one tuple."""
        return (raw if self.transform is None else self.transform(raw), *others)


class InMemory:
    """Rows kept on the device.

    >>> source = InMemory(torch.arange(6).reshape(3, 2))
    >>> source.gather(torch.tensor([2, 0]))
    (tensor([[4, 5],
            [0, 1]]),)

    Arguments:
        tensors: one tensor, or several (data, labels, ...), each with one row per datum.
        transform: from the raw tensors of a batch to the tensors a loss takes; one tensor counts
            as a tuple of one, and `OnData` makes a transform of the data alone pass labels on.
            None passes every tensor on.
        device: where rows are kept.

    Raises:
        ValueError: if there is no tensor, or their numbers of rows differ.
    """

    def __init__(
        self,
        tensors: Tensor | tuple[Tensor, ...],
        transform: Callable[..., Tensor | tuple[Tensor, ...]] | None = None,
        *,
        device: torch.device | str = "cpu",
    ) -> None:
        tensors = (tensors,) if isinstance(tensors, Tensor) else tensors
        _check_lengths([len(tensor) for tensor in tensors])
        self.tensors = tuple(tensor.to(device) for tensor in tensors)
        self.transform = _on_device(transform, device)

    def __len__(self) -> int:
        return len(self.tensors[0])

    def gather(self, rows: Int64[Tensor, " batch"]) -> tuple[Shaped[Tensor, "batch *event"], ...]:
        """The raw rows with these numbers, on the device."""
        index = to_device(rows, self.tensors[0].device)
        found = tuple(tensor.index_select(0, index) for tensor in self.tensors)
        remember(found[0], lambda: self._on_host.index_select(0, rows))
        return found

    @cached_property
    def _on_host(self) -> Tensor:
        """The data, for models that compute by what a row holds."""
        return self.tensors[0].cpu()


class MemoryMapped:
    """Rows that are read from a file when they are needed.

    Arguments:
        array: the rows (N, *event_shape), usually an `OnDisk`; they are read in the type of
            `exact_dtype`, and the transform makes of them what a loss takes.
        transform: as for `InMemory`.
        rows: which rows of `array` count, and in which order they are numbered (that of the files, if these are read
            in units); all of them if None.
        others: tensors kept on the device that go with the data (labels), numbered as `rows`.
        device: where batches go; through pinned memory if it is a CUDA device.

    Raises:
        ValueError: if the numbers of rows differ or `rows` points outside of `array`.
    """

    def __init__(
        self,
        array: Array,
        transform: Callable[..., Tensor | tuple[Tensor, ...]] | None = None,
        *,
        rows: np.ndarray | None = None,
        others: tuple[Tensor, ...] = (),
        device: torch.device | str = "cpu",
    ) -> None:
        if rows is not None and len(rows) and not (rows.min() >= 0 and rows.max() < len(array)):
            raise ValueError(
                f"rows go from {rows.min()} to {rows.max()}; expected rows of an array of "
                f"{len(array)}: give rows that are there."
            )
        self.array = array
        self.rows = rows
        self.device = torch.device(device)
        _check_lengths([len(self), *(len(other) for other in others)])
        self.others = tuple(other.to(self.device) for other in others)
        self.transform = _on_device(transform, device)
        self._units = self._in_units()

    def __len__(self) -> int:
        return len(self.array) if self.rows is None else len(self.rows)

    def gather(self, rows: Int64[Tensor, " batch"]) -> tuple[Shaped[Tensor, "batch *event"], ...]:
        """The raw rows with these numbers, read from the file, on the device."""
        held = self._read(rows.numpy())
        x, index = held.to(self.device, non_blocking=True), to_device(rows, self.device)
        remember(x, held)
        return (x, *(other.index_select(0, index) for other in self.others))

    @property
    def units(self) -> Units | None:
        """See `InUnits`."""
        return None if self._units is None else self._units[0]

    def read_ahead(self, now: np.ndarray, then: np.ndarray) -> None:
        """Begin to read the units of these rows, those that are needed now first."""
        if self._units is not None and isinstance(self.array, OnDisk):
            rows = np.concatenate([now, then])
            places = rows if self.rows is None else self.rows[rows]
            of_files = np.searchsorted(self._units[1], places, side="right") - 1
            self.array.store.ahead(of_files.tolist())

    def stop_reading(self, thread: Thread) -> None:
        """See `ReadsAhead`."""
        if isinstance(self.array, OnDisk):
            self.array.store.stop(thread)

    def _in_units(self) -> tuple[Units, np.ndarray] | None:
        """The units by the numbers of this source, and their first rows by those of the files."""
        if not isinstance(self.array, OnDisk) or self.array.store.unit_bounds is None:
            return None
        bounds = self.array.store.unit_bounds
        own = bounds if self.rows is None else np.searchsorted(self.rows, bounds)
        kept = np.diff(own) > 0
        units = Units(np.append(own[:-1][kept], own[-1]), np.diff(bounds)[kept], self.array.store.rows_of_window)
        return units, bounds

    def _read(self, rows: np.ndarray) -> Tensor:
        places = rows if self.rows is None else self.rows[rows]
        order = np.argsort(places, kind="stable")
        dtype = torch.from_numpy(np.empty(0, exact_dtype(self.array.dtype))).dtype
        shape = (len(places), *self.array.shape[1:])
        x = torch.empty(shape, dtype=dtype, pin_memory=self.device.type == "cuda")
        x.numpy()[order] = self.array[places[order]]
        return x


def source_for(
    dataset: Dataset,
    transform: Callable[[Tensor], Tensor] | None = None,
    *,
    with_labels: bool = False,
    device: torch.device | str = "cpu",
) -> InMemory | MemoryMapped:
    """The source of a data set's training rows: from memory, or from its file if it stayed there.

    Arguments:
        dataset: the data.
        transform: applied to the raw rows (`Pixels`, `Standardize`, ...); None passes them on.
        with_labels: whether a batch is (x, y) rather than (x,).
        device: where batches go.

    Raises:
        ValueError: if labels are wanted and the data has none.
    """
    others: tuple[Tensor, ...] = ()
    if with_labels:
        if dataset.y_train is None:
            raise ValueError(f"{dataset.name} has no labels; expected some: name them when reading it.")
        others = (_tensor(dataset.y_train),)
    on_data = OnData(transform)
    if dataset.train_rows is None:
        return InMemory((_tensor(dataset.x_train), *others), on_data, device=device)
    return MemoryMapped(dataset.x_train, on_data, rows=dataset.train_rows, others=others, device=device)


def _tensor(x: Array) -> Tensor:
    """Shares memory with `x` where that is writable and contiguous, and copies it otherwise."""
    return torch.from_numpy(np.require(np.asarray(x), requirements=["C", "W"]))


class _AsTuple(nn.Module):
    """A transform whose result is always a tuple, so that a batch is never unpacked as rows."""

    def __init__(self, transform: Callable[..., Any]) -> None:
        super().__init__()
        self.transform = transform

    def forward(self, *raw: Tensor) -> tuple[Tensor, ...]:
        out = self.transform(*raw)
        return out if isinstance(out, tuple) else (out,)


def _on_device(transform: Callable[..., Tensor | tuple[Tensor, ...]] | None, device: torch.device | str) -> nn.Module:
    return (OnData() if transform is None else _AsTuple(transform)).to(device)


def _check_lengths(lengths: list[int]) -> None:
    if not lengths:
        raise ValueError("there is no tensor; expected at least one: give the data.")
    if len(set(lengths)) > 1:
        raise ValueError(f"tensors have {lengths} rows; expected as many rows in each: align them.")
