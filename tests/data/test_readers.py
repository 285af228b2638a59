"""Reading arrays: shapes, splits, labels, and files that must be refused."""

import pickle

import numpy as np
import pytest

from lowerbound.data import DataError, read_file, read_rows


def _rng():
    return np.random.default_rng(0)


def _refusal(path, **named):
    with pytest.raises(DataError) as caught:
        read_file(path, **named)
    message = str(caught.value)
    assert message.endswith(".")
    assert "\n" not in message
    return message


def test_npy_table_is_kept_exactly_and_is_split(tmp_path):
    x = _rng().normal(size=(50, 3))
    np.save(tmp_path / "x.npy", x)
    data = read_file(tmp_path / "x.npy")
    assert (data.kind, data.num_train, data.num_test) == ("table", 40, 10)
    together = np.concatenate([data.x_train, data.x_test])
    assert together.dtype == np.float64
    order = np.argsort(together[:, 0])
    assert np.array_equal(together[order], x[np.argsort(x[:, 0])])
    assert read_file(str(tmp_path / "x.npy")).checksum == data.checksum
    assert data.name == "x.npy"


def test_images_are_stored_channels_first(tmp_path):
    x = _rng().integers(0, 256, (10, 4, 5, 3), dtype=np.uint8)
    np.savez(tmp_path / "x.npz", x_train=x[:7], x_test=x[7:])
    data = read_file(tmp_path / "x.npz")
    assert data.kind == "image"
    assert data.event_shape == (3, 4, 5)
    assert data.x_train.dtype == np.uint8
    assert data.x_train.flags.c_contiguous
    assert np.array_equal(data.x_test[1, 2], x[8, :, :, 2])


@pytest.mark.parametrize("dtype", [np.uint8, np.float64, bool])
def test_grey_images_keep_their_axes(tmp_path, dtype):
    x = _rng().integers(0, 2, (10, 4, 5)).astype(dtype)
    np.save(tmp_path / "x.npy", x)
    data = read_file(tmp_path / "x.npy")
    assert (data.kind, data.event_shape) == ("image", (4, 5))
    assert data.x_train.dtype == np.uint8


def test_labels_follow_their_rows_through_the_split(tmp_path):
    x = np.arange(40.0).reshape(20, 2)
    np.savez(tmp_path / "x.npz", x=x, y=x[:, 0].astype(np.uint8), other=np.arange(20) * 10)
    data = read_file(tmp_path / "x.npz")
    assert data.y_train is not None
    assert data.y_train.dtype == np.int64
    assert np.array_equal(data.y_train, data.x_train[:, 0] / 2)  # twenty even numbers are twenty classes
    assert np.array_equal(data.y_test, data.x_test[:, 0] / 2)
    other = read_file(tmp_path / "x.npz", label="other")
    assert other.schema.classes is not None
    assert [int(other.schema.classes[i]) for i in other.y_test] == (other.x_test[:, 0] * 5).tolist()


def test_text_labels_are_numbered_alike_in_both_parts(tmp_path):
    x = _rng().normal(size=(5, 2))
    np.savez(
        tmp_path / "x.npz",
        rows_train=x[:3],
        rows_test=x[3:],
        kind_train=np.array(["b", "c", "b"]),
        kind_test=np.array(["c", "a"]),
    )
    data = read_file(tmp_path / "x.npz", array="rows", label="kind")
    assert data.label_names == ("a", "b", "c")
    assert data.y_train is not None
    assert data.y_test is not None
    assert (data.y_train.tolist(), data.y_test.tolist()) == ([1, 2, 1], [2, 0])


def test_measured_labels_stay_float(tmp_path):
    x = _rng().normal(size=(10, 2))
    np.savez(tmp_path / "x.npz", x=x, y=x[:, 0])
    data = read_file(tmp_path / "x.npz")
    assert data.y_train is not None
    assert data.y_train.dtype == np.float32
    np.savez(tmp_path / "y.npz", x=x, y=np.where(x[:, 0] == x[4, 0], np.nan, x[:, 0]))
    assert "1 missing or unusable labels, the first at row 4" in _refusal(tmp_path / "y.npz")


def test_objects_are_never_loaded(tmp_path):
    class Bomb:
        def __reduce__(self):
            return (pytest.fail, ("code from the file was run",))

    np.save(tmp_path / "x.npy", np.array([Bomb(), Bomb()], dtype=object), allow_pickle=True)
    np.savez(tmp_path / "x.npz", x=np.array([Bomb(), 1], dtype=object))
    (tmp_path / "raw.npy").write_bytes(pickle.dumps(Bomb()))
    assert "holds Python objects" in _refusal(tmp_path / "x.npy")
    assert "holds Python objects" in _refusal(tmp_path / "x.npz")
    assert "holds Python objects" in _refusal(tmp_path / "x.npy", stream_above=0)
    assert "not a readable .npy file" in _refusal(tmp_path / "raw.npy")


