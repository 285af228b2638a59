"""Labels: a class is known by its name, and keeps its number whatever else a file holds."""

import numpy as np
import pandas
import pytest

from lowerbound.data import DataError, Dataset, read_file, read_rows
from lowerbound.data.classes import num_classes
from lowerbound.data.given import dataset_of, rows_under
from lowerbound.data.labels import class_names, label_values, numbered
from lowerbound.sklearn import SemiSupervisedVAE


def _save(path, labels, num_rows=60):
    x = np.random.default_rng(0).normal(size=(num_rows, 2))
    np.savez(path, x=x, y=np.resize(np.asarray(labels), num_rows))
    return path


@pytest.mark.parametrize("labels", [[1, 2, 5], [1.0, 2.0, 5.0], np.array([1, 2, 5], np.uint8)])
def test_numbers_of_classes_are_no_sizes(tmp_path, labels):
    data = read_file(_save(tmp_path / "x.npz", labels))
    assert data.schema.classes == ("1", "2", "5")
    assert num_classes(data) == 3
    assert data.y_train is not None
    assert set(data.y_train) == {0, 1, 2}


def test_large_numbers_make_as_many_classes_as_there_are(tmp_path):
    assert num_classes(read_file(_save(tmp_path / "x.npz", [5000, 1000, 2_000_000_000]))) == 3


def test_numbers_are_sorted_as_numbers_and_text_as_text(tmp_path):
    assert read_file(_save(tmp_path / "x.npz", [10, 9, -3])).schema.classes == ("-3", "9", "10")
    assert read_file(_save(tmp_path / "y.npz", ["10", "9"])).schema.classes == ("10", "9")
    assert read_file(_save(tmp_path / "z.npz", [True, False])).schema.classes == ("False", "True")


def test_measurements_are_no_classes(tmp_path):
    for name, labels in (("a", [0.5, 1.0]), ("b", np.arange(1001))):
        data = read_file(_save(tmp_path / f"{name}.npz", labels, 2000))
        assert data.schema.classes is None
        assert data.y_train is not None
        assert data.y_train.dtype == np.float32
        with pytest.raises(DataError, match="are measurements"):
            num_classes(data)
    with pytest.raises(DataError, match="2,000 different texts"):
        read_file(_save(tmp_path / "c.npz", [f"row {i}" for i in range(2000)], 2000))


def test_other_data_are_matched_by_the_names_of_classes(tmp_path):
    schema = read_file(_save(tmp_path / "x.npz", ["cat", "ant", "dog"])).schema
    fewer = read_rows(_save(tmp_path / "fewer.npz", ["dog", "cat"], 4), schema)
    assert fewer.y is not None
    assert fewer.y.tolist() == [2, 1, 2, 1]
    with pytest.raises(DataError, match=r"hold the class 'zebra' at row 1, which the model has not seen"):
        read_rows(_save(tmp_path / "more.npz", ["dog", "zebra"], 4), schema)


def test_numbers_match_in_any_type(tmp_path):
    schema = read_file(_save(tmp_path / "x.npz", [1, 2, 5])).schema
    for dtype in (np.float64, np.uint8, "U1"):
        other = read_rows(_save(tmp_path / "o.npz", np.array([5, 2]).astype(dtype), 4), schema)
        assert other.y is not None
        assert other.y.tolist() == [2, 1, 2, 1]


def test_no_label_is_minus_one(tmp_path):
    data = Dataset.from_array(np.random.default_rng(0).normal(size=(40, 2)), y=np.resize([3.0, np.nan, -1, 7], 40))
    assert data.schema.classes == ("3", "7")
    assert data.y_train is not None
    assert set(data.y_train) == {-1, 0, 1}
    assert num_classes(data, some_unlabelled=True) == 2
    with pytest.raises(DataError, match="no label at row"):
        num_classes(data)
    texts = np.array(["u", None, "v", float("nan")], dtype=object)
    values = label_values(texts, "y")
    assert numbered(values, class_names(values, "y"), "y").tolist() == [0, -1, 1, -1]


