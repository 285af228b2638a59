"""Blocks of columns that are the pixels of a picture, some of which may be no column because they never vary.

"image=28x28"                    as a user says it: height x width, of a block whose columns are called image_0, …
"image=28x28@12-15,32-700"       with the places of the columns of the block, row by row, which a plan keeps
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Shaped

from lowerbound.data.column_blocks import columns_of_blocks, named_parts, spelled_blocks
from lowerbound.data.errors import DataError, clipped

if TYPE_CHECKING:
    from lowerbound.data.dataset import Dataset

__all__ = ["Picture", "numbered_pictures", "pictures_of_blocks"]

_SIZE = re.compile(r"(\d{1,4})x(\d{1,4})")


@dataclass(frozen=True)
class Picture:
    """A block of pixels.

    Attributes:
        shape: height and width.
        places: of each column of the block, counted row by row.
    """

    shape: tuple[int, int]
    places: tuple[int, ...]

    def filled(self, block: Shaped[np.ndarray, "row column"]) -> Shaped[np.ndarray, "row height width"]:
        """Pictures of rows of a block, 0 where a pixel is no column."""
        found = np.zeros((len(block), self.shape[0] * self.shape[1]), dtype=block.dtype)
        found[:, list(self.places)] = block
        return found.reshape(-1, *self.shape)


def pictures_of_blocks(pictures: str | None, columns: Mapping[str, Sequence[int]]) -> dict[str, Picture]:
    """The pictures by the names of their blocks.

    >>> pictures_of_blocks("image=2x2@0,2-3", {"image": (0, 1, 2), "label": (3,)})
    {'image': Picture(shape=(2, 2), places=(0, 2, 3))}

    Raises:
        ValueError: an unknown block, what is no size, or places that are not those of its columns.
    """
    found = {}
    for name, words in ({} if pictures is None else named_parts(pictures, "pictures")).items():
        if name not in columns:
            raise ValueError(f"pictures names the block {clipped(name, 40)!r} and there are {', '.join(columns)}.")
        size, at, places = words.partition("@")
        read = _SIZE.fullmatch(size.strip())
        if read is None or int(read[1]) < 1 or int(read[2]) < 1:
            raise ValueError(f"pictures has the size {clipped(size, 40)!r}; write HEIGHTxWIDTH, as in image=28x28.")
        shape, count = (int(read[1]), int(read[2])), len(columns[name])
        numbers = _places(places, name) if at else tuple(range(count))
        if len(numbers) != count or len(set(numbers)) != count or max(numbers) >= shape[0] * shape[1]:
            raise ValueError(
                f"Block '{clipped(name, 40)}' has {count} columns and a picture of {shape[0]}x{shape[1]} at "
                f"{len(numbers)} places; give each column one of its {shape[0] * shape[1]} places."
            )
        found[name] = Picture(shape, numbers)
    return found


def numbered_pictures(dataset: Dataset, pictures: str, blocks: str) -> str:
    """The same with the places of the columns, which are read off their names: image_12 is at place 12.

    Raises:
        DataError: a column of the block whose name does not end in a place of the picture.
    """
    names = dataset.schema.column_names or ()
    columns = columns_of_blocks(blocks, len(names))
    found = []
    for name, words in named_parts(pictures, "pictures").items():
        if "@" in words or name not in columns:  # said in full, or refused by `pictures_of_blocks`
            found.append(f"{name}={words}")
            continue
        ends = [re.search(r"(\d+)$", names[i]) for i in columns[name]]
        lacking = next((names[i] for i, end in zip(columns[name], ends, strict=True) if end is None), None)
        if lacking is not None:
            raise DataError(
                f"column '{clipped(lacking, 40)}' of the picture '{clipped(name, 40)}' has no number at its end that "
                "says its place; name pixels image_0, image_1, … row by row."
            )
        places = spelled_blocks({name: tuple(int(end[1]) for end in ends if end is not None)})
        found.append(f"{name}={words}@{places.partition('=')[2]}")
    whole = ";".join(found)
    try:
        pictures_of_blocks(whole, columns)
    except ValueError as error:
        raise DataError(str(error)) from None
    return whole


def _places(words: str, name: str) -> tuple[int, ...]:
    found: list[int] = []
    for word in words.split(","):
        ends = re.fullmatch(r"\s*(\d{1,8})(?:-(\d{1,8}))?\s*", word)
        if ends is None:
            raise ValueError(f"pictures has the places {clipped(word, 40)!r} in '{clipped(name, 40)}'; write 0-3,7.")
        found += range(int(ends[1]), int(ends[2] or ends[1]) + 1)
    return tuple(found)
