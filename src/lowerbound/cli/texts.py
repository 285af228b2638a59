"""Texts and molecules on the terminal or in a file: what `sample` and `reconstruct` do for a model of them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from lowerbound.cli.opened import fitted_of
from lowerbound.cli.others import Other, other_data, tell_all_are_taken
from lowerbound.cli.output import check_out, write_bytes, write_npz, write_table
from lowerbound.cli.text import say
from lowerbound.data.kinds.strings import texts_in
from lowerbound.fitted import Fitted
from lowerbound.randomness import forked
from lowerbound.runs import Run

__all__ = ["endings_of_lines", "reconstruct_texts", "sample_texts"]


def sample_texts(
    opened: Run,
    count: int,
    decoding: str,
    out: str | None,
    *,
    given: Mapping[str, str] | None = None,
    scaffold: str | None = None,
    force: bool,
    seed: int,
) -> None:
    """Print or write texts of z ~ p(z).

    Raises:
        UsageError: the output would overwrite something.
        ValueError: words that say no decoding, or a scaffold that cannot be written.
    """
    if out is not None:
        check_out(Path(out), opened, None, *_endings(opened), force=force)
    fitted = fitted_of(opened)
    if out is not None and out.lower().endswith(".npz"):
        from lowerbound.verbs.writing import written

        tokens = written(fitted, count, decoding, seed, given=given, scaffold=scaffold)
        write_npz(Path(out), x=_symbols(fitted, tokens))
    else:
        drawn = fitted.sample(count, given=given, decoding=decoding, scaffold=scaffold, seed=seed)
        _show(drawn, out, _name(opened))
    if out is not None:
        say(f"Wrote {count} samples to {out}")
    for covariate in fitted.schema.covariates:
        if covariate.categories is None and covariate.name not in (given or {}):
            say(
                f"{covariate.name} is at its mean, {covariate.mean:.4g}; --given {covariate.name}=VALUE says another.",
                err=True,
            )


def reconstruct_texts(opened: Run, other: Other, count: int, out: str | None, *, force: bool, seed: int) -> None:
    """Print or write texts as the model saw them beside their reconstructions.

    Raises:
        UsageError: the output would overwrite something.
    """
    if out is not None:
        check_out(Path(out), opened, other.data, *_endings(opened, pairs=True), force=force)
    fitted = fitted_of(opened)
    rows = other_data(fitted, other) or fitted.test_rows()
    events = fitted.events(rows.x[:count], seed)
    context = fitted.context(None, rows.name, None if rows.covariates is None else rows.covariates[:count])
    with forked(torch.device("cpu"), seed):
        made = fitted.model.reconstruct(events, context)
    seen, again = texts_in(fitted.render(events)), texts_in(fitted.render(made))
    if out is not None and out.lower().endswith(".npz"):
        write_npz(Path(out), x=_symbols(fitted, events), reconstruction=_symbols(fitted, made))
    elif out is not None and out.lower().endswith(".png"):
        from lowerbound.plots.molecules import molecule_png

        write_bytes(Path(out), molecule_png([one for pair in zip(seen, again, strict=True) for one in pair], per_row=4))
    elif out is not None:
        import pandas  # optional

        write_table(Path(out), pandas.DataFrame({_name(opened): seen, "reconstruction": again}))
    else:
        say("\n".join(f"  {text}\n→ {other}\n" for text, other in zip(seen, again, strict=True)))
    tell_all_are_taken(rows, count)
    if out is not None:
        say(f"Wrote {len(seen)} reconstructions to {out}")


def _symbols(fitted: Fitted, x: torch.Tensor) -> np.ndarray:
    """Rows as whole numbers, for an archive."""
    return fitted.stored(x).astype(np.int32)


def _name(opened: Run) -> str:
    """Of the column of a table, where the data were none."""
    return "text" if opened.schema.molecules is None else "smiles"


def endings_of_lines(opened: Run) -> tuple[str, ...]:
    """Of the files that hold a text or a molecule in each line."""
    return (".txt",) if opened.schema.molecules is None else (".smi", ".txt")


def _endings(opened: Run, *, pairs: bool = False) -> tuple[str, ...]:
    """Of the files that can be written."""
    lines = () if pairs else endings_of_lines(opened)
    return (*lines, ".csv", ".parquet", ".npz", *(() if opened.schema.molecules is None else (".png",)))


def _show(texts: Any, out: str | None, name: str) -> None:
    """Print texts, or write them in the format of a file."""
    if out is None:
        say("\n".join(texts_in(texts)))
    elif out.lower().endswith(".png"):
        from lowerbound.plots.molecules import molecule_png

        write_bytes(Path(out), molecule_png(texts_in(texts)))
    elif out.lower().endswith((".txt", ".smi")):
        write_bytes(Path(out), ("\n".join(texts_in(texts)) + "\n").encode())
    else:
        import pandas

        write_table(Path(out), pandas.DataFrame({name: texts}) if isinstance(texts, list) else texts)
