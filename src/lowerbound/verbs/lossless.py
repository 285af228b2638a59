"""Rows as a file, by bits-back coding under a fitted model: compress and decompress.

A row takes −ELBO bits on average (`coding.bits_back`), so that the size of a file is an independent check of the bound.
A file is decoded and compared before it counts as written, and a decoded one is compared with the checksum of the rows,
so that another machine on which nets give other numbers refuses the file and never gives wrong rows.
"""

from __future__ import annotations

import hashlib
import math
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lowerbound.coding import BATCH, BitStack, Codec, StackError, groups_of
from lowerbound.data import DataError
from lowerbound.data.assemble import Rows
from lowerbound.data.formats.text import around_lines
from lowerbound.data.kinds.strings import texts_in
from lowerbound.data.own_table import read_own
from lowerbound.data.remarks import DataWarning
from lowerbound.data.schema import Schema
from lowerbound.data.transform import Pixels
from lowerbound.fitted import Fitted
from lowerbound.randomness import derive_seed, forked
from lowerbound.support import Support
from lowerbound.verbs.coded_file import (
    Progress,
    content_of,
    decoding,
    read_coded,
    require_codable,
    require_new,
    third,
    weights_checksum,
    write_coded,
)
from lowerbound.verbs.lossless_file import Content, pack
from lowerbound.verbs.lossless_grid import Grid, grid_of
from lowerbound.verbs.lossless_lines import Lines, given_lines, lines_beside, lines_of, text_of, with_lines
from lowerbound.verbs.lossless_others import sizes_of_others
from lowerbound.verbs.lossless_shown import check_shown, shown

__all__ = ["Compressed", "codec_of", "compress", "decompress", "decompressed_text", "grid_for"]

_MOST_STEPS, _MOST_LATENTS = 10_000, 1000
_ELBO, _DRAWS, _MOST_ROWS = 8, 16, 4096  # the stream of random numbers; latents for each row; rows of the bound
_DTYPES = ("bool", "uint8", "int8", "int16", "uint16", "int32", "uint32", "int64", "uint64", "float32", "float64")


@dataclass(frozen=True, kw_only=True)
class Compressed:
    """What a file of rows takes, in bits unless said otherwise.

    Attributes:
        num_rows: rows in it; of texts every line that the user gave.
        num_numbers: values in it; gaps are none.
        num_bytes: of the file.
        bits: what the rows took, without the start and the header: comparable with −ELBO.
        elbo_bits: −ELBO of the same rows on the same grid, −L_K of K latents a row; beyond 4,096 rows, from as many
            evenly spaced ones.
        drawn_bits: the same at the latents of the file, log₂ q(z | x) − log₂ p(x, z) of all rows. `bits` are these up
            to the grids, without the noise of other draws; less where the model excludes a value: none takes over 30.
        standard_error: of the difference of `bits` and `elbo_bits`, as the file has one latent for each row and the
            bound 16.
        start_bits: what the file has besides `bits` and `rest_bits`: what the first rows borrowed, the header and the
            gaps.
        encoder_bits: −ELBO of the q of the encoder; `elbo_bits` where nothing was refined and rows have one latent.
        num_held: lines of text that stand in the file as they were written.
        num_samples: K.
        rest_bits: what real numbers with more than six decimals have below the step of the grid, on which `bits` and
            the bounds are.
        others: bytes of the same rows under gzip, bz2, lzma and, of images, png, by name.
    """

    num_rows: int
    num_numbers: int
    num_bytes: int
    bits: float
    elbo_bits: float
    drawn_bits: float
    standard_error: float
    start_bits: float
    encoder_bits: float
    others: dict[str, int]
    num_held: int = 0
    num_samples: int = 1
    rest_bits: float = 0.0


