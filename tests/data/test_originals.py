"""Named data sets from published files, that a server on this machine serves in the original"""

import dataclasses
import hashlib
import os
from pathlib import Path

import numpy as np
import pytest
import scipy.io
from published_files import amat, cifar, idx

from lowerbound import data
from lowerbound.data import catalog
from lowerbound.data.formats.cifar import TEST, TRAIN
from lowerbound.data.originals import Original

FOLDER = Path(os.environ.get("LOWERBOUND_DATA", ""))


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setattr("lowerbound.data.download.cache_folder", lambda: tmp_path / "cache")
    monkeypatch.delenv("LOWERBOUND_DATA", raising=False)
    monkeypatch.delenv("LOWERBOUND_DATA_URL", raising=False)


@pytest.fixture
def publish(serve, monkeypatch):
    """Serve other files in place of those of a data set: the first address is missing, the second holds them."""

    def publish(name, *contents, checksum=None, **changes):
        known = catalog.entry(name)
        base = serve({f"/{name}/{o.file}": c for o, c in zip(known.originals, contents, strict=True)})
        originals = tuple(
            Original(
                file=original.file,
                urls=(f"{base}/absent", f"{base}/{name}/{original.file}"),
                num_bytes=len(content),
                checksum=checksum or f"md5:{hashlib.md5(content).hexdigest()}",
            )
            for original, content in zip(known.originals, contents, strict=True)
        )
        changed = dataclasses.replace(known, originals=originals, **changes)
        others = tuple(entry for entry in catalog.CATALOG if entry.name != name)
        monkeypatch.setattr(catalog, "CATALOG", (*others, changed))

    return publish


def _present(name):
    return {row.name: row.present for row in data.describe()}[name]


def test_mnist_is_downloaded_once_and_is_what_the_archive_holds(publish, tmp_path, monkeypatch):
    generator = np.random.default_rng(0)
    x = generator.integers(0, 256, (30, 28, 28), dtype=np.uint8)
    y = generator.integers(0, 10, 30, dtype=np.uint8)
    publish("mnist", *(idx(part) for part in (x[:20], y[:20], x[20:], y[20:])))
    assert not _present("mnist")
    with pytest.raises(data.DataError, match="mnist is not on this machine: allow the download"):
        data.load("mnist", download=False)
    mnist = data.load("mnist")
    assert _present("mnist")
    np.testing.assert_array_equal(mnist.x_train, x[:20])
    np.testing.assert_array_equal(mnist.y_test, y[20:])
    monkeypatch.setattr("lowerbound.data.named.fetch", None)  # nothing is fetched again
    assert data.load("mnist", download=False).checksum == mnist.checksum
    folder = tmp_path / "folder"
    folder.mkdir()
    np.savez(folder / "mnist.npz", x_train=x[:20], y_train=y[:20], x_test=x[20:], y_test=y[20:])
    sha256 = hashlib.sha256((folder / "mnist.npz").read_bytes()).hexdigest()
    changed = tuple(dataclasses.replace(e, sha256=sha256) if e.name == "mnist" else e for e in catalog.CATALOG)
    monkeypatch.setattr(catalog, "CATALOG", changed)
    monkeypatch.setenv("LOWERBOUND_DATA", str(folder))
    archived = data.load("mnist")
    assert archived.source.endswith("from mnist.npz")  # preferred where it is
    assert archived.checksum == mnist.checksum


def test_altered_original_in_the_cache_is_refused(publish, tmp_path):
    part = np.arange(2 * 784).reshape(2, 28, 28).astype(np.uint8), np.zeros(2, np.uint8)
    publish("fashion-mnist", *map(idx, part * 2))
    data.load("fashion-mnist")
    (tmp_path / "cache/fashion-mnist/t10k-labels-idx1-ubyte.gz").write_bytes(idx(np.ones(2, np.uint8)))
    with pytest.raises(data.DataError, match="altered or cut short"):
        data.load("fashion-mnist")


def test_binarized_mnist_is_black_and_white(publish):
    rows = np.random.default_rng(0).integers(0, 2, (9, 784), dtype=np.uint8)
    publish("binarized-mnist", *(amat(part) for part in (rows[:5], rows[5:7], rows[7:])))
    binarized = data.load("binarized-mnist")
    np.testing.assert_array_equal(binarized.x_train, rows[:7].reshape(-1, 28, 28) * np.uint8(255))
    np.testing.assert_array_equal(binarized.x_test, rows[7:].reshape(-1, 28, 28) * np.uint8(255))
    assert binarized.y_train is None


