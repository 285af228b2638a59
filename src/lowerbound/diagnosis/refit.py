"""The command that fits the same data again with one thing changed: what a remedy is.

Every option that the run was begun with is kept. A change of the objective takes with it what only went with the old
one: its estimator of reparameterised draws and the number of samples, which then have the defaults of the new one.
"""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field

from lowerbound.runs import Run

__all__ = ["Refit"]

_DEFAULTS = {
    "prior": "standard-normal",
    "posterior": "diagonal-normal",
    "network": "mlp",
    "activation": "relu",
    "latent-dim": "16",
    "hidden": "256,256",
    "objective": "iwae",
    "loss": "variational",
    "binarization": "auto",
    "batch-size": "128",
    "lr": "0.002",
    "lr-schedule": "cosine",
    "seed": "0",
    "device": "auto",
    "precision": "fp32",
    "devices": "1",
}
_NOT_OPTIONS = ("recipe", "model", "standardize", "compile")
_OF_THE_OBJECTIVE = ("gradient", "num-samples", "loss")
_REPARAMETERISED = ("pathwise", "dreg", "stick-the-landing")


@dataclass(frozen=True, kw_only=True)
class Refit:
    """`lowerbound fit` of some data.

    Attributes:
        data: a name or a file.
        options: by the names of the command line, those that are not at their defaults.
        run: the folder of the run.

    >>> Refit(data="digits", options={"latent-dim": "8"})(prior="vamp-prior")
    'lowerbound fit digits --latent-dim 8 --prior vamp-prior'
    """

    data: str = "DATA"
    options: Mapping[str, str] = field(default_factory=dict)
    run: str = "RUN"

    @classmethod
    def of(cls, run: Run) -> Refit:
        """The fit of a run."""
        settings, data = run.settings.to_json(), run.config["data"]
        model = settings.pop("model")
        values = {k: v for k, v in settings.items() if k not in _NOT_OPTIONS}
        values |= model if settings["recipe"] == "vae" else {"recipe": _with_options(settings["recipe"], model)}
        if values["steps"] is not None:
            del values["epochs"]
        options = {name.replace("_", "-"): _text(value) for name, value in values.items() if value is not None}
        label = {"label": data["label"]} if data.get("label") else {}
        options = _without_defaults(options)
        kept = {name: text for name, text in options.items() if _DEFAULTS.get(name) != text}
        return cls(data=data.get("path") or data["name"], options={**label, **kept}, run=str(run.path))

    def __call__(self, **changes: str) -> str:
        """The command with some options changed, by their names with underscores."""
        options = dict(self.options)
        if "objective" in changes and options.get("gradient", "pathwise").partition(":")[0] in _REPARAMETERISED:
            options = {name: text for name, text in options.items() if name not in _OF_THE_OBJECTIVE}
        options |= {name.replace("_", "-"): text for name, text in changes.items()}
        words = [word for name, text in options.items() for word in (f"--{name}", text)]
        return shlex.join(["lowerbound", "fit", self.data, *words])

    def widths(self, factor: float) -> str:
        """The widths of the hidden layers times a factor."""
        hidden = self.options.get("hidden", _DEFAULTS["hidden"])
        return ",".join(str(max(1, round(int(width) * factor))) for width in hidden.split(","))


def _without_defaults(options: dict[str, str]) -> dict[str, str]:
    """Leave out the estimator that is the default of the objective, and with it the default number of samples."""
    gradient, num_samples = ("dreg", "8") if options["objective"] == "iwae" else ("pathwise", "1")
    if options["gradient"] != gradient:
        return options
    kept = {name: text for name, text in options.items() if name != "gradient"}
    return {name: text for name, text in kept.items() if name != "num-samples" or text != num_samples}


def _with_options(recipe: str, model: Mapping[str, object]) -> str:
    """The recipe with its options, as the command line takes them."""
    words = ",".join(f"{name}={value}".replace(" ", "") for name, value in model.items() if name != "num_classes")
    return f"{recipe}:{words}" if words else recipe


def _text(value: object) -> str:
    return ",".join(str(part) for part in value) if isinstance(value, list | tuple) else str(value)
