"""Counts of cells by the recipe `cells` against what a biologist would have tried first, on pbmc68k and planted data.

pbmc68k (reduced: 700 cells, 765 genes; in the folder LOWERBOUND_DATA): one cell in five is held out, by the seed.

    score       log p(x | l) of held-out cells, nats, the size l of the library given to every model: L_1000 of the
                autoencoders; independent negative binomials given l in closed steps.
    prediction  the counts of a held-out cell are split in two by a fair coin for each molecule. From one half a method
                says the shares ρ of the genes; the score is Σ_g b_g log ρ_g / Σ_g b_g of the other half b, nats for a
                molecule. ρ is mixed with 1 % of the shares of the training cells, for every method. NMF is of counts
                with the Kullback–Leibler loss, PCA of log(1 + 10,000 x / l); 10 and 20 components. Given its own
                counts, the rates of a cell are E[λ | z, x] = μ (r + x) / (r + μ) under its negative binomials.

scvi-tools (`pip install scvi-tools`, in an environment of its own) takes part where it can be imported: as many epochs
on as many rows, the same widths, one thread, `get_marginal_ll` of 1000 samples.

planted: negative binomials of 300 genes in 1,500 cells of two types in two batches, 60 genes changed by log2 of ±0.5,
±1 or ±2. Of the list of differential genes (|log2 fold change| > 0.25, level 5 %) the fraction that is false, and the
fraction of the changed genes in it; how neighbours mix over batches (1 is chance) and over types (0 is apart), in the
latents and in ten principal components.

python benchmarks/cells.py [--seeds 3] [--only NAME …]
"""

from __future__ import annotations

import argparse
import json
import time
import types
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from sklearn.decomposition import NMF, PCA
from sklearn.neighbors import NearestNeighbors
from timing import RESULTS, machine

import lowerbound as lb
from lowerbound.data.download import needed
from lowerbound.evaluate.baselines import negative_binomials_given_library

warnings.filterwarnings("ignore")
STEPS, BATCH, MIXED = 1500, 128, 0.01
CELLS = {
    "cells": {},
    "cells, zero-inflated": {"likelihood": "zero-inflated-negative-binomial"},
    "cells, Poisson": {"likelihood": "poisson"},
    "cells, dispersion by cell": {"dispersion": "gene-cell"},
}


def main() -> None:
    contenders = [
        *CELLS,
        "cells, given its own counts",
        "scvi-tools",
        "scvi-tools, zero-inflated",
        "independent",
        "NMF",
        "PCA",
        "planted",
    ]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--only", nargs="+", default=contenders, choices=contenders)
    parser.add_argument("--out", type=Path, default=RESULTS / "cells.json")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    saved = json.loads(arguments.out.read_text()) if arguments.out.exists() else {"runs": {}}
    for name in arguments.only:
        for seed in range(arguments.seeds):
            key = f"{name} {seed}"
            if key in saved["runs"]:
                continue
            found = planted(seed) if name == "planted" else on_pbmc(name, seed)
            if found is None:
                print(f"{name} cannot be imported and is left out")
                break
            saved["runs"][key] = found
            print(key, found, flush=True)
            content = {"protocol": __doc__, "machine": machine(), **saved}
            arguments.out.write_text(json.dumps(content, indent=1) + "\n")


