"""A fitted model as an object: every kind of data goes in and comes back in the user's own form and units."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas
import pytest
import torch

import lowerbound as lb
from lowerbound.data import DataError
from lowerbound.data.given import dataset_of
from lowerbound.diagnosis import case_of
from lowerbound.fitted import Fitted
from lowerbound.fitting.planning import plan
from lowerbound.fitting.preparing import prepare
from lowerbound.fitting.stages import fit
from lowerbound.likelihoods import Normal
from lowerbound.model import LatentVariableModel
from lowerbound.nets import MLP
from lowerbound.posteriors import DiagonalNormal
from lowerbound.priors import StandardNormal
from lowerbound.runs import RunError
from lowerbound.training.engine import Engine
from lowerbound.training.history import NonFiniteError

SMALL: dict[str, Any] = {"latent_dim": 2, "hidden": [4], "steps": 3, "num_samples": 2, "device": "cpu"}
RNG = np.random.default_rng(0)
REAL = RNG.normal([5, -3, 100], [2, 0.5, 30], size=(60, 3))
COUNTS = RNG.poisson([2, 0.5, 4], size=(60, 3))
BYTES = RNG.integers(0, 256, size=(60, 6, 6), dtype=np.uint8)
COLOUR = RNG.integers(0, 256, size=(60, 4, 4, 3), dtype=np.uint8)
BITS = RNG.integers(0, 2, size=(60, 5))
CLASSES = np.array(["ant", "cat", "dog"])[np.arange(60) % 3]


def _frame() -> pandas.DataFrame:
    """Text, whole numbers, reals and gaps."""
    frame = pandas.DataFrame({
        "species": np.array(["ant", "cat", "dog"], dtype=object)[RNG.integers(0, 3, 60)],
        "legs": RNG.poisson(4, 60),
        "weight": RNG.normal(50, 7, 60).round(2),
        "alive": RNG.random(60) < 0.5,
    })  # fmt: skip
    frame.loc[::7, "species"] = None
    frame.loc[3::9, "weight"] = np.nan
    return frame


FRAME = _frame()
ROWS: dict[str, Any] = {
    "frame": FRAME, "reals": REAL, "counts": COUNTS, "bits": BITS, "grey": BYTES, "intensities": BYTES / 255,
    "colour": COLOUR,
}  # fmt: skip


def fitted_to(data: Any, recipe: str = "vae", y: Any = None, **given: Any) -> Fitted:
    """Fitted with a few steps, as every road fits."""
    dataset, engine = dataset_of(data, y), Engine(device="cpu")
    planned = plan(dataset, recipe, **{**SMALL, **given})
    training = prepare(dataset, planned, engine)
    records = [dataclasses.asdict(record) for record in fit(training, planned, engine)]
    return Fitted(
        training.loss.model,
        schema=dataset.schema,
        plan=planned,
        transform=training.transform,
        data=lambda: dataset,
        records=records,
    )


@pytest.fixture(scope="module")
def models() -> dict[str, Fitted]:
    """One of each kind of data; not to be changed."""
    return {name: fitted_to(rows) for name, rows in ROWS.items()}


@pytest.fixture(scope="module")
def by_class() -> Fitted:
    """x given its class."""
    return fitted_to(REAL, "cvae", CLASSES, likelihood="normal")


def _like(rows: Any, given: Any) -> None:
    """Of the same form: type, columns and what stands in them."""
    assert type(rows) is type(given)
    if isinstance(given, pandas.DataFrame):
        assert list(rows.columns) == list(given.columns)
        assert set(rows["species"].dropna()) <= {"ant", "cat", "dog"}
        assert (rows["legs"] == rows["legs"].round()).all()
        assert rows["alive"].dtype == given["alive"].dtype
    else:
        assert (rows.shape[1:], rows.dtype) == (given.shape[1:], given.dtype)


@pytest.mark.parametrize("name", ROWS)
def test_rows_come_back_in_the_form_that_they_were_given(models: dict[str, Fitted], name: str) -> None:
    fitted, rows = models[name], ROWS[name]
    some = rows[:7]
    drawn, again = fitted.sample(5, seed=1), fitted.reconstruct(some)
    _like(drawn, rows)
    _like(again, rows)
    assert (len(drawn), len(again)) == (5, 7)
    encoded, scores = fitted.encode(some), fitted.score(some, num_samples=4)
    assert encoded.mean.shape == encoded.scale.shape == (7, 2)
    assert (scores.shape, scores.dtype) == ((7,), np.float64)
    assert np.isfinite(scores).all()
    assert (encoded.scale > 0).all()


@pytest.mark.parametrize("name", ["frame", "reals", "counts", "bits", "colour"])
def test_stored_rows_render_as_they_were(models: dict[str, Fitted], name: str) -> None:
    fitted, rows = models[name], ROWS[name]
    back = fitted.render(fitted.events(fitted.rows(rows).x))
    if isinstance(rows, pandas.DataFrame):
        pandas.testing.assert_frame_equal(back, rows, check_dtype=False)
    else:
        np.testing.assert_allclose(back, rows, rtol=1e-5)


@pytest.mark.parametrize("name", ROWS)
def test_a_saved_model_opens_to_the_same_bits(models: dict[str, Fitted], name: str, tmp_path: Path) -> None:
    fitted, rows = models[name], ROWS[name]
    fitted.save(tmp_path / "run")
    opened = Fitted.open(tmp_path / "run")
    assert (opened.plan, opened.schema, opened.log_scale) == (fitted.plan, fitted.schema, fitted.log_scale)
    np.testing.assert_array_equal(opened.score(rows, num_samples=3), fitted.score(rows, num_samples=3))
    np.testing.assert_array_equal(opened.encode(rows).mean, fitted.encode(rows).mean)
    assert str(opened.sample(3)) == str(fitted.sample(3))
    with pytest.raises(RunError, match="already holds a run"):
        fitted.save(tmp_path / "run")
    with pytest.raises(DataError, match="give those of its fit"):
        _ = opened.dataset


def test_the_seed_decides_every_draw_and_the_callers_state_is_left_alone(models: dict[str, Fitted]) -> None:
    fitted, before = models["grey"], torch.get_rng_state()
    for ask in (
        lambda seed: fitted.sample(3, seed=seed),
        lambda seed: fitted.reconstruct(BYTES[:3], seed=seed),
        lambda seed: fitted.score(BYTES[:3], num_samples=2, seed=seed),
    ):
        np.testing.assert_array_equal(ask(1), ask(1))
        assert not np.array_equal(ask(1), ask(2))
    assert (torch.get_rng_state() == before).all()


def test_many_rows_are_taken_in_blocks_without_repeating_draws(models: dict[str, Fitted], monkeypatch: Any) -> None:
    monkeypatch.setattr("lowerbound.fitted.BLOCK", 4)
    rows = np.repeat(REAL[:1], 8, axis=0)
    scores = models["reals"].score(rows, num_samples=1)
    assert len(set(scores.tolist())) == 8
    np.testing.assert_allclose(models["reals"].encode(REAL[:8]).mean, models["reals"].encode(REAL[:8]).mean)


def test_scores_are_in_the_units_of_the_columns() -> None:
    """Scaling a column by c moves log p(x) by −log c, exactly where c is a power of two."""
    plain = fitted_to(REAL)
    exact, rounded = (fitted_to(REAL * [1, c, 1]) for c in (1024, 1000))
    one = plain.score(REAL, num_samples=3)
    np.testing.assert_allclose(
        exact.score(REAL * [1, 1024, 1], num_samples=3), one - math.log(1024), rtol=0, atol=1e-12
    )
    np.testing.assert_allclose(
        rounded.score(REAL * [1, 1000, 1], num_samples=3), one - math.log(1000), rtol=0, atol=1e-4
    )
    assert plain.log_scale == pytest.approx(np.log(plain.dataset.x_train.std(0)).sum())


def test_the_unit_of_an_array_changes_nothing_but_the_unit() -> None:
    x = np.random.default_rng(1).normal(size=(40, 5, 2))
    given: dict[str, Any] = {"latent_dim": 1, "hidden": [4], "steps": 5, "device": "cpu"}
    one, other = lb.fit(x, "vae", **given), lb.fit(1000 * x + 50, "vae", **given)
    assert (one.plan.standardize, other.plan.standardize) == (True, True)  # type: ignore[union-attr]
    moved = one.score(x, num_samples=5) - 10 * np.log(1000)
    np.testing.assert_allclose(other.score(1000 * x + 50, num_samples=5), moved, rtol=1e-4)


def test_a_score_is_the_density_of_the_users_row() -> None:
    """Against the formula: K = 1 draw of z, log p(x | z) in the user's units by hand."""
    fitted, x = fitted_to(REAL), REAL[:4]
    spread = fitted.dataset.x_train.std(0)
    standardised = torch.as_tensor((x - fitted.dataset.x_train.mean(0)) / spread).float()
    torch.testing.assert_close(fitted.events(fitted.rows(x).x), standardised, rtol=1e-4, atol=1e-5)
    bound = lb.evaluate.log_evidence(fitted.model, standardised, num_samples=2000).log_evidence.numpy()
    np.testing.assert_allclose(fitted.score(x, num_samples=2000), bound - np.log(spread).sum(), atol=0.15)


