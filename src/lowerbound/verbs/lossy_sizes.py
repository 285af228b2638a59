"""Pictures of any size as a file by a rate–distortion autoencoder, with loss (`coding.any_size`).

A model that was fitted to pictures of one size codes those of all sizes that its nets can halve, in windows without
seams, and gives each back in its own size under its own name. As in every file with loss what comes back is E[x | z],
rounded to the levels of the data.
"""

from __future__ import annotations

import hashlib
import io
import math
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lowerbound.coding import BATCH, BitStack, StackError
from lowerbound.coding.any_size import CodedPictures, PictureCodec
from lowerbound.data import DataError
from lowerbound.data.assemble import Rows, to_rows
from lowerbound.data.errors import clipped
from lowerbound.data.folders import SUFFIXES, read_folder, read_pictures, sizes_in
from lowerbound.data.folders import names_in as names_in_folder
from lowerbound.data.readers import read_contents
from lowerbound.data.schema import Schema
from lowerbound.data.shards.folder import shards_in
from lowerbound.evaluate.picture_quality import ms_ssim, num_scales, psnr
from lowerbound.fitted import Fitted
from lowerbound.verbs.coded_file import Progress, weights_checksum
from lowerbound.verbs.lossless_others import sizes_of_others

__all__ = [
    "decoded",
    "encoded",
    "in_the_form_of",
    "names_in",
    "nearness",
    "others_of",
    "pictures_of",
    "png_of",
    "rows_of_folder",
]

_LEVELS, _MOST_SIDE = 256, 1 << 16


def pictures_of(fitted: Fitted, data: Any) -> dict[str, np.ndarray] | None:
    """Stored pictures (*channels, height, width) by name; None if the data are rows of the size of the fit, or no
    pictures, and are read as those.

    Arguments:
        fitted: the model, of pictures of bytes.
        data: a folder of pictures or one picture, arrays by name or in a list, or an array of pictures of another size.

    Raises:
        DataError: pictures of other colours, too small ones, or names that are none.
    """
    schema = fitted.schema
    if schema.kind != "image" or schema.pixel_levels != _LEVELS:
        return None
    found = _given(data, schema)
    if found is None:
        return None
    pictures, channels_last = found
    return {name: _stored(name, x, fitted, channels_last=channels_last) for name, x in pictures.items()}


