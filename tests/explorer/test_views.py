"""Rows of every kind as a page shows them, in the words of the user."""

import base64

import numpy as np
import pandas as pd
import pytest
from some_molecules import SMILES

from lowerbound.data.chemistry import rdkit_chem
from lowerbound.data.given import dataset_of
from lowerbound.data.overrides import Overrides
from lowerbound.explorer.own import form_of
from lowerbound.explorer.views import cells_of, views_of
from lowerbound.plots.molecules import molecule_svg

RNG = np.random.default_rng(0)


def shown(data, **said):
    dataset = dataset_of(data, overrides=Overrides(**said))
    return views_of(np.asarray(dataset.x_train), dataset.schema), dataset


def bytes_of(view):
    found = np.frombuffer(base64.b64decode(view["pixels"]), dtype=np.uint8)
    return found.reshape(view["height"], view["width"], view["channels"])


def test_texts_are_texts():
    texts = ["the cat runs", "a dog", "the dog"] * 10
    views, dataset = shown(texts)
    rows = [i for i in range(30) if i not in dataset.test_rows.tolist()]
    assert [view["text"] for view in views] == [texts[i] for i in rows]
    assert form_of(dataset.schema) == {"kind": "text", "word": "text"}


def test_molecules_are_drawn_without_their_smiles_in_the_drawing():
    views, dataset = shown(SMILES * 2, kind="molecules")
    known = {rdkit_chem().CanonSmiles(smiles) for smiles in SMILES}
    assert {view["text"] for view in views} <= known
    drawing = base64.b64decode(views[0]["svg"]).decode()
    assert drawing.startswith("<svg")
    assert "<script" not in drawing
    assert "legend" not in drawing
    assert "legend" in molecule_svg(["CCO"])
    assert form_of(dataset.schema)["word"] == "SMILES"


@pytest.mark.parametrize("shape", [(6, 5), (6, 5, 3), (3, 6, 5), (6, 5, 2), (6, 5, 4)])
def test_pictures_are_bytes_in_rows(shape):
    x = RNG.integers(0, 256, (20, *shape)).astype(np.uint8)
    views, dataset = shown(x)
    rows = [i for i in range(20) if i not in dataset.test_rows.tolist()]
    expected = x[rows[0]]
    if len(shape) == 3:
        expected = np.moveaxis(expected, 0, -1) if shape[0] == 3 else expected
        expected = np.concatenate([expected, np.zeros_like(expected[..., :1])], -1)[..., :3]
    else:
        expected = expected[..., None]
    np.testing.assert_array_equal(bytes_of(views[0]), expected)
    form = form_of(dataset.schema)
    assert (form["height"], form["width"], form["channels"]) == (6, 5, 1 if len(shape) == 2 else min(shape))


def test_levels_and_intensities_reach_white():
    levels, _ = shown(RNG.integers(0, 2, (10, 4, 4)))
    assert set(bytes_of(levels[0]).ravel().tolist()) == {0, 255}
    x = np.linspace(0, 1, 160).reshape(10, 4, 4)
    grey, dataset = shown(x)
    rows = [i for i in range(10) if i not in dataset.test_rows.tolist()]
    np.testing.assert_array_equal([bytes_of(view)[..., 0] for view in grey], np.round(x[rows].astype(np.float32) * 255))


def test_cells_are_written_as_the_user_writes_them():
    frame = pd.DataFrame(
        {
            "when": pd.date_range("2024-01-01", periods=20),
            "kind": ["a", "b"] * 10,
            "grade": pd.Categorical(["low", "high"] * 10, categories=["low", "high"], ordered=True),
            "ok": [True, False] * 10,
            "price": RNG.normal(10, 3, 20).round(2),
        }
    )
    frame.loc[0, "price"] = np.nan
    dataset = dataset_of(frame)
    stored = np.asarray(dataset.x_train)
    rows = [i for i in range(20) if i not in dataset.test_rows.tolist()]
    for cells, i in zip(cells_of(stored, dataset.schema), rows, strict=True):
        found = dict(cells)
        assert found["when"].startswith(str(frame["when"][i].date()))
        assert (found["kind"], found["grade"], found["ok"]) == (
            frame["kind"][i],
            frame["grade"][i],
            str(frame["ok"][i]),
        )
        assert found["price"] == ("" if i == 0 else str(frame["price"][i]))


def test_counts_are_not_rounded_and_many_columns_are_cut_to_the_largest():
    x = RNG.poisson(3, (20, 80))
    views, dataset = shown(x, kind="counts")
    mean = np.full((1, 80), 0.25)
    mean[0, 70] = 7.5
    view = views_of(mean, dataset.schema)[0]
    assert view["cells"][0] == ("70", "7.5")
    assert (len(view["cells"]), view["more"]) == (60, 20)
    assert form_of(dataset.schema) == {"kind": "numbers", "shape": [80], "count": 80}
    assert views[0]["kind"] == "table"


def test_series_are_steps_and_gaps_are_none():
    x = RNG.normal(size=(20, 7, 2))
    x[:, 3] = np.nan
    views, _ = shown(x, kind="array")
    assert len(views[0]["steps"]) == 7
    assert views[0]["steps"][3] == [None, None]
    flat, _ = shown(RNG.normal(size=(20, 2, 3, 4)), kind="array")
    assert np.shape(flat[0]["steps"]) == (2, 12)


def test_gaps_of_whole_numbers_are_empty():
    table = pd.DataFrame({"n": pd.array([*range(100, 119), None], "Int64"), "k": ["u", None, *"uv" * 9]})
    dataset = dataset_of(table)
    stored = np.array([[np.nan, 0.0], [104.0, np.nan]])
    assert cells_of(stored, dataset.schema) == [[("n", ""), ("k", "u")], [("n", "104"), ("k", "")]]