def test_columns_are_matched_by_name(models: dict[str, Fitted]) -> None:
    fitted = models["frame"]
    scores = fitted.score(FRAME, num_samples=3)
    np.testing.assert_array_equal(fitted.score(FRAME[FRAME.columns[::-1]], num_samples=3), scores)
    np.testing.assert_array_equal(fitted.score(FRAME.assign(more=1), num_samples=3), scores)
    with pytest.raises(DataError, match=r"lacks 1 of the 4 columns of the model \('weight'\).* 'mass'"):
        fitted.score(FRAME.rename(columns={"weight": "mass"}))
    with pytest.raises(DataError, match=r"'species'.*'zebra'"):
        fitted.encode(FRAME.assign(species="zebra"))
    with pytest.raises(DataError, match="column 'weight' of X holds"):
        fitted.encode(FRAME.assign(weight="heavy"))


def test_a_class_keeps_its_number_where_another_is_absent(by_class: Fitted, tmp_path: Path) -> None:
    """The report: without "ant" the others were numbered anew, and scored −4.86 for −0.96."""
    pandas.DataFrame(REAL[:9]).assign(y=CLASSES[:9]).to_csv(tmp_path / "all.csv", index=False)
    few = pandas.DataFrame(REAL[:9]).assign(y=CLASSES[:9])[CLASSES[:9] != "ant"]
    few.to_csv(tmp_path / "few.csv", index=False)
    every, some = (by_class.rows(tmp_path / f"{name}.csv", label="y") for name in ("all", "few"))
    assert every.y is not None
    assert some.y is not None
    assert some.y.tolist() == every.y[CLASSES[:9] != "ant"].tolist() == [1, 2, 1, 2, 1, 2]
    np.testing.assert_allclose(
        by_class.score(some, num_samples=3000),
        by_class.score(every, num_samples=3000)[CLASSES[:9] != "ant"],
        atol=0.05,
    )
    few.assign(y="zebra").to_csv(tmp_path / "zebra.csv", index=False)
    with pytest.raises(DataError, match="hold the class 'zebra' at row 0, which the model has not seen"):
        by_class.rows(tmp_path / "zebra.csv", label="y")
    with pytest.raises(DataError, match="has no labels"):
        by_class.score(REAL[:3])


