"""Folders of pictures of many sizes: `compress` to one file, `decompress` to a folder of the same names."""

from __future__ import annotations

import os
import shutil

import numpy as np
import pytest
from PIL import Image

import lowerbound as lb
from lowerbound.data import DataError
from lowerbound.verbs.lossless_file import pack, unpack

G = np.random.default_rng(0)
GIVEN = {"cats/1": (20, 33), "cats/2": (50, 12), "dogs/1": (13, 11)}


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A run that was fitted to pictures of 13 x 11, a folder of others, and their file."""
    folder = tmp_path_factory.mktemp("pictures")
    x = G.integers(0, 256, (40, 13, 11, 3), dtype=np.uint8)
    fitted = lb.fit(
        x, "rate-distortion", prior="hyperprior", steps=2, hidden=[4], code_channels=2, device="cpu", compile=False
    )
    fitted.save(folder / "run")
    for name, size in GIVEN.items():
        (folder / "in" / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(G.integers(0, 256, (*size, 3), dtype=np.uint8)).save(folder / "in" / f"{name}.png")
    return folder


def test_a_folder_and_back(place, cli, refused, tmp_path):
    answer = cli("compress", place / "run", place / "in", "--out", tmp_path / "x.lb")
    assert "WITH LOSS" in answer.out
    assert " png\n" in answer.out
    assert "Wrote 3 rows" in cli("decompress", place / "run", tmp_path / "x.lb", "--out", tmp_path / "out").out
    back = lb.Fitted.open(place / "run").decompress(tmp_path / "x.lb")
    assert {name: x.shape[:2] for name, x in back.items()} == GIVEN
    for name, x in back.items():
        with Image.open(tmp_path / "out" / f"{name}.png") as image:
            assert np.array_equal(np.asarray(image), x)
    again = ("decompress", place / "run", tmp_path / "x.lb", "--out")
    assert "3 sizes" in refused(*again, tmp_path / "out.npy")
    assert "is there already" in refused(*again, tmp_path / "out")
    assert "name a new folder" in refused(*again, tmp_path / "out", "--force")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "x.lb"]


def test_one_picture_and_rows_of_another_size(place, cli, refused, tmp_path):
    cli("compress", place / "run", place / "in" / "cats" / "1.png", "--out", tmp_path / "one.lb")
    cli("decompress", place / "run", tmp_path / "one.lb", "--out", tmp_path / "one.npy")
    assert np.load(tmp_path / "one.npy").shape == (1, 20, 33, 3)
    np.save(tmp_path / "rows.npy", G.integers(0, 256, (12, 10, 9, 3), dtype=np.uint8))
    cli("compress", place / "run", tmp_path / "rows.npy", "--out", tmp_path / "rows.lb")
    cli("decompress", place / "run", tmp_path / "rows.lb", "--out", tmp_path / "back")
    names = sorted(path.name for path in (tmp_path / "back").iterdir())
    assert names == [f"{n:02}.png" for n in range(12)]
    Image.fromarray(np.zeros((30, 30), np.uint8)).save(tmp_path / "grey.png")
    assert "in colour" in refused("compress", place / "run", tmp_path / "grey.png", "--out", tmp_path / "grey.lb")


def test_rows_of_the_size_of_the_fit_as_a_folder(place, cli, tmp_path):
    np.save(tmp_path / "rows.npy", G.integers(0, 256, (3, 13, 11, 3), dtype=np.uint8))
    cli("compress", place / "run", tmp_path / "rows.npy", "--out", tmp_path / "rows.lb")
    cli("decompress", place / "run", tmp_path / "rows.lb", "--out", tmp_path / "back")
    back = lb.Fitted.open(place / "run").decompress(tmp_path / "rows.lb")
    for n, x in enumerate(back):  # as rows are numbered
        with Image.open(tmp_path / "back" / f"{n:06}.png") as image:
            assert np.array_equal(np.asarray(image), x)


@pytest.mark.parametrize("altered", [{"sizes": [], "rows": 0}, {"sizes": []}, {"rows": 2}])
def test_a_header_of_no_pictures_or_of_others_than_rows_is_refused(place, cli, refused, tmp_path, altered):
    cli("compress", place / "run", place / "in" / "cats" / "1.png", "--out", tmp_path / "x.lb")
    content = unpack((tmp_path / "x.lb").read_bytes())
    content.header.update(altered)
    (tmp_path / "x.lb").write_bytes(pack(content))
    said = refused("decompress", place / "run", tmp_path / "x.lb", "--out", tmp_path / "out")
    assert "header that is not readable" in said


def test_a_name_of_bytes_that_are_no_utf_8_is_refused(place, refused, tmp_path):
    (tmp_path / "in").mkdir()
    Image.fromarray(np.zeros((20, 20, 3), np.uint8)).save(tmp_path / "x.png")
    (tmp_path / "x.png").rename(tmp_path / "in" / os.fsdecode(b"caf\xe9.png"))
    said = refused("compress", place / "run", tmp_path / "in", "--out", tmp_path / "x.lb")
    assert "'caf\\udce9' can be the name of no file" in " ".join(said.split())


@pytest.mark.parametrize("other", [False, True])
def test_pictures_are_not_written_into_the_folder_of_a_run(place, cli, refused, tmp_path, other):
    cli("compress", place / "run", place / "in" / "cats" / "1.png", "--out", tmp_path / "x.lb")
    out = place / "run"
    if other:
        out = shutil.copytree(out, tmp_path / "other")
    before = sorted(out.iterdir())
    said = refused("decompress", place / "run", tmp_path / "x.lb", "--out", out, "--force")
    assert "is the folder of a run" in " ".join(said.split())
    assert sorted(out.iterdir()) == before


def test_pictures_of_the_size_of_the_fit_keep_their_names_and_subfolders(place, cli, refused, tmp_path):
    names = ["cats/b", "dogs/a", "dogs/c"]
    for name in names:
        (tmp_path / "in" / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(G.integers(0, 256, (13, 11, 3), dtype=np.uint8)).save(tmp_path / "in" / f"{name}.png")
    file = tmp_path / "x.lb"
    answer = cli("compress", place / "run", tmp_path / "in", "--out", file)
    assert answer.code == 0, answer
    cli("decompress", place / "run", file, "--out", tmp_path / "out")
    cli("decompress", place / "run", file, "--out", tmp_path / "out.npy")
    written = sorted(path.relative_to(tmp_path / "out").as_posix() for path in (tmp_path / "out").glob("*/*"))
    assert written == [f"{name}.png" for name in names]
    back = lb.Fitted.open(place / "run").decompress(file)
    assert list(back) == names
    for x, row in zip(back.values(), np.load(tmp_path / "out.npy"), strict=True):
        assert np.array_equal(x, row)
    for name, x in back.items():
        with Image.open(tmp_path / "out" / f"{name}.png") as image:
            assert np.array_equal(np.asarray(image), x)
    content = unpack(file.read_bytes())
    for altered in (["../b", "a", "c"], ["a", "a", "c"], ["a"], 3):
        content.header["names"] = altered
        file.write_bytes(pack(content))
        said = refused("decompress", place / "run", file, "--out", tmp_path / "other")
        assert "header that is not readable" in said
    del content.header["names"]
    file.write_bytes(pack(content))
    assert lb.Fitted.open(place / "run").decompress(file).shape == (3, 13, 11, 3)


def test_names_that_are_equal_as_text_are_refused(place, tmp_path):
    x = np.zeros((20, 20, 3), np.uint8)
    with pytest.raises(DataError, match="two pictures have the name '1'"):
        lb.Fitted.open(place / "run").compress({1: x, "1": x, 2: x}, tmp_path / "x.lb")


def test_a_name_that_no_system_takes_is_refused(place, refused, tmp_path):
    refused("compress", place / "run", "[" * 3000, "--out", tmp_path / "x.lb")
    refused("compress", place / "run", place / "in", "--out", tmp_path / ("x" * 300 + ".lb"))
