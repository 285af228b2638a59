from __future__ import annotations

import dataclasses
import json
from typing import Any

import numpy as np
import pandas
import pytest
import torch

import lowerbound as lb
from lowerbound.data import Dataset, Identity, InMemory, MemoryMapped, Pixels, Standardize, Transform, load
from lowerbound.data.classes import only_some
from lowerbound.data.given import dataset_of
from lowerbound.fitting.planning import Plan, plan
from lowerbound.fitting.preparing import make_model, make_transform, prepare, transform_rows
from lowerbound.fitting.stages import fit
from lowerbound.randomness import derive_seed
from lowerbound.training.engine import Engine

CPU = Engine(device="cpu")
SMALL = {"latent_dim": 2, "hidden": [8], "device": "cpu"}


def _plan(dataset: Dataset, likelihood: str = "bernoulli", **given: Any) -> Plan:
    return plan(dataset, **{**SMALL, "likelihood": likelihood, **given})


def _transform(dataset: Dataset, planned: Plan) -> Transform:
    return make_transform(dataset, planned, make_model(planned, dataset.event_shape))


def _table(x: np.ndarray, **given: object) -> Dataset:
    parts = {"name": "x", "kind": "table", "x_train": x, "x_test": x[:3], "source": "a test", **given}
    return Dataset.from_arrays(**parts)  # type: ignore[arg-type]


REAL = np.random.default_rng(0).normal([5, -3], [2, 0.1], size=(40, 2)).astype(np.float32)
BINARY = (np.random.default_rng(0).random((40, 6)) < 0.5).astype(np.float32)
COUNTS = np.random.default_rng(0).poisson(3, size=(40, 3))


def test_a_plan_comes_back_from_json():
    planned = _plan(load("digits"), "normal:scale=shared", steps=3, clip_norm=1.0)
    assert Plan.from_json(json.loads(json.dumps(planned.to_json()))) == planned
    assert planned.model["likelihood"] == "normal:scale=shared"


@pytest.mark.parametrize(
    "dataset, given, expected",
    [
        (load("digits"), {}, ("Pixels", "dynamic")),
        (load("digits"), {"binarization": "threshold"}, ("Pixels", "threshold")),
        (load("digits"), {"likelihood": "normal"}, ("Pixels", "none")),
        (_table(REAL), {"likelihood": "normal"}, ("Standardize", None)),
        (_table(BINARY), {}, ("Identity", None)),
        (_table(BINARY), {"binarization": "dynamic"}, ("Pixels", "dynamic")),
        (dataset_of(COUNTS), {"likelihood": "poisson"}, ("Identity", None)),
        (dataset_of(COUNTS.astype(np.uint8)), {"likelihood": "poisson"}, ("Identity", None)),
    ],
)
def test_the_transform_follows_the_data_and_the_likelihood(dataset, given, expected):
    transform = _transform(dataset, _plan(dataset, **given))
    assert (type(transform).__name__, getattr(transform, "binarization", None)) == expected


def test_columns_that_are_not_standardised_are_centred_at_most_and_keep_their_density():
    transform = _transform(_table(REAL), _plan(_table(REAL), "normal", standardize=False))
    assert getattr(transform, "log_scale", 0.0) == 0.0
    spread = transform(torch.as_tensor(REAL)).std(0)
    torch.testing.assert_close(spread, torch.as_tensor(REAL).std(0), rtol=1e-4, atol=0)


def test_standardising_looks_at_training_rows_only():
    both = _table(np.concatenate([REAL, REAL + 1000]), train_rows=np.arange(40))
    transform = _transform(both, _plan(both, "normal"))
    assert isinstance(transform, Standardize)
    np.testing.assert_allclose(transform.mean, REAL.mean(0), rtol=1e-5)


def test_held_out_rows_are_a_tenth_and_are_never_trained_on():
    x = np.arange(80, dtype=np.float32).reshape(40, 2)
    data = _table(x)
    training = prepare(data, _plan(data, "normal", standardize=False), CPU)
    held = {row[0].item() for row in training.held_out.gather(torch.arange(len(training.held_out)))[0]}
    trained = {row[0].item() for row in training.source.gather(torch.arange(len(training.source)))[0]}
    assert (len(held), len(trained)) == (4, 36)
    assert held | trained == set(x[:, 0])