def test_a_class_is_sampled_by_name(by_class: Fitted) -> None:
    _, _, labels = by_class.draw(3, label="dog")
    assert labels is not None
    assert labels.tolist() == [2, 2, 2]
    assert by_class.draw(4)[2].tolist() == [0, 1, 2, 0]  # type: ignore[union-attr]
    with pytest.raises(ValueError, match="There is no class 'zebra'; choose one of ant, cat, dog"):
        by_class.sample(1, label="zebra")
    with pytest.raises(ValueError, match="gives rows no class or cluster"):
        by_class.assign(REAL[:3])


def test_a_conditional_model_finds_labels_in_a_column_or_is_given_them() -> None:
    """A DataFrame with the column of labels was refused as having none."""
    frame = pandas.DataFrame(REAL, columns=["a", "b", "c"])
    names = np.resize(np.array(["p", "q"], dtype=object), len(frame))
    whole = frame.assign(kind=names)
    fitted = lb.fit(whole, "cvae", y="kind", steps=2, latent_dim=1, hidden=[4])
    expected = fitted.score(fitted.rows(frame, y=names), num_samples=2)
    assert fitted.schema.label == "kind"
    assert list(fitted.sample(2).columns) == ["a", "b", "c"]
    assert (fitted.score(whole[["kind", "c", "a", "b"]], num_samples=2) == expected).all()
    assert (fitted.score(fitted.rows(whole.rename(columns={"kind": "k"}), "k"), num_samples=2) == expected).all()
    with pytest.raises(ValueError, match=r"in Python give `fitted.rows\(X, y=labels\)`"):
        fitted.score(frame)
    with pytest.raises(ValueError, match="class 'zebra' at row 0, which the model has not seen"):
        fitted.score(whole.assign(kind="zebra"))
    with pytest.raises(ValueError, match="X has no column 'kinds' of labels"):
        lb.fit(whole, "cvae", y="kinds", steps=2)
    with pytest.raises(ValueError, match="−1 stands for none"):
        lb.fit(frame, "cvae", y=np.resize([-1, 0, 1], len(frame)), steps=2)


