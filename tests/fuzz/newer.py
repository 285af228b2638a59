"""What is for modalities, clips, coded pictures, levels of latents, labelled cells, covariates, byte pairs, tables of
steps, gaps that hide what they are, and nets of atoms.
"""

from __future__ import annotations

import random
from collections.abc import Sequence

from .altered import altered_run
from .case import Case
from .material import BLOCKS, LAST, Material

__all__ = ["newer"]

TINY = ["--hidden", "4", "--latent-dim", "2", *LAST]
PARTS = ("rna", "protein", "kind", "rna,protein", "protein,kind", "rna,rna", "rna,protein,kind", "group", "gene_0")
GROUPS = (
    BLOCKS, "rna=gene_*", "rna=gene_*;rna=adt_*", "rna=gene_*;protein=gene_0", "a=*", "a=0-2;b=3-5", "a=0-99;b=3",
    "a=;b=", "image=bernoulli;label=categorical-2", "a=gene_*;b=adt_*;c=group;d=none", "=", ";;", "a=[gene_0;b=gene_1",
)  # fmt: skip
COVERED = ("batch", "age", "batch,age", "batch,batch", "type", "gene0", "batch,none", "batch=a", ",", "type,batch,age")
WHOSE = ("who", "day", "a", "kind", "label", "none", "", "who,day")
CUTS = ("bpe", "bpe,vocabulary=270", "bpe,vocabulary=1", "bpe,vocabulary=10000000", "bpe,vocabulary=nan", "selfies")


def newer(rng: random.Random, material: Material, values: Sequence[str]) -> Case:
    """A command on one of these runs, which one time of four is altered, or a fit of their data."""
    value, folder = rng.choice(values), material.folder
    name, words = rng.choice(_commands(rng, material, value))
    run = material.named[name] if name else None
    if run is not None:
        run = run if rng.random() < 0.75 else altered_run(run, folder, rng)
        words = [words[0], str(run), *words[1:]]
    else:
        words = [*words, "--out", str(folder / f"out-{rng.randrange(10**12)}")]
    return Case(kind="newer", words=words)


def _commands(rng: random.Random, material: Material, value: str) -> list[tuple[str, list[str]]]:
    """The name of a run with a command and its words; no name for a fit."""
    out = ["--out", str(material.folder / f"o-{rng.randrange(10**12)}.{rng.choice(['npz', 'csv', 'parquet', 'gif'])}")]
    coded = ["--out", str(material.folder / f"o-{rng.randrange(10**12)}.lb")]
    few, given = ["--num-samples", rng.choice(["2", value])], rng.choice([*PARTS, value])
    data = {name: str(path) for name, path in material.data.items()}
    other = str(rng.choice(list(data.values())))
    of_cells = rng.choice(["cells", "labelled-cells"])
    frames, count = rng.choice(["1", "2", "3", "9", value]), rng.choice(["1", "2", value])
    return [
        ("modalities", ["cross-generate", "--given", given, *few, *out]),
        ("modalities", ["cross-generate", "--given", "rna", "--draw", "--data", other, *few, *out]),
        ("modalities", ["coherence", "--of", rng.choice(["group", "gene_0", "adt_0", value]), "--num-draws", count]),
        ("modalities", ["sample", "--count", count, *out]),
        ("modalities", ["impute", "--data", other, *few, *out]),
        ("clips", ["predict", "--given-frames", frames, "--count", count, *out]),
        ("clips", ["predict", "--given-frames", "1", "--data", other, *out]),
        ("clips", ["sample", "--count", count, *out]),
        ("pictures", ["compress", other, *coded]),
        ("pictures", ["evaluate", "--limit", rng.choice(["1", "2", value]), "--num-samples", "2"]),
        ("pictures", ["reconstruct", "--count", count, *out]),
        ("steps", ["predict", "--steps", count, "--interval", rng.choice(["0.5", value]), *out]),
        ("steps", ["predict", "--steps", rng.choice(["2", value]), "--data", other, *few, *out]),
        ("steps", [rng.choice(["impute", "encode", "score", "reconstruct"]), "--data", other, *out]),
        ("steps", ["sample", "--count", count, *out]),
        ("gaps", ["impute", rng.choice(["--draws", "--statistic"]), value, *few, *out]),
        ("gaps", [rng.choice(["impute", "encode", "score"]), "--data", other, *out]),
        ("gaps", ["sample", "--count", count, "--given", rng.choice([value, f"a={value}", "kind=x"]), *out]),
        ("atoms", ["encode", "--data", other, *out]),
        ("atoms", ["evaluate", "--data", other, "--limit", count, *few]),
        ("atoms", ["sample", "--count", count, "--scaffold", rng.choice(["c1ccccc1", value]), *out]),
        ("counts", ["compress", data["counts"], "--samples", rng.choice(["2", value]), *coded]),
        ("levels", ["evaluate", "--limit", "2", *few]),
        ("levels", ["sample", "--count", count, *out]),
        ("levels", ["traverse", "--steps", count, *out]),
        (of_cells, ["encode", "--data", other, *out]),
        (of_cells, ["expression", "--given", rng.choice([*COVERED, value, f"batch={value}"]), *few, *out]),
        (of_cells, ["sample", "--count", count, "--covariates", rng.choice(["batch=a", f"age={value}", value]), *out]),
        (of_cells, ["differential-expression", "--groups", "type", "--num-draws", rng.choice(["20", value]), *out]),
        ("pairs", ["reconstruct", "--count", count, *out]),
        ("pairs", ["evaluate", "--data", other, "--limit", "2", *few]),
        ("", ["fit", data["blocks"], "--blocks", rng.choice([*GROUPS, value, f"a={value};b=*"]), *TINY]),
        ("", ["fit", rng.choice(["digits", other]), "--blocks", rng.choice(GROUPS), *TINY]),
        ("", ["fit", data["cells"], "--covariates", rng.choice([*COVERED, value]), "--recipe", of_cells, *LAST]),
        ("", ["fit", data["cells"], "--label", rng.choice(["type", "batch", value]), "--labelled", count, *LAST]),
        ("", ["fit", data["text"], "--kind", f"text:tokens={rng.choice([*CUTS, value])}", *LAST]),
        ("", ["fit", other, "--series", rng.choice([*WHOSE, value]), "--time", rng.choice([*WHOSE, value]), *TINY]),
        ("", ["fit", other, "--missingness", rng.choice(["self-masking", value]), "--recipe", "vae", *TINY]),
        ("", ["fit", data["molecules"], "--kind", f"molecules:rings={value}", "--graph-latent-dim", value, *LAST]),
        ("", ["fit", other, "--recipe", rng.choice(["biva", "rate-distortion", "rate-distortion-video"]), *LAST]),
    ]