def test_a_fit_without_steps_holds_out_no_rows():
    x = np.arange(80, dtype=np.float32).reshape(40, 2)
    data = _table(x)
    given = plan(data, "factor-analysis", latent_dim=1)
    training = prepare(data, given, CPU)
    (record,) = fit(training, given, CPU)
    assert (len(training.source), training.held_out, record.held_out) == (40, None, None)


def test_the_split_depends_on_the_seed_and_not_on_where_the_rows_are():
    x = np.arange(80, dtype=np.float32).reshape(40, 2)
    memory, mapped, other = (
        prepare(data, _plan(data, "normal", standardize=False, seed=seed), CPU).held_out
        for data, seed in ((_table(x), 0), (_table(x, train_rows=np.arange(40)), 0), (_table(x), 1))
    )
    assert isinstance(memory, InMemory)
    assert isinstance(mapped, MemoryMapped)
    rows = torch.arange(4)
    assert torch.equal(memory.gather(rows)[0], mapped.gather(rows)[0])
    assert not torch.equal(memory.gather(rows)[0], other.gather(rows)[0])


def test_the_same_seed_makes_the_same_model_and_leaves_the_callers_state():
    digits, before = load("digits"), torch.get_rng_state()
    one, same, other = (prepare(digits, _plan(digits, seed=seed), CPU).loss.state_dict() for seed in (0, 0, 1))
    assert all(torch.equal(one[name], same[name]) for name in one)
    assert any(not torch.equal(one[name], other[name]) for name in one)
    assert (torch.get_rng_state() == before).all()


def test_the_output_starts_at_the_mean_of_the_data():
    digits = load("digits")
    training = prepare(digits, _plan(digits), CPU)
    bias = training.loss.model.likelihood.net.output_bias.sigmoid()  # type: ignore[union-attr]
    np.testing.assert_allclose(bias.detach(), digits.x_train.mean(0).clip(0.01, 0.99), atol=0.06)


@pytest.mark.parametrize("given, steps", [({"steps": 7}, 7), ({"epochs": 2}, 21), ({"epochs": 0.5}, 6)])
def test_steps_or_epochs(given, steps):
    assert prepare(load("digits"), _plan(load("digits"), **given), CPU).num_steps == steps


@pytest.mark.parametrize(
    "dataset, given, part",
    [
        (_table(REAL), {}, "column '0'; Bernoulli takes numbers in \\[0, 1\\]"),
        (_table(REAL), {"recipe": "nonsense"}, "no recipe named"),
        (load("digits"), {"likelihood": "gausian"}, "no likelihood named 'gausian'"),
        (load("digits"), {"objective": "elbow"}, "no objective named 'elbow'"),
        (load("digits"), {"objective": "elbo", "gradient": "dreg"}, "DReG is derived for IWAE"),
        (load("digits"), {"num_samples": 0}, "num_samples=0"),
        (load("digits"), {"loss": "wake-sleep", "penalty": "mmd"}, "wake-sleep loss takes no penalty"),
        (load("digits"), {"labelled": 20}, "vae recipe does not learn from some labels"),
        (_table(REAL), {"recipe": "cvae", "likelihood": "normal"}, "has no labels"),
    ],
)
def test_choices_are_checked_before_training(dataset, given, part):
    with pytest.raises(ValueError, match=part):
        prepare(dataset, _plan(dataset, **given), CPU)


@pytest.mark.parametrize(
    "given, part", [({"lr": 0.0}, "got lr=0 and needs a finite number above 0"), ({"lr_schedule": "sine"}, "'sine'")]
)
@pytest.mark.usefixtures("as_users_run")
def test_the_learning_rate_is_checked(given, part):
    with pytest.raises(ValueError, match=part):
        next(_fit(_plan(load("digits"), steps=2, **given)))


def _fit(planned: Plan):
    return fit(prepare(load("digits"), planned, CPU), planned, CPU)


def test_the_schedule_ends_at_a_hundredth():
    for name, last in (("constant", 1e-3), ("cosine", 1e-5), ("exponential", 1e-5)):
        records = list(_fit(_plan(load("digits"), steps=40, lr=1e-3, lr_schedule=name)))
        assert records[0].learning_rate == pytest.approx(1e-3, rel=0.3)
        assert records[-1].learning_rate == pytest.approx(last, rel=0.6)


