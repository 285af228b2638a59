"""The command that fits the same data again with one option changed: a remedy.

Every option of the run is kept. If the objective changes, options that belong to the old one are dropped (its estimator
and the number of samples), so that the defaults of the new objective apply. A change that changes nothing is no remedy:
a model that is solved has no objective to change, nor has a loss that takes none.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

from lowerbound import losses
from lowerbound.fitted import Fitted
from lowerbound.fitting.planning import Plan
from lowerbound.recipes import recipe_named
from lowerbound.spelling import outer, parse, spelled, takes

__all__ = ["Refit"]

_OF_THE_OBJECTIVE = ("gradient", "num-samples", "loss")
_TRAINING, _OTHER = ("objective", "gradient", "num_samples"), object()
_PARTS = ("prior", "likelihood", "posterior")
_REPARAMETERISED = ("pathwise", "dreg", "stick-the-landing")
_AS_OPTIONS = "vae"  # the recipe whose own options are options of the command


@dataclass(frozen=True, kw_only=True)
class Refit:
    """`lowerbound fit` of some data.

    Attributes:
        data: a name or a file.
        options: by the names of the command line, those that were given; "" for a flag.
        run: the folder of the run.
        model: the options of the model and their values, given or decided.
        training: the objective, its estimator and its samples, as they are; None where the fit takes no notice of it.

    >>> Refit(data="digits", options={"latent-dim": "8"})(prior="vamp-prior")
    'lowerbound fit digits --latent-dim 8 --prior vamp-prior'
    """

    data: str = "DATA"
    options: Mapping[str, str] = field(default_factory=dict)
    run: str = "RUN"
    model: Mapping[str, object] = field(default_factory=dict)
    training: Mapping[str, object] = field(default_factory=dict)

    @classmethod
    def of(cls, fitted: Fitted) -> Refit:
        """The fit of a model, with every option that the user gave and without those that were decided."""
        plan, data = fitted.plan, fitted.config.get("data") or {}
        if plan is None:
            return cls()
        options = dict(_words(name, value) for name, value in _given(plan).items())
        said = {name: data[name] for name in ("label", "kind", "array", "series", "time") if data.get(name)}
        if data.get("covariates"):
            said["covariates"] = ",".join(data["covariates"])
        if data.get("columns"):
            said["columns"] = ",".join(f"{name}={kind}" for name, kind in data["columns"].items())
        name = data.get("path") or data.get("name") or "DATA"
        return cls(
            data=str(name),
            options={**said, **options},
            run=str(fitted.folder or "RUN"),
            model=plan.model,
            training=_training(plan),
        )

    def __call__(self, **changes: str) -> str | None:
        """The command with some options changed, by their names with underscores; None if nothing would change.

        What is an option of the run's recipe is changed there; a part that the recipe has no choice of is left, and the
        layers are made wider in its place.
        """
        if changes and all(self.training.get(name, _OTHER) in (None, text) for name, text in changes.items()):
            return None
        name, own = parse(self.options.get("recipe", ""))
        of_recipe = recipe_named(name).options if name else ()
        if any(part in changes and part not in of_recipe for part in _PARTS) and name:
            return self.widened(2)
        options = dict(self.options)
        if inner := {part: changes.pop(part) for part in list(changes) if part in of_recipe}:
            options["recipe"] = spelled(name, {**own, **inner})
        if "objective" in changes and options.get("gradient", "pathwise").partition(":")[0] in _REPARAMETERISED:
            options = {name: text for name, text in options.items() if name not in _OF_THE_OBJECTIVE}
        options |= {name.replace("_", "-"): text for name, text in changes.items()}
        words = [word for name, text in options.items() for word in (f"--{name}", text) if word]
        return shlex.join(["lowerbound", "fit", self.data, *words])

    def widened(self, factor: float) -> str | None:
        """The command with hidden layers a factor as wide; that of an autoencoder, of a recipe without layers."""
        name, own = parse(self.options.get("recipe", ""))
        defaults = recipe_named(name).option_defaults if name else {}
        if name and not {"width", "hidden"} & defaults.keys():
            return self(recipe=_AS_OPTIONS)
        if "width" in defaults:  # of a recipe whose layers have one width
            width = max(1, round(own.get("width", defaults["width"]) * factor))
            return self(recipe=spelled(name, {**own, "width": width}))
        widths = self.model.get("hidden") or (256, 256)
        hidden = _scaled(cast(Sequence[Any], widths), factor)
        if "hidden" in defaults:
            return self(recipe=spelled(name, {**own, "hidden": hidden}))
        return self(hidden=",".join(map(str, hidden)))

    def chosen(self, part: str) -> str:
        """The words of a part of the model, given or decided; "" if it is not known."""
        return self.options.get(part) or str(self.model.get(part, ""))


def _training(plan: Plan) -> dict[str, object]:
    """The settings of training that a remedy may name."""
    used = {name for name in _TRAINING if plan.steps and takes(losses, plan.loss, name)}
    return {name: str(getattr(plan, name)).removesuffix(":rate=kl") if name in used else None for name in _TRAINING}


def _scaled(widths: Sequence[Any], factor: float) -> list[Any]:
    """Every width times a factor, in lists of layers of lists too."""
    return [max(1, round(w * factor)) if isinstance(w, int) else _scaled(w, factor) for w in widths]


def _given(plan: Plan) -> dict[str, object]:
    """The options that the user gave, by their names in the command."""
    given = {name: value for name, value in plan.given.items() if name not in plan.model and name != "freeze"}
    model = {name: value for name, value in plan.given.items() if name in plan.model}
    if plan.recipe == _AS_OPTIONS:
        given |= model
    else:
        parts = {name: outer(value) for name, value in model.items() if name in _PARTS and isinstance(value, str)}
        given["recipe"] = spelled(plan.recipe, {**model, **parts})
    return {name.replace("_", "-"): value for name, value in given.items() if value is not None}


def _words(name: str, value: object) -> tuple[str, str]:
    """The name of an option and its value; a flag is its name alone."""
    if isinstance(value, bool):
        return (name if value else f"no-{name}"), ""
    return name, _text(value)


def _text(value: object) -> str:
    return ",".join(str(part) for part in value) if isinstance(value, list | tuple) else str(value)
