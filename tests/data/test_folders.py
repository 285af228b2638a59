"""Folders of pictures: labels from subfolders; the odd one is named; nothing but regular files is opened."""

import os

import numpy as np
import pytest
from PIL import Image

from lowerbound.data import DataError, read_file, read_rows
from lowerbound.data.folders import names_in, read_pictures


def _picture(path, seed, shape=(4, 5)):
    path.parent.mkdir(exist_ok=True, parents=True)
    x = np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)
    Image.fromarray(x).save(path)
    return x


def _refusal(path, **named):
    with pytest.raises(DataError) as caught:
        read_file(path, **named)
    assert len(str(caught.value)) < 300
    return str(caught.value)


def test_pictures_in_subfolders_have_labels(tmp_path):
    pictures = {
        f"{kind}/{i}.png": _picture(tmp_path / kind / f"{i}.png", i) for kind in ("dog", "cat") for i in range(5)
    }
    (tmp_path / "dog" / "notes.txt").write_text("passed over")
    os.mkfifo(tmp_path / "cat" / "pipe.png")
    data = read_file(tmp_path)
    assert (data.kind, data.event_shape, data.schema.container) == ("image", (4, 5), "folder")
    assert data.schema.classes == ("cat", "dog")
    rows = read_rows(tmp_path, data.schema)
    np.testing.assert_array_equal(rows.x, [pictures[f"{kind}/{i}.png"] for kind in ("cat", "dog") for i in range(5)])
    assert rows.y is not None
    assert rows.y.tolist() == [0] * 5 + [1] * 5


def test_pictures_in_colour(tmp_path):
    pictures = [_picture(tmp_path / f"{i}.png", i, (4, 5, 3)) for i in range(4)]
    data = read_file(tmp_path)
    assert (data.event_shape, data.y_train) == ((3, 4, 5), None)
    back = data.kind_of_data.render(read_rows(tmp_path, data.schema).x, data.schema)
    np.testing.assert_array_equal(back, pictures)


def test_folders_that_are_refused(tmp_path):
    assert "has no .png or .jpg file" in _refusal(tmp_path)
    for i in range(3):
        _picture(tmp_path / "a" / f"{i}.png", i)
    _picture(tmp_path / "a" / "odd.png", 0, (5, 5))
    assert "'odd.png' is a picture of 5 x 5 (L) and others are of 5 x 4 (L)" in _refusal(tmp_path)
    _picture(tmp_path / "a" / "odd.png", 0, (4, 5, 3))
    assert "'odd.png' is a picture of 5 x 4 (RGB)" in _refusal(tmp_path)
    whole = (tmp_path / "a" / "0.png").read_bytes()
    (tmp_path / "a" / "odd.png").write_bytes(whole[: len(whole) - 30])
    assert "'odd.png' is not a readable picture" in _refusal(tmp_path)
    (tmp_path / "a" / "odd.png").write_bytes(b"no picture")
    assert "'odd.png' is not a readable picture" in _refusal(tmp_path)
    (tmp_path / "a" / "odd.png").unlink()
    _picture(tmp_path / "top.png", 0)
    assert "has pictures beside subfolders of pictures" in _refusal(tmp_path)
    assert "the labels of a folder are its subfolders" in _refusal(tmp_path, label="a")


def test_a_link_to_the_folder_itself_ends(tmp_path):
    for i in range(3):
        _picture(tmp_path / f"{i}.png", i)
    (tmp_path / "loop").symlink_to(tmp_path)
    assert "has pictures beside subfolders" in _refusal(tmp_path)


def test_pictures_that_would_have_one_name_keep_their_endings_and_others_do_not(tmp_path):
    for name in ("a.jpg", "a.png", "a.png.png", "b.png"):
        _picture(tmp_path / name, 0)
    assert names_in(tmp_path) == ["a.jpg", "a.png", "a.png.png", "b"]
    assert list(read_pictures(tmp_path)) == names_in(tmp_path)