def test_classes_and_clusters_are_assigned() -> None:
    told = fitted_to(REAL, "semi-supervised", CLASSES, likelihood="normal")
    assert set(told.assign(REAL[:9])) <= {"ant", "cat", "dog"}
    np.testing.assert_array_equal(told.encode(REAL[:9]).assigned, told.assign(REAL[:9]))
    p = told.probabilities(REAL[:9])
    np.testing.assert_allclose(p.sum(1), 1, rtol=1e-5)
    np.testing.assert_array_equal(np.array(told.schema.classes)[p.argmax(1)], told.assign(REAL[:9]))
    clusters = fitted_to(REAL, "vade", clusters=3, likelihood="normal").assign(REAL[:9])
    assert clusters.dtype.kind == "i"
    assert set(clusters) <= {0, 1, 2}


def test_the_cluster_of_a_row_does_not_depend_on_the_block_it_falls_into(monkeypatch: pytest.MonkeyPatch) -> None:
    clustered = lb.fit(REAL, "vade:clusters=3", latent_dim=2, hidden=[4], steps=1, device="cpu")
    whole = clustered.probabilities(REAL)
    monkeypatch.setattr("lowerbound.fitted.BLOCK", 7)
    np.testing.assert_allclose(clustered.probabilities(REAL), whole, atol=1e-6)


def test_what_cannot_be_asked_is_refused(models: dict[str, Fitted]) -> None:
    fitted = models["counts"]
    with pytest.raises(ValueError, match="0 draws to make and needs at least 1"):
        fitted.sample(0)
    with pytest.raises(ValueError, match="was fitted without labels"):
        fitted.sample(1, label="ant")
    with pytest.raises(ValueError, match="the data holds -7 at row 0, column '1'"):
        fitted.score(COUNTS[:2] - [0, 7, 0])
    with pytest.raises(DataError, match="4 features; expected"):
        fitted.encode(np.ones((2, 4)))
    with pytest.raises(ValueError, match="neither data nor a schema"):
        Fitted(fitted.model)


def test_bytes_and_integers_of_counts_are_the_same_data(models: dict[str, Fitted]) -> None:
    """The report: bytes were divided by 255 under Poisson."""
    scores = [models["counts"].score(COUNTS.astype(kind), num_samples=3) for kind in ("int64", "uint8", "float32")]
    np.testing.assert_array_equal(scores[0], scores[1])
    np.testing.assert_array_equal(scores[0], scores[2])


