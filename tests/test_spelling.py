from __future__ import annotations

from types import ModuleType
from typing import Any

import pytest
import torch
from torch import nn

from lowerbound import gradients, likelihoods, objectives, posteriors, priors
from lowerbound.spelling import choices, construct, find, parse

AXES = [priors, likelihoods, posteriors, objectives, gradients]


@pytest.mark.parametrize("axis", AXES, ids=lambda axis: axis.__name__)
def test_every_choice_is_found_by_its_own_name(axis: ModuleType) -> None:
    for name, cls in choices(axis).items():
        assert name == name.lower()
        assert find(axis, name) is cls
        assert find(axis, cls.__name__) is cls
        assert find(axis, name.replace("-", "_")) is cls


def test_choices_are_conditionals_objectives_and_estimators_and_nothing_beside_them() -> None:
    assert {"standard-normal"} <= choices(priors).keys()
    assert "markov-chain" not in choices(priors)  # takes modules, which words cannot name
    assert {"pathwise", "score-function", "dreg", "stick-the-landing"} <= choices(gradients).keys()
    assert choices(objectives).keys() >= {"elbo", "iwae"}
    assert not {"baseline", "leave-one-out"} & choices(gradients).keys()
    found = [cls for axis in AXES for cls in choices(axis).values()]
    assert not any(issubclass(cls, torch.distributions.Distribution) for cls in found)


@pytest.mark.parametrize(
    "axis, name, cls",
    [
        (gradients, "StickTheLanding", gradients.StickTheLanding),
        (gradients, "stick_the_landing", gradients.StickTheLanding),
        (gradients, "DREG", gradients.DReG),
        (priors, "standard-normal-prior", None),
    ],
)
def test_spellings_of_a_name(axis: ModuleType, name: str, cls: type | None) -> None:
    if cls is None:
        with pytest.raises(ValueError, match="There is no prior named 'standard-normal-prior'; the nearest of its"):
            find(axis, name)
    else:
        assert find(axis, name) is cls


def package(*classes: type) -> Any:
    """A module such as an axis is."""
    module: Any = ModuleType("somewhere.priors")
    module.__all__ = [cls.__name__ for cls in classes]
    for cls in classes:
        setattr(module, cls.__name__, cls)
    return module


class VampPrior(nn.Module):
    def __init__(self, latent_dim: int, components: int = 3, start: str = "rows"):
        super().__init__()
        self.made = (latent_dim, components, start)

    def forward(self) -> None: ...


class Vam(nn.Module):
    def forward(self) -> None: ...


class Helper:
    pass


def test_the_axis_may_be_left_out_of_a_name() -> None:
    axis = package(VampPrior, Helper)
    assert list(choices(axis)) == ["vamp-prior"]
    assert find(axis, "vamp") is VampPrior
    assert find(axis, "vamp-prior") is VampPrior


def test_a_whole_name_is_not_mistaken_for_a_beginning() -> None:
    assert find(package(VampPrior, Vam), "vam") is Vam


def test_the_nearest_names_are_offered() -> None:
    with pytest.raises(ValueError, match="There is no objective named 'elb'; the nearest of its"):
        find(objectives, "elb")
    with pytest.raises(ValueError, match="choose one of"):
        find(objectives, "zzzzzz")


@pytest.mark.parametrize(
    "text, expected",
    [
        ("normal", ("normal", {})),
        ("normal:", ("normal", {})),
        ("normal:scale=0.5", ("normal", {"scale": 0.5})),
        ("normal: scale = shared , min-scale=1e-3", ("normal", {"scale": "shared", "min_scale": 1e-3})),
        ("vamp:bounded=False,components=7", ("vamp", {"bounded": False, "components": 7})),
        ("a:b=None", ("a", {"b": None})),
        ("a:b=__import__('os')", ("a", {"b": "__import__('os')"})),
    ],
)
def test_parse(text: str, expected: Any) -> None:
    assert parse(text) == expected


def test_an_option_without_a_value_is_refused() -> None:
    with pytest.raises(ValueError, match="write it as scale=VALUE"):
        parse("normal:scale")
    with pytest.raises(ValueError, match=r"name of 3,000 letters was given"):
        parse("x" * 3000)
    with pytest.raises(ValueError, match="without a value") as refusal:
        parse("normal:" + "x" * 5000)
    assert len(str(refusal.value)) < 200


def test_the_kinds_of_many_columns_are_words() -> None:
    kinds = "+".join(["continuous", "categorical-3"] * 5000)
    assert parse(f"mixed:columns={kinds}") == ("mixed", {"columns": kinds})
    assert parse("x:y=" + "[" * 5000 + "]" * 5000)[1]["y"].startswith("[[")


def test_construct_gives_what_is_asked_for_by_name() -> None:
    made = construct(package(VampPrior), "vamp:start=means", latent_dim=5, event_shape=(8, 8))
    assert made.made == (5, 3, "means")


@pytest.mark.parametrize("option", ["colour=red", "latent_dim=9", "self=1"])
def test_an_option_that_is_not_there_is_refused_with_those_that_are(option: str) -> None:
    name = option.partition("=")[0]
    with pytest.raises(ValueError, match=f"vamp-prior has no option '{name}'; it has components, start"):
        construct(package(VampPrior), f"vamp:{option}", latent_dim=5)


def test_an_option_with_a_bad_value_is_the_choice_s_own_refusal() -> None:
    with pytest.raises(ValueError, match="rate"):
        construct(objectives, "iwae:rate=kl")


def test_options_of_a_kind_reach_the_object() -> None:
    assert construct(objectives, "elbo:rate=kl").rate == "kl"


@pytest.mark.parametrize("number", [1e308, -4e38, 1e-310])
def test_a_number_that_float32_does_not_hold_is_refused(number: float) -> None:
    with pytest.raises(ValueError, match=r"got scale=.* and expected 0 or a number of size 1.2e-38 to 3.4e38"):
        construct(likelihoods, f"normal:scale={number}", net=nn.Linear(2, 3), event_shape=3)
