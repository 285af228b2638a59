"""Files that somebody may give as data: damaged, enormous in their own words, or of no kind at all."""

from __future__ import annotations

import os
import random
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np

__all__ = ["HOSTILE", "hostile_file"]

HOSTILE: dict[str, Callable[[Path, random.Random], Path]] = {}


def hostile_file(folder: Path, rng: random.Random) -> Path:
    """A file (or its absence) in a folder of its own."""
    name = rng.choice(sorted(HOSTILE))
    place = folder / f"file-{name}-{rng.randrange(10**6)}"
    place.mkdir(parents=True, exist_ok=True)
    return HOSTILE[name](place, rng)


def _hostile(make: Callable[[Path, random.Random], Path]) -> Callable[[Path, random.Random], Path]:
    HOSTILE[make.__name__] = make
    return make


def _header(shape: str, descr: str = "<f8") -> bytes:
    text = f"{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}".encode()
    text += b" " * (63 - (len(text) + 10) % 64) + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text


def _bytes_changed(path: Path, rng: random.Random) -> Path:
    content = bytearray(path.read_bytes())
    for _ in range(rng.randint(1, 6)):
        content[rng.randrange(len(content))] = rng.randrange(256)
    if rng.random() < 0.3:
        del content[rng.randrange(1, len(content)) :]
    path.write_bytes(bytes(content))
    return path


@_hostile
def missing(folder: Path, rng: random.Random) -> Path:
    return folder / rng.choice(["none.csv", "n" * 300 + ".csv", "a/b/c.npy", "\x1b[2J.npz", "$(id).csv"])


@_hostile
def pipe(folder: Path, rng: random.Random) -> Path:
    path = folder / rng.choice(["x.csv", "x.npy", "x.npz", "x.parquet"])
    os.mkfifo(path)
    return path


@_hostile
def folders(folder: Path, rng: random.Random) -> Path:
    path = folder / rng.choice(["empty", "x.csv", "x.npz"])
    path.mkdir()
    if rng.random() < 0.5:
        (path / "a.png").write_bytes(rng.randbytes(50))
    return path


@_hostile
def loop_of_links(folder: Path, rng: random.Random) -> Path:
    (folder / "a.csv").symlink_to(folder / "b.csv")
    (folder / "b.csv").symlink_to(folder / "a.csv")
    return folder / "a.csv"


@_hostile
def npy_declared(folder: Path, rng: random.Random) -> Path:
    shape = rng.choice(["(1000000000, 1000)", "(3, -1)", "()", "(4,)", "(99999999999999999999, 2)", "(2, 1000000)"])
    path = folder / "x.npy"
    path.write_bytes(_header(shape, rng.choice(["<f8", "|O", "<c16", "<U5", "|V3", "<m8[s]"])) + b"\0" * 64)
    return path


@_hostile
def npz_members(folder: Path, rng: random.Random) -> Path:
    path = folder / "x.npz"
    with zipfile.ZipFile(path, "w", rng.choice([zipfile.ZIP_STORED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])) as archive:
        for name in rng.sample(["x.npy", "y.npy", "x_train.npy", "x_test.npy", "x.txt", "../x.npy"], 3):
            content = rng.choice([b"no array", _header("(10000000000, 9)"), _header("(3, 2)") + b"\1" * 48])
            archive.writestr(name, content)
    return path


@_hostile
def npz_bytes(folder: Path, rng: random.Random) -> Path:
    x = np.random.default_rng(rng.randrange(2**32)).normal(size=(20, 3))
    np.savez_compressed(folder / "x.npz", x=x, y=np.arange(20) % 3)
    return _bytes_changed(folder / "x.npz", rng)


@_hostile
def parquet_bytes(folder: Path, rng: random.Random) -> Path:
    import pandas

    frame = pandas.DataFrame({"a": np.arange(30.0), "b": list("abc" * 10)})
    frame.to_parquet(folder / "x.parquet")
    return _bytes_changed(folder / "x.parquet", rng)


@_hostile
def many_columns(folder: Path, rng: random.Random) -> Path:
    count = rng.choice([5_000, 200_000, 1_000_000])
    path = folder / "x.npy"
    np.save(path, np.random.default_rng(0).random((3, count), dtype=np.float32))
    return path


@_hostile
def strange_numbers(folder: Path, rng: random.Random) -> Path:
    values = [
        "nan",
        "inf",
        "-inf",
        "1e308",
        "1e-320",
        "0",
        "-0",
        "1",
        "9" * 40,
        "",
        "x",
        '"',
        "\x00",
        "ä",
        "1,5",
        "1e5",
    ]
    rows = [",".join(rng.choice(values) for _ in range(3)) for _ in range(rng.choice([1, 2, 30]))]
    path = folder / "x.csv"
    path.write_text("\n".join([rng.choice(["a,b,c", "a,a,b", ",,", "=1+1,b,c", "1,2,3", "a;b;c"]), *rows]))
    return path


@_hostile
def random_bytes(folder: Path, rng: random.Random) -> Path:
    path = folder / rng.choice(["x.csv", "x.tsv", "x.csv.gz", "x.npy", "x.npz", "x.parquet", "x.h5ad", "x.txt", "x"])
    path.write_bytes(
        rng.choice([b"", b"\x1f\x8b", b"PAR1", b"PK\3\4", b"\xff\xfe"]) + rng.randbytes(rng.choice([0, 9, 500]))
    )
    return path


@_hostile
def large_labels(folder: Path, rng: random.Random) -> Path:
    path, step = folder / "x.csv", rng.choice([1, 10**9, 10**17, 0.5, -1])
    lines = [f"{rng.random()},{rng.random()},{i % 5 * step}" for i in range(40)]
    path.write_text("\n".join(["a,b,label", *lines]))
    return path


@_hostile
def extreme_scales(folder: Path, rng: random.Random) -> Path:
    x = np.random.default_rng(rng.randrange(2**32)).normal(size=(40, 3))
    x *= np.array([rng.choice([1e-300, 1e-30, 1, 1e30, 1e38, 1e300]) for _ in range(3)])
    np.save(folder / "x.npy", x.astype(rng.choice(["f8", "f4", "f2"])) if abs(x).max() < 6e4 else x)
    return folder / "x.npy"
