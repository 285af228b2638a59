"""What the inputs are made of: good data and finished runs of every sort, tiny, made once."""

from __future__ import annotations

import contextlib
import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas
from some_cells import planted_cells, write_h5ad
from some_molecules import SMILES

from lowerbound.cli import main

__all__ = ["Material", "make_material"]

LAST = ["--steps", "4", "--device", "cpu", "--no-evaluate"]
SMALL = ["--hidden", "4", "--latent-dim", "2", "--num-samples", "2", *LAST]
PLAIN = ("vae", "labels", "text", "codes", "exact")
CODES = "vq:num_codes=4,features=2,network=mlp,hidden=[4],prior_channels=4,prior_layers=1,prior_epochs=1"
ATOMS = (
    "molecule-vae:embedding_dim=2,width=2,latent_dim=2,graph_latent_dim=1,encoder=message-passing,decoder=convolution"
)
BLOCKS = "rna=gene_*;protein=adt_*;kind=group"


@dataclass(frozen=True)
class Material:
    """A folder to write to, and in it good data, finished runs, and rows that some of them coded.

    Attributes:
        data: files by name: table, text, counts, cells, molecules, blocks, steps, gaps, clips, pictures.
        named: runs by name.
        coded: runs and files of rows that each of them coded.
    """

    folder: Path
    data: dict[str, Path]
    named: dict[str, Path]
    coded: tuple[tuple[Path, Path], ...]

    @property
    def table(self) -> Path:
        """Columns of numbers, counts and labels."""
        return self.data["table"]

    @property
    def runs(self) -> tuple[Path, ...]:
        """Those that most commands take."""
        return tuple(self.named[name] for name in PLAIN)


def make_material(folder: Path) -> Material:
    """Fit, and code some rows."""
    data = _data(folder)
    covered = ["--covariates", "batch,age", "--label", "type"]
    text = "sentence-vae:embedding_dim=4,width=4,latent_dim=2"
    wanted = {
        "vae": ["digits", "--recipe", "vae", *SMALL],
        "labels": [data["table"], "--recipe", "semi-supervised", "--label", "label", *SMALL],
        "text": [data["text"], "--recipe", text, *LAST],
        "codes": ["digits", "--recipe", CODES, *LAST],
        "exact": [data["table"], "--recipe", "factor-analysis", "--device", "cpu", "--no-evaluate"],
        "cells": [data["cells"], "--recipe", "cells:latent_dim=2,hidden=[4]", *covered, *LAST],
        "labelled-cells": [data["cells"], "--recipe", "labelled-cells:latent_dim=2,hidden=[4]", *covered, *LAST],
        "molecules": [data["molecules"], "--recipe", "molecule-vae:embedding_dim=2,width=2,latent_dim=2", *LAST],
        "pairs": [data["text"], "--kind", "text:tokens=bpe,vocabulary=270", "--recipe", text, *LAST],
        "modalities": [data["blocks"], "--blocks", BLOCKS, "--latent-dim", "2", "--hidden", "4", *LAST],
        "levels": [data["pictures"], "--recipe", "biva:levels=[2,1],latent_channels=2,width=8,hidden=4", *LAST],
        "pictures": [data["pictures"], "--recipe", "rate-distortion:code_channels=2,hidden=[4]", *LAST],
        "clips": [
            data["clips"],
            "--recipe",
            "rate-distortion-video:code_channels=2,hidden=[4],prior_channels=[4]",
            *LAST,
        ],
        "counts": [data["counts"], *SMALL],
        "steps": [data["steps"], "--series", "who", "--time", "day", "--recipe", "hidden-markov:states=2", *LAST],
        "gaps": [data["gaps"], "--recipe", "vae:missingness=self-masking", *SMALL],
        "atoms": [data["molecules"], "--kind", "molecules:rings=true", "--recipe", ATOMS, *LAST],
    }
    named = {name: folder / name for name in wanted}
    coded = []
    with contextlib.redirect_stdout(io.StringIO()):
        for name, words in wanted.items():
            assert main(["fit", *map(str, words), "--out", str(named[name])]) == 0, name
        for name in ("counts", "pictures"):
            coded.append((named[name], folder / f"{name}.lb"))
            assert main(["compress", str(named[name]), str(data[name]), "--out", str(coded[-1][1])]) == 0, name
    return Material(folder=folder, data=data, named=named, coded=tuple(coded))


def _data(folder: Path) -> dict[str, Path]:
    rng = np.random.default_rng(0)
    names = {"table": "csv", "text": "txt", "counts": "npy", "cells": "h5ad", "molecules": "smi", "blocks": "csv"}
    names |= {"steps": "csv", "gaps": "csv"}
    data = {name: folder / f"data-{name}.{ending}" for name, ending in names.items()}
    data |= {name: folder / f"data-{name}.npy" for name in ("clips", "pictures")}
    rows = [
        f"{a:.4f},{b:.3f},{c},{'xyz'[i % 3]}"
        for i, (a, b, c) in enumerate(zip(rng.normal(size=60), rng.random(60), rng.poisson(3, 60), strict=True))
    ]
    data["table"].write_text("\n".join(["a,b,c,label", *rows]))
    texts = (" ".join("abcd"[int(k)] for k in rng.integers(0, 4, 1 + i % 5)) for i in range(60))
    data["text"].write_text("\n".join(texts))
    np.save(data["counts"], rng.poisson(3, (40, 3)))
    write_h5ad(data["cells"], planted_cells(40)[0])
    data["molecules"].write_text("\n".join(SMILES) + "\n")
    np.save(data["pictures"], rng.integers(0, 256, (40, 1, 8, 8)).astype(np.uint8))
    np.save(data["clips"], rng.integers(0, 256, (40, 3, 1, 8, 8)).astype(np.uint8))
    columns = {f"gene_{i}": rng.normal(size=60).round(2) for i in range(3)}
    blocks = pandas.DataFrame(columns | {f"adt_{i}": rng.poisson(3, 60).astype(float) for i in range(2)})
    blocks["group"] = np.array(["small", "large"])[rng.integers(0, 2, 60)]
    blocks.loc[::10, ["adt_0", "adt_1"]] = np.nan
    blocks.to_csv(data["blocks"], index=False)
    steps = [
        f"s{i},{day},{rng.normal():.2f}," + ("" if day == 2 else f"{rng.normal():.2f}")
        for i in range(20)
        for day in range(3 + i % 3)
    ]
    data["steps"].write_text("\n".join(["who,day,a,b", *steps]))
    gaps = [
        f"{a:.2f},{'' if a > 1 else f'{a + b:.2f}'},{'xyz'[i % 3] if i % 5 else ''}"
        for i, (a, b) in enumerate(rng.normal(size=(60, 2)))
    ]
    data["gaps"].write_text("\n".join(["a,b,kind", *gaps]))
    return data
