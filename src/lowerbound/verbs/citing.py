"""The works that a fitted model or a loss is made of: what to cite, and for what.

Every choice states its works (`cited`). A plan names the choices of the training; the modules of the model are asked
for those of its parts; a data set of the catalogue and the scores that were computed state theirs.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from html import escape

import torch
from torch import nn

from lowerbound import evaluate, optimizers, schedules
from lowerbound.cited import keys_of
from lowerbound.data.catalog import Entry, entry, names
from lowerbound.fitted import Fitted
from lowerbound.fitting.preparing import make_loss
from lowerbound.randomness import forked
from lowerbound.references import Work, work_of
from lowerbound.spelling import find, kebab, parse, singular

__all__ = ["Citations", "Part", "catalogue_entry", "cite"]

_NONE = "states no works; ask its authors"
_TORCH, _ZUKO = "paszke2019pytorch", "rozet2022zuko"
_OF_SCORES = {
    "log_evidence": evaluate.log_evidence,
    "pareto_k_above_07": evaluate.pareto_k,
    "active_units": evaluate.summary,
    "acceptance": evaluate.annealed_importance,
    "quality": evaluate.sample_quality,
}
_AXES = (
    "priors", "likelihoods", "missingness", "posteriors", "objectives", "gradients", "baselines", "penalties", "losses",
    "inference", "optimizers", "schedules", "nets",
)  # fmt: skip
_ROLES = ("prior", "likelihood", "missingness", "posterior", "objective", "gradient")
_SOME_ROWS = 1000  # for penalties that ask how many there are
_ENDS_HERE = ("lowerbound.objectives", "lowerbound.gradients")  # their parts are means, and no choices of the user


@dataclass(frozen=True)
class Part:
    """What has works: a choice, the data, the scores, the software.

    Attributes:
        what: the axis and the name, as in "prior vamp-prior".
        works: of it; a choice of another package may state none.
    """

    what: str
    works: tuple[Work, ...]


@dataclass(frozen=True)
class Citations:
    """What to cite, by part.

    Attributes:
        parts: each with its works, in the order of model, training, data, scores, software.
    """

    parts: tuple[Part, ...]

    @property
    def works(self) -> tuple[Work, ...]:
        """Every work once."""
        return tuple({work.key: work for part in self.parts for work in part.works}.values())

    @property
    def bibtex(self) -> str:
        """The entries, for a .bib file."""
        return "\n\n".join(work.bibtex for work in self.works)

    def of(self, what: str) -> str:
        """The works of a part in brackets, as in a text; empty where it has none."""
        labels = [work.label for part in self.parts if part.what == what for work in part.works]
        return f" ({'; '.join(labels)})" if labels else ""

    def __str__(self) -> str:
        """What each part cites, and every work once."""
        labels = [f"{part.what}: {'; '.join(w.label for w in part.works) or _NONE}" for part in self.parts]
        return "\n".join([*labels, "", *(work.text for work in self.works)])

    def _repr_html_(self) -> str:
        parts = "".join(
            f"<tr><th>{escape(part.what)}</th><td>{escape('; '.join(w.label for w in part.works) or _NONE)}</td></tr>"
            for part in self.parts
        )
        works = "".join(f"<li>{escape(work.text)}</li>" for work in self.works)
        return f"<table>{parts}</table><ul>{works}</ul>"


def cite(item: Fitted | nn.Module) -> Citations:
    """The works of a fitted model, or of a model or a loss that was built by hand.

    Raises:
        ValueError: a choice of another package that cites what is no BibTeX entry.

    >>> from lowerbound.models import vae
    >>> [work.key for work in cite(vae((6,), latent_dim=2, prior="vamp-prior", hidden=[4])).works]
    ['tomczak2018vae', 'kingma2014auto', 'paszke2019pytorch']
    """
    if isinstance(item, Fitted):
        model, parts = item.model, list(_of_fitted(item))
    else:
        model, parts = item, list(_of_modules(item))
    parts.append(_part("software torch", (_TORCH,)))
    if any(type(module).__module__.startswith("zuko.") for module in model.modules()):
        parts.append(_part("software zuko", (_ZUKO,)))
    merged: dict[str, dict[str, Work]] = {}
    for part in parts:
        merged.setdefault(part.what, {}).update({work.key: work for work in part.works})
    return Citations(tuple(Part(what, tuple(works.values())) for what, works in merged.items()))


def _of_fitted(fitted: Fitted) -> Iterator[Part]:
    """Model, training, data, scores."""
    plan, recipe, scores = fitted.plan, fitted.recipe, fitted.scores or {}
    if recipe is not None:
        yield _part(f"recipe {recipe.name}", recipe.cites)
    solved = plan is not None and not plan.steps  # by the method of its recipe, whatever parts hold the solution
    if not solved:
        yield from _of_modules(fitted.model)
    if plan is not None and plan.steps:
        with forked(torch.device("cpu"), plan.seed):
            yield from _of_modules(make_loss(plan, fitted.model, fitted.schema.event_shape, _SOME_ROWS))
        for package, text in ((optimizers, plan.optimizer), (schedules, plan.lr_schedule)):
            chosen = find(package, parse(text)[0])
            if keys_of(chosen):
                yield _part(_what(chosen), keys_of(chosen))
    known = catalogue_entry(fitted)
    if known is not None:
        yield _part(f"data {known.name}", known.cites)
    for score, function in _OF_SCORES.items():
        if scores.get(score) is not None and not (score == "log_evidence" and scores.get("exact")):
            yield _part(f"score {function.__name__.replace('_', '-')}", keys_of(function))


def catalogue_entry(fitted: Fitted) -> Entry | None:
    """The data set of the catalogue that it was fitted to, if it was to one."""
    stated = fitted.config.get("data")
    if stated is not None:
        return entry(stated["name"]) if stated.get("name") in names() else None
    if not fitted.has_data or fitted.dataset.name not in names():
        return None
    known = entry(fitted.dataset.name)
    return known if fitted.dataset.source.startswith(known.origin) else None


def _part(what: str, keys: tuple[str, ...]) -> Part:
    return Part(what, tuple(work_of(key) for key in keys))


def _of_modules(module: nn.Module) -> Iterator[Part]:
    """A module, what it holds besides modules, and its modules in turn."""
    yield from _of_choice(module)
    for value in vars(module).values():
        if not isinstance(value, nn.Module) and hasattr(type(value), "cites"):
            yield from _of_choice(value)
    for role in _ROLES:
        yield from _without_works(getattr(module, role, None))
    if not type(module).__module__.startswith(_ENDS_HERE):
        for child in module.children():
            yield from _of_modules(child)


def _of_choice(item: object) -> Iterator[Part]:
    """A choice with its baseline and its schedule, if it has them."""
    for one in (item, getattr(item, "baseline", None), getattr(item, "schedule", None)):
        if keys_of(one):
            yield _part(_what(type(one)), keys_of(one))


def _without_works(item: object) -> Iterator[Part]:
    """A choice of another package that states no works, so that it is not forgotten."""
    if item is not None and not keys_of(item) and not type(item).__module__.startswith("lowerbound."):
        yield Part(_what(type(item)), ())


def _what(cls: type) -> str:
    """The axis and the name of a class, "prior vamp-prior"; of a part that is no choice, its name."""
    package = cls.__module__.split(".")[1] if cls.__module__.startswith("lowerbound.") else ""
    return f"{singular(package)} {kebab(cls.__name__)}" if package in _AXES else kebab(cls.__name__)
