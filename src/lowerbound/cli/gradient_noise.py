"""Comparing gradient estimators on one batch of a run, and the table of the comparison."""

from __future__ import annotations

import copy
import dataclasses
import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import click
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn
from torch.distributions import Distribution

from lowerbound import gradients as estimators
from lowerbound import objectives
from lowerbound.cli.progress import CountProgress
from lowerbound.diagnosis.of_fitted import as_at_the_end, rows_of
from lowerbound.evaluate import GradientStatistics, gradient_statistics
from lowerbound.evaluate.batches import context_rows
from lowerbound.fitted import Fitted
from lowerbound.fitting.preparing import given_to_choices, make_gradient
from lowerbound.limits import MOST_SAMPLES, require_at_most
from lowerbound.losses import VariationalLoss
from lowerbound.protocols import Context, Gradient
from lowerbound.runs import Run
from lowerbound.spelling import choices, construct
from lowerbound.verbs.scoring import device_for

__all__ = ["Comparison", "Measured", "compare", "print_comparison", "to_json"]


@dataclass(frozen=True, kw_only=True)
class Measured:
    """One estimator on the batch.

    Attributes:
        name: its words on the command line.
        kind: exact, unbiased or biased.
        trained: whether its own parameters, if it has any, have their values from training.
        milliseconds: of one gradient.
        groups: the statistics of each group of parameters.
    """

    name: str
    kind: str
    trained: bool
    milliseconds: float
    groups: dict[str, GradientStatistics]


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """The measurements, and their conditions.

    Attributes:
        objective: its words.
        num_data: rows of the batch.
        num_samples: latents per datum.
        num_repeats: gradients of each estimator.
        measured: the run's own estimator first.
        left_out: a sentence for each estimator that goes with the run but not with this number of samples.
    """

    objective: str
    num_data: int
    num_samples: int
    num_repeats: int
    measured: list[Measured]
    left_out: list[str]


def compare(
    run: Run,
    fitted: Fitted,
    console: Console | None,
    *,
    names: Sequence[str] = (),
    num_samples: int | None = None,
    num_repeats: int = 64,
    batch_size: int | None = None,
    seed: int = 0,
) -> Comparison:
    """Measure the run's own estimator, and others.

    Arguments:
        run: a finished run of the variational loss.
        fitted: its model.
        console: where to show progress; None shows none.
        names: the others; none given takes every exact or unbiased estimator that goes with the run.
        num_samples: latents per datum; None as in training.
        num_repeats: gradients of each.
        batch_size: rows; None as in training.
        seed: of the draws.

    Raises:
        ValueError: a run without an estimator to compare, an unknown name, or a named estimator that does not go with
            the run.
    """
    plan = run.plan
    if plan.loss != "variational":
        raise click.UsageError(
            f"{run.path} was fitted by the {plan.loss} loss, which takes no gradient estimator to compare."
        )
    unlabelled = fitted.recipe is None or fitted.recipe.labels in ("unused", "optional covariates")
    if unlabelled and not fitted.model.prior(None).event_shape.numel():
        raise click.UsageError(f"{run.path} has no latents, and so no gradients whose noise could be compared.")
    count, dataset = plan.num_samples if num_samples is None else num_samples, fitted.dataset
    require_at_most("gradients", MOST_SAMPLES, num_samples=count)
    device = device_for(fitted)
    x, context = rows_of(fitted, fitted.test_rows(), slice(batch_size or plan.batch_size), seed)
    x, context = x.to(device), None if context is None else context.to(device)
    if not fitted.model.to(device).joint(x[:2], context_rows(context, slice(2))).prior.event_shape.numel():
        raise click.UsageError(f"{run.path} has no latents, and so no gradients whose noise could be compared.")
    given = given_to_choices(plan, fitted.model, fitted.schema.event_shape, dataset.num_train)
    own = _own_loss(run, fitted, given, count).to(x.device)
    losses, left_out = {plan.gradient: own}, []
    for words in names or _every(own, given, x, context):
        loss = VariationalLoss(own.model, own.objective, make_gradient(words, given), count).to(x.device)
        refusal = None if names else _refusal(loss, x[:2], context_rows(context, slice(2)))
        if refusal is None:
            losses.setdefault(words, loss)
        else:
            left_out.append(f"{words} is left out: {refusal}")
    measured = []
    with CountProgress(console, "Repeating gradients") as progress:
        for words, loss in losses.items():
            progress(len(measured), len(losses))
            measured.append(_measure(words, loss, (x, context), num_repeats, seed, trained=loss is own))
    return Comparison(
        objective=plan.objective,
        num_data=len(x),
        num_samples=count,
        num_repeats=num_repeats,
        measured=measured,
        left_out=left_out,
    )