def test_cifar_has_channels_first_and_named_classes(publish):
    records = np.random.default_rng(0).integers(0, 256, (6, 3073), dtype=np.uint8)
    records[:, 0] %= 10
    members = {name: record.tobytes() for name, record in zip((*TRAIN, *TEST), records, strict=True)}
    publish("cifar-10", cifar(members))
    photographs = data.load("cifar-10")
    np.testing.assert_array_equal(photographs.x_train, records[:5, 1:].reshape(-1, 3, 32, 32))
    np.testing.assert_array_equal(photographs.y_test, records[5:, 0])
    assert photographs.label_names is not None
    assert photographs.label_names[6] == "frog"


def test_omniglot_28_has_the_rows_of_the_papers(publish, tmp_path):
    """As IWAE's datasets.py arranges them: reshape to images, then to pixels in Fortran's order."""
    generator = np.random.default_rng(0)
    content = {"data": generator.random((784, 6)), "testdata": generator.random((784, 4))}
    alphabets = np.array([3, 0, 1, 2, 3, 0])
    content |= {"target": np.eye(4)[alphabets].T, "testtarget": np.eye(4)[alphabets[:4]].T}
    scipy.io.savemat(tmp_path / "chardata.mat", content, do_compression=True)
    publish("omniglot-28", (tmp_path / "chardata.mat").read_bytes())
    omniglot = data.load("omniglot-28")
    theirs = content["data"].T.astype("float32").reshape((-1, 28, 28)).reshape((-1, 784), order="F")
    np.testing.assert_array_equal(omniglot.x_train.reshape(-1, 784), theirs)
    assert omniglot.x_test.dtype == np.float32
    np.testing.assert_array_equal(omniglot.y_train, alphabets)
    np.testing.assert_array_equal(omniglot.y_test, alphabets[:4])


def test_real_frey_faces_come_back_from_matlab(publish, tmp_path, monkeypatch):
    if not (FOLDER / "frey_faces.npz").is_file():
        pytest.skip("LOWERBOUND_DATA holds no frey_faces.npz")
    frames = np.load(FOLDER / "frey_faces.npz")["x"]
    checksum = catalog.entry("frey-faces").originals[0].checksum
    scipy.io.savemat(tmp_path / "frey_rawface.mat", {"ff": frames.reshape(1965, 560).T})
    publish("frey-faces", (tmp_path / "frey_rawface.mat").read_bytes(), checksum=checksum)
    faces = data.load("frey-faces")
    monkeypatch.setenv("LOWERBOUND_DATA", str(FOLDER))
    assert data.load("frey-faces").checksum == faces.checksum
    assert catalog.entry("frey-faces").file == "frey_faces.npz"


def test_other_frames_are_refused_and_not_kept(publish, tmp_path):
    checksum = catalog.entry("frey-faces").originals[0].checksum
    scipy.io.savemat(tmp_path / "frey_rawface.mat", {"ff": np.zeros((560, 5), np.uint8)})
    publish("frey-faces", (tmp_path / "frey_rawface.mat").read_bytes(), checksum=checksum)
    with pytest.raises(data.DataError, match="another checksum than expected"):
        data.load("frey-faces")
    assert list((tmp_path / "cache/frey-faces").iterdir()) == []


def test_a_server_of_ones_own_is_asked_first(publish, serve, monkeypatch):
    rows = np.zeros((1, 784), np.uint8)
    publish("binarized-mnist", *[amat(rows)] * 3)
    known = catalog.entry("binarized-mnist")
    base = serve({f"/mirror/binarized-mnist/{original.file}": amat(rows) for original in known.originals})
    asked = []
    monkeypatch.setattr("lowerbound.data.download._fetch_from", lambda url, *rest: asked.append(url) or 1 / 0)
    monkeypatch.setenv("LOWERBOUND_DATA_URL", f"{base}/mirror/")
    with pytest.raises(ZeroDivisionError):
        data.load("binarized-mnist")
    assert asked == [f"{base}/mirror/binarized-mnist/binarized_mnist_train.amat"]


def test_what_cannot_be_downloaded_says_where_to_put_it():
    with pytest.raises(data.DataError, match=r"set LOWERBOUND_DATA to a folder holding omniglot_28\.npz") as caught:
        data.load("omniglot")
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize("known", catalog.CATALOG, ids=lambda known: known.name)
def test_every_entry_is_complete(known):
    assert known.citation
    assert known.licence
    assert known.origin
    assert (known.form is None) == (known.originals == ())
    for original in known.originals:
        assert len(set(original.urls)) >= 2
        assert all(url.startswith("https://") for url in original.urls)
        algorithm, _, digest = original.checksum.partition(":")
        assert len(digest) == {"sha256": 64, "md5": 32, "pixels": 64}[algorithm]
        assert 0 < original.num_bytes < 200_000_000
