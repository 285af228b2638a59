"""The example of docs/counts.md: pbmc68k with a planted batch, as an .h5ad file, and the picture of its latents.

Half of the cells are "b": each molecule of gene g is kept with a probability between 0.3 and 1 that is drawn once for
the gene. The picture shows two principal components of log(1 + 10,000 x / l) and of the latents of a fit that is given
the batch, by batch and by type.

python benchmarks/cells_picture.py --h5ad pbmc.h5ad [--out docs/cells.png]
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import torch
from cells import _logs, _mixing
from sklearn.decomposition import PCA

import lowerbound as lb
from lowerbound.data.download import needed
from lowerbound.plots.style import class_style, new_figure, style_axes


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--h5ad", type=Path, required=True)
    parser.add_argument("--run", type=Path, help="A run on this file, whose latents are drawn.")
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    x, batch, kind = write_example(arguments.h5ad)
    if arguments.run is None or arguments.out is None:
        return
    latents = lb.Fitted.open(arguments.run).encode(arguments.h5ad).mean
    spaces = {"log expression": _logs(x), "latents given the batch": latents}
    figure = new_figure(12, 8)
    axes = figure.subplots(2, 2)
    for row, (name, space) in zip(axes, spaces.items(), strict=True):
        z = PCA(min(10, space.shape[1]), random_state=0).fit_transform(space)
        print(name, "batches", round(_mixing(z, batch), 2), "types", round(_mixing(z, kind), 2))
        for ax, labels, what in zip(row, (batch, kind), ("batch", "type"), strict=True):
            _scatter(ax, z[:, :2], labels)
            style_axes(ax, title=f"{name}, by {what}", x="first component", y="second component")
    figure.savefig(arguments.out, dpi=110)


def write_example(path: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Write the file; its counts, batches and types."""
    with np.load(needed("pbmc68k_reduced_counts.npz")) as file:
        counts, genes = file["counts"].astype(int), file["genes"]
        kind = file["label_names"][file["label"]]
    rng = np.random.default_rng(0)
    of_b = rng.random(len(counts)) < 0.5
    kept = np.where(of_b[:, None], rng.uniform(0.3, 1, counts.shape[1]), 1.0)
    x, batch = rng.binomial(counts, kept), np.where(of_b, "b", "a")
    with h5py.File(path, "w") as file:
        file["layers/counts"] = x.astype(np.float32)
        columns = {"obs": {"batch": batch, "cell_type": kind}, "var": {}}
        for table, names in (("obs", [f"cell{i}" for i in range(len(x))]), ("var", genes)):
            file[f"{table}/_index"] = [str(name) for name in names]
            file[table].attrs["_index"] = "_index"
            for name, values in columns[table].items():
                file[f"{table}/{name}"] = [str(value) for value in values]
    return x, batch, kind


def _scatter(ax: Any, z: np.ndarray, labels: np.ndarray) -> None:
    for i, name in enumerate(np.unique(labels)):
        mine, style = z[labels == name], class_style(i)
        ax.scatter(*mine.T, s=10, alpha=0.7, color=style.colour, marker=style.marker, label=name)
    ax.legend(fontsize=7, frameon=False, markerscale=1.5, loc="upper left", bbox_to_anchor=(1, 1))


if __name__ == "__main__":
    main()
