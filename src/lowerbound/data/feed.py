"""The data that `train` accepts, and the batches that it makes from them.

    tensors, numpy arrays, tuples of them    rows by number, in memory (`InMemory`)
    a `Source`                               rows by number
    a map-style `torch.utils.data.Dataset`   rows by number, collated by torch (`OfDataset`)
    a `DataLoader`, any iterable of batches  batches as they come (`Batches`)

Rows with numbers give the same batches in every run, so that training resumes exactly. Batches of a loader cannot be
requested again: `Batches.resumable` is False, and the loop keeps no checkpoint of such a run.

An item of a data set or a batch of a loader is often (x, y). Only x is data: the loss gets as many tensors as it has
arguments without a default, or `num_tensors` of them (2 for a model of x given y).
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Iterator
from typing import Any, TypeAlias

import numpy as np
import torch
from jaxtyping import Int64
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, IterableDataset, default_collate

from lowerbound.data.ahead import ReadAhead, ReadsAhead
from lowerbound.data.numbered import Feed, Numbered
from lowerbound.data.source import InMemory, OnData, Source
from lowerbound.on_host import remember

__all__ = ["Batches", "Data", "Feed", "Numbered", "OfDataset", "feed_of", "source_of"]

Data: TypeAlias = Any
"""Tensors, arrays, tuples of them, a `Source`, a map-style data set, a loader, or an iterable of batches."""


class OfDataset:
    """Rows of a map-style data set of torch, collated as a `DataLoader` does.

    >>> from torch.utils.data import TensorDataset
    >>> OfDataset(TensorDataset(torch.arange(6).reshape(3, 2), torch.ones(3))).gather(torch.tensor([2, 0]))
    (tensor([[4., 5.],
            [0., 1.]]),)

    Arguments:
        dataset: has `__len__` and `__getitem__`.
        num_tensors: how many tensors of an item the loss takes; the first is the data.
        device: where batches go.
        dtype: of the data; None leaves floating-point numbers as they are.
    """

    def __init__(
        self,
        dataset: Dataset[Any],
        num_tensors: int = 1,
        *,
        device: torch.device | str = "cpu",
        dtype: torch.dtype | None = None,
    ):
        self.dataset, self.num_tensors, self.device, self.dtype = dataset, num_tensors, torch.device(device), dtype
        self.transform = OnData()

    def __len__(self) -> int:
        return len(self.dataset)  # type: ignore[arg-type]

    def gather(self, rows: Int64[Tensor, " batch"]) -> tuple[Tensor, ...]:
        """The rows with these numbers, on the device."""
        items = default_collate([self.dataset[i] for i in rows.tolist()])
        return _tensors(items, self.num_tensors, self.device, self.dtype)


class Batches:
    """The batches of a loader, or of any other iterable, which is iterated over repeatedly.

    Arguments:
        batches: yields tensors or arrays (B, *event), or tuples of them; every pass over it starts with `iter`.
        num_tensors: how many tensors of a batch the loss takes; the first is the data.
        device: where batches go.
        dtype: of the data; None leaves floating-point numbers as they are.

    Attributes:
        resumable: False: a batch cannot be requested again, so that a run cannot be resumed exactly.

    Raises:
        ValueError: (when asked for a batch) no batch, or no second pass.
    """

    resumable = False

    def __init__(
        self,
        batches: Iterable[Any],
        num_tensors: int = 1,
        *,
        device: torch.device | str = "cpu",
        dtype: torch.dtype | None = None,
    ):
        self.batches, self.num_tensors, self.device, self.dtype = batches, num_tensors, torch.device(device), dtype
        self.transform = OnData()
        self._iterator: Iterator[Any] | None = None
        self._current: tuple[int, tuple[Tensor, ...]] | None = None
        self._passes = 0

    def batch(self, step: int) -> tuple[Tensor, ...]:
        """See `Feed`: the next batch, or the last one again if its step is requested again."""
        if self._current is None or self._current[0] != step:
            self._current = step, _tensors(self._next(), self.num_tensors, self.device, self.dtype)
        return self._current[1]

    def rows(self, step: int) -> None:
        """See `Feed`: the rows have no numbers."""
        return

    def epoch_of(self, step: int) -> float:
        """See `Feed`: exact if the number of batches is known, otherwise the number of completed passes."""
        try:
            return step / len(self.batches)  # type: ignore[arg-type]
        except TypeError:
            return float(max(self._passes - 1, 0))

    def _next(self) -> Any:
        for _ in range(2):
            is_new = self._iterator is None
            if self._iterator is None:
                self._iterator = iter(self.batches)
                self._passes += 1
            try:
                return next(self._iterator)
            except StopIteration:
                self._iterator = None
                if is_new:
                    break
        raise ValueError(
            f"{type(self.batches).__name__} gave no batch on pass {self._passes}; give at least one batch, and a "
            "loader or a list rather than a generator, which ends after one pass."
        )


def source_of(data: Data, loss: nn.Module, device: torch.device | str) -> Source:
    """Rows by number: of a source, of tensors or arrays, or of a map-style data set.

    Raises:
        ValueError: batches without row numbers, or other objects.
    """
    if isinstance(data, Source):
        return data
    if isinstance(data, Tensor | np.ndarray):
        data = (data,)
    if isinstance(data, tuple) and data and all(isinstance(part, Tensor | np.ndarray) for part in data):
        return InMemory(_tensors(data, len(data), "cpu", _dtype_of(loss)), device=device)
    if isinstance(data, Dataset) and not isinstance(data, IterableDataset):
        return OfDataset(data, _num_required(loss), device=device, dtype=_dtype_of(loss))
    raise ValueError(
        f"got {type(data).__name__} where rows must have numbers; give tensors, numpy arrays (frame.to_numpy()), a "
        "tuple of them, a map-style Dataset or a Source."
    )


def feed_of(
    data: Data,
    loss: nn.Module,
    batch_size: int | None,
    seed: int,
    *,
    rank: int = 0,
    world_size: int = 1,
    device: torch.device | str = "cpu",
) -> Feed:
    """The batches that a loss is trained on.

    Raises:
        ValueError: other objects, a loader together with a batch size, or a loader for several processes.
    """
    comes_in_batches = isinstance(data, DataLoader | IterableDataset | Batches) or (
        (
            isinstance(data, Iterable)
            and not isinstance(data, Source | Tensor | np.ndarray | tuple | Dataset | str | dict)
        )
        and not hasattr(data, "iloc")
    )
    if not comes_in_batches:
        source = source_of(data, loss, device)
        kind = ReadAhead if isinstance(source, ReadsAhead) else Numbered
        return kind(source, 128 if batch_size is None else batch_size, seed, rank=rank, world_size=world_size)
    if batch_size is not None:
        raise ValueError(
            f"train got batch_size={batch_size} and a {type(data).__name__}, which makes batches itself; leave it out."
        )
    if world_size > 1:
        raise ValueError(
            f"{world_size} processes share rows by their numbers, which a {type(data).__name__} has not; give its "
            "data set, tensors or a Source."
        )
    return (
        data if isinstance(data, Batches) else Batches(data, _num_required(loss), device=device, dtype=_dtype_of(loss))
    )


def _num_required(loss: nn.Module) -> int:
    """How many tensors a loss must be given: its arguments without a default; at least the data."""
    parameters = inspect.signature(loss.forward).parameters.values()
    positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return max(1, sum(p.kind in positional and p.default is inspect.Parameter.empty for p in parameters))


def _dtype_of(loss: nn.Module) -> torch.dtype:
    """The numbers that a loss computes with: those of its parameters."""
    return next((p.dtype for p in loss.parameters() if p.is_floating_point()), torch.get_default_dtype())


def _tensors(
    batch: Any, count: int, device: torch.device | str, dtype: torch.dtype | None = None
) -> tuple[Tensor, ...]:
    """The first tensors of a batch, on the device; data become numbers of a type (None: torch's default, unless they
    are floating-point numbers already), labels stay whole.
    """
    parts = tuple(batch) if isinstance(batch, tuple | list) else (batch,)
    if not all(isinstance(part, Tensor | np.ndarray) for part in parts[:count]) or len(parts) < count:
        kinds = ", ".join(type(part).__name__ for part in parts[:4])
        raise ValueError(
            f"a batch holds {kinds} and the loss takes {count} tensors of it; give tensors or arrays (rows, *event), "
            "or a tuple of them."
        )
    tensors = [part if isinstance(part, Tensor) else _of_array(part, dtype) for part in parts[:count]]
    if dtype is not None or not tensors[0].is_floating_point():
        tensors[0] = tensors[0].to(dtype or torch.get_default_dtype())
    found = tuple(tensor.to(device, non_blocking=True) for tensor in tensors)
    if tensors[0].device.type == "cpu":  # a loader may have sent it already, and then nothing is known of it
        remember(found[0], tensors[0])
    return found


def _of_array(array: np.ndarray, dtype: torch.dtype | None) -> Tensor:
    tensor = torch.from_numpy(np.require(array, requirements=["C", "W"]))
    return tensor.to(dtype or torch.get_default_dtype()) if tensor.is_floating_point() else tensor
