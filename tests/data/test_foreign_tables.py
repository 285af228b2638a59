"""Tables of other libraries are read like the DataFrame that they become."""

from typing import Any

import numpy as np
import pandas
import pyarrow
import pytest

import lowerbound as lb
from lowerbound.data import DataError
from lowerbound.data.foreign_tables import in_pandas

RNG = np.random.default_rng(0)
FRAME = pandas.DataFrame({"u": RNG.normal(5, 1, 60), "kind": RNG.choice(["a", "b"], 60), "v": RNG.normal(size=60)})
FRAME.loc[3, "u"] = np.nan
SMALL: dict[str, Any] = {"hidden": [4], "device": "cpu"}


class WithoutPyarrow:
    columns = ("a",)

    def to_pandas(self) -> None:
        raise ModuleNotFoundError("No module named 'pyarrow'")


def _table(frame: pandas.DataFrame) -> pyarrow.Table:
    return pyarrow.Table.from_pandas(frame, preserve_index=False)


def test_a_table_gives_the_model_and_the_scores_of_its_frame() -> None:
    table = _table(FRAME)
    one, other = (lb.fit(data, "vae", latent_dim=2, steps=2, **SMALL) for data in (FRAME, table))
    assert one.schema == other.schema
    scores = one.score(FRAME, num_samples=3)
    np.testing.assert_array_equal(scores, other.score(table, num_samples=3))
    np.testing.assert_array_equal(scores, one.score(table.select(["v", "u", "kind"]), num_samples=3))
    filled = one.impute(table, num_samples=10)
    pandas.testing.assert_frame_equal(filled.drop(3), FRAME.drop(3))
    assert np.isfinite(filled.loc[3, "u"])


def test_an_estimator_takes_tables_with_text_and_without() -> None:
    for frame in (FRAME, FRAME[["u", "v"]].fillna(0)):
        one, other = (lb.VAE(2, epochs=1, random_state=0, **SMALL).fit(data) for data in (frame, _table(frame)))
        assert list(other.feature_names_in_) == list(frame.columns)
        np.testing.assert_array_equal(one.score_samples(frame), other.score_samples(_table(frame)))


def test_a_table_that_cannot_become_a_frame_is_refused() -> None:
    with pytest.raises(DataError, match=r"takes pyarrow .*; install it"):
        in_pandas(WithoutPyarrow())
