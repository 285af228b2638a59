"""Every hook is a protocol in `lowerbound.hooks`, and nobody looks for one by its name."""

from __future__ import annotations

import ast
from pathlib import Path as FilePath

import pytest
import torch
from torch import nn
from torch.distributions import Independent, Normal

import lowerbound
from lowerbound import hooks, posteriors, priors
from lowerbound.has_hook import has
from lowerbound.models import vae
from lowerbound.models.ladder_autoencoder import ladder
from lowerbound.nets import MLP

ROOT = FilePath(lowerbound.__file__).parent
PLACES = [
    "weights.py",
    "factors.py",
    "chain.py",
    "walk.py",
    "model.py",
    "gradients",
    "objectives",
    "losses",
    "evaluate",
]
HOOKS = [
    "AssignsClusters",
    "Augmented",
    "ChosenInTurn",
    "Classifies",
    "ComesInTurn",
    "CompletesContext",
    "CompletesRows",
    "Embeds",
    "EndsInState",
    "FindsStates",
    "GivenContext",
    "HasConditionalMeans",
    "HasCumulative",
    "HasTopics",
    "IsExact",
    "JointDensity",
    "Jumps",
    "KnowsEachState",
    "KnowsSlope",
    "KnowsWhyMissing",
    "Layered",
    "Lends",
    "MapsNoise",
    "NamesLatents",
    "OverWholeNumbers",
    "PointMass",
    "Quantizes",
    "ScoresData",
    "StatesEventShape",
    "StatesOutShape",
    "WithoutDensity",
]  # fmt: skip
NOT_YET = {"without_latents.py"}
"""Reads facts of likelihoods by name; those have no protocol of their own so far."""
NOT_HOOKS = {"base_constraint", "name", "net"}
"""What torch's constraints may have, a dataclass that prints its own fields, and the net of a likelihood."""


def looked_up(tree):
    """(call, name) of every getattr and hasattr."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in ("getattr", "hasattr"):
            name = node.args[1]
            yield node.func.id, name.value if isinstance(name, ast.Constant) else ast.unparse(name)


@pytest.mark.parametrize("place", PLACES)
def test_no_hook_is_found_by_its_name(place):
    files = [ROOT / place] if place.endswith(".py") else sorted((ROOT / place).glob("*.py"))
    files = [file for file in files if file.name not in NOT_YET]
    assert files
    found = [(file.name, *call) for file in files for call in looked_up(ast.parse(file.read_text()))]
    assert [call for call in found if call[2] not in NOT_HOOKS] == []


def test_the_hooks_are_these_and_can_be_asked_for():
    assert [name for name in hooks.__all__ if name not in ("Latents", "Turn")] == HOOKS
    for name in HOOKS:
        assert isinstance(Independent(Normal(torch.zeros(2), 1.0), 1), getattr(hooks, name)) == (
            name == "StatesEventShape"
        )


def test_who_has_which():
    x, path = torch.zeros(3, 4, 4), priors.Path([priors.residual_group(3, 1, 2, depth=1)], 3)
    ladder_q = ladder((4, 4), latent_dims=[2, 1], hidden=[[8], [4]]).infer(x)
    auxiliary = vae((4, 4), latent_dim=2, posterior="auxiliary-normal", hidden=[8]).infer(x)
    for _ in range(2):  # found, and remembered
        for hook in (hooks.Layered, hooks.Lends, hooks.Augmented, hooks.MapsNoise):
            for q in (ladder_q, auxiliary):
                assert has(q, hook) == isinstance(q, hook)
    assert isinstance(ladder_q, hooks.Layered)
    assert isinstance(ladder_q, hooks.Lends)
    assert isinstance(auxiliary, hooks.Augmented)
    assert not isinstance(auxiliary, hooks.Lends)
    assert isinstance(path, hooks.EndsInState)
    assert isinstance(path(), hooks.EndsInState)
    assert not isinstance(priors.Hierarchical([priors.StandardNormal(1)])(), hooks.EndsInState)
    assert isinstance(MLP(2, [], 3), hooks.StatesOutShape)
    assert not isinstance(nn.Linear(2, 3), hooks.StatesOutShape)
    for module in (priors.StandardNormal((2, 3)), posteriors.Categorical(MLP(2, [], (3, 5)), categories=5)):
        assert isinstance(module, hooks.StatesEventShape)
        assert module(torch.zeros(1, 2)).event_shape == module.event_shape


class _PassesOn:
    """A wrapper that has what its content has."""

    def __init__(self, content: object):
        self.content = content

    def __getattr__(self, name: str) -> object:
        return getattr(self.content, name)


def test_what_an_instance_has_of_its_own_is_seen_whichever_instance_of_its_class_came_first() -> None:
    class Own(Independent): ...

    class OwnFirst(Independent): ...

    base = Normal(torch.zeros(3), torch.ones(3))
    for first, kind in ((False, Own), (True, OwnFirst)):
        for lends in (first, not first, first):
            q = kind(base, 1)
            if lends:
                q.lend = lambda prior: None
            assert has(q, hooks.Lends) == isinstance(q, hooks.Lends) == lends
    lending = Own(base, 1)
    lending.lend = lambda prior: None
    for content in (base, lending, base):
        assert has(_PassesOn(content), hooks.Lends) == (content is lending)
