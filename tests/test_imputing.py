"""Tables with gaps in, the user's own tables out; rows given a part; cells."""

from __future__ import annotations

import warnings

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

import lowerbound as lb
from lowerbound.data import DataError
from lowerbound.data.given import dataset_of
from lowerbound.data.remarks import DataWarning
from lowerbound.data.rows_of_columns import stored_cell
from lowerbound.inference import InferenceWarning

ROWS = 90


@pytest.fixture(scope="module")
def people() -> pd.DataFrame:
    """Two groups that differ in every column, with gaps, an id and whole numbers."""
    g = np.random.default_rng(0)
    group = g.integers(2, size=ROWS)
    frame = pd.DataFrame(
        {
            "name": [f"p{i:03d}" for i in range(ROWS)],
            "city": pd.Categorical(np.array(["Bonn", "Kiel"])[group]),
            "height": np.where(group == 0, 160.0, 180.0) + g.normal(0, 2, ROWS).round(1),
            "weight": np.where(group == 0, 60.0, 90.0) + g.normal(0, 3, ROWS).round(1),
            "visits": g.poisson(np.where(group == 0, 2, 15)),
            "since": pd.Timestamp("2020-01-01") + pd.to_timedelta(g.integers(0, 300, ROWS) + 500 * group, unit="D"),
        },
        index=range(100, 100 + ROWS),
    )
    frame["visits"] = frame["visits"].astype("Int64")
    for column, every in (("city", 9), ("height", 7), ("weight", 8), ("visits", 11), ("since", 13)):
        frame.loc[frame.index[::every], column] = None
    return frame


@pytest.fixture(scope="module")
def fitted(people):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return lb.fit(people, recipe="latent-classes", components=2, latent_dim=1, objective="elbo")


def test_the_table_comes_back_as_it_was_but_for_its_gaps(fitted, people):
    filled = fitted.impute(people)
    assert list(filled.columns) == list(people.columns)
    assert filled.index.equals(people.index)
    assert (filled.dtypes == people.dtypes).all()
    assert not filled.isna().any().any()
    known = people.notna()
    for name in people.columns:
        assert (filled[name][known[name]] == people[name][known[name]]).all(), name
    assert people["height"].isna().sum() == len(range(0, ROWS, 7))  # the user's own table is untouched


def test_dates_are_filled_as_the_table_has_them_and_not_as_the_fit_had_them(fitted, people):
    """Texts in a table of texts, also where the fit had moments, and the reverse."""
    written = people.assign(since=people["since"].dt.strftime("%Y-%m-%d"))
    moments, texts = fitted.impute(people)["since"], fitted.impute(written)["since"]
    assert texts.tolist() == moments.dt.strftime("%Y-%m-%d").tolist()
    days = fitted.impute(people.assign(since=people["since"].dt.date.astype(object)))["since"]
    assert days.tolist() == moments.dt.date.tolist()
    of_texts = lb.fit(written, recipe="latent-classes", components=2, latent_dim=1, objective="elbo")
    filled = of_texts.impute(people)["since"]
    assert filled.dtype == people["since"].dtype
    assert filled.dt.strftime("%Y-%m-%d").tolist() == of_texts.impute(written)["since"].tolist()


def test_booleans_with_gaps_stay_booleans_where_the_fit_had_others():
    g = np.random.default_rng(0)
    wet = g.integers(2, size=60).astype(bool)
    table = pd.DataFrame({"a": wet + 0.1 * g.normal(size=60), "wet": pd.array(wet, "boolean")})
    fitted = lb.fit(table, recipe="latent-classes", components=2, latent_dim=0)
    table.loc[:9, "wet"] = pd.NA
    for dtype in ("boolean", "bool[pyarrow]", "object"):
        filled = fitted.impute(table.assign(wet=table["wet"].astype(dtype)))["wet"]
        assert filled.dtype == dtype
        assert filled.tolist() == wet.tolist()


