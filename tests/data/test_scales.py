"""Numbers on a scale are ordinal, so that nothing is drawn beyond it; counts without an end are not."""

import numpy as np
import pandas
import pytest

import lowerbound as lb
from lowerbound.cli import main
from lowerbound.data import DataError
from lowerbound.data.contents import Contents
from lowerbound.data.given import dataset_of
from lowerbound.data.kinds.counts import Counts
from lowerbound.data.kinds.table import Table
from lowerbound.data.overrides import Overrides
from lowerbound.data.scales import scale_of

RNG = np.random.default_rng(0)
FRAME = pandas.DataFrame({
    "rating": RNG.integers(1, 6, 200), "age": RNG.normal(40, 10, 200).round(1), "city": RNG.choice(["A", "B"], 200)
})  # fmt: skip
SMALL = {"steps": 2, "hidden": [4], "latent_dim": 2, "device": "cpu"}


@pytest.mark.parametrize("rate", [0.3, 1.0, 3.0])
def test_counts_without_an_end_are_on_no_scale(rate: float) -> None:
    found = [scale_of(RNG.poisson(rate, size).astype(float)) for size in (50, 300, 2000) for _ in range(30)]
    assert set(found) == {None}


@pytest.mark.parametrize(
    "values, ends",
    [
        (np.tile([1.0, 2, 3, 4, 5], 20), (1, 5)),
        (np.r_[np.tile([0.0, 1, 2], 20), np.nan], (0, 2)),
        (np.tile([1.0, 2, 3, 4, 5], 2), None),  # two rows of 5 let one expect no 6
        (np.tile([1.0, 2, 4, 5], 20), None),
        (np.tile([3.0, 4, 5], 20), None),
        (np.tile(np.arange(12.0), 20), None),
        (np.tile([0.0, 1], 20), None),
        (np.full(5, np.nan), None),
    ],
)
def test_the_ends_of_a_scale(values: np.ndarray, ends: tuple[int, int] | None) -> None:
    assert scale_of(values) == ends


def test_what_the_user_says_of_a_column_stands() -> None:
    overrides = lb.data.Overrides.said(None, {"rating": "count"})
    columns = dataset_of(FRAME, overrides=overrides).schema.columns
    assert columns is not None
    assert columns[0].kind == "count"


def test_a_table_of_ratings_alone_is_a_table_of_ordinals_and_one_count_makes_it_counts() -> None:
    ratings = RNG.integers(1, 6, (200, 3))
    data = dataset_of(ratings)
    assert data.default_likelihood == "mixed:columns=3*ordinal-5"
    draws = lb.fit(ratings, "vae", **SMALL).sample(300)
    assert draws.dtype == ratings.dtype
    assert set(np.unique(draws)) == {1, 2, 3, 4, 5}
    assert dataset_of(np.c_[ratings, RNG.poisson(3, 200)]).schema.kind == "counts"


def test_an_array_keeps_its_numbers_and_its_gaps_get_numbers_of_the_scale(tmp_path) -> None:
    x = np.c_[FRAME["rating"], FRAME["age"], RNG.poisson(3, 200)].astype(np.float64)
    x[5, 0] = np.nan
    fitted = lb.fit(x, "vae", **SMALL)
    assert dataset_of(x).default_likelihood == "mixed:columns=ordinal-5+continuous+count"
    assert fitted.impute(x, num_samples=10)[5, 0] in (1, 2, 3, 4, 5)
    fitted.compress(x, tmp_path / "x.lb")
    np.testing.assert_array_equal(fitted.decompress(tmp_path / "x.lb"), x)


def test_rows_that_stay_on_the_disk_are_not_copied_for_a_scale(tmp_path) -> None:
    said = Overrides()
    ratings = RNG.integers(1, 6, (200, 3))
    for name, x in {"mixed": np.c_[ratings[:, 0], RNG.poisson(3, 200) - 0.5], "counts": ratings}.items():
        np.save(tmp_path / f"{name}.npy", x)
        on_disk = Contents(what="x", container="npy", x=np.load(tmp_path / f"{name}.npy", mmap_mode="r"))
        columns = Table().infer(on_disk, said).columns or ()
        assert "ordinal" not in [column.kind for column in columns]
        assert Counts().matches(on_disk, said) == (name == "counts")
        assert not Counts().matches(Contents(what="x", container="npy", x=x), said)


def test_no_draw_is_beyond_the_scale_on_any_road(tmp_path, capsys) -> None:
    fitted = lb.fit(FRAME, "vae", **SMALL)
    fitted.save(tmp_path / "run")
    assert set(fitted.sample(500)["rating"]) == {1, 2, 3, 4, 5}
    vae = lb.VAE(2, hidden=[4], epochs=1, device="cpu", random_state=0).fit(FRAME)
    assert set(np.unique(vae.sample(500)["rating"])) <= {1, 2, 3, 4, 5}
    words = ["sample", str(tmp_path / "run"), "--out", str(tmp_path / "draws.csv")]
    assert main([*words, "--count", "500"]) == 0
    assert set(pandas.read_csv(tmp_path / "draws.csv")["rating"]) == {1, 2, 3, 4, 5}
    assert main([*words, "--given", "rating=9", "--force"]) == 2
    assert "'rating' of what is given is '9'; expected one of 1, 2, 3, 4, 5" in capsys.readouterr().err
    with pytest.raises(DataError, match=r"expected one of 1, 2, 3, 4, 5"):
        fitted.sample(3, given={"rating": 0})
    with pytest.raises(DataError, match=r"'rating' of .* holds '6' at row 0, which the model has not seen"):
        fitted.score(FRAME.assign(rating=6))
