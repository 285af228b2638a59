"""The language model of the same net as a baseline: what p(x | z) reaches without z.

A sentence VAE whose latent is unused equals it, and one that is trained badly is below it, so that scores of such a
model mean little without it. It is fitted as the model was, with the same net, data, steps and seed, and kept in the
folder of the run, if there is one.
"""

from __future__ import annotations

from collections.abc import Callable

from lowerbound.fitted import Fitted
from lowerbound.one_call import fit_dataset
from lowerbound.recipes import recipe_named
from lowerbound.record import Record

__all__ = ["language_model_of"]

_FOLDER, _RECIPE = "language-model", "language-model"
_OF_TRAINING = ("steps", "batch_size", "lr", "lr_schedule", "optimizer", "accumulate", "ema", "clip_norm", "patience")
_OF_THE_MACHINE = ("seed", "device", "precision", "devices", "compile")


def language_model_of(
    fitted: Fitted, *, fit: bool = False, on_record: Callable[[Record], None] | None = None
) -> Fitted | None:
    """The language model of the net of a model of text.

    Arguments:
        fitted: the model.
        fit: whether to fit it if the run's folder has none.
        on_record: called with each record of its training.

    Returns:
        None if there is none, and `fit` is false.

    Raises:
        ValueError: it is to be fitted for a model that was built by hand, is of something else, or is one itself.
    """
    kept = None if fitted.folder is None else fitted.folder / _FOLDER
    if kept is not None and (kept / "model.safetensors").exists():
        return Fitted.open(kept)
    if not fit:
        return None
    plan = fitted.plan
    if plan is None or not fitted.schema.is_written or plan.recipe == _RECIPE:
        raise ValueError(
            f"{fitted.called} has no language model of the same net to compare with; that is for texts and molecules."
        )
    options = {name: value for name, value in plan.model.items() if name in recipe_named(_RECIPE).options}
    settings = {name: getattr(plan, name) for name in (*_OF_TRAINING, *_OF_THE_MACHINE)}
    found = fit_dataset(fitted.dataset, _RECIPE, on_record=on_record, **options, **settings)
    if kept is not None:
        found.save(kept)
    return found