@pytest.mark.parametrize("missing", [-1, float("nan"), None, " "])
@pytest.mark.parametrize("form", [list, tuple, lambda y: np.array(y, dtype=object)])
def test_numbers_among_text_are_no_class(missing, form):
    """numpy makes text of them where it makes an array of a list."""
    x, y = np.random.default_rng(0).normal(size=(30, 2)), form(["v", missing, "u"] * 10)
    for data in (Dataset.from_array(x, y=y), dataset_of(x, y=y)):
        assert data.schema.classes == ("u", "v")
        assert data.y_train is not None
        assert set(data.y_train) == {-1, 0, 1}


def test_names_of_classes_beside_their_numbers(tmp_path):
    x = np.random.default_rng(0).normal(size=(20, 3))
    y = np.resize([2, 0, 1], 20)
    np.savez(tmp_path / "x.npz", x=x, kind=y, kind_names=np.array(["b", "a", "c"]))
    data = read_file(tmp_path / "x.npz", label="kind")
    assert data.schema.classes == ("b", "a", "c")
    np.savez(tmp_path / "text.npz", x=x, kind=np.resize(["c", "b", "a"], 20))
    other = read_rows(tmp_path / "text.npz", data.schema)
    assert other.y is not None
    assert other.y.tolist() == y.tolist()


def test_minus_one_among_labels_is_said(tmp_path):
    data = read_file(_save(tmp_path / "x.npz", [-1, 1, 2]))
    assert data.notes == ("20 of 60 rows of x.npz have no label: none is given, or −1, which stands for none.",)
    one = read_file(_save(tmp_path / "y.npz", [-1, 1]))
    with pytest.raises(DataError, match="are of 1 class and this model tells classes apart"):
        num_classes(one, some_unlabelled=True)


def test_what_numpy_makes_text_of_is_missing_on_both_roads():
    """-1 and NaN among text, in an array; text that spells numbers alone is as it was written."""
    x, y = np.random.default_rng(0).normal(size=(40, 3)), np.array(["a", "b", -1, np.nan] * 10)
    dataset = dataset_of(x, y)
    assert dataset.schema.classes == ("a", "b")
    assert sorted(set(np.asarray(dataset.y_train).tolist())) == [-1, 0, 1]
    found = SemiSupervisedVAE(hidden=(4,), latent_dim=1, epochs=1).fit(x, y)
    assert found.classes_.tolist() == ["a", "b"]
    assert dataset_of(x, np.array(["1", "-1"] * 20)).schema.classes == ("-1", "1")


def _roads(labels, tmp_path):
    """The same labels on every road to a data set."""
    rows = np.random.default_rng(0).normal(size=(len(labels), 2))
    frame = pandas.DataFrame(rows, columns=["a", "b"]).assign(kind=labels)
    frame.to_csv(tmp_path / "x.csv", index=False)
    frame.to_parquet(tmp_path / "x.parquet")
    np.savez(tmp_path / "x.npz", x=rows, y=np.array(labels))
    yield read_file(tmp_path / "x.csv", label="kind")
    yield read_file(tmp_path / "x.parquet", label="kind")
    yield read_file(tmp_path / "x.npz")
    yield dataset_of(frame, "kind")
    yield dataset_of(rows, labels)
    yield dataset_of(rows, np.array(labels))
    yield Dataset.from_array(rows, y=labels)


def test_minus_one_among_words_is_no_label_on_every_road(tmp_path):
    for data in _roads(["cat", "-1", "dog", "cat"] * 10, tmp_path):
        assert data.schema.classes == ("cat", "dog"), data.source
        assert sorted(np.concatenate([data.y_train, data.y_test])) == [-1] * 10 + [0] * 20 + [1] * 10
        assert any("have no label: none is given, or −1" in note for note in data.notes)
    schema = data.schema
    alone = rows_under(np.zeros((3, 2)), schema, y=["-1", "-1", "-1"])
    assert alone.y is not None
    assert alone.y.tolist() == [-1, -1, -1]


def test_texts_that_are_all_numbers_are_classes():
    rows = np.random.default_rng(0).normal(size=(20, 2))
    assert dataset_of(rows, ["1", "-1"] * 10).schema.classes == ("-1", "1")
    assert dataset_of(rows, [1, -1] * 10).schema.classes == ("1",)
