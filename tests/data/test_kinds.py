"""Images, counts and arrays: recognised by values and axes, and never by the type in which numbers are stored."""

import numpy as np
import pandas
import pytest
import torch

from lowerbound.data import DataError, Dataset, Identity, Pixels, Standardize, applied, read_file
from lowerbound.data.kinds import Kind, kind_named, kinds
from lowerbound.data.on_disk import OnDisk
from lowerbound.support import LikelihoodFacts

RNG = np.random.default_rng(0)
GREY = RNG.integers(0, 256, (20, 4, 5), dtype=np.uint8)
COLOUR = RNG.integers(0, 256, (20, 4, 5, 3), dtype=np.uint8)
COUNTS = RNG.poisson(3.0, (40, 6))
REALS = LikelihoodFacts(domain="reals", discrete=False, standardized=True)
UNIT = LikelihoodFacts(domain="unit interval", discrete=True)
OF_COUNTS = LikelihoodFacts(domain="counts", discrete=True)


def test_every_kind_fits_the_seam() -> None:
    assert all(isinstance(kind, Kind) for kind in kinds())
    assert [kind.name for kind in kinds()] == [
        "series",
        "molecules",
        "text",
        "video",
        "image",
        "counts",
        "table",
        "array",
    ]
    with pytest.raises(
        DataError, match="no kind of data 'images'; choose one of series, molecules, text, video, image"
    ):
        kind_named("images")


@pytest.mark.parametrize("dtype", [np.uint8, np.int64, np.float32, np.float64])
def test_levels_are_told_by_their_values(dtype) -> None:
    data = Dataset.from_array(GREY.astype(dtype))
    assert (data.kind, data.event_shape, data.schema.pixel_levels) == ("image", (4, 5), 256)
    assert data.x_train.dtype == np.uint8
    assert data.checksum == Dataset.from_array(GREY).checksum
    back = data.kind_of_data.render(data.x_test + 0.3, data.schema)
    assert back.dtype == dtype
    np.testing.assert_array_equal(back, data.x_test)


@pytest.mark.parametrize("dtype", [np.uint8, np.int64, bool, np.float32, np.float64])
def test_zeros_and_ones_of_any_type_are_two_levels(dtype) -> None:
    data = Dataset.from_array((GREY > 127).astype(dtype))
    assert (data.schema.pixel_levels, data.pixel_scale) == (2, 1.0)


@pytest.mark.parametrize("channels_last", [True, False])
def test_channels_come_first_and_go_back(channels_last) -> None:
    given = COLOUR if channels_last else np.moveaxis(COLOUR, -1, 1)
    data = Dataset.from_array(given)
    assert (data.event_shape, data.schema.channels_last) == ((3, 4, 5), channels_last)
    back = data.kind_of_data.render(data.x_test, data.schema)
    assert back.shape[1:] == given.shape[1:]
    rows = data.kind_of_data.rows(back, data.schema, "back")
    np.testing.assert_array_equal(rows, data.x_test)


def test_the_default_likelihood_of_images() -> None:
    assert Dataset.from_array(COLOUR).default_likelihood == "discretized-logistic"
    assert Dataset.from_array(GREY).default_likelihood == "bernoulli"


def test_pixels_are_intensities_but_under_counts() -> None:
    data = Dataset.from_array(GREY)
    kind = data.kind_of_data
    assert kind.transform(data, UNIT).binarization == "dynamic"  # type: ignore[attr-defined]
    assert kind.transform(data, REALS).binarization == "none"  # type: ignore[attr-defined]
    assert isinstance(kind.transform(data, OF_COUNTS), Identity)
    assert kind.transform(data, UNIT, binarization="threshold").binarization == "threshold"  # type: ignore[attr-defined]


