"""The language model of the same net as a baseline: what p(x | z) reaches without z.

A sentence VAE whose latent is unused equals it, and one that is trained badly is below it, so that scores of such a
model mean little without it. It is fitted as the model was, with the same net, data, steps and seed, and kept in the
folder of the run, if there is one.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path

from lowerbound.fitted import Fitted
from lowerbound.one_call import fit_dataset
from lowerbound.recipes import recipe_named
from lowerbound.runs.folders import LANGUAGE_MODEL, run_files
from lowerbound.training.record import Record
from lowerbound.warned import LowerboundWarning

__all__ = ["BaselineWarning", "language_model_of"]

_RECIPE = "language-model"
_OF_TRAINING = (
    "steps", "batch_size", "lr", "lr_schedule", "optimizer", "accumulate", "ema", "clip_norm", "skip_above", "patience",
)  # fmt: skip
_OF_THE_MACHINE = ("seed", "device", "precision", "devices", "strategy", "compile")


class BaselineWarning(LowerboundWarning):
    """A baseline is left out of the scores."""


def language_model_of(
    fitted: Fitted, *, fit: bool = False, on_record: Callable[[Record], None] | None = None
) -> Fitted | None:
    """The language model of the net of a model of text.

    Arguments:
        fitted: the model.
        fit: whether to fit it if the run's folder has none, or one that was not written to its end.
        on_record: called with each record of its training.

    Returns:
        None if there is none, and `fit` is false.

    Raises:
        ValueError: it is to be fitted for a model that was built by hand, is of something else, or is one itself; or
            the run's folder holds another run in its place.

    Warns:
        BaselineWarning: the run's folder has one that was not written to its end, and `fit` is false.
    """
    kept = None if fitted.folder is None else fitted.folder / LANGUAGE_MODEL
    if kept is not None and (kept / "model.safetensors").exists():
        return _opened(kept, fitted)
    if not fit:
        if kept is not None and (kept / "run.json").exists():
            warnings.warn(
                f"{kept} was not written to its end, and the baseline is left out; evaluate with --language-model "
                "(language_model=True) to fit it again.",
                BaselineWarning,
                stacklevel=2,
            )
        return None
    plan = fitted.plan
    if plan is None or not fitted.schema.is_written or plan.recipe == _RECIPE:
        raise ValueError(
            f"{fitted.called} has no language model of the same net to compare with; that is for texts and molecules."
        )
    options = {name: value for name, value in plan.model.items() if name in recipe_named(_RECIPE).options}
    settings = {name: getattr(plan, name) for name in (*_OF_TRAINING, *_OF_THE_MACHINE)}
    if kept is not None:
        _require_place(kept)
    found = fit_dataset(fitted.dataset, _RECIPE, on_record=on_record, **options, **settings)
    if kept is not None:
        (kept / "run.json").unlink(missing_ok=True)
        found.save(kept)
    return found


def _opened(kept: Path, fitted: Fitted) -> Fitted:
    """The language model of a folder.

    Raises:
        ValueError: it is another run.
    """
    found = Fitted.open(kept)
    if found.plan is None or found.plan.recipe != _RECIPE or found.schema.text != fitted.schema.text:
        raise ValueError(f"{kept} holds another run than the language model of its net; move it to another place.")
    return found


def _require_place(kept: Path) -> None:
    """Refuse to write over a run that somebody trains there.

    Raises:
        ValueError: naming what the folder holds besides the run.json of a save that was cut short.
    """
    taken = [name for name in run_files() if name != "run.json" and (kept / name).exists()]
    if taken:
        raise ValueError(f"{kept} holds a run that is not finished ({', '.join(taken)}); move it to another place.")
