"""Which gradient estimator goes with which objective and posterior, found by asking the code.

    python -m lowerbound.testing.matrix > docs/matrix.md

Every exported objective, in each of its forms of the rate, meets every exported estimator, with each of its baselines,
on a small model with each kind of posterior. A pair that a `check` refuses is refused; for any other the cell is the
`kind` of the estimator, after one step has shown that it runs.
"""

from __future__ import annotations

import functools
import inspect
import itertools
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, TypeAlias, get_args

import torch
from torch import Tensor, nn

from lowerbound import baselines, gradients, likelihoods, objectives, posteriors, priors
from lowerbound.losses import VariationalLoss
from lowerbound.model import LatentVariableModel
from lowerbound.models import vae
from lowerbound.models.layered import LowestLayer
from lowerbound.nets import MLP
from lowerbound.posteriors import BottomUp
from lowerbound.priors import Hierarchical
from lowerbound.protocols import EstimatesRate, Gradient, Objective, RateForm
from lowerbound.randomness import forked
from lowerbound.spelling import choices, construct

__all__ = [
    "KINDS",
    "NUM_SAMPLES",
    "Cell",
    "PosteriorKind",
    "Status",
    "cells",
    "cells_of",
    "columns",
    "page",
    "rows",
    "small_model",
]

NUM_SAMPLES = 2
_DATA_DIM = 2

_GIVEN: Mapping[str, str] = {"geco": "target=1.5"}
"""Values of arguments that have no default."""

Status: TypeAlias = Literal["exact", "unbiased", "biased", "estimated", "refused"]


_WORDS: Mapping[Status, str] = {
    "exact": "**exact**",
    "unbiased": "unbiased",
    "biased": "*biased*",
    "estimated": "*estimated*",
    "refused": "",
}

_INTRODUCTION = """# Which estimator goes with which objective

Found by asking the code: `python -m lowerbound.testing.matrix > docs/matrix.md` writes this page anew, and a test fails
where it is out of date. The estimators are described in [what to choose](choose.md).

| cell | the gradient of φ |
|---|---|
| **exact** | has no noise |
| unbiased | is right in expectation |
| *biased* | is roughly that of the objective, or that of another objective; θ's is unbiased |
| *estimated* | is that of an estimate, by a learned ratio of densities, which bounds nothing |
| (empty) | the pair is refused, with a sentence that names the alternative |
"""


@dataclass(frozen=True, kw_only=True)
class PosteriorKind:
    """A class of posteriors that estimators treat alike, and a small model with one of them.

    Attributes:
        title: what the posteriors have in common.
        posterior: name and options of a class of `posteriors`.
        prior: of a class of `priors` that goes with it.
        latent_dim: of the small model.
        seed: of its weights, chosen such that the score function has little noise, so that a bias is visible.
        make: makes the model in place of posterior, prior and latent_dim.
    """

    title: str
    posterior: str
    prior: str
    latent_dim: int
    seed: int
    make: Callable[[], LatentVariableModel] | None = None


def _layers_of_bits() -> LatentVariableModel:
    """Two bits below one, which q draws from the data up."""
    p = Hierarchical([posteriors.Bernoulli(MLP(1, (), 2)), priors.Bernoulli(1)])
    q = BottomUp([posteriors.Bernoulli(MLP(_DATA_DIM, (), 2)), posteriors.Bernoulli(MLP(2, (), 1))])
    x_given_z = likelihoods.Bernoulli(LowestLayer(MLP(2, (), _DATA_DIM), 2))
    return LatentVariableModel(prior=p, likelihood=x_given_z, posterior=q)