def compress(
    fitted: Fitted,
    data: Any,
    path: str | Path,
    *,
    refine: int = 0,
    samples: int = 1,
    force: bool = False,
    progress: Progress | None = None,
) -> Compressed:
    """Write rows to a file. See `Fitted.compress`."""
    path = Path(path)
    require_new(path, force=force)
    _check_asked(fitted, refine, samples)
    own, rows = _read(data, fitted.schema)
    lines, x = given_lines(data if own is None else own, fitted.schema), np.asarray(rows.x)
    require_codable(len(x), x.size, rows.name)
    _check_binary(fitted, x)
    fitted.events(x[:1024])  # refuses values that have no probability, by their names
    flat = x.reshape(len(x), -1)
    grid = grid_for(fitted, flat)
    k = grid.numbers(flat, fitted.schema.column_names)
    gaps = np.isnan(flat)
    seen = ~gaps if gaps.any() else None
    labels = None if rows.y is None or not fitted.is_conditional else np.asarray(rows.y).tolist()
    context = fitted.context(rows.y, rows.name)
    of_file = codec_of(fitted, grid, refine, samples)
    encoded = of_file.encode(k, seen=seen, context=context, progress=third(progress, 0))
    stack = encoded.stack
    header = {**_header(fitted, x, stack, refine=refine, samples=samples), "grid": grid.to_json(), "labels": labels}
    rendered = shown(x, fitted.schema)
    if lines is None:
        check_shown(own, rendered, fitted.schema)
    else:
        header["lines"] = lines_beside(lines, rows, rendered, _around(data, own, lines))
    rests = grid.rests(flat, k)
    content = pack(Content(header=header, seen=seen, stack=stack.to_bytes(), rests=rests))
    back, beside = _decoded(fitted, content, "what was coded", third(progress, 1))
    if not _same(back, x) or lines != (None if beside is None else lines_of(texts_in(rendered), beside)):
        raise DataError("the rows did not come back from their code as they were, and nothing was written.")
    given = (k, seen, context)
    elbo, error = _elbo_bits(of_file, fitted.seed, *given, third(progress, 2))
    is_plain = refine == 0 and samples == 1
    found = Compressed(
        num_rows=len(x) if lines is None else len(lines),
        num_numbers=k.size - int(gaps.sum()),
        num_bytes=len(content),
        bits=encoded.net_bits,
        elbo_bits=elbo,
        drawn_bits=encoded.drawn_bits,
        standard_error=error,
        start_bits=8 * (len(content) - len(rests)) - encoded.net_bits,
        rest_bits=8.0 * len(rests),
        encoder_bits=elbo if is_plain else _elbo_bits(codec_of(fitted, grid), fitted.seed, *given)[0],
        num_samples=samples,
        others=sizes_of_others(rendered if lines is None else lines, fitted.schema.kind),
        num_held=0 if lines is None else len(header["lines"]["held"]),
    )
    write_coded(path, content, force=force)
    return found


def _read(data: Any, schema: Schema) -> tuple[Any, Rows]:
    """Rows to code. Lines that are left out of them are not told: they stand in the file as they are."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Left out", DataWarning)
        return read_own(data, schema)


def _around(data: Any, own: Any, lines: list[str]) -> tuple[str, str]:
    """What stands around the lines of the user's file; of other data the end of the last line alone."""
    is_file = isinstance(data, str | Path) and isinstance(own, np.ndarray) and Path(data).is_file()
    return around_lines(Path(data), lines) if is_file else ("", "\n")


def _header(fitted: Fitted, x: np.ndarray, stack: BitStack, *, refine: int, samples: int) -> dict[str, Any]:
    """What a file says of its rows and of the state that they were coded in."""
    return {
        "rows": len(x), "elements": x[0].size, "dtype": str(x.dtype), "words": stack.num_words,
        "lanes": len(stack.heads), "lent": stack.lent, "batch": BATCH,
        "minus": np.flatnonzero((x == 0) & np.signbit(x)).tolist(), "checksum": _checksum(x),
        "weights": weights_checksum(fitted), "lines": None, "refine": refine, "samples": samples,
    }  # fmt: skip


def _check_asked(fitted: Fitted, refine: int, samples: int) -> None:
    """Refuse options out of range, and models whose rows no file holds whole."""
    _check_refine(refine)
    _check_samples(samples)
    if fitted.schema.covariates or (fitted.recipe is not None and fitted.recipe.labels == "covariates"):
        raise DataError(
            f"{fitted.called} is given the covariates or sizes of rows, which no file of it holds; fit without them "
            "(counts by the recipe counts)."
        )


def decompress(fitted: Fitted, path: str | Path, *, progress: Progress | None = None) -> Any:
    """The rows of a file, in the form of the user's data. See `Fitted.decompress`."""
    rendered, beside = _shown_again(fitted, Path(path), progress)
    return rendered if beside is None else with_lines(rendered, lines_of(texts_in(rendered), beside))


def decompressed_text(fitted: Fitted, path: str | Path, *, progress: Progress | None = None) -> tuple[list[str], str]:
    """The lines of a file, and the text file that they stood in; of rows that stood in none, one line for each.

    Raises:
        ValueError: as `Fitted.decompress`.
    """
    rendered, beside = _shown_again(fitted, Path(path), progress)
    lines = texts_in(rendered)
    if beside is None:
        return lines, "".join(f"{line}\n" for line in lines)
    lines = lines_of(lines, beside)
    return lines, text_of(lines, beside)


def _shown_again(fitted: Fitted, path: Path, progress: Progress | None) -> tuple[Any, Lines | None]:
    """Rows as the model writes them, and the lines beside them."""
    x, beside = _decoded(fitted, read_coded(path), str(path), progress)
    return shown(x, fitted.schema), beside


