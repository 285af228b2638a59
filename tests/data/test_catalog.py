"""Named data sets: digits always, the others where LOWERBOUND_DATA holds their files."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from lowerbound import data
from lowerbound.data import catalog
from lowerbound.data.download import needed

FOLDER = os.environ.get("LOWERBOUND_DATA", "")


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setattr("lowerbound.data.download.cache_folder", lambda: tmp_path / "cache")
    monkeypatch.delenv("LOWERBOUND_DATA_URL", raising=False)


def test_digits_hold_every_digit_once():
    from sklearn.datasets import load_digits

    digits = data.load("digits")
    assert digits.x_train.shape == (1437, 8, 8)
    assert digits.x_test.shape == (360, 8, 8)
    assert digits.x_train.dtype == np.float32
    bunch = load_digits()
    ours = np.concatenate([digits.x_train, digits.x_test]) * 16
    labels = np.concatenate([digits.y_train, digits.y_test])
    assert sorted(zip(map(tuple, ours.reshape(-1, 64).tolist()), labels.tolist(), strict=True)) == (
        sorted(zip(map(tuple, bunch.data.tolist()), bunch.target.tolist(), strict=True))
    )
    assert np.bincount(digits.y_test).min() > 20  # shuffled: every digit is held out
    assert data.load("digits").checksum == digits.checksum


def test_digits_split_is_frozen():
    checksum = "4e41930fc0fcaaf6480c849b2c41198e24b65c1792147a790853c2ae428f39d9"
    assert data.load("digits").checksum == checksum


@pytest.mark.parametrize("name", [name for name in data.names() if name not in ("digits", "shapes")])
def test_file_is_what_the_catalogue_says(name):
    entry = catalog.entry(name)
    if entry.file is None or not (FOLDER and (Path(FOLDER) / str(entry.file)).is_file()):
        pytest.skip(f"LOWERBOUND_DATA holds no archive of {name}")
    loaded = data.load(name, download=False)
    assert (loaded.num_train, loaded.num_test) == (entry.num_train, entry.num_test)
    assert loaded.event_shape == entry.event_shape
    assert loaded.kind == entry.kind
    assert loaded.x_train.dtype == np.uint8
    assert loaded.pixel_scale == 255
    if entry.label is None:
        assert loaded.y_train is None
    else:
        assert loaded.y_train is not None
        assert loaded.y_train.dtype == np.int64
        num_classes = {"y": 10, "alphabet": 50}[entry.label]
        assert set(loaded.y_train.tolist()) == set(range(num_classes))


def test_frey_faces_are_split_at_random():
    if not (FOLDER and (Path(FOLDER) / "frey_faces.npz").is_file()):
        pytest.skip("LOWERBOUND_DATA holds no frey_faces.npz")
    frames = np.load(Path(FOLDER) / "frey_faces.npz")["x"]
    faces = data.load("frey-faces")
    together = np.concatenate([faces.x_train, faces.x_test]).reshape(1965, -1)
    assert sorted(map(bytes, together)) == sorted(map(bytes, frames.reshape(1965, -1)))
    assert not np.array_equal(faces.x_test, frames[-200:])


def test_unknown_name_is_refused_with_the_closest():
    with pytest.raises(data.DataError, match="did you mean 'fashion-mnist'") as caught:
        data.load("fashion_mnist")
    assert "digits, mnist, binarized-mnist, fashion-mnist, omniglot" in str(caught.value)


def test_altered_file_in_the_folder_is_refused(tmp_path, monkeypatch):
    (tmp_path / "mnist.npz").write_bytes(b"not mnist")
    monkeypatch.setenv("LOWERBOUND_DATA", str(tmp_path))
    with pytest.raises(data.DataError, match="altered or cut short"):
        data.load("mnist")


def test_description_says_what_is_present(tmp_path, monkeypatch):
    (tmp_path / "omniglot_28.npz").write_bytes(b"")
    monkeypatch.setenv("LOWERBOUND_DATA", str(tmp_path))
    rows = {row.name: row for row in data.describe()}
    assert tuple(rows) == data.names()
    present = {name for name, row in rows.items() if row.present}
    assert present == {"digits", "omniglot", "shapes"}
    assert rows["mnist"].citation.startswith("Y. LeCun")
    assert rows["mnist"].size == "60,000 + 10,000 of 28 x 28"


def test_folder_that_is_not_one_is_refused(tmp_path, monkeypatch):
    monkeypatch.setenv("LOWERBOUND_DATA", str(tmp_path / "absent"))
    with pytest.raises(data.DataError, match="which is not a folder"):
        data.describe()
    with pytest.raises(data.DataError, match="which is not a folder"):
        needed("table.csv")
    monkeypatch.setenv("LOWERBOUND_DATA", str(tmp_path))
    with pytest.raises(data.DataError, match=f"there is no table.csv in the folder {tmp_path}; put it there"):
        needed("table.csv")


def test_listing_imports_neither_torch_nor_numpy():
    code = (
        "import sys, lowerbound.data as data; data.describe(); dir(data);"
        "print([m for m in ('torch', 'numpy', 'pandas', 'sklearn') if m in sys.modules])"
    )
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_every_public_name_can_be_had():
    for name in data.__all__:
        assert getattr(data, name) is not None
    assert set(dir(data)) == set(data.__all__)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = data.nothing