def test_gaps_are_filled_from_the_group_of_the_row(fitted, people):
    filled = fitted.impute(people)
    tall = filled["weight"] > 75
    both = people["height"].isna() & people["weight"].notna()
    assert both.sum() > 5
    assert ((filled["height"] > 170) == tall)[both].all()
    unknown = people["city"].isna() & people["weight"].notna()
    assert ((filled["city"] == "Kiel") == tall)[unknown].all()


def test_quantiles_are_ordered_and_draws_differ(fitted, people):
    low, middle, high = (fitted.impute(people, statistic=s)["height"] for s in (0.05, "median", 0.95))
    gap = people["height"].isna()
    assert (low[gap] < middle[gap]).all()
    assert (middle[gap] < high[gap]).all()
    copies = fitted.imputations(people, 4, seed=1)
    assert len(copies) == 4
    heights = np.stack([copy["height"].to_numpy() for copy in copies])
    assert (heights[:, gap].std(0) > 0).all()
    assert (np.ptp(heights[:, ~gap], 0) == 0).all()
    again = fitted.imputations(people, 4, seed=1)
    assert all(one.equals(other) for one, other in zip(copies, again, strict=True))


def test_rows_given_a_part_have_it_and_fit_it(fitted):
    drawn = fitted.sample(200, given={"city": "Kiel", "visits": 14})
    assert set(drawn["city"]) == {"Kiel"}
    assert set(drawn["visits"]) == {14}
    assert drawn["height"].mean() == pytest.approx(180, abs=1)
    assert drawn["height"].std() == pytest.approx(2, abs=0.8)
    assert list(drawn.columns) == ["city", "height", "weight", "visits", "since"]


