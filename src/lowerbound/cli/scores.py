"""Scoring a run on its test rows, and the table of the scores."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table

from lowerbound.cli.progress import CountProgress

if TYPE_CHECKING:
    import torch

    from lowerbound.cli.rows import Rows
    from lowerbound.runs import Run

__all__ = ["device_for", "print_scores", "score_run"]

_FEWEST_FOR_TAILS, _MANY = 100, 0.1


def score_run(run: Run, console: Console | None, *, num_samples: int, rows: Rows | None = None) -> dict[str, Any]:
    """Score the rows given, or the run's own test rows.

    Arguments:
        run: a finished run.
        console: where to show progress; None shows none.
        num_samples: importance samples per datum.
        rows: stored rows; None takes the run's own.
    """
    from lowerbound.cli.rows import held_out_rows
    from lowerbound.recipes import recipe_named
    from lowerbound.scoring import rows_for_baselines, score

    model, transform, device = run.load_model(), run.load_transform(), device_for(run)
    dataset = run.dataset()
    rows = held_out_rows(run, None, None) if rows is None else rows
    x_test, context = run.transformed(rows.x, run.settings.seed), run.context(rows.y, rows.name)
    with CountProgress(console, "Scoring held-out data") as progress:
        return score(
            model.to(device),
            x_test.to(device),
            x_train=rows_for_baselines(dataset, transform).to(device),
            likelihood=run.settings.likelihood,
            context=None if context is None else context.to(device),
            labels=rows.y if recipe_named(run.settings.recipe).assigns else None,
            num_samples=num_samples,
            seed=run.settings.seed,
            progress=progress,
        )


def device_for(run: Run) -> torch.device:
    """A CUDA device where there is one, unless the run asked for the CPU."""
    import torch

    return torch.device("cuda" if torch.cuda.is_available() and run.settings.device != "cpu" else "cpu")


def print_scores(console: Console, scores: dict[str, Any], name: str) -> None:
    """The table: the model, then the baselines on the same rows."""
    discrete = scores["bits_per_dim"] is not None
    table = Table(title=f"Held-out data: {scores['num_data']:,} rows of {name}", title_justify="left", pad_edge=False)
    table.add_column("")
    for heading in ("nats", "± s.e.", *(["bits/dim"] if discrete else []), "L above it"):
        table.add_column(heading, justify="right")
    for row in _rows(scores):
        table.add_row(*(cell for i, cell in enumerate(row) if discrete or i != 3))
    console.print(table)
    console.print(f"Active latents: {scores['active_units']} of {scores['latent_dim']}.")
    if "accuracy" in scores:
        console.print(
            f"The most probable label is right for {scores['accuracy']:.1%} ± {scores['accuracy_standard_error']:.1%}."
        )
    if "clustering_accuracy" in scores:
        console.print(
            f"Clusters against labels, which training did not see: accuracy {scores['clustering_accuracy']:.1%}, "
            f"normalised mutual information {scores['normalized_mutual_information']:.2f}."
        )
    components = scores.get("components")
    if components is not None:
        used = f"{components['number'] - components['unused']} of {components['number']}"
        console.print(f"Components of the prior in use: {used} ({components['effective']:.0f} if used alike).")
    unreliable = scores["pareto_k_above_07"]
    if scores["num_samples"] >= _FEWEST_FOR_TAILS and unreliable > _MANY:
        console.print(
            f"For {unreliable:.0%} of the rows the importance weights are heavy-tailed (Pareto k above 0.7): "
            "there L is an estimate from below that more samples may still raise."
        )
    if not discrete:
        console.print(
            "These are densities or expectations on the transformed scale, not probabilities of discrete data."
        )


def _rows(scores: dict[str, Any]) -> list[tuple[str, ...]]:
    bits_per_nat = 1 / (scores["num_dimensions"] * math.log(2))
    evidence = f"L ({scores['num_samples']:,} samples) ≤ log p(x)"
    rows = [
        (evidence, *_cells(scores["log_evidence"], scores["log_evidence_standard_error"], bits_per_nat), ""),
        ("ELBO", *_cells(scores["elbo"], scores["elbo_standard_error"], bits_per_nat), ""),
        ("  rate", *_cells(scores["rate"]), ""),
        ("  distortion", *_cells(scores["distortion"]), ""),
    ]
    for name, baseline in scores["baselines"].items():
        margin = f"{baseline['margin']:+.2f} ± {_number(baseline['margin_standard_error'])}"
        rows.append((name, *_cells(baseline["log_likelihood"], baseline["standard_error"], bits_per_nat), margin))
    return rows


def _cells(nats: float, error: float | None = None, bits_per_nat: float | None = None) -> tuple[str, str, str]:
    bits = "" if bits_per_nat is None else f"{-nats * bits_per_nat:.3f}"
    return f"{nats:.2f}", _number(error), bits


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"