def _decoded(fitted: Fitted, data: bytes, name: str, progress: Progress | None) -> tuple[np.ndarray, Lines | None]:
    """Stored rows (N, *event), and the lines beside them.

    Raises:
        DataError: naming the file and what is wrong with it.
    """
    content = content_of(data, name, fitted)
    header, shape = content.header, fitted.schema.event_shape
    with decoding(name, "rows"), np.errstate(over="ignore", invalid="ignore"):  # a header may say anything
        beside = header["lines"]
        if beside is not None:
            text_of(lines_of([""] * header["rows"], beside), beside)
        if header["elements"] != math.prod(shape) or header["dtype"] not in _DTYPES or header["batch"] != BATCH:
            raise ValueError("rows of another shape")
        grid = Grid.from_json(header["grid"], header["elements"])
        labels = header["labels"]
        context = fitted.context(None if labels is None else np.array(labels, np.int64))
        if context is not None and len(context) != header["rows"]:
            raise ValueError("labels of other rows")
        stack = BitStack.from_bytes(content.stack, header["words"], header["lanes"])
        _check_refine(header["refine"])
        samples = header.get("samples", 1)  # older files have one
        _check_samples(samples)
        groups = groups_of(header["rows"], BATCH, samples)
        codec = codec_of(fitted, grid, header["refine"], samples)
        k = codec.decode(stack, groups, seen=content.seen, context=context, progress=progress)
        x = grid.restored(k, content.seen, header["dtype"], content.rests)
        if header["minus"]:
            x.flat[np.array(header["minus"], np.int64)] = -0.0
        x = x.reshape(header["rows"], *shape)
        if not stack.is_what_was_lent(header["lent"]) or _checksum(x) != header["checksum"]:
            raise StackError("other rows")
    return x, beside


def grid_for(fitted: Fitted, flat: np.ndarray) -> Grid:
    """The values that the elements of stored rows (N, n) can have under a model."""
    likelihood = fitted.model.likelihood
    support = getattr(likelihood, "support", None)
    if not isinstance(support, Support):
        raise DataError(f"{type(likelihood).__name__} states no support, which coding needs; fit another likelihood.")
    return grid_of(flat, support, fitted.transform, fitted.schema.column_names)


def _check_refine(refine: int) -> None:
    if type(refine) is not int or not 0 <= refine <= _MOST_STEPS:
        raise DataError(f"compress got refine={refine!r} and takes 0 to {_MOST_STEPS:,} steps.")


def _check_samples(samples: int) -> None:
    if type(samples) is not int or not 1 <= samples <= _MOST_LATENTS:
        raise DataError(f"compress got samples={samples!r} and takes 1 to {_MOST_LATENTS:,} latents for a row.")


def codec_of(fitted: Fitted, grid: Grid, refine: int = 0, samples: int = 1) -> Codec:
    """The coder of a model, of numbers on a grid."""
    shape = fitted.schema.event_shape

    def events(values: np.ndarray) -> Tensor:
        return torch.from_numpy(values).reshape(len(values), *shape)

    return Codec(fitted.model, grid.steps(fitted.transform), events, BATCH, refine, samples)


def _elbo_bits(
    codec: Codec,
    seed: int,
    k: np.ndarray,
    seen: np.ndarray | None,
    context: Tensor | None,
    progress: Progress | None = None,
) -> tuple[float, float]:
    """−ELBO of all rows in bits and `standard_error`."""
    places = np.unique(np.linspace(0, len(k) - 1, min(len(k), _MOST_ROWS)).astype(np.int64))
    found = []
    with forked(torch.device("cpu"), derive_seed(seed, _ELBO)):
        for block in np.split(places, range(BATCH, len(places), BATCH)):
            given = None if context is None else context[torch.from_numpy(block)]
            known = None if seen is None else seen[block]
            found.append(codec.negative_elbo_bits(k[block], _DRAWS, seen=known, context=given))
            if progress is not None:
                progress(int(block[-1]) + 1, len(k))
    bits, share = np.concatenate(found, 1), len(k) / len(places)
    one, many = bits.var(0, ddof=1).sum() * share, bits.var(0, ddof=1).sum() * share**2 / _DRAWS
    return bits.mean(0).sum() * share, math.sqrt(one + many)


def _check_binary(fitted: Fitted, x: np.ndarray) -> None:
    """Refuse grey values where the model was fitted to what is drawn from them.

    Raises:
        DataError: naming the likelihoods of grey values.
    """
    transform = fitted.transform
    if not isinstance(transform, Pixels) or transform.binarization == "none":
        return
    top = 1.0 if transform.scale is None else transform.scale
    if not bool(((x == 0) | (x == top)).all()):
        raise DataError(
            f"the data hold grey values and the model is of pixels that are 0 or {top:g} ({transform.binarization} "
            "binarization); binarize the data, or fit --likelihood discretized-logistic."
        )


def _checksum(x: np.ndarray) -> str:
    """The sha256 of values with the signs of zeros, of their type and shape, with one representation of NaN."""
    same = np.where(np.isnan(x), np.array(np.nan, x.dtype), x) if x.dtype.kind == "f" else x
    return hashlib.sha256(f"{x.dtype}{x.shape}".encode() + np.ascontiguousarray(same).tobytes()).hexdigest()


def _same(x: np.ndarray, other: np.ndarray) -> bool:
    """Whether arrays are the same to the last bit, but for the bits of NaN."""
    return x.dtype == other.dtype and x.shape == other.shape and _checksum(x) == _checksum(other)
