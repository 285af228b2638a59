"""The tokens of text files, made once and kept on disk, from which rows are read.

Of each file there are the numbers of the tokens of its texts, one text after another, and for each text where its
tokens begin and how many they are. A row is made when it is read: the tokens, and then the end, which fills it. The
files lie in the cache of this user under what they depend on: the file of text and its time, and the vocabulary. Those
of a file that has changed or gone are removed when others are made.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from lowerbound.data.download import cache_folder, make_folder
from lowerbound.data.errors import DataError, clipped
from lowerbound.data.lines import Lines, lines_of
from lowerbound.data.on_disk import OnDisk, Stamp, Store
from lowerbound.data.schema import TextSchema
from lowerbound.data.shards.headers import Header
from lowerbound.data.shards.raw import RawRows

__all__ = ["TokenFiles", "TokenRows", "token_files"]

_FORMAT = 2  # to be raised when the files change their meaning
_AT_ONCE = 2**20  # tokens that are read or written together
_LONGEST_TO_MAKE = 2 * 24 * 3600  # seconds
_TOKENS, _PLACES, _LINES, _FACTS = "tokens", "places", "lines", "facts.json"
_NUMBER = np.dtype("<i4")
_PLACE = np.dtype("<i8")


@dataclass(frozen=True, kw_only=True)
class _Facts:
    """What is known of the texts of one file, and which file it is."""

    path: str
    size: int
    changed: int
    lines: int
    rows: int
    tokens: int
    empty: int
    long: int


class TokenRows:
    """The rows of one file of text (see `on_disk.Part`).

    Arguments:
        stamp: of the file of text.
        folder: with its tokens.
        facts: of it.
        length: T, of a row.
    """

    units = None

    def __init__(self, stamp: Stamp, folder: Path, facts: _Facts, length: int):
        self.stamp, self.name, self.num_rows = stamp, folder.name, facts.rows
        self.event_shape, self.dtype = (length,), np.dtype(np.int32)
        places, tokens = ((facts.rows, 2), _PLACE), ((facts.tokens,), _NUMBER)
        self._places, self._tokens = (
            RawRows(Stamp.of(folder / name), 0, Header(shape=shape, dtype=dtype))
            for name, (shape, dtype) in ((_PLACES, places), (_TOKENS, tokens))
        )

    def read(self, rows: np.ndarray) -> np.ndarray:
        """See `on_disk.Part`."""
        found = np.zeros((len(rows), *self.event_shape), self.dtype)
        step = max(1, _AT_ONCE // self.event_shape[0])
        for i in range(0, len(rows), step):
            self._fill(found[i : i + step], rows[i : i + step])
        return found

    def _fill(self, found: np.ndarray, rows: np.ndarray) -> None:
        """Write the tokens of some rows where zeros stand."""
        starts, lengths = self._places.read(rows).T
        before = lengths.cumsum() - lengths
        numbers = np.repeat(starts - before, lengths) + np.arange(lengths.sum())
        found[np.arange(found.shape[1]) < lengths[:, None]] = self._tokens.read(numbers)


@dataclass(frozen=True, kw_only=True)
class TokenFiles:
    """The tokens of text files.

    Attributes:
        rows: of the texts that are used, (N, T), which stay on disk.
        used: which lines these are (N,), if not all.
        empty: how many lines have no token.
        long: how many have more than T − 1.
        lines: how many there are.
    """

    rows: OnDisk
    used: np.ndarray | None
    empty: int
    long: int
    lines: int


def token_files(lines: Lines, text: TextSchema, length: int, number: Callable[[str], list[int]]) -> TokenFiles:
    """The tokens of text files, from the cache, or made and put there.

    Arguments:
        lines: of the files.
        text: the vocabulary.
        length: T, of a row.
        number: from a text to the numbers of its tokens under that vocabulary.

    Raises:
        DataError: no text is left, or the cache cannot be written.
    """
    found = [(stamp, *_of_file(stamp, text, length, number)) for stamp in lines.stamps]
    parts = [TokenRows(stamp, folder, facts, length) for stamp, folder, facts in found if facts.rows]
    if not parts:
        raise DataError(f"no text has 1 to {length - 1} tokens, which the model takes; give others.")
    every = [facts for _, _, facts in found]
    used = None
    if any(facts.rows < facts.lines for facts in every):
        firsts = np.cumsum([0, *(facts.lines for facts in every[:-1])])
        read = [np.fromfile(folder / _LINES, _PLACE) for _, folder, _ in found]
        used = np.concatenate([first + numbers for first, numbers in zip(firsts, read, strict=True)])
    return TokenFiles(
        rows=OnDisk(Store(parts)),
        used=used,
        empty=sum(facts.empty for facts in every),
        long=sum(facts.long for facts in every),
        lines=sum(facts.lines for facts in every),
    )


def _of_file(stamp: Stamp, text: TextSchema, length: int, number: Callable[[str], list[int]]) -> tuple[Path, _Facts]:
    """The folder with the tokens of a file, and what is known of them."""
    identity = [_FORMAT, str(stamp.path.resolve()), stamp.size, stamp.changed, length]
    words = json.dumps([*identity, text.tokens, text.symbols, text.merges])
    folder = cache_folder() / "tokens" / hashlib.sha256(words.encode()).hexdigest()
    return folder, _known(folder) or _made(stamp, folder, length, number)


def _known(folder: Path) -> _Facts | None:
    """What a folder says of its tokens; None where it is not there, or damaged."""
    try:
        facts = _Facts(**json.loads((folder / _FACTS).read_text()))
        sizes = [(folder / name).stat().st_size for name in (_TOKENS, _PLACES, _LINES)]
    except (OSError, ValueError, TypeError):
        return None
    whole = [facts.tokens * _NUMBER.itemsize, 2 * facts.rows * _PLACE.itemsize, facts.rows * _PLACE.itemsize]
    return facts if sizes == whole else None


def _made(stamp: Stamp, folder: Path, length: int, number: Callable[[str], list[int]]) -> _Facts:
    """Write the tokens of a file beside the place they are for, and move them there when all are written.

    What another process has put there meanwhile stays.
    """
    try:
        make_folder(folder.parent)
        beside = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f"{folder.name}."))
        try:
            facts = _written(stamp, beside, length, number)
            (beside / _FACTS).write_text(json.dumps(asdict(facts)))
            if _known(folder) is None:
                shutil.rmtree(folder, ignore_errors=True)
                os.replace(beside, folder)
            _drop_those_of_former_files(folder.parent)
        finally:
            shutil.rmtree(beside, ignore_errors=True)
    except OSError as error:
        raise DataError(
            f"the tokens of '{clipped(stamp.path.name)}' are kept in {clipped(str(folder.parent), 120)}, which cannot "
            f"be written ({error.strerror}); make room there, or name another folder by XDG_CACHE_HOME."
        ) from None
    return facts


def _written(stamp: Stamp, folder: Path, length: int, number: Callable[[str], list[int]]) -> _Facts:
    """Write tokens, places and numbers of lines, in one pass over the texts."""
    count, empty, rows, start = 0, 0, 0, 0
    with ExitStack() as stack:
        tokens, places, lines = (stack.enter_context((folder / name).open("wb")) for name in (_TOKENS, _PLACES, _LINES))
        for some in _in_parts(stamp, number):
            lengths = np.array([len(one) for one in some], dtype=_PLACE)
            kept = np.flatnonzero((lengths > 0) & (lengths < length))
            np.array([k for i in kept for k in some[i]], dtype=_NUMBER).tofile(tokens)
            ends = start + lengths[kept].cumsum()
            np.stack([ends - lengths[kept], lengths[kept]], 1).astype(_PLACE).tofile(places)
            (count + kept).astype(_PLACE).tofile(lines)
            start = int(ends[-1]) if len(ends) else start
            count, rows, empty = count + len(some), rows + len(kept), empty + int((lengths == 0).sum())
    counts = {"lines": count, "rows": rows, "tokens": start, "empty": empty, "long": count - rows - empty}
    return _Facts(path=str(stamp.path.resolve()), size=stamp.size, changed=stamp.changed, **counts)


def _drop_those_of_former_files(folder: Path) -> None:
    """Remove tokens that nothing reads again: they are damaged, or their file of text is gone or is another now."""
    for each in folder.iterdir():
        facts = _known(each)
        is_over = facts is None or _is_another(Stamp(Path(facts.path), facts.size, facts.changed))
        if is_over and not _is_being_made(each):
            shutil.rmtree(each, ignore_errors=True)


def _is_being_made(folder: Path) -> bool:
    """Whether a process writes tokens there; what was begun two days ago is left by one that ended."""
    try:
        return "." in folder.name and time.time() - folder.stat().st_mtime < _LONGEST_TO_MAKE
    except OSError:  # it has been moved to its place
        return True


def _is_another(stamp: Stamp) -> bool:
    """Whether a file is not what it was; of one whose folder is not there, as of a disk elsewhere, nobody can say."""
    try:
        return Stamp.of(stamp.path) != stamp
    except FileNotFoundError:
        return stamp.path.parent.is_dir()
    except OSError:
        return False


def _in_parts(stamp: Stamp, number: Callable[[str], list[int]]) -> Iterator[list[list[int]]]:
    """The tokens of some texts at a time."""
    some: list[list[int]] = []
    size = 0
    for line in lines_of(stamp):
        some.append(number(line))
        size += len(some[-1]) + 1
        if size > _AT_ONCE:
            yield some
            some, size = [], 0
    if some:
        yield some