def test_messages_number_rows_as_the_user_does(models: dict[str, Fitted], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lowerbound.fitted.BLOCK", 16)
    x = COUNTS.copy()
    fitted = models["counts"]
    monkeypatch.setattr("lowerbound.data.kinds.table.Table.rows", lambda *_: x)
    x[37, 1] = -1
    with pytest.raises(ValueError, match="at row 37, column"):
        fitted.score(x, num_samples=2)
    part = dataclasses.replace(fitted.test_rows(), x=x[36:39], numbers=np.array([8, 21, 40]))
    with pytest.raises(ValueError, match="at row 21, column"):
        fitted.encode(part)


@pytest.mark.parametrize("row", [0, 1, 2, 59])  # of both parts
def test_a_fit_numbers_rows_as_the_user_does(row: int) -> None:
    x = RNG.uniform(size=(60, 3))
    x[row, 2] = 1.5
    with pytest.raises(ValueError, match=f"holds 1.5 at row {row}, column '2'"):
        lb.fit(x, likelihood="continuous-bernoulli", **SMALL)


def test_a_training_that_fails_names_rows_as_the_user_does() -> None:
    data = dataset_of(REAL)
    planned = plan(data, "vae", **SMALL, lr=1e38, batch_size=8)
    engine = Engine(device="cpu")
    training = prepare(data, planned, engine)
    with pytest.raises(NonFiniteError) as caught:
        list(fit(training, planned, engine))
    assert training.numbers is not None
    assert set(caught.value.rows or ()) <= set(training.numbers)
    assert not set(training.numbers) & set(data.test_rows)
    np.testing.assert_allclose(data.x_train[np.isin(data.train_numbers, training.numbers)], REAL[training.numbers])


def test_refining_raises_the_bound_of_the_encoding(models: dict[str, Fitted]) -> None:
    fitted = models["reals"]
    plain, refined = fitted.encode(REAL[:5]), fitted.encode(REAL[:5], refine=30)
    assert not np.allclose(plain.mean, refined.mean)


@pytest.mark.usefixtures("brief_diagnosis")
def test_evaluation_report_and_diagnosis(models: dict[str, Fitted], tmp_path: Path) -> None:
    fitted = models["frame"]
    scores = fitted.evaluate(num_samples=5)
    assert (scores["num_data"], scores["data"]) == (12, "X")
    assert set(scores["baselines"]) == {"independent elements"}
    other = fitted.evaluate(FRAME, num_samples=5, limit=20)
    assert other["num_data"] == 20
    assert fitted.report(tmp_path / "report.html").stat().st_size > 1000
    assert fitted.diagnose(num_rows=10).num_held_out == 10
    figure = lb.plots.training_curves(fitted.records)
    assert figure.axes


# A model that was built by hand.


def test_a_model_that_was_saved_from_python_is_worked_on_with_rows_given(
    models: dict[str, Fitted], tmp_path: Path
) -> None:
    fitted, frame = models["frame"], FRAME
    fitted.save(tmp_path / "run")
    opened = Fitted.open(tmp_path / "run")
    scores, own = opened.evaluate(frame, num_samples=10), fitted.evaluate(frame, num_samples=10)
    assert scores["elbo"] == own["elbo"]
    assert (scores["baselines"], len(own["baselines"]) > 0) == ({}, True)
    with pytest.raises(DataError, match="give those of its fit"):
        opened.report(tmp_path / "report.html")
    known = Fitted.open(tmp_path / "run", data=frame)
    assert known.evaluate(num_samples=10) == fitted.evaluate(num_samples=10)
    with pytest.raises(DataError, match="is not what"):
        Fitted.open(tmp_path / "run", data=frame[:-1])


def test_a_fit_to_a_file_knows_the_file(tmp_path: Path) -> None:
    FRAME.to_csv(tmp_path / "rows.csv", index=False)
    fitted = lb.fit(str(tmp_path / "rows.csv"), "vae", latent_dim=1, hidden=[4], steps=2)
    fitted.save(tmp_path / "run")
    opened = Fitted.open(tmp_path / "run")
    assert opened.dataset.checksum == fitted.dataset.checksum
    with pytest.raises(DataError, match="knows its data"):
        Fitted.open(tmp_path / "run", data=FRAME)
    (tmp_path / "rows.csv").unlink()
    assert Fitted.open(tmp_path / "run").evaluate(FRAME, num_samples=5)["baselines"] == {}
    with pytest.raises(DataError, match="no file"):
        Fitted.open(tmp_path / "run").evaluate(num_samples=5)


def test_a_frame_comes_back_under_its_own_names_and_index() -> None:
    frame = pandas.DataFrame(REAL, index=[f"row {i}" for i in range(len(REAL))])
    fitted = lb.fit(frame, "vae", latent_dim=1, hidden=[4], steps=2)
    assert list(fitted.sample(2).columns) == [0, 1, 2]
    shown = fitted.reconstruct(frame[3:7])
    assert list(shown.index) == ["row 3", "row 4", "row 5", "row 6"]
    assert list(shown.columns) == [0, 1, 2]


def test_modules_that_are_given_stay_as_they_are() -> None:
    nets = torch.nn.ModuleDict({"encoder": MLP(3, [4], (2, 1)), "decoder": MLP(1, [4], (3,))})
    before = [p.clone() for p in nets.parameters()]
    fitted = lb.fit(REAL, "vae", network=nets, latent_dim=1, steps=3, likelihood="normal:scale=shared")
    assert all(torch.equal(p, q) for p, q in zip(nets.parameters(), before, strict=True))
    assert not torch.equal(next(fitted.model.parameters()), before[0])
    with pytest.raises(ValueError, match="by y"):
        lb.fit(FRAME, label="species")


def by_hand(width: int = 4) -> LatentVariableModel:
    return LatentVariableModel(
        prior=StandardNormal(2),
        likelihood=Normal(MLP(2, [width], 3), scale="shared"),
        posterior=DiagonalNormal(MLP(3, [width], (2, 2))),
    )


@pytest.mark.usefixtures("brief_diagnosis")
def test_a_model_built_by_hand_goes_every_road(tmp_path: Path) -> None:
    names = pandas.DataFrame(REAL / [5, 3, 100], columns=["a", "b", "c"])
    fitted = lb.Fitted(by_hand(), data=names, name="mine")
    assert list(fitted.sample(4).columns) == ["a", "b", "c"]
    scores = fitted.evaluate(num_samples=10)
    assert set(scores["baselines"]) == {"independent elements", "gaussian", "gaussian mixture"}
    assert scores["log_scale"] == 0.0
    case = case_of(fitted, num_rows=10)
    assert case.loss is None
    assert (len(case.x_held_out), len(case.x_train)) == (10, 40)
    found = {finding.name: finding for finding in fitted.diagnose(num_rows=10).findings}
    assert found["posterior collapse"].present is not None
    assert found["noise of the gradient"].present is None
    page = fitted.report(tmp_path / "report.html").read_text()
    assert "mine on X" in page
    fitted.save(tmp_path / "run")
    opened = Fitted.open(tmp_path / "run", model=by_hand())
    assert opened.name == "mine"
    np.testing.assert_array_equal(opened.score(names, num_samples=3), fitted.score(names, num_samples=3))
    with pytest.raises(DataError, match=r"The run .* was given no data"):
        _ = opened.dataset
    with pytest.raises(RunError, match="do not fit the model"):
        Fitted.open(tmp_path / "run", model=by_hand(5))
    with pytest.raises(RunError, match=r"built in Python; open it with Fitted\.open"):
        Fitted.open(tmp_path / "run")


class _Constant(torch.nn.Module):
    """A likelihood from elsewhere, without a net."""

    def forward(self, context: Any) -> torch.distributions.Distribution:
        loc = context.new_zeros(*context.shape[:-1], 3)
        return torch.distributions.Independent(torch.distributions.Normal(loc, 1.0), 1)


def test_a_likelihood_from_elsewhere_is_scored_without_the_baseline_that_needs_its_net() -> None:
    model = by_hand()
    model.likelihood = _Constant()
    fitted = lb.Fitted(model, data=REAL / [5, 3, 100])
    scores = fitted.evaluate(num_samples=5)
    assert "independent elements" not in scores["baselines"]
    assert scores["bits_per_dim"] is None


@pytest.mark.parametrize(
    "data", [RNG.random((9, 5)), pandas.DataFrame(REAL, columns=list("abc"))], ids=["array", "frame"]
)
def test_data_of_another_shape_than_a_model_built_by_hand_are_refused(data: Any) -> None:
    model = lb.models.vae((8, 8), latent_dim=2, hidden=[4])
    with pytest.raises(ValueError, match=r"8, 8"):
        Fitted(model, data=data)
    decodes_less = LatentVariableModel(
        prior=StandardNormal(2), likelihood=Normal(MLP(2, [4], 2)), posterior=DiagonalNormal(MLP(3, [4], (2, 2)))
    )
    with pytest.raises(ValueError, match=r"a model of rows of shape \(2,\) and data of \(3,\)"):
        Fitted(decodes_less, data=REAL)


def test_results_that_are_not_finite_are_refused(tmp_path: Path) -> None:
    model, x = (
        lb.models.vae((4,), latent_dim=3, hidden=[4], likelihood="normal"),
        np.random.default_rng(0).random((20, 4)),
    )
    for parameter in model.parameters():
        parameter.data.fill_(3e38)
    fitted = lb.Fitted(model, data=x)
    with pytest.raises(ValueError, match=r"q\(z \| x\) of 20 of 20 rows, row 0 first, is not finite; fit again"):
        fitted.encode(x)
    with pytest.raises(ValueError, match="is not finite; fit again with a smaller learning rate"):
        fitted.report(tmp_path / "report.html")
    with pytest.raises(ValueError, match="gives numbers that are not finite, as its weights are too large"):
        fitted.reconstruct(x)