def on_pbmc(name: str, seed: int) -> dict[str, float] | None:
    """The scores of one method on one split."""
    with np.load(needed("pbmc68k_reduced_counts.npz")) as file:
        x = file["counts"].astype(np.float32)
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(x))
    train, test = x[order[len(x) // 5 :]], x[order[: len(x) // 5]]
    half = rng.binomial(test.astype(int), 0.5).astype(np.float32)
    started = time.perf_counter()
    made = METHODS[name](train, seed)
    if made is None:
        return None
    seconds, (score, shares) = time.perf_counter() - started, made
    mean = train.sum(0) + 0.5
    parts = [_prediction(rho, mean / mean.sum(), test - half) for rho in shares(half)]
    return {
        "seconds": seconds,
        **({} if score is None else _mean("log_p", score(test))),
        **max(parts, key=lambda part: part["prediction"]),
    }


Made = tuple[Callable[[np.ndarray], np.ndarray] | None, Callable[[np.ndarray], list[np.ndarray]]]


def _cells(train: np.ndarray, seed: int, *, own_counts: bool = False, **options: Any) -> Made:
    settings = {"steps": STEPS, "batch_size": BATCH, "seed": seed, "device": "cpu", **options}
    fitted = lb.fit(_annotated(train), "cells", hold_out=False, **settings)
    return (
        lambda x: fitted.score(_annotated(x), num_samples=1000),
        lambda x: [fitted.normalized_expression(_annotated(x), library_size=1, own_counts=own_counts).to_numpy()],
    )


def _scvi(train: np.ndarray, seed: int, *, epochs: int | None = None, **options: Any) -> Made | None:
    try:
        import anndata
        import scvi
    except ImportError:
        return None
    scvi.settings.seed = seed
    scvi.settings.verbosity = 40

    def prepared(x: np.ndarray) -> Any:
        made = anndata.AnnData(x, obs=pd.DataFrame(index=[f"c{i}" for i in range(len(x))]))
        scvi.model.SCVI.setup_anndata(made)
        return made

    model = scvi.model.SCVI(prepared(train), n_hidden=128, n_layers=1, n_latent=10, **options)
    epochs = epochs or round(STEPS / np.ceil(0.9 * len(train) / BATCH))
    quiet = {"enable_progress_bar": False, "logger": False, "enable_checkpointing": False}
    model.train(max_epochs=epochs, batch_size=BATCH, train_size=0.9, accelerator="cpu", **quiet)

    def score(x: np.ndarray) -> np.ndarray:
        found = model.get_marginal_ll(prepared(x), n_mc_samples=1000, n_mc_samples_per_pass=50, return_mean=False)
        return np.asarray(found)

    return score, lambda x: [np.asarray(model.get_normalized_expression(prepared(x), n_samples=25))]


def _independent(train: np.ndarray, seed: int) -> Made:
    del seed
    mean = train.sum(0) + 0.5
    return (
        lambda x: negative_binomials_given_library(torch.from_numpy(train), torch.from_numpy(x)).numpy(),
        lambda x: [np.tile(mean / mean.sum(), (len(x), 1))],
    )


def _nmf(train: np.ndarray, seed: int) -> Made:
    made = [NMF(k, solver="mu", beta_loss="kullback-leibler", max_iter=500, random_state=seed) for k in (10, 20)]
    for one in made:
        one.fit(train)
    return None, lambda x: [one.transform(x) @ one.components_ for one in made]


def _pca(train: np.ndarray, seed: int) -> Made:
    made = [PCA(k, random_state=seed).fit(_logs(train)) for k in (10, 20)]
    return None, lambda x: [np.expm1(one.inverse_transform(one.transform(_logs(x)))).clip(0) for one in made]


METHODS: dict[str, Callable[[np.ndarray, int], Made | None]] = {
    **{name: lambda x, seed, options=options: _cells(x, seed, **options) for name, options in CELLS.items()},
    "cells, given its own counts": lambda x, seed: _cells(x, seed, own_counts=True),
    "scvi-tools": lambda x, seed: _scvi(x, seed, gene_likelihood="nb"),
    "scvi-tools, zero-inflated": lambda x, seed: _scvi(x, seed, gene_likelihood="zinb"),
    "independent": _independent,
    "NMF": _nmf,
    "PCA": _pca,
}


def planted(seed: int) -> dict[str, float]:
    """False discoveries, power and mixing on generated cells."""
    cells, change = _planted_cells(seed)
    settings = {"steps": STEPS, "batch_size": BATCH, "seed": seed, "device": "cpu"}
    fitted = lb.fit(cells, "cells", covariates=["batch"], hold_out=False, **settings)
    found = fitted.differential_expression(cells, "type", "T", "B").loc[list(cells.var_names)]
    listed, true = found["differential"].to_numpy(), np.abs(change) > 0.25
    batch, kind = (cells.obs[name].to_numpy() for name in ("batch", "type"))
    spaces = {"latents": fitted.encode(cells).mean, "components": PCA(10, random_state=0).fit_transform(_logs(cells.X))}
    return {
        "listed": int(listed.sum()),
        "false_discoveries": float((listed & ~true).sum() / max(1, listed.sum())),
        "power": float((listed & true).sum() / true.sum()),
        "change_error": float(np.abs(found["log2_fold_change"].to_numpy() - change)[true].mean()),
        **{f"{name}: mixing of batches": _mixing(z, batch) for name, z in spaces.items()},
        **{f"{name}: mixing of types": _mixing(z, kind) for name, z in spaces.items()},
    }


def _planted_cells(seed: int, num_cells: int = 1500, num_genes: int = 300) -> tuple[Any, np.ndarray]:
    """Cells, and log2 of the ratio of the shares of each gene in type T and B."""
    rng = np.random.default_rng(seed)
    batch, kind = rng.integers(0, 2, num_cells), rng.integers(0, 2, num_cells)
    sizes = np.repeat([0.5, -0.5, 1, -1, 2, -2], 10)
    change = np.zeros(num_genes)
    change[rng.permutation(num_genes)[: len(sizes)]] = sizes
    of_batch = np.array([-1, 1])[batch][:, None] * rng.normal(0, 0.3, num_genes)
    log_share = rng.normal(0, 1, num_genes) + of_batch + np.log(2) * np.where(kind, 0.5, -0.5)[:, None] * change
    share = np.exp(log_share) / np.exp(log_share).sum(1, keepdims=True)
    of_type = [share[(batch == 0) & (kind == k)][0] for k in (1, 0)]
    mean = np.exp(rng.normal(np.log(3000), 0.5, num_cells))[:, None] * share
    r = np.exp(rng.normal(np.log(4), 0.5, num_genes))
    obs = pd.DataFrame({"batch": np.array(["a", "b"])[batch], "type": np.array(["B", "T"])[kind]})
    return _annotated(rng.poisson(rng.gamma(r, mean / r)), obs), np.log2(of_type[0] / of_type[1])


def _annotated(x: np.ndarray, obs: pd.DataFrame | None = None) -> Any:
    names = pd.Index([f"gene{i}" for i in range(x.shape[1])])
    obs = pd.DataFrame(index=range(len(x))) if obs is None else obs
    return types.SimpleNamespace(X=x.astype(np.float32), layers={}, raw=None, obs=obs, var_names=names)


def _logs(x: np.ndarray) -> np.ndarray:
    return np.log1p(10_000 * x / np.maximum(x.sum(1, keepdims=True), 1))


def _mixing(z: np.ndarray, labels: np.ndarray, count: int = 30) -> float:
    near = NearestNeighbors(n_neighbors=count + 1).fit(z).kneighbors(z)[1][:, 1:]
    return float((labels[near] != labels[:, None]).mean() / (labels[:, None] != labels).mean())


def _prediction(rho: np.ndarray, mean: np.ndarray, other: np.ndarray) -> dict[str, float]:
    rho = (1 - MIXED) * rho / rho.sum(1, keepdims=True).clip(1e-12) + MIXED * mean
    return _mean("prediction", (other * np.log(rho)).sum(1) / other.sum(1).clip(1))


def _mean(name: str, values: np.ndarray) -> dict[str, float]:
    values = np.asarray(values, dtype=np.float64)
    return {name: float(values.mean()), f"{name}_error": float(values.std(ddof=1) / np.sqrt(len(values)))}


if __name__ == "__main__":
    main()