def test_a_table_is_an_image_if_the_user_says_so() -> None:
    flat = GREY.reshape(20, -1)
    assert Dataset.from_array(flat).kind == "counts"
    data = Dataset.from_array(flat, kind="image", event_shape=(4, 5))
    assert data.checksum == Dataset.from_array(GREY).checksum
    named = pandas.DataFrame(flat).add_prefix("pixel")
    assert Dataset.from_frame(named, kind="image", event_shape=(4, 5)).checksum == data.checksum
    with pytest.raises(DataError, match="give their shape by kind="):
        Dataset.from_array(flat, kind="image")
    assert Dataset.from_array(flat, kind="image:event_shape=[4,5]").checksum == data.checksum
    with pytest.raises(DataError, match="image has no option 'shape'"):
        Dataset.from_array(flat, kind="image:shape=[4,5]")
    with pytest.raises(DataError, match="expected positive whole numbers"):
        Dataset.from_array(flat, kind="image:event_shape=[4,x]")
    with pytest.raises(DataError, match=r"its rows cannot be images of \(3, 3\)"):
        Dataset.from_array(flat, kind="image", event_shape=(3, 3))


def test_levels_and_intensities_are_not_taken_for_one_another() -> None:
    levels, intensities = Dataset.from_array(GREY), Dataset.from_array(GREY / 255)
    with pytest.raises(DataError, match="fitted to pixels that are whole numbers 0 … 255"):
        levels.kind_of_data.rows(GREY / 255, levels.schema, "x")
    with pytest.raises(DataError, match=r"fitted to pixels that are numbers in \[0, 1\]"):
        levels.kind_of_data.rows(GREY, intensities.schema, "x")
    with pytest.raises(DataError, match="holds 0 and 1 alone; the model was fitted to levels 0 … 255"):
        levels.kind_of_data.rows((GREY > 99).astype(np.uint8), levels.schema, "x")
    with pytest.raises(DataError, match=r"rows of shape \(5, 4\)"):
        levels.kind_of_data.rows(GREY.transpose(0, 2, 1), levels.schema, "x")


@pytest.mark.parametrize("dtype", [np.uint8, np.int64, np.float64])
def test_a_model_sees_the_same_counts_in_any_type(dtype) -> None:
    data = Dataset.from_array(COUNTS.astype(dtype))
    assert (data.kind, data.default_likelihood) == ("counts", "negative-binomial")
    transform = data.kind_of_data.transform(data, OF_COUNTS)
    seen = applied(transform, data.x_train)
    assert torch.equal(seen, applied(transform, Dataset.from_array(COUNTS).x_train))
    assert seen.max() == COUNTS[np.isin(COUNTS, data.x_train)].max()
    assert data.kind_of_data.render(seen.numpy() + 0.2, data.schema).dtype == dtype


def test_streamed_counts_are_those_in_memory(tmp_path) -> None:
    np.save(tmp_path / "x.npy", COUNTS.astype(np.uint8))
    memory, streamed = read_file(tmp_path / "x.npy"), read_file(tmp_path / "x.npy", stream_above=0)
    assert isinstance(streamed.x_train, OnDisk)
    assert (streamed.kind, streamed.checksum) == ("counts", memory.checksum)
    assert streamed.legacy_checksum == memory.legacy_checksum
    assert streamed.train_rows is not None
    assert torch.equal(applied(Identity(), streamed.x_train, streamed.train_rows), applied(Identity(), memory.x_train))


def test_a_frame_of_counts() -> None:
    frame = pandas.DataFrame(COUNTS, columns=[f"gene {i}" for i in range(6)]).assign(row=np.arange(40), silent=0)
    data = Dataset.from_frame(frame)
    assert data.kind == "counts"
    assert data.feature_names == tuple(f"gene {i}" for i in range(6))
    assert [item.name for item in data.schema.left_out] == ["row", "silent"]
    back = data.kind_of_data.render(data.x_test, data.schema)
    assert set(back.dtypes.map(str)) == {"int64"}
    for other in (["a", "b"] * 20, [True, False] * 20, pandas.date_range("2024-01-01", periods=40)):
        assert Dataset.from_frame(frame.assign(other=other)).kind == "table"
    assert Dataset.from_frame(frame.assign(cell=[f"cell {i}" for i in range(40)])).kind == "counts"
    assert Dataset.from_frame(frame + 100).kind == "table"  # zero is nowhere near