KINDS: Mapping[str, PosteriorKind] = {
    "normal": PosteriorKind(
        title="reparameterised, a product, every closed form: `DiagonalNormal` with `StandardNormal`",
        posterior="diagonal-normal",
        prior="standard-normal",
        latent_dim=2,
        seed=35,
    ),
    "flow": PosteriorKind(
        title="reparameterised, no closed form: flows such as `Planar` with `StandardNormal`",
        posterior="planar:layers=2",
        prior="standard-normal",
        latent_dim=1,
        seed=5,
    ),
    "mixture": PosteriorKind(
        title="several components: `MixtureNormal` with `StandardNormal`",
        posterior="mixture-normal:components=2",
        prior="standard-normal",
        latent_dim=1,
        seed=1,
    ),
    "relaxed": PosteriorKind(
        title="relaxed bits: `RelaxedBernoulli` with a relaxed prior",
        posterior="relaxed-bernoulli:space=logit",
        prior="relaxed-bernoulli:space=logit",
        latent_dim=1,
        seed=3,
    ),
    "bernoulli": PosteriorKind(
        title="bits: `Bernoulli` with `Bernoulli`",
        posterior="bernoulli",
        prior="bernoulli",
        latent_dim=2,
        seed=11,
    ),
    "categorical": PosteriorKind(
        title="one-hot vectors: `Categorical` with `Categorical`",
        posterior="categorical:categories=3",
        prior="categorical:categories=3",
        latent_dim=2,
        seed=10,
    ),
    "layers": PosteriorKind(
        title="several layers of bits: `BottomUp` of `Bernoulli` with `Hierarchical` of `Bernoulli`",
        posterior="bernoulli",
        prior="bernoulli",
        latent_dim=3,
        seed=11,
        make=_layers_of_bits,
    ),
}


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One estimator on one objective and posterior.

    Attributes:
        status: refused, or what the gradient is.
        refused_by: "check" before training, "step" only in the first step, or None.
        sentence: of the refusal; empty where there is none.
    """

    status: Status
    refused_by: Literal["check", "step"] | None = None
    sentence: str = ""


def small_model(kind: PosteriorKind) -> tuple[LatentVariableModel, Tensor]:
    """A model in float64 with binary data, and one datum x (1, 2).

    Arguments:
        kind: of its posterior. The weights are normal with standard deviation 2 divided by the square root of the
            fan-in.
    """
    with forked(torch.device("cpu"), kind.seed):
        model = kind.make() if kind.make is not None else _one_layer(kind)
        model.double()
        with torch.no_grad():
            for p in model.parameters():
                p.copy_(2 * torch.randn(p.shape, dtype=p.dtype) / p.shape[-1] ** 0.5)
    return model, torch.tensor([[1.0, 0.0]], dtype=torch.float64)


def _one_layer(kind: PosteriorKind) -> LatentVariableModel:
    return vae((_DATA_DIM,), latent_dim=kind.latent_dim, prior=kind.prior, posterior=kind.posterior, hidden=())


def columns(kind: PosteriorKind) -> dict[str, Callable[[], Objective]]:
    """Every objective by its label, with its defaults and in each form of the rate that it has."""
    return {
        label: partial(construct, objectives, words, **_available(kind))
        for name, cls in sorted(choices(objectives).items())
        for label, words in _forms(name, cls, kind)
    }


def rows(kind: PosteriorKind) -> dict[str, Callable[[], Gradient]]:
    """Every estimator by its label, with its defaults and with each baseline that it takes."""
    made: dict[str, Callable[[], Gradient]] = {}
    for name, cls in sorted(choices(gradients).items()):
        if "baseline" not in inspect.signature(cls).parameters:
            made[cls.__name__] = partial(construct, gradients, name, **_available(kind))
            continue
        for other, baseline in {"": None, **choices(baselines)}.items():
            label = "no baseline" if baseline is None else baseline.__name__
            made[f"{cls.__name__}, {label}"] = partial(_with_baseline, cls, None if baseline is None else other, kind)
    return made


def cells_of(kind: PosteriorKind, label: str, *, column: bool) -> dict[str, Cell]:
    """The cells of one objective (a column) or one estimator (a row, with its first baseline), by the other label.

    Arguments:
        kind: of latents.
        label: the name of its class.
        column: whether it is an objective.
    """
    model, x = small_model(kind)
    found = {}
    for row, gradient in rows(kind).items():
        for of, objective in columns(kind).items():
            own, other = (of, row) if column else (row, of)
            if own.partition(",")[0] == label and other.partition(",")[0] not in found:
                loss = VariationalLoss(model, objective(), gradient(), NUM_SAMPLES).double()
                cell = _cell(loss, x.expand(4, -1))
                if cell.status != "refused":
                    found[other.partition(",")[0]] = cell
    return found


@functools.cache
def cells(kind: PosteriorKind) -> dict[tuple[str, str], Cell]:
    """Every cell of one table, by the labels of its row and column, from `check` and then one step."""
    model, x = small_model(kind)
    pairs = itertools.product(rows(kind).items(), columns(kind).items())
    return {
        (row, column): _cell(VariationalLoss(model, objective(), gradient(), NUM_SAMPLES).double(), x.expand(4, -1))
        for (row, gradient), (column, objective) in pairs
    }


def page() -> str:
    """The whole of docs/matrix.md."""
    return "\n".join([_INTRODUCTION, *(line for kind in KINDS.values() for line in _section(kind))]) + "\n"


def _section(kind: PosteriorKind) -> Iterator[str]:
    found = cells(kind)
    statuses: dict[str, list[Status]] = {
        row: [found[row, column].status for column in columns(kind)] for row in rows(kind)
    }
    refused = [f"`{row}`" for row, line in statuses.items() if set(line) == {"refused"}]
    yield f"## Latents: {kind.title}\n"
    yield "| | " + " | ".join(f"`{label}`" for label in columns(kind)) + " |"
    yield "|---" * (1 + len(columns(kind))) + "|"
    for row, line in statuses.items():
        if set(line) != {"refused"}:
            yield f"| `{row}` | " + " | ".join(_WORDS[status] for status in line) + " |"
    if refused:
        yield f"\nRefused throughout: {', '.join(refused)}."
    yield ""


def _cell(loss: VariationalLoss, x: Tensor) -> Cell:
    try:
        loss.check(x)
    except ValueError as refusal:
        return Cell(status="refused", refused_by="check", sentence=str(refusal))
    try:
        with forked(torch.device("cpu"), 0):
            loss(x).loss.backward()
    except ValueError as refusal:
        return Cell(status="refused", refused_by="step", sentence=str(refusal))
    return Cell(status="estimated" if isinstance(loss.gradient, EstimatesRate) else loss.gradient.kind)


def _available(kind: PosteriorKind) -> dict[str, Any]:
    """Values that a choice may request by name."""
    return {"event_shape": (_DATA_DIM,), "latent_dim": kind.latent_dim, "num_data": 100}


def _forms(name: str, cls: type, kind: PosteriorKind) -> Iterator[tuple[str, str]]:
    """The label and the words of an objective in each form of the rate that it accepts."""
    parameter, given = inspect.signature(cls).parameters.get("rate"), _GIVEN.get(name, "")
    if parameter is None:
        yield cls.__name__, f"{name}:{given}"
        return
    for form in get_args(RateForm):
        words = f"{name}:{given},rate={form}"
        try:
            construct(objectives, words, **_available(kind))
        except ValueError:
            continue
        yield cls.__name__ if form == parameter.default else f"{cls.__name__}, rate={form}", words


def _with_baseline(cls: Callable[..., Gradient], baseline: str | None, kind: PosteriorKind) -> Gradient:
    made = None if baseline is None else construct(baselines, baseline, **_available(kind))
    return cls(baseline=made.double() if isinstance(made, nn.Module) else made)


if __name__ == "__main__":
    sys.stdout.write(page())