def test_training_raises_the_held_out_bound_and_ends_with_the_best_weights():
    records = [r for r in _fit(_plan(load("digits"), steps=200, lr=1e-2, num_samples=2)) if r.held_out is not None]
    bounds = [r.held_out["bound"] for r in records if r.held_out is not None]
    assert max(bounds) > bounds[0]
    assert [r.is_best for r in records] == [b > max([-np.inf, *bounds[:i]]) for i, b in enumerate(bounds)]


def test_rows_reach_the_loss_transformed():
    data = _table(REAL)
    training = prepare(data, _plan(data, "normal"), CPU)
    (x,) = transform_rows(training.source, torch.arange(len(training.source)))
    assert x.abs().mean() < 2
    assert isinstance(_transform(_table(BINARY), _plan(_table(BINARY))), Identity)
    assert isinstance(_transform(load("digits"), _plan(load("digits"))), Pixels)


def test_a_plan_is_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        _plan(load("digits")).lr = 1.0  # type: ignore[misc]


def test_the_seed_says_which_labels_are_kept():
    first, again, other = (only_some(np.arange(40) % 2, 4, seed, "x").tolist() for seed in (0, 0, 1))
    assert first == again != other
    data = _table(REAL, y_train=np.arange(40) % 2, y_test=np.arange(3) % 2)
    for seed in (0, 1):
        planned = dataclasses.replace(plan(data, "semi-supervised", **SMALL, labelled=4), seed=seed)
        source = prepare(data, planned, CPU).source
        all_labels = np.array([np.flatnonzero((data.x_train == row).all(1))[0] % 2 for row in source.x.numpy()])
        np.testing.assert_array_equal(source.y, only_some(all_labels, 4, derive_seed(seed), data.name))


def test_labels_are_not_held_out_while_there_are_rows_without():
    labels = np.where(np.arange(40) < 6, np.arange(40) % 2, -1)
    some = _table(REAL, y_train=labels, y_test=labels[:3])
    all_of_them = _table(REAL, y_train=np.arange(40) % 2, y_test=labels[:3])
    for seed in range(5):
        planned = plan(some, "semi-supervised", **SMALL, seed=seed)
        training = prepare(some, planned, CPU)
        assert (len(training.source.labelled), len(training.held_out)) == (6, 4)
        assert len(prepare(all_of_them, planned, CPU).source.labelled) == 36


@pytest.mark.parametrize("binarization", ["dynamic", "threshold"])
def test_a_binarization_is_of_probabilities_and_for_a_likelihood_of_0_and_1(binarization):
    with pytest.raises(ValueError, match="the likelihood Normal, which is not one of 0 and 1"):
        prepare(_table(REAL), _plan(_table(REAL), "normal", binarization=binarization), CPU)
    with pytest.raises(ValueError, match=r"the training part of x holds .*; binarization takes numbers in \[0, 1\]"):
        prepare(_table(REAL), _plan(_table(REAL), binarization=binarization), CPU)


@pytest.mark.parametrize("unit", [1e-30, 1e-60, 1e25])
def test_a_mixed_table_in_extreme_units_has_the_score_of_the_table(unit):
    rng = np.random.default_rng(0)
    z = rng.normal(size=60)
    table = pandas.DataFrame(
        {"a": z, "b": np.exp(z + rng.normal(size=60)), "far": 5 + rng.normal(size=60), "c": np.resize(["u", "v"], 60)}
    )
    numbers = ["a", "b", "far"]
    other = table.assign(**{name: table[name] * unit for name in numbers})
    one, two = (lb.fit(x, "vae", steps=3, seed=0, **SMALL) for x in (table, other))
    difference = one.score(table, num_samples=5) - two.score(other, num_samples=5)
    np.testing.assert_allclose(difference, 3 * np.log(unit), atol=0.01)
    drawn = two.sample(20, seed=0)[numbers] / unit
    np.testing.assert_allclose(drawn, one.sample(20, seed=0)[numbers], rtol=0.01, atol=0.01)