def to_json(comparison: Comparison) -> dict[str, Any]:
    """Plain values; null for numbers that are infinite or not defined."""
    content = dataclasses.asdict(comparison)
    measured = content.pop("measured")
    found = {entry.pop("name"): entry for entry in measured}
    return {**content, "estimators": _plain(found)}


def print_comparison(console: Console, comparison: Comparison) -> None:
    """The table: a block for each group of parameters, the run's own estimator first."""
    title = (
        f"Gradients of {comparison.objective}: {comparison.num_repeats} of a batch of {comparison.num_data} test rows, "
        f"{comparison.num_samples} {'sample' if comparison.num_samples == 1 else 'samples'} per row"
    )
    table = Table(title=title, title_justify="left", pad_edge=False)
    for heading in ("parameters of", "estimator"):
        table.add_column(heading)
    for heading in ("‖mean‖", "variance", "SNR", "± s.e.", "cosine", "± s.e.", "ms"):
        table.add_column(heading, justify="right")
    for group in comparison.measured[0].groups:
        for i, entry in enumerate(comparison.measured):
            table.add_row(
                group if i == 0 else "", _label(entry), *_cells(entry.groups[group]), f"{entry.milliseconds:.1f}"
            )
        table.add_section()
    console.print(table)
    if not all(entry.trained for entry in comparison.measured):
        console.print("*: with parameters of its own (a baseline, a control variate), here as before any training.")
    for sentence in comparison.left_out:
        console.print(sentence)


def _own_loss(run: Run, fitted: Fitted, given: dict[str, Any], num_samples: int) -> VariationalLoss:
    """The loss of the run at the end of training: the best weights, and the last values of its own learned or annealed
    parameters.
    """
    objective = construct(objectives, run.plan.objective, **given)
    loss = VariationalLoss(fitted.model, objective, make_gradient(run.plan.gradient, given), num_samples)
    return as_at_the_end(fitted, loss)  # type: ignore[return-value]


def _every(own: VariationalLoss, given: dict[str, Any], x: Tensor, context: Tensor | None) -> Iterator[str]:
    """The names of all exact and unbiased estimators that `check` lets through."""
    q = own.model.infer(x[:2], context_rows(context, slice(2)))
    for name in choices(estimators):
        gradient = make_gradient(name, given)
        if gradient.kind != "biased" and _accepts(gradient, own, q):
            yield name


def _accepts(gradient: Gradient, own: VariationalLoss, q: Distribution) -> bool:
    try:
        gradient.check(own.objective, q, 2)  # too few samples are told apart, by `_refusal`
    except ValueError:
        return False
    return True


def _refusal(loss: VariationalLoss, x: Tensor, context: Context | None) -> str | None:
    """Why an estimator cannot work with this number of samples, or None."""
    try:
        copy.deepcopy(loss)(x, context)
    except ValueError as error:
        return str(error)
    return None


def _measure(
    words: str,
    loss: VariationalLoss,
    batch: tuple[Tensor, Tensor | None],
    num_repeats: int,
    seed: int,
    *,
    trained: bool,
) -> Measured:
    start = time.perf_counter()
    groups = gradient_statistics(
        loss.model,
        loss.objective,
        loss.gradient,
        batch[0],
        num_samples=loss.num_samples,
        num_repeats=num_repeats,
        context=batch[1],
        seed=seed,
    )
    milliseconds = 1e3 * (time.perf_counter() - start) / num_repeats
    learns = isinstance(loss.gradient, nn.Module) and any(True for _ in loss.gradient.parameters())
    return Measured(
        name=words, kind=loss.gradient.kind, trained=trained or not learns, milliseconds=milliseconds, groups=groups
    )


def _label(entry: Measured) -> str:
    return f"{entry.name}{'' if entry.trained else '*'}{' (biased)' if entry.kind == 'biased' else ''}"


def _cells(found: GradientStatistics) -> tuple[str, ...]:
    ratios = (found.snr.value, found.snr.standard_error, found.cosine.value, found.cosine.standard_error)
    return f"{found.norm.value:.3g}", f"{found.variance.value:.3g}", *map(_number, ratios)


def _number(value: float) -> str:
    if math.isnan(value):
        return "–"
    return "∞" if math.isinf(value) else f"{value:.3f}"


def _plain(value: Any) -> Any:
    """The same with null for infinities and NaN, which JSON does not have."""
    if isinstance(value, dict):
        return {key: _plain(entry) for key, entry in value.items()}
    return None if isinstance(value, float) and not math.isfinite(value) else value
