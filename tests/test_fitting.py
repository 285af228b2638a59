from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
import torch

from lowerbound.data import Dataset, Identity, InMemory, MemoryMapped, Pixels, Standardize, load
from lowerbound.engine import Engine
from lowerbound.fitting import Settings, fit, make_transform, prepare, transform_rows

CPU = Engine(device="cpu")
MODEL = {"latent_dim": 2, "hidden": [8]}


def _settings(likelihood: str = "bernoulli", **given: object) -> Settings:
    return Settings(**{"model": {**MODEL, "likelihood": likelihood}, "device": "cpu", **given})  # type: ignore[arg-type]


def _table(x: np.ndarray, **given: object) -> Dataset:
    parts = {"name": "x", "kind": "table", "x_train": x, "x_test": x[:3], "source": "a test", **given}
    return Dataset.from_arrays(**parts)  # type: ignore[arg-type]


REAL = np.random.default_rng(0).normal([5, -3], [2, 0.1], size=(40, 2)).astype(np.float32)
BINARY = (np.random.default_rng(0).random((40, 6)) < 0.5).astype(np.float32)


def test_settings_come_back_from_json():
    settings = _settings("normal:scale=shared", steps=3, clip_norm=1.0)
    assert Settings(**json.loads(json.dumps(settings.to_json()))) == settings
    assert settings.likelihood == "normal"


@pytest.mark.parametrize(
    "dataset, settings, expected",
    [
        (load("digits"), _settings(), ("Pixels", "dynamic")),
        (load("digits"), _settings(binarization="threshold"), ("Pixels", "threshold")),
        (load("digits"), _settings("normal"), ("Pixels", "none")),
        (_table(REAL), _settings("normal"), ("Standardize", None)),
        (_table(REAL), _settings("normal", standardize=False), ("Identity", None)),
        (_table(BINARY), _settings(), ("Identity", None)),
        (_table(BINARY), _settings(binarization="dynamic"), ("Pixels", "dynamic")),
    ],
)
def test_the_transform_follows_the_data_and_the_likelihood(dataset, settings, expected):
    transform = make_transform(dataset, settings)
    assert (type(transform).__name__, getattr(transform, "binarization", None)) == expected


def test_standardising_looks_at_training_rows_only():
    both = np.concatenate([REAL, REAL + 1000])
    transform = make_transform(_table(both, train_rows=np.arange(40)), _settings("normal"))
    assert isinstance(transform, Standardize)
    np.testing.assert_allclose(transform.mean, REAL.mean(0), rtol=1e-5)


def test_held_out_rows_are_a_tenth_and_are_never_trained_on():
    x = np.arange(80, dtype=np.float32).reshape(40, 2)
    problem = prepare(_table(x), _settings("normal", standardize=False), CPU)
    held = {row[0].item() for row in problem.held_out.gather(torch.arange(len(problem.held_out)))[0]}
    trained = {row[0].item() for row in problem.source.gather(torch.arange(len(problem.source)))[0]}
    assert (len(held), len(trained)) == (4, 36)
    assert held | trained == set(x[:, 0])


def test_the_split_depends_on_the_seed_and_not_on_where_the_rows_are():
    x = np.arange(80, dtype=np.float32).reshape(40, 2)
    memory, mapped, other = (
        prepare(data, _settings("normal", standardize=False, seed=seed), CPU).held_out
        for data, seed in ((_table(x), 0), (_table(x, train_rows=np.arange(40)), 0), (_table(x), 1))
    )
    assert isinstance(memory, InMemory)
    assert isinstance(mapped, MemoryMapped)
    rows = torch.arange(4)
    assert torch.equal(memory.gather(rows)[0], mapped.gather(rows)[0])
    assert not torch.equal(memory.gather(rows)[0], other.gather(rows)[0])


def test_the_same_seed_makes_the_same_model_and_leaves_the_callers_state():
    digits, before = load("digits"), torch.get_rng_state()
    one, same, other = (prepare(digits, _settings(seed=seed), CPU).loss.state_dict() for seed in (0, 0, 1))
    assert all(torch.equal(one[name], same[name]) for name in one)
    assert any(not torch.equal(one[name], other[name]) for name in one)
    assert (torch.get_rng_state() == before).all()


def test_the_output_starts_at_the_mean_of_the_data():
    digits = load("digits")
    problem = prepare(digits, _settings(), CPU)
    bias = problem.loss.model.likelihood.net.output_bias.sigmoid()  # type: ignore[union-attr]
    np.testing.assert_allclose(bias.detach(), digits.x_train.mean(0).clip(0.01, 0.99), atol=0.06)


@pytest.mark.parametrize(
    "given, steps", [({"steps": 7}, 7), ({"epochs": 2}, 21), ({"epochs": 0.5}, 6), ({"steps": 7, "epochs": 2}, 7)]
)
def test_steps_or_epochs(given, steps):
    assert prepare(load("digits"), _settings(**given), CPU).num_steps == steps


@pytest.mark.parametrize(
    "dataset, settings, part",
    [
        (_table(REAL), _settings(), r"expects \[0, 1\]"),
        (_table(REAL), _settings("normal", recipe="nonsense"), "no recipe named"),
        (load("digits"), _settings("gausian"), "no likelihood named 'gausian'"),
        (load("digits"), _settings(objective="elbow"), "no objective named 'elbow'"),
        (load("digits"), _settings(gradient="dreg"), "DReG is derived for IWAE"),
        (load("digits"), _settings(num_samples=0), "num_samples=0"),
    ],
)
def test_choices_are_checked_before_training(dataset, settings, part):
    with pytest.raises(ValueError, match=part):
        prepare(dataset, settings, CPU)


@pytest.mark.parametrize(
    "given, part",
    [({"lr": 0.0}, "lr is 0.0"), ({"lr": float("nan")}, "lr is nan"), ({"lr_schedule": "sine"}, "'sine'")],
)
@pytest.mark.usefixtures("as_users_run")
def test_the_learning_rate_is_checked(given, part):
    settings = _settings(steps=2, **given)
    with pytest.raises(ValueError, match=part):
        next(fit(prepare(load("digits"), settings, CPU), settings, CPU))


def test_the_schedule_ends_at_a_hundredth():
    for name, last in (("constant", 1e-3), ("cosine", 1e-5), ("exponential", 1e-5)):
        settings = _settings(steps=40, lr_schedule=name)
        records = list(fit(prepare(load("digits"), settings, CPU), settings, CPU))
        assert records[0].learning_rate == pytest.approx(1e-3, rel=0.3)
        assert records[-1].learning_rate == pytest.approx(last, rel=0.6)


def test_training_raises_the_held_out_bound_and_ends_with_the_best_weights():
    settings = _settings(steps=200, lr=1e-2, num_samples=2)
    problem = prepare(load("digits"), settings, CPU)
    records = [r for r in fit(problem, settings, CPU) if r.held_out is not None]
    bounds = [r.held_out["bound"] for r in records if r.held_out is not None]
    assert max(bounds) > bounds[0]
    assert [r.is_best for r in records] == [b > max([-np.inf, *bounds[:i]]) for i, b in enumerate(bounds)]


def test_rows_reach_the_loss_transformed():
    problem = prepare(_table(REAL), _settings("normal"), CPU)
    (x,) = transform_rows(problem.source, torch.arange(len(problem.source)))
    assert x.abs().mean() < 2
    assert isinstance(make_transform(_table(BINARY), _settings()), Identity)
    assert isinstance(make_transform(load("digits"), _settings()), Pixels)


def test_settings_are_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        _settings().lr = 1.0  # type: ignore[misc]
