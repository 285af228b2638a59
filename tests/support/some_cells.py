"""Cells with planted types, batches and genes of different expression, as an object with what an AnnData has."""

from __future__ import annotations

import types
from typing import Any

import numpy as np
import pandas

NUM_GENES = 40


def planted_cells(
    num_cells: int = 300, seed: int = 0, *, batch_effect: float = 0.8, num_changed: int = 10, log2_change: float = 2.0
) -> tuple[Any, np.ndarray]:
    """Negative binomial counts of two types in two batches, independent of each other; which genes differ by type.

    Half of the changed genes are up in type "T" and half are down. The sizes of libraries are log-normal.
    """
    rng = np.random.default_rng(seed)
    batch, kind = rng.integers(0, 2, num_cells), rng.integers(0, 2, num_cells)
    changed = np.arange(NUM_GENES) < num_changed
    change = np.where(changed, np.where(np.arange(NUM_GENES) % 2, 1, -1) * log2_change * np.log(2) / 2, 0)
    log_share = (rng.normal(0, 0.5, NUM_GENES) + np.where(kind, 1, -1)[:, None] * change) + (
        np.where(batch, 1, -1)[:, None] * batch_effect * rng.normal(0, 1, NUM_GENES) / 2
    )
    share = np.exp(log_share) / np.exp(log_share).sum(1, keepdims=True)
    mean = np.exp(rng.normal(6.5, 0.4, num_cells))[:, None] * share
    x = rng.poisson(rng.gamma(8, mean / 8)).astype(np.float32)
    obs = pandas.DataFrame(
        {"batch": np.array(["a", "b"])[batch], "type": np.array(["B", "T"])[kind], "age": rng.normal(40, 9, num_cells)},
        index=[f"cell{i}" for i in range(num_cells)],
    )
    names = pandas.Index([f"gene{i}" for i in range(NUM_GENES)])
    return types.SimpleNamespace(X=x, layers={}, raw=None, obs=obs, var_names=names, obsm={}), changed


def write_h5ad(path: Any, cells: Any) -> Any:
    """What anndata 0.12 writes of it, as far as it is read here."""
    import h5py

    with h5py.File(path, "w") as file:
        file["X"] = cells.X
        for table, names in (("obs", cells.obs.index), ("var", cells.var_names)):
            file[f"{table}/_index"] = list(names)
            file[table].attrs["_index"] = "_index"
        for name, column in cells.obs.items():
            file[f"obs/{name}"] = column.to_numpy() if column.dtype.kind == "f" else list(column)
    return path
