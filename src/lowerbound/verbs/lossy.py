"""Pictures as a file by a rate–distortion autoencoder: compress and decompress, with loss.

A file holds the codes of the pictures, whole numbers, in −log₂ p̃(z) bits (`coding.whole_numbers`). What comes back is
E[x | z], not the pictures: the very values that the encoder saw, which are compared before the file counts as written
and, by their checksum, when it is read. Another machine on which nets give other numbers refuses the file.
"""

from __future__ import annotations

import hashlib
import io
import math
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lowerbound.coding import BATCH, BitStack, StackError
from lowerbound.coding.whole_numbers import MOST_CELLS, CodedNumbers, Range, WholeNumberCodec
from lowerbound.data import DataError
from lowerbound.data.kinds import kind_named
from lowerbound.evaluate.coded_pictures import has_picture_codes, near
from lowerbound.fitted import Fitted
from lowerbound.verbs import lossy_sizes
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
from lowerbound.verbs.lossless_others import sizes_of_others

__all__ = ["CompressedWithLoss", "compress", "decompress", "is_with_loss"]

_PIXELS_AT_ONCE = 1 << 19


@dataclass(frozen=True, kw_only=True)
class CompressedWithLoss:
    """What a file of pictures takes, and how near to them is what comes back.

    Attributes:
        num_rows: pictures, or clips, in it.
        num_pixels: height times width, and frames, of all.
        num_bytes: of the file.
        bits: what the codes took, without header and start.
        rate_bits: −log₂ p̂(z) of the same codes, the p̃ of the model with 2⁻³⁰ for every number (`coding.whole_numbers`).
        above_bits: those among them on which the others depend: of a hyperprior, or of whole clips; 0 without any.
        model_bits: −log₂ p̃(z) itself, more where p̃ all but excludes numbers.
        psnr: of what comes back, dB (`evaluate.psnr`).
        ms_ssim: mean over the pictures; None where they are smaller than its window.
        others: bytes of the same rows under gzip, bz2, lzma, of images png and of clips png and gif, by name.
    """

    num_rows: int
    num_pixels: int
    num_bytes: int
    bits: float
    rate_bits: float
    above_bits: float
    model_bits: float
    psnr: float
    ms_ssim: float | None
    others: dict[str, int]

    @property
    def bits_per_pixel(self) -> float:
        """Of the whole file."""
        return 8 * self.num_bytes / self.num_pixels


def is_with_loss(fitted: Fitted) -> bool:
    """Whether the posterior of a model rounds, so that its codes can be written."""
    return has_picture_codes(fitted.model)


def compress(
    fitted: Fitted, data: Any, path: str | Path, *, force: bool = False, progress: Progress | None = None
) -> CompressedWithLoss:
    """Write the codes of rows to a file. See `Fitted.compress`."""
    path = Path(path)
    require_new(path, force=force)
    pictures = lossy_sizes.pictures_of(fitted, data)
    if pictures is not None:
        return _compress_sizes(fitted, pictures, path, force=force, progress=progress)
    folder = lossy_sizes.rows_of_folder(fitted, data)
    names, rows = (None, fitted.rows(data)) if folder is None else folder
    x = np.asarray(rows.x)
    require_codable(len(x), x.size, rows.name)
    events = fitted.events(x)
    coded = _codec(fitted).encode(events.double(), third(progress, 0))
    header = _header(fitted, x, coded) | ({} if names is None else {"names": names})
    content = pack(Content(header=header, seen=None, stack=coded.stack.to_bytes()))
    again = _decoded(fitted, content_of(content, "what was coded", fitted), "what was coded", third(progress, 1))
    if not torch.equal(again, coded.decoded):
        raise DataError("the pictures did not come back from their codes as they were, and nothing was written.")
    write_coded(path, content, force=force)
    return _measured(fitted, x, len(content), coded, third(progress, 2))


def decompress(fitted: Fitted, path: str | Path, *, progress: Progress | None = None) -> Any:
    """What the pictures of a file look like, by name where they have names. See `Fitted.decompress`."""
    path = Path(path)
    data = read_coded(path)
    content = content_of(data, str(path), fitted)
    if "sizes" in content.header:
        return lossy_sizes.in_the_form_of(fitted, _decoded_sizes(fitted, content, str(path), progress))
    with decoding(str(path), "codes"):
        names = lossy_sizes.names_in(content.header)
    rows = fitted.render(_decoded(fitted, content, str(path), progress))
    return rows if names is None else dict(zip(names, rows, strict=True))