def encoded(
    fitted: Fitted, pictures: Mapping[str, np.ndarray], progress: Progress | None
) -> tuple[CodedPictures, dict[str, Any]]:
    """The codes of stored pictures, and the header of their file."""
    coded = _codec(fitted).encode(list(pictures.values()), progress)
    numbers = sum(x.size for x in pictures.values())
    header = {
        "lossy": True, "rows": len(pictures), "elements": -(-numbers // len(pictures)),
        "sizes": [[name, x.shape[-2], x.shape[-1]] for name, x in pictures.items()],
        "words": coded.stack.num_words, "lanes": len(coded.stack.heads), "lent": coded.stack.lent, "batch": BATCH,
        "ranges": coded.ranges, "checksum": _checksum(coded.decoded), "weights": weights_checksum(fitted),
    }  # fmt: skip
    return coded, header


def decoded(
    fitted: Fitted, header: Mapping[str, Any], stack: BitStack, ranges: Any, progress: Progress | None
) -> dict[str, np.ndarray]:
    """The stored pictures of a file by name.

    Raises:
        ValueError, TypeError: a header that is none.
        StackError: other codes.
    """
    lead, codec = fitted.schema.event_shape[:-2], _codec(fitted)
    names = [name for name, _, _ in header["sizes"]]
    sizes = [(height, width) for _, height, width in header["sizes"]]
    _check_names(names, header["rows"])
    if any(type(n) is not int or not codec.least <= n <= _MOST_SIDE for size in sizes for n in size):
        raise ValueError("sizes of no pictures")
    if -(-sum(map(math.prod, sizes)) * math.prod(lead) // len(names)) != header["elements"]:
        raise ValueError("sizes of other pictures")
    found = codec.decode(stack, [(*lead, *size) for size in sizes], ranges, progress)
    if not stack.is_what_was_lent(header["lent"]) or _checksum(found) != header["checksum"]:
        raise StackError("other codes")
    return dict(zip(names, found, strict=True))


def rows_of_folder(fitted: Fitted, data: Any) -> tuple[list[str], Rows] | None:
    """The names and rows of a folder of pictures of the size of the fit, without labels; None of other data.

    Raises:
        DataError: pictures of other colours, or a name that is none.
    """
    if fitted.schema.kind != "image" or not isinstance(data, str | Path):
        return None
    path = Path(data)
    if not os.path.isdir(path) or shards_in(path):
        return None
    names = names_in_folder(path)
    for name in names:
        _require_name(name)
    contents = replace(read_folder(path, None), y=None, label=None)
    return names, to_rows(contents, fitted.schema, name=path.name)


def names_in(header: Mapping[str, Any]) -> list[str] | None:
    """The names of the rows of a file; None if it has none.

    Raises:
        ValueError, TypeError: a header that is none.
    """
    if "names" not in header:
        return None
    names = list(header["names"])
    _check_names(names, header["rows"])
    return names


def in_the_form_of(fitted: Fitted, pictures: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Stored pictures with their channels where the data of the fit have them."""
    return {name: fitted.schema.laid_out(x[None])[0] for name, x in pictures.items()}


def nearness(pictures: Sequence[np.ndarray], again: Sequence[np.ndarray]) -> tuple[float, float | None]:
    """PSNR of all pixels, and the mean MS-SSIM of the pictures that are large enough; None if none is."""
    pairs = [[torch.from_numpy(x).double() / (_LEVELS - 1) for x in pair] for pair in zip(pictures, again, strict=True)]
    found = psnr(*(torch.cat([x.reshape(-1) for x in part]) for part in zip(*pairs, strict=True)))
    large = [pair for pair in pairs if num_scales(*pair[0].shape[-2:])]
    alike = [float(ms_ssim(*(x.reshape(1, -1, *x.shape[-2:]) for x in pair))) for pair in large]
    return found, float(np.mean(alike)) if alike else None


def others_of(pictures: Sequence[np.ndarray], progress: Progress | None) -> dict[str, int]:
    """Bytes of all pictures under other programs; PNG of each by itself."""
    sizes = sizes_of_others(np.concatenate([x.reshape(-1) for x in pictures])[None], "array")
    if progress is not None:
        progress(len(pictures), len(pictures))
    return sizes | {"png": sum(len(png_of(np.moveaxis(x, 0, -1) if x.ndim == 3 else x)) for x in pictures)}


def png_of(picture: np.ndarray) -> bytes:
    """A picture (height, width[, channels]) as PNG.

    Raises:
        DataError: Pillow is not installed.
    """
    try:
        from PIL import Image
    except ImportError:
        raise DataError("writing pictures needs Pillow; install lowerbound[plots].") from None
    buffer = io.BytesIO()
    grey = picture[..., 0] if picture.ndim == 3 and picture.shape[-1] == 1 else picture
    Image.fromarray(np.ascontiguousarray(grey)).save(buffer, "png", optimize=True)
    return buffer.getvalue()


def _given(data: Any, schema: Schema) -> tuple[dict[str, Any], bool] | None:
    """Pictures by name, and whether their channels come last; None for rows of the size of the fit."""
    size = schema.event_shape[-2:]
    if isinstance(data, str | Path):
        path = Path(data)
        if os.path.isdir(path):
            return None if shards_in(path) or sizes_in(path) == {size} else (read_pictures(path), True)
        if path.suffix.lower() in SUFFIXES and os.path.isfile(path):
            return read_pictures(path), True
        data = read_contents(path).x if path.suffix.lower() == ".npy" and os.path.isfile(path) else None
    if isinstance(data, np.ndarray) and data.ndim == len(schema.event_shape) + 1:
        axes = slice(1, 3) if schema.channels_last else slice(-2, None)
        data = None if data.shape[axes] == size else list(data)
    if isinstance(data, list | tuple) and data and all(isinstance(x, np.ndarray) for x in data):
        data = {f"{n:0{len(str(len(data) - 1))}}": x for n, x in enumerate(data)}
    if not isinstance(data, Mapping) or not data:
        return None
    named = {str(name): np.asarray(x) for name, x in data.items()}
    if len(named) < len(data):
        twice = Counter(map(str, data)).most_common(1)[0][0]
        raise DataError(f"two pictures have the name '{clipped(twice)}' as text; give each a name of its own.")
    return named, schema.channels_last


def _stored(name: str, x: np.ndarray, fitted: Fitted, *, channels_last: bool) -> np.ndarray:
    """A picture as it is stored."""
    lead, least = fitted.schema.event_shape[:-2], _codec(fitted).least
    _require_name(name)
    if lead == (1,) and x.ndim == 2:
        x, channels_last = x[None], False
    stored = np.moveaxis(x, -1, 0) if channels_last and x.ndim == 3 else x
    if stored.ndim != len(lead) + 2 or stored.shape[:-2] != lead or x.dtype != np.uint8:
        colours = {(): "grey", (1,): "grey", (3,): "in colour", (4,): "in colour with alpha"}
        shape = " x ".join(map(str, x.shape))
        raise DataError(
            f"'{clipped(name)}' has {shape} numbers of type {x.dtype}; {fitted.called_within} takes pictures of bytes, "
            f"{colours.get(lead, f'of {lead[0] if lead else 1} channels')}: convert it."
        )
    if not least <= min(stored.shape[-2:]) <= max(stored.shape[-2:]) <= _MOST_SIDE:
        raise DataError(
            f"'{clipped(name)}' is a picture of {stored.shape[-2]} x {stored.shape[-1]}; {fitted.called_within} takes "
            f"sides of {least} to {_MOST_SIDE:,} pixels: leave it out."
        )
    return np.ascontiguousarray(stored)


def _check_names(names: list[Any], num_rows: int) -> None:
    """Refuse what a header holds in place of one name for each picture.

    Raises:
        ValueError, TypeError: saying how.
    """
    if not names or len(names) != num_rows:
        raise ValueError("no pictures, or others than rows")
    if len(set(names)) != num_rows or not all(map(_is_name, names)):
        raise ValueError("pictures without names")


def _require_name(name: str) -> None:
    """Refuse what cannot be the name of a file on every system.

    Raises:
        DataError: with the name, of which bytes that are no UTF-8 are escaped.
    """
    if not _is_name(name):
        shown = name.encode(errors="backslashreplace").decode()
        raise DataError(f"'{clipped(shown)}' can be the name of no file on some systems; rename it.")


def _is_name(name: Any) -> bool:
    """Whether it names a file below the folder in which it stands, on any system; not if bytes of it are no UTF-8."""
    parts = name.split("/") if isinstance(name, str) else [""]
    odd = set('\\:*?"<>|') | set(map(chr, [*range(32), *range(0xD800, 0xE000)]))
    return all(
        part.strip(" .") and not odd & set(part) and len(part.encode(errors="surrogatepass")) < 200 for part in parts
    )


def _codec(fitted: Fitted) -> PictureCodec:
    def events(x: np.ndarray) -> Tensor:
        return fitted.transform(torch.from_numpy(x.copy()))

    def stored(x: Tensor) -> np.ndarray:
        return fitted.stored(x).round().clip(0, _LEVELS - 1).astype(np.uint8)

    return PictureCodec(fitted.model, events, stored)


def _checksum(pictures: Sequence[np.ndarray]) -> str:
    digest = hashlib.sha256()
    for x in pictures:
        digest.update(f"{x.shape}".encode() + np.ascontiguousarray(x).tobytes())
    return digest.hexdigest()
