"""A few lines for the terminal: the data, the model, and what was decided."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import nn

    from lowerbound.data import Dataset
    from lowerbound.fitting.planning import Plan

__all__ = ["fit_sentences", "transform_words"]

_LONGEST, _SHOWN = 80, 8
_BINARIZED = {
    "dynamic": "made 0 or 1 at random with that probability, anew at every visit",
    "threshold": "made 0 or 1 at the threshold 1/2",
    "none": "not binarized",
}


def fit_sentences(dataset: Dataset, transform: nn.Module, plan: Plan, model: nn.Module) -> list[str]:
    """The data, the kinds of their columns, the model, and the reasons of what was decided."""
    from lowerbound import losses
    from lowerbound.spelling import find, parse

    lines = [_data(dataset, plan, transform), *dataset.kind_of_data.describe(dataset.schema)]
    lines += [*dataset.notes, *dataset.remarks]
    lines.append(_model(plan, model))
    gaps = getattr(getattr(model, "likelihood", None), "missingness", None)
    if gaps is not None:
        lines.append(f"Gaps: {gaps.sentence}.")
    if plan.steps and find(losses, parse(plan.loss)[0]).criterion == "sample_score":
        lines.append(
            f"The {plan.loss.partition(':')[0]} loss has no bound of log p(x): held-out rows choose the weights by "
            "minus the energy distance of samples to them."
        )
    if _estimates(plan):
        lines.append(
            f"The {plan.gradient.partition(':')[0]} estimator estimates the rate: training shows no bound of log p(x), "
            "and the weights of the last step are kept."
        )
    decided = "; ".join(
        f"{name.replace('_', '-')} {_setting(plan, name)}: {reason}" for name, reason in plan.reasons.items()
    )
    return [*lines, f"Decided: {decided}."] if decided else lines


def _estimates(plan: Plan) -> bool:
    """Whether training has an estimate in place of a bound."""
    from lowerbound import gradients
    from lowerbound.protocols import EstimatesRate
    from lowerbound.spelling import find, parse

    return bool(plan.steps) and isinstance(find(gradients, parse(plan.gradient)[0]), EstimatesRate)


def _setting(plan: Plan, name: str) -> str:
    """A setting of the plan or an option of its recipe, as words of a limited length."""
    return _text(plan.model[name] if name in plan.model else getattr(plan, name))


def _data(dataset: Dataset, plan: Plan, transform: nn.Module) -> str:
    """How much data of which shape, and how it was scaled or binarized."""
    from lowerbound.data.split import num_for_selection

    shape = " x ".join(str(n) for n in dataset.event_shape)
    columns = "column" if shape == "1" else "columns"
    is_flat = len(dataset.event_shape) == 1
    things = f"rows of {shape} {columns}" if is_flat else f"{dataset.schema.rows_called} of {shape}"
    things = things if not dataset.schema.is_written else "texts" if dataset.schema.text else "molecules"
    use = "watch training by" if _estimates(plan) else "choose the weights"
    chosen = f" ({num_for_selection(dataset.num_train):,} of them to {use})" if plan.steps else ""
    return (
        f"Data: {dataset.name}, {dataset.num_train:,} {things} to train on{chosen} "
        f"and {dataset.num_test:,} to test on; {transform_words(transform, dataset.schema.column_names or ())}."
    )


def transform_words(transform: nn.Module, columns: Sequence[str] = ()) -> str:
    """What happens to a stored row before the likelihood scores it; `columns` are the names of its columns."""
    from lowerbound.data import Pixels, Standardize

    if isinstance(transform, Pixels):
        scaled = "as stored, in [0, 1]" if transform.scale is None else f"divided by {transform.scale:g}"
        return f"pixels {scaled}, {_BINARIZED[transform.binarization]}"
    if isinstance(transform, Standardize) and transform.logs is None and transform.keeps_units:
        rescaled = (transform.scale != 1).expand(len(columns)).tolist() if columns else []
        divided = f", {_names(rescaled, columns)} divided by a power of two" if any(rescaled) else ""
        return f"columns far from zero moved to their mean for the model{divided}, the others as stored"
    if isinstance(transform, Standardize):
        units = "densities are in the units of the columns"
        taken = "" if transform.logs is None else "after the logarithm of " + _names(transform.logs.tolist(), columns)
        if bool((transform.scale == 1).all()):
            return f"columns as they are for the model, {taken}; {units}"
        return f"columns standardised over the training rows for the model{taken and ', '}{taken}; {units}"
    return "values as stored"


def _names(taken: list[bool], columns: Sequence[str]) -> str:
    names = [name for name, logarithm in zip(columns, taken, strict=True) if logarithm]
    return f"{', '.join(names[:_SHOWN])}{', …' if len(names) > _SHOWN else ''}"


def _model(plan: Plan, model: nn.Module) -> str:
    """The recipe with its options, the objective, and the number of parameters."""
    from lowerbound import losses
    from lowerbound.spelling import takes

    count = sum(p.numel() for p in model.parameters() if p.requires_grad)
    known = {name: value for name, value in plan.model.items() if value is not None and name != "fragments"}
    words = ", ".join(f"{name.replace('_', '-')} {_text(value)}" for name, value in known.items())
    if plan.steps == 0 and set(plan.model) - set(known) - {"columns"}:
        chosen = f"{words}, " if words else ""
        return f"Model: {plan.recipe}, {chosen}its sizes chosen by the fit; solved without gradient steps."
    samples = "1 sample" if plan.num_samples == 1 else f"{plan.num_samples} samples"
    by = f"{plan.gradient} gradients" if takes(losses, plan.loss, "gradient") else f"{plan.loss} loss"
    training = (
        f"{plan.objective} with {samples}, {by}, {plan.steps:,} steps"
        if plan.steps
        else "solved without gradient steps"
    )
    return f"Model: {plan.recipe} ({count:,} parameters), {words}; {training}."


def _text(value: object) -> str:
    if isinstance(value, list | tuple):
        return (", " if value and isinstance(value[0], str) else "-").join(_text(part) for part in value)
    if isinstance(value, str) and len(value) > _LONGEST:
        return f"{value[: _LONGEST - 3]}..."
    return value if isinstance(value, str) else str(value) if isinstance(value, int | float) else type(value).__name__