def _codec(fitted: Fitted) -> WholeNumberCodec:
    numbers = math.prod(fitted.schema.event_shape)
    return WholeNumberCodec(fitted.model, max(1, min(BATCH, _PIXELS_AT_ONCE // numbers)))


def _header(fitted: Fitted, x: np.ndarray, coded: CodedNumbers) -> dict[str, Any]:
    return {
        "lossy": True, "rows": len(x), "elements": math.prod(x.shape[1:]), "words": coded.stack.num_words,
        "lanes": len(coded.stack.heads), "lent": coded.stack.lent, "batch": BATCH, "ranges": coded.ranges,
        "checksum": _checksum(coded.decoded), "weights": weights_checksum(fitted),
    }  # fmt: skip


def _decoded(fitted: Fitted, content: Content, name: str, progress: Progress | None) -> Tensor:
    """E[x | z] of each row (N, *event), float64.

    Raises:
        DataError: naming the file and what is wrong with it.
    """
    header = content.header
    with decoding(name, "codes"):
        stack, ranges = _stack_of(content)
        if header["elements"] != math.prod(fitted.schema.event_shape):
            raise ValueError("rows of another shape")
        found = _codec(fitted).decode(stack, header["rows"], ranges, progress)
        if not stack.is_what_was_lent(header["lent"]) or _checksum(found) != header["checksum"]:
            raise StackError("other codes")
    return found


def _stack_of(content: Content) -> tuple[BitStack, tuple[Range, ...]]:
    """The codes of a file, and their ranges."""
    header = content.header
    ranges = tuple((int(low), int(high)) for low, high in header["ranges"])
    if not all(0 < high - low <= MOST_CELLS + 1 for low, high in ranges):
        raise ValueError("numbers without a range, or too many")
    stack = BitStack.from_bytes(content.stack, header["words"], header["lanes"])
    stack.lent = header["lent"]
    return stack, ranges


def _compress_sizes(
    fitted: Fitted, pictures: dict[str, np.ndarray], path: Path, *, force: bool, progress: Progress | None
) -> CompressedWithLoss:
    """Write the codes of stored pictures of any sizes."""
    given = list(pictures.values())
    require_codable(len(given), sum(x.size for x in given), "the data")
    coded, header = lossy_sizes.encoded(fitted, pictures, third(progress, 0))
    content = pack(Content(header=header, seen=None, stack=coded.stack.to_bytes()))
    name = "what was coded"
    again = _decoded_sizes(fitted, content_of(content, name, fitted), name, third(progress, 1))
    if not all(map(np.array_equal, again.values(), coded.decoded)):
        raise DataError("the pictures did not come back from their codes as they were, and nothing was written.")
    write_coded(path, content, force=force)
    ratio, likeness = lossy_sizes.nearness(given, coded.decoded)
    return CompressedWithLoss(
        num_rows=len(given),
        num_pixels=sum(x.shape[-2] * x.shape[-1] for x in given),
        num_bytes=len(content),
        bits=coded.net_bits,
        rate_bits=coded.information,
        above_bits=coded.above_information,
        model_bits=coded.model_information,
        psnr=ratio,
        ms_ssim=likeness,
        others=lossy_sizes.others_of(given, third(progress, 2)),
    )


def _decoded_sizes(fitted: Fitted, content: Content, name: str, progress: Progress | None) -> dict[str, np.ndarray]:
    """The stored pictures of a file by name.

    Raises:
        DataError: naming the file and what is wrong with it.
    """
    with decoding(name, "codes"):
        stack, ranges = _stack_of(content)
        return lossy_sizes.decoded(fitted, content.header, stack, ranges, progress)


def _measured(
    fitted: Fitted, x: np.ndarray, num_bytes: int, coded: CodedNumbers, progress: Progress | None
) -> CompressedWithLoss:
    schema, shape = fitted.schema, fitted.schema.event_shape
    ratio, likeness = near(fitted.events(x), coded.decoded, schema.pixel_levels)
    return CompressedWithLoss(
        num_rows=len(x),
        num_pixels=x.size // (shape[-3] if len(shape) > 2 else 1),
        num_bytes=num_bytes,
        bits=coded.net_bits,
        rate_bits=coded.information,
        above_bits=coded.above_information,
        model_bits=coded.model_information,
        psnr=ratio,
        ms_ssim=likeness,
        others=_others(np.asarray(kind_named(schema.kind).render(x, schema)), schema.kind, progress),
    )


def _others(rows: np.ndarray, kind: str, progress: Progress | None) -> dict[str, int]:
    """Bytes under other programs; of clips with PNG of all frames, and GIF, which has at most 256 colours a frame."""
    if kind != "video":
        return sizes_of_others(rows, kind, progress)
    frames = rows.reshape(-1, *rows.shape[2:])
    sizes = sizes_of_others(frames, "image", progress)
    if find_spec("PIL") is not None and rows.dtype == np.uint8:
        sizes["gif"] = sum(map(_gif, rows))
    return sizes


def _gif(clip: np.ndarray) -> int:
    """Bytes of one clip (T, H, W, C) or (T, C, H, W)."""
    from PIL import Image

    frames = clip if clip.shape[-1] <= 4 else np.moveaxis(clip, 1, -1)
    images = [
        Image.fromarray(np.ascontiguousarray(frame[..., 0] if frame.shape[-1] == 1 else frame)) for frame in frames
    ]
    buffer = io.BytesIO()
    images[0].save(buffer, "GIF", save_all=True, append_images=images[1:])
    return buffer.tell()


def _checksum(decoded: Tensor) -> str:
    values = decoded.numpy()
    return hashlib.sha256(f"{values.shape}".encode() + np.ascontiguousarray(values).tobytes()).hexdigest()
