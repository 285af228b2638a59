"""A paragraph for the methods section of a paper: what was fitted to what, how, and by which software.

Numbers are those of the plan and of the saved scores; works are those of `citing`.
"""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from typing import Any

from lowerbound import __version__, losses
from lowerbound.data import DataError
from lowerbound.data.split import num_for_selection
from lowerbound.fitted import Fitted
from lowerbound.fitting.planning import Plan
from lowerbound.spelling import parse, takes
from lowerbound.verbs.citing import Citations, catalogue_entry, cite
from lowerbound.verbs.evidence_name import evidence_name

__all__ = ["methods_paragraph"]

_OF_MODEL = ("prior", "likelihood", "posterior")
_SOFTWARE = ("torch", "zuko")


def methods_paragraph(fitted: Fitted) -> str:
    """The paragraph, with works as "(Kingma & Welling, 2014)".

    >>> import numpy as np, lowerbound as lb
    >>> X = np.random.default_rng(0).normal(size=(60, 3))
    >>> methods_paragraph(lb.fit(X, "probabilistic-pca", latent_dim=1))[:72]
    'We fitted the probabilistic-pca model (Tipping & Bishop, 1999) with late'
    """
    works = cite(fitted)
    sentences = [_model(fitted, works), _training(fitted.plan, works), _scores(fitted.scores or {}, works)]
    return " ".join(sentence for sentence in (*sentences, _software(fitted, works)) if sentence)


def _model(fitted: Fitted, works: Citations) -> str:
    """The model with its parts and sizes, and the data."""
    plan, data = fitted.plan, _rows(fitted, works)
    parts = [part.what for part in works.parts if part.what.partition(" ")[0] in _OF_MODEL]
    named = ", ".join(f"the {what}{works.of(what)}" for what in parts)
    if plan is None:
        return f"We fitted a model with {named} to {data}." if named else f"We fitted a model to {data}."
    sizes = ", ".join(
        f"{name.replace('_', ' ')} {_text(value)}" for name, value in plan.model.items() if _is_size(value)
    )
    made = f" with {sizes}" if sizes else ""
    named = f"; its parts are {named}" if named else ""
    return f"We fitted the {plan.recipe} model{works.of(f'recipe {plan.recipe}')}{made} to {data}{named}."


def _rows(fitted: Fitted, works: Citations) -> str:
    """How many rows of which data; without a number where the data are gone."""
    known = catalogue_entry(fitted)
    name = f" of {known.name}{works.of(f'data {known.name}')}" if known is not None else ""
    try:
        count = fitted.dataset.num_train
    except DataError:
        return f"training rows{name}"
    plan = fitted.plan
    kept = num_for_selection(count) if plan is not None and plan.steps else 0
    held = f" ({kept:,} of them held out to choose the weights)" if kept else ""
    return f"{count:,} training rows{name}{held}"


def _training(plan: Plan | None, works: Citations) -> str:
    """How it was trained."""
    if plan is None:
        return ""
    if not plan.steps:
        return "It was solved without gradient steps."
    words = [f"the loss {parse(plan.loss)[0]}{_of(works, 'loss')}"]
    if takes(losses, plan.loss, "objective"):
        samples = "1 sample" if plan.num_samples == 1 else f"{plan.num_samples:,} samples"
        words.append(f"the objective {plan.objective}{_of(works, 'objective')} of {samples}")
    if takes(losses, plan.loss, "gradient"):
        words.append(f"the gradient estimator {plan.gradient}{_of(works, 'gradient')}")
    words += [
        f"the {axis} {getattr(plan, axis)}{_of(works, axis)}"
        for axis in ("penalty", "inference")
        if getattr(plan, axis) is not None
    ]
    seconds = f"in {plan.steps:,} steps of {plan.batch_size:,} rows by {plan.optimizer}{_of(works, 'optimizer')}"
    rate = f"at a {plan.lr_schedule} learning rate of {plan.lr:g}{_of(works, 'schedule')}"
    return f"It was trained with {_listed(words)}, {seconds} {rate} (seed {plan.seed})."


def _of(works: Citations, axis: str) -> str:
    """The works of the one choice of an axis of training; those of a baseline stand beside an estimator."""
    found = [part.what for part in works.parts if part.what.startswith(f"{axis} ")]
    return "".join(works.of(what) for what in found)


def _scores(scores: Mapping[str, Any], works: Citations) -> str:
    """The evidence of the test rows with its error, if it is known exactly or by importance sampling."""
    value, error = scores.get("log_evidence"), scores.get("log_evidence_standard_error")
    count, rows = scores.get("num_samples"), scores.get("num_data")
    if value is None or count is None or scores.get("num_distributions") is not None:
        return ""
    spread = "" if error is None else f" ± {error:.2f}"
    of = f" of {rows:,} test rows" if rows is not None else " of test rows"
    name = evidence_name(scores.get("of_gaps", False))
    if scores.get("exact"):
        return f"The mean {name}{of} was {value:.2f}{spread} nats, computed exactly."
    drawn = f"from {count:,} draws of q(z | x) a row{works.of('score log-evidence')}"
    return f"The mean {name}{of} was at least {value:.2f}{spread} nats, {drawn}."


def _software(fitted: Fitted, works: Citations) -> str:
    """The versions that it was fitted by; those of now for a model of this process."""
    stated = fitted.config.get("versions") or {}
    python = stated.get("python") or platform.python_version()
    named = [f"lowerbound {stated.get('lowerbound') or __version__}", f"Python {python}"]
    used = {name: works.of(f"software {name}") for name in _SOFTWARE}
    named += [f"{name} {stated.get(name) or version(name)}{cited}" for name, cited in used.items() if cited]
    return f"The software was {_listed(named)}."


def _listed(words: Sequence[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"


def _is_size(value: Any) -> bool:
    """Whether an option is a number, or numbers."""
    values = value if isinstance(value, list | tuple) else [value]
    return bool(values) and all(isinstance(one, int | float) and not isinstance(one, bool) for one in values)


def _text(value: Any) -> str:
    return "-".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