def test_numbers_of_any_shape() -> None:
    x = RNG.normal(3, 2, (30, 7, 2))
    data = Dataset.from_array(x)
    assert (data.kind, data.event_shape, data.default_likelihood) == ("array", (7, 2), "normal:scale=shared")
    transform = data.kind_of_data.transform(data, REALS)
    assert isinstance(transform, Standardize)
    z = applied(transform, data.x_train).double()
    torch.testing.assert_close(z.mean(), torch.tensor(0.0).double(), rtol=0, atol=1e-6)
    torch.testing.assert_close(z.std(correction=0), torch.tensor(1.0).double(), rtol=0, atol=1e-6)
    assert transform.mean.shape == ()
    np.testing.assert_array_equal(data.kind_of_data.render(data.x_test, data.schema), data.x_test)
    x[3:9, 2] = np.nan
    gaps = Dataset.from_array(x)
    known = gaps.kind_of_data.transform(gaps, REALS)
    assert isinstance(known, Standardize)
    seen = gaps.x_train if gaps.train_rows is None else gaps.x_train[gaps.train_rows]
    assert known.mean.item() == pytest.approx(np.nanmean(seen))
    assert known.scale.item() == pytest.approx(np.nanstd(seen))
    assert Dataset.from_array(RNG.integers(-5, 900, (30, 2, 3, 4, 5))).event_shape == (2, 3, 4, 5)


def test_tables_under_the_facts_of_likelihoods() -> None:
    frame = pandas.DataFrame({"when": 1.7e9 + RNG.uniform(0, 1000, 40), "x": RNG.normal(size=40), "n": COUNTS[:, 0]})
    data = Dataset.from_frame(frame)
    kind = data.kind_of_data
    assert isinstance(kind.transform(data, REALS), Standardize)
    assert isinstance(kind.transform(data, REALS, standardize=False), Standardize)  # centres time stamps only
    centred = kind.transform(data, LikelihoodFacts(domain="columns", discrete=False))
    assert isinstance(centred, Standardize)
    assert centred.scale.tolist() == [1, 1, 1]
    assert centred.mean[1:].tolist() == [0, 0]
    np.testing.assert_allclose(centred.inverse(applied(centred, data.x_train)), data.x_train, rtol=0, atol=1e-4)
    assert isinstance(kind.transform(data, UNIT, binarization="dynamic"), Pixels)


def test_lines_for_the_terminal() -> None:
    frame = pandas.DataFrame({"a": RNG.normal(size=40), "b": ["u", "v"] * 20, "id": np.arange(40)})
    frame.loc[3, "a"] = np.nan
    data = Dataset.from_frame(frame)
    assert data.kind_of_data.describe(data.schema) == [
        "Table of 2 columns.",
        "  continuous: a",
        "  categorical: b (2)",
        "  with gaps: a (1)",
        "  left out: id (consecutive numbers, one for each row)",
    ]
    counts = Dataset.from_array(COUNTS)
    assert counts.kind_of_data.describe(counts.schema) == [f"Counts in 6 columns, up to {COUNTS.max()}."]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_colour_that_is_bytes_over_255_takes_the_likelihood_of_bytes(dtype) -> None:
    data = Dataset.from_array((COLOUR / 255).astype(dtype))
    assert (data.schema.pixel_levels, data.schema.intensity_levels) == (None, 256)
    assert data.default_likelihood == Dataset.from_array(COLOUR).default_likelihood == "discretized-logistic"
    assert data.kind_of_data.describe(data.schema) == ["Images of 3 x 4 x 5, intensities in [0, 1]: levels k / 255."]
    assert Dataset.from_array(RNG.random((20, 4, 5, 3))).default_likelihood == "continuous-bernoulli"


@pytest.mark.parametrize(
    "kind, said", [("table", "Table of 1 column."), ("counts", "Counts in 1 column, up to 3.")], ids=["table", "counts"]
)
def test_one_column_is_no_columns(kind: str, said: str) -> None:
    x = np.resize([1, 3, 0], 12)[:, None] if kind == "counts" else np.linspace(0.1, 1.7, 12)[:, None] ** 2
    assert kind_named(kind).describe(Dataset.from_array(x).schema)[0] == said