def test_cut_and_altered_files(tmp_path):
    x = _rng().normal(size=(100, 3))
    np.save(tmp_path / "x.npy", x)
    np.savez_compressed(tmp_path / "x.npz", x=x)
    for name in ("x.npy", "x.npz"):
        whole = (tmp_path / name).read_bytes()
        for length in (0, 4, 90, len(whole) // 2, len(whole) - 1):
            (tmp_path / name).write_bytes(whole[:length])
            assert "not a readable" in _refusal(tmp_path / name)
            if name == "x.npy":
                assert "not a readable" in _refusal(tmp_path / name, stream_above=-1)
    flipped = bytearray(whole)
    flipped[len(whole) // 2] ^= 255
    (tmp_path / "x.npz").write_bytes(bytes(flipped))
    assert "not a readable .npz file" in _refusal(tmp_path / "x.npz")


def test_formats_mixed_up(tmp_path):
    np.savez(tmp_path / "x.npz", x=np.eye(3))
    (tmp_path / "x.npz").rename(tmp_path / "y.npy")
    assert "rename it to end in .npz" in _refusal(tmp_path / "y.npy")
    np.save(tmp_path / "x.npy", np.eye(3))
    (tmp_path / "x.npy").rename(tmp_path / "x.npz")
    assert "rename it to end in .npy" in _refusal(tmp_path / "x.npz")
    (tmp_path / "x.doc").write_text("1")
    assert "not one of .npy, .npz, .csv" in _refusal(tmp_path / "x.doc")


def test_missing_file(tmp_path):
    assert "there is no file" in _refusal(tmp_path / "none.npz")


@pytest.mark.filterwarnings("ignore:Column:lowerbound.data.remarks.DataWarning")  # of values unlike those of the fit
def test_other_archives_are_read_by_the_array_of_the_fit(tmp_path):
    rows = np.random.default_rng(0).normal(size=(20, 3))
    np.savez(tmp_path / "fit.npz", x=rows, weights=rows + 9)
    np.savez(tmp_path / "other.npz", x=rows, named=rows + 7)
    np.savez(tmp_path / "alone.npz", named=rows + 5)
    schema = read_file(tmp_path / "fit.npz", array="weights").schema
    np.testing.assert_array_equal(read_rows(tmp_path / "fit.npz", schema).x, rows + 9)
    with pytest.raises(DataError, match=r"other\.npz has no array 'weights', to which the model was fitted; say which"):
        read_rows(tmp_path / "other.npz", schema)
    np.testing.assert_array_equal(read_rows(tmp_path / "other.npz", schema, array="named").x, rows + 7)
    alone = read_rows(tmp_path / "alone.npz", schema)
    assert alone.notes == ("Rows are the array 'named' of alone.npz.",)


def test_names_that_are_not_there(tmp_path):
    np.savez(tmp_path / "x.npz", counts=np.eye(5), spatial=np.ones((5, 2)), other=np.eye(5), label=np.arange(5))
    assert read_file(tmp_path / "x.npz").notes == ("Rows are the array 'counts' of x.npz.",)
    np.savez(tmp_path / "x.npz", a=np.eye(5), spatial=np.ones((5, 2)), label=np.arange(5))
    assert "say which array holds the rows with array=NAME: 'a', 'spatial'" in _refusal(tmp_path / "x.npz")
    np.savez(tmp_path / "x.npz", counts=np.eye(5), label=np.arange(5))
    assert "'counts'" in _refusal(tmp_path / "x.npz", array="count")
    assert "has no 'labels'; the nearest of its 2 names: 'label'" in _refusal(
        tmp_path / "x.npz", array="counts", label="labels"
    )
    np.save(tmp_path / "x.npy", np.eye(5))
    assert "holds one array and no labels" in _refusal(tmp_path / "x.npy", label="y")
    assert "is not an .npz file" in _refusal(tmp_path / "x.npy", array="x")


@pytest.mark.parametrize(
    "x, words",
    [
        (np.arange(5.0), "expected a table (N, D)"),
        (np.zeros((4, 3, 8, 8), dtype=np.uint8), "is constant"),
        (np.zeros((0, 3)), "is empty"),
        (np.zeros((1, 3)), "one row"),
        (np.zeros((9, 3)), "is constant"),
        (np.array([["a"], ["b"]]), "has type <U1"),
    ],
)
def test_arrays_of_no_use(tmp_path, x, words):
    np.save(tmp_path / "x.npy", x)
    assert words in _refusal(tmp_path / "x.npy")


def test_labels_that_do_not_fit(tmp_path):
    x = _rng().normal(size=(6, 2))
    np.savez(tmp_path / "x.npz", x=x, y=np.arange(5))
    assert "one label for each of the 6 rows" in _refusal(tmp_path / "x.npz")
    np.savez(tmp_path / "y.npz", x_train=x[:4], x_test=x[4:], y_train=np.arange(4))
    assert "labels for its training rows only" in _refusal(tmp_path / "y.npz")
    np.savez(tmp_path / "z.npz", x_train=x, x_test=x[:, :, None])
    assert "differ" in _refusal(tmp_path / "z.npz")