class _Ignoring(nn.Module):
    """A net of a q(z | x) that does not look at x."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.new_zeros(len(x), 2, 1)


@pytest.mark.parametrize("word", ["true", "True", "yes", "1", 1, True, np.True_])
@pytest.mark.parametrize("values", [[False, True, None], [0, 1, np.nan]])
def test_truth_values_are_given_as_people_write_them(values, word):
    frame = pd.DataFrame({"smoker": np.resize(np.array(values, dtype=object), 30), "age": np.arange(30) % 7 + 0.5})
    column = dataset_of(frame.infer_objects()).schema.columns[0]
    opposite = {"true": "FALSE", "yes": "No", "1": "0"}.get(str(word).lower())
    assert stored_cell(word, column, "what is given") == 1.0
    assert stored_cell(opposite, column, "what is given") == 0.0
    with pytest.raises(DataError, match=r"'smoker' .* 'maybe'"):
        stored_cell("maybe", column, "what is given")


def test_what_is_nearly_impossible_is_said_to_rest_on_few_latents():
    model = lb.LatentVariableModel(
        prior=lb.priors.StandardNormal(1),
        likelihood=lb.likelihoods.Mixed(nn.Linear(1, 4), "2*continuous"),
        posterior=lb.posteriors.DiagonalNormal(_Ignoring(), latent_shape=(1,)),
    )
    vague = lb.Fitted(model, data=np.random.default_rng(0).normal(size=(20, 2)))
    with torch.no_grad():
        model.likelihood.net.weight.copy_(torch.tensor([[5.0], [0.0], [5.0], [0.0]]))
        model.likelihood.net.bias.fill_(-3.0)
    with pytest.warns(InferenceWarning, match="rest on about"), pytest.warns(DataWarning):
        vague.sample(50, given={"0": 30.0})


def test_what_is_given_in_other_units_is_said(fitted):
    with pytest.warns(DataWarning, match=r"'height' of what is given is 1.7, far outside the range of the fit, 15"):
        fitted.sample(3, given={"height": 1.7})
    with pytest.warns(DataWarning, match=r"'since' of what is given is 2090-01-01, far outside .* 2020-01-"):
        fitted.sample(3, given={"since": "2090-01-01"})
    fitted.sample(3, given={"height": 150.0})


def test_modes_are_the_likeliest_counts_and_medians_of_other_numbers(fitted, people):
    filled, median = fitted.impute(people, statistic="mode"), fitted.impute(people, statistic="median")
    assert filled["height"].equals(median["height"])
    gaps, counts = people["visits"].isna(), range(int(people["visits"].max()) + 1)
    every = pd.concat([people[gaps].assign(visits=pd.array([n] * gaps.sum(), "Int64")) for n in counts])
    log_p = fitted.score(every).reshape(len(counts), -1)
    of_mode, of_median = (log_p[x["visits"][gaps].to_numpy(int), np.arange(gaps.sum())] for x in (filled, median))
    assert (log_p.max(0) - of_mode < 0.1).all()
    assert (log_p.max(0) - of_median > 0.1).any()


def test_modes_of_counts_in_series_are_the_likeliest():
    g = np.random.default_rng(0)
    x = g.choice([0.0, 1.0, 9.0], p=[0.5, 0.1, 0.4], size=(60, 6, 1))
    x[:, 3] = np.nan
    fitted = lb.fit(x, "hidden-markov", likelihood="negative-binomial", device="cpu", steps=5)
    filled = {each: fitted.impute(x, statistic=each)[:, 3] for each in ("median", "mode")}
    every = np.repeat(np.arange(10.0), 60)[:, None, None] * (np.arange(6) == 3)[:, None]
    log_p = fitted.score(np.where(np.isnan(np.tile(x, (10, 1, 1))), every, np.tile(x, (10, 1, 1)))).reshape(10, 60)
    of_mode, of_median = (log_p[each.ravel().astype(int), np.arange(60)] for each in (filled["mode"], filled["median"]))
    assert (log_p.max(0) - of_mode < 0.1).all()
    assert (log_p.max(0) - of_median > 0.1).any()


def test_the_cell_that_does_not_fit_has_the_lowest_score(fitted, people):
    wrong = people.dropna().head(20).copy()
    wrong.iloc[3, wrong.columns.get_loc("height")] = 140.0
    scores = fitted.score_cells(wrong)
    assert list(scores.columns) == ["city", "height", "weight", "visits", "since"]
    assert scores.index.equals(wrong.index)
    assert scores["height"].idxmin() == wrong.index[3]
    assert fitted.score_cells(people)["height"].isna().sum() == people["height"].isna().sum()


def test_the_score_of_a_cell_is_in_the_units_of_the_table(people):
    whole = people[["height", "weight"]].dropna()
    given = {"recipe": "mixture-of-factor-analysers", "components": 1, "latent_dim": 1, "objective": "elbo"}
    metres = whole.assign(height=whole["height"] / 100)
    one, other = lb.fit(whole, **given).score_cells(whole), lb.fit(metres, **given).score_cells(metres)
    np.testing.assert_allclose(other["height"] - one["height"], np.log(100), atol=2e-3)
    np.testing.assert_allclose(other["weight"], one["weight"], atol=2e-3)


def test_an_array_comes_back_as_an_array():
    g = np.random.default_rng(1)
    x = g.normal(size=(60, 1)) @ np.array([[1.0, 2.0, -1.0]]) + 0.1 * g.normal(size=(60, 3))
    fitted = lb.fit(x, recipe="mixture-of-factor-analysers", components=1, latent_dim=1, objective="elbo")
    gaps = x.copy()
    gaps[::5, 1] = np.nan
    filled = fitted.impute(gaps)
    assert filled.dtype == x.dtype
    np.testing.assert_array_equal(filled[:, [0, 2]], x[:, [0, 2]])
    np.testing.assert_allclose(filled[::5, 1], x[::5, 1], atol=0.5)


@pytest.fixture(scope="module")
def standardized():
    """A model of columns that are standardised for it, whose marginals are known."""
    g = np.random.default_rng(2)
    z = g.normal(size=(80, 1))
    x = pd.DataFrame(z @ [[3.0, 20.0, 0.1]] + g.normal(size=(80, 3)) * [1.0, 5.0, 0.2], columns=["a", "b", "c"])
    return lb.fit(x, recipe="mixture-of-factor-analysers", components=1, latent_dim=1, objective="elbo")


def test_scores_of_rows_with_gaps_are_in_the_units_of_the_seen_columns(standardized):
    rows = pd.DataFrame({"a": [np.nan, np.nan, 1.0], "b": [np.nan, 7.0, 7.0], "c": [np.nan, np.nan, np.nan]})
    score = standardized.score(rows)
    cells = standardized.score_cells(rows)
    assert score[0] == pytest.approx(0, abs=1e-5)
    assert score[1] == pytest.approx(cells["b"][1], abs=1e-4)  # alone in its row
    alone = standardized.score(rows.assign(a=[np.nan, np.nan, np.nan]))
    assert score[2] == pytest.approx(alone[2] + cells["a"][2], abs=1e-3)  # p(a, b) = p(b) p(a | b)
    evaluated = standardized.evaluate(rows)
    assert evaluated["log_evidence"] == pytest.approx(score.mean(), abs=1e-4)


@pytest.mark.parametrize(
    "column",
    [
        pd.Series(range(150, 240), dtype="UInt8"),
        pd.Series(range(90), dtype="Int64"),
        pd.Series(np.arange(90) / 4),
        pd.Series([True, False, True] * 30, dtype="boolean"),
        pd.Series([True, False, True] * 30, dtype="object"),
        pd.Series(["x", "y", "y"] * 30, dtype="string"),
        pd.Series(pd.date_range("2024-01-01", periods=90, tz="Europe/Berlin")),
    ],
    ids=lambda c: str(c.dtype),
)
def test_gaps_of_every_type_of_column_are_filled_in_a_type_that_holds_them(column):
    table = pd.DataFrame({"u": column, "v": np.random.default_rng(0).normal(size=90)})
    table.loc[::10, "u"] = None
    fitted = lb.fit(table, recipe="latent-classes", components=1, objective="elbo")
    for filled in (fitted.impute(table, statistic=0.99), *fitted.imputations(table, 2)):
        known = table["u"].notna()
        assert filled["u"].notna().all()
        assert (filled["u"][known] == table["u"][known]).all()
        assert {type(v) for v in filled["u"][~known]} <= {type(v) for v in filled["u"][known]}
    if column.dtype == "UInt8":
        assert fitted.impute(table, statistic=0.99)["u"][::10].min() > 230
    empty = table.assign(u=None)
    assert fitted.impute(empty)["u"].notna().all()


def test_classes_that_a_file_does_not_name_are_added(fitted, people):
    part = people[people["city"].isna() | (people["city"] == "Bonn")].copy()
    part["city"] = part["city"].cat.set_categories(["Bonn"])
    assert fitted.impute(part)["city"].notna().all()


@pytest.mark.parametrize(
    "call, words",
    [
        (lambda f, x: f.impute(x, statistic="most"), "is 'most'; expected 'mean', 'median', 'mode' or a level"),
        (lambda f, x: f.impute(x, statistic=1.5), "statistic is 1.5"),
        (lambda f, x: f.imputations(x, 0), "count=0"),
        (lambda f, x: f.sample(3, given={"visits": -1}), "'visits' holds counts and -1 was given; give 0 or more"),
        (lambda f, x: f.sample(3, given={"age": 3}), "there is no column 'age' to be given; the model has 'city', "),
        (lambda f, x: f.sample(3, given={"city": "Rome"}), "is 'Rome'; expected one of Bonn, Kiel"),
        (lambda f, x: f.sample(3, given={"height": "tall"}), "is 'tall'; expected a number"),
        (lambda f, x: f.sample(3, given={"since": "soon"}), "is 'soon'; expected a date"),
        (lambda f, x: f.sample(3, given={}), "given names no column"),
        (lambda f, x: f.sample(3, given={"city": "Bonn"}, label="a"), "both label and given"),
        (lambda f, x: f.sample(0, given={"city": "Bonn"}), "needs at least 1"),
        (lambda f, x: f.impute(x.drop(columns="city")), "lacks 1 of the 5 columns"),
        (lambda f, x: f.impute(x.iloc[:0]), "no rows"),
        (lambda f, x: f.score(x.iloc[:0]), "no rows"),
        (lambda f, x: f.score_cells(pd.concat([x, x[["height"]]], axis=1)), "two columns named 'height'"),
        (lambda f, x: f.sample(3, given={"height": 170.123}), "values of 1 decimals and 170.123 was given"),
        (lambda f, x: f.sample(3, given={"visits": 2.5}), "whole numbers and 2.5 was given"),
    ],
)
def test_mistakes_are_one_sentence(fitted, people, call, words):
    with pytest.raises(ValueError, match=words):
        call(fitted, people)


@pytest.mark.parametrize(
    "call, words",
    [
        (lambda f, x: f.impute(x, num_samples="10"), "num_samples"),
        (lambda f, x: f.imputations(x, 2.5), "count"),
        (lambda f, x: f.imputations(x, 2, seed=1.5), "seed"),
        (lambda f, x: f.sample(2, given=[("height", 170.0)]), "given"),
        (lambda f, x: f.score_cells(x, num_samples=None), "num_samples"),
    ],
)
def test_arguments_of_another_type_are_one_sentence(as_users_run, fitted, people, call, words):
    with pytest.raises(ValueError, match=words):
        call(fitted, people)


def test_models_of_images_and_of_complete_rows_say_what_they_need():
    digits = lb.fit("digits", hidden=[4], latent_dim=2, steps=2, num_samples=1, objective="elbo")
    with pytest.raises(ValueError, match="gaps are filled in tables"):
        digits.impute(np.zeros((2, 8, 8)))
    x = np.random.default_rng(0).normal(size=(40, 3))
    plain = lb.fit(x, recipe="vae", hidden=[4], latent_dim=2, steps=2, num_samples=1, objective="elbo")
    with pytest.raises(ValueError, match="takes no missing entries"):
        plain.impute(x)


@pytest.mark.parametrize(
    "types",
    [
        ["object", "str", "string", "string[python]", "string[pyarrow]", "category"],
        ["Int64", "Int16", "UInt8", "int32[pyarrow]", "int64"],
        ["float32", "Float64", "double[pyarrow]"],
        ["boolean", "bool[pyarrow]"],
    ],
    ids=str,
)
def test_a_column_comes_back_in_its_own_type_whatever_that_of_the_fit(types):
    rng = np.random.default_rng(0)
    values = {"o": list("abb") * 30, "I": [3, 7, 7] * 30, "f": [0.5, 1.5, 2.25] * 30, "b": [True, False, True] * 30}
    column = pd.Series(values[types[0][0]])
    age = rng.normal(size=90)
    fits = [lb.fit(pd.DataFrame({"age": age, "c": column.astype(of)}), "latent-classes:components=2") for of in types]
    for given in types:
        own = pd.DataFrame({"age": age, "c": column.astype("Int64" if given == "int64" else given)})
        for rows in (own.index % 9 == 0, own.index >= 0):
            missing = own.assign(c=own["c"].mask(rows))
            if missing["c"].dtype != own["c"].dtype:
                continue
            for fitted in fits:
                filled = fitted.impute(missing, num_samples=2)["c"]
                kept = filled.dtype == own["c"].dtype or (given in ("object", "float32", "category") and rows.all())
                assert kept, (given, filled.dtype)
                assert filled.notna().all()
