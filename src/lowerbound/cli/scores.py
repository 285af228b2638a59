"""Scoring a run on its test rows, and the table of the scores."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table

from lowerbound.cli.failures import command
from lowerbound.cli.integration import print_integration
from lowerbound.cli.progress import CountProgress
from lowerbound.cli.text import printable
from lowerbound.fitting.defaults import as_ordinal, next_to_try
from lowerbound.verbs.evidence_name import OF_GAPS, evidence_name
from lowerbound.verbs.scoring import known_data

if TYPE_CHECKING:
    from lowerbound.fitted import Fitted

__all__ = ["fit_language_model", "print_scores", "score_fitted"]

_FEWEST_FOR_TAILS, _MANY = 100, 0.1
_QUALITY = ("precision", "recall", "density", "coverage")


def score_fitted(fitted: Fitted, console: Console | None, **options: Any) -> dict[str, Any]:
    """`Fitted.evaluate` with its progress shown; options of `scoring.score_fitted`."""
    with CountProgress(console, "Scoring rows") as progress:
        return fitted.evaluate(progress=progress, **options)


def fit_language_model(fitted: Fitted, console: Console | None) -> None:
    """Fit the language model of the net of a model of text, and keep it in its folder, with the progress shown."""
    from lowerbound.cli.progress import TrainingProgress
    from lowerbound.verbs.language_baseline import language_model_of

    steps = 0 if fitted.plan is None else fitted.plan.steps
    with TrainingProgress(console, steps) as progress:
        language_model_of(fitted, fit=True, on_record=progress.update)


def print_scores(console: Console, scores: dict[str, Any], fitted: Fitted) -> None:
    """The table: the model, then the baselines on the same rows; and what to try if it is below one of them."""
    name = scores["data"]
    discrete = scores["bits_per_dim"] is not None
    title = printable(f"Scores of {scores['num_data']:,} rows of {name}")
    table = Table(title=title, title_justify="left", pad_edge=False)
    table.add_column("")
    for heading in ("nats", "± s.e.", *(["bits/dim"] if discrete else []), "L above it"):
        table.add_column(heading, justify="right")
    for row in _rows(scores):
        table.add_row(*(cell for i, cell in enumerate(row) if discrete or i != 3))
    console.print(table)
    if scores.get("of_gaps"):
        console.print(OF_GAPS)
    if "perplexity" in scores:
        tokens = f"{scores['num_tokens']:,} {'words' if 'topics' in scores else 'tokens, the ends of texts among them'}"
        console.print(f"Perplexity {scores['perplexity']:.2f} a token, over {tokens}.")
    console.print(_of_latents(scores))
    if "fewer_samples" in scores:
        console.print(f"L is of {scores['fewer_samples']}")
    if "pictures" in scores:
        console.print(_of_pictures(scores["pictures"]))
    if "topics" in scores:
        _print_topics(console, scores)
    _print_agreement(console, scores)
    components = scores.get("components")
    if components is not None:
        used = f"{components['number'] - components['unused']} of {components['number']}"
        console.print(f"Components of the prior in use: {used} ({components['effective']:.0f} if used alike).")
    if "integration" in scores:
        print_integration(console, scores["integration"])
    if scores.get("quality") is not None:
        _print_quality(console, scores["quality"])
    unreliable = scores.get("pareto_k_above_07") or 0.0  # None below 21 samples
    if scores["num_samples"] >= _FEWEST_FOR_TAILS and unreliable > _MANY:
        console.print(
            f"For {unreliable:.0%} of the rows the importance weights are heavy-tailed (Pareto k above 0.7): "
            "there L may be too low, and more samples may raise it."
        )
    if not discrete and "perplexity" not in scores:
        console.print("These are densities or expectations, not probabilities of discrete data.")
    if known_data(fitted) is None:
        console.print("The rows of the fit are not with the run, so that no baseline was fitted to them.")
    for name, reason in scores.get("baselines_left_out", {}).items():
        console.print(f"No baseline {name}: {reason}.", markup=False)
    loser = _best_above(scores)
    if loser is not None:
        console.print(f"The model is below a baseline, {loser}; {_advice(fitted)}", markup=False)


def _of_latents(scores: dict[str, Any]) -> str:
    """How the chains went, or how many latents or codes are in use."""
    if "acceptance" in scores:
        return _of_chains(scores)
    codes = scores.get("codes")
    if codes is None:
        return f"Active latents: {scores['active_units']} of {scores['latent_dim']}."
    used = f"{codes['used']:,} of {codes['number']:,}"
    return f"Codes in use by these rows: {used} ({codes['effective']:.0f} if used alike)."


def _print_agreement(console: Console, scores: dict[str, Any]) -> None:
    """Of classes, or of clusters, with labels."""
    if "accuracy" in scores:
        error = scores["accuracy_standard_error"]
        within = "" if error is None else f" ± {error:.1%}"
        console.print(f"The most probable label is right for {scores['accuracy']:.1%}{within}.")
    if "clustering_accuracy" in scores:
        console.print(
            f"Clusters against labels, which training did not see: accuracy {scores['clustering_accuracy']:.1%}, "
            f"normalised mutual information {scores['normalized_mutual_information']:.2f}."
        )


def _of_pictures(found: dict[str, Any]) -> str:
    """The point of the front where a rate–distortion autoencoder is."""
    near = "" if found["ms_ssim"] is None else f", MS-SSIM {found['ms_ssim']:.4f}"
    ratio = "without any error" if found["psnr"] is None else f"PSNR {found['psnr']:.2f} dB"
    return f"Codes of pictures: {found['bits_per_pixel']:.4f} bits per pixel, {ratio}{near}."


def _print_topics(console: Console, scores: dict[str, Any]) -> None:
    """The words of each topic, after the coherence of their pairs in training texts."""
    console.print(f"Topics, by their first words and the coherence of these (NPMI, mean {scores['coherence']:.3f}):")
    for i, topic in enumerate(scores["topics"]):
        words = printable(" ".join(topic["words"]))
        console.print(f"  {i:>3}  {topic['coherence']:+.2f}  {words}", markup=False, highlight=False)


def _advice(fitted: Fitted) -> str:
    """What to try next."""
    if fitted.plan is None or known_data(fitted) is None:
        return "docs/choose.md says what to try."
    other = next_to_try(fitted.dataset, fitted.plan.recipe)
    data = (fitted.config or {}).get("data", {})
    ordinal, again = as_ordinal(fitted.dataset), ["fit", data.get("path", fitted.dataset.name)]
    for name in ("label", "kind", "array", "series", "time"):
        again += [f"--{name}", data[name]] if data.get(name) else []
    kinds = {**(data.get("columns") or {}), **ordinal}
    again += ["--columns", ",".join(f"{name}={kind}" for name, kind in kinds.items())] if kinds else []
    if ordinal:
        return f"a density cannot hold columns on few values: try `{command(*again)}`."
    if other is not None:
        return f"try `{command(*again, '--recipe', other)}`."
    if fitted.plan.steps:
        return f"train longer: `{command(*again, '--steps', 4 * fitted.plan.steps)}`, with what you said before."
    return 'docs/choose.md says what to try, under "If a fit is below a baseline".'


def _print_quality(console: Console, found: dict[str, Any]) -> None:
    if "random_fragments" in found:
        _print_molecules(console, found)
        return
    parts = [f"{name} {found[name]:.3f} ± {found[f'{name}_error']:.3f}" for name in _QUALITY]
    console.print(
        f"{found['num_samples']:,} samples against {found['num_data']:,} test rows, features: {found['features']}. "
        f"{', '.join(parts)}; Fréchet distance {found['frechet']:.3g}, of two halves of the rows "
        f"{found['frechet_of_data']:.3g}.",
        markup=False,
        highlight=False,
    )


def _print_molecules(console: Console, found: dict[str, Any]) -> None:
    """The scores of samples beside those of random molecules."""
    others = found["random_fragments"]
    names = [name for name in found if name in others]
    parts = [f"{name.replace('_', ' ')} {found[name]:.3f} ({others[name]:.3f})" for name in names]
    console.print(
        f"{found['num_samples']:,} samples against {found['num_data']:,} test molecules (in parentheses molecules of "
        f"random fragments): {', '.join(parts)}.",
        markup=False,
        highlight=False,
    )


def _best_above(scores: dict[str, Any]) -> str | None:
    """The best of the baselines that exceed the model by more than a standard error."""
    above = {
        name: b["margin"]
        for name, b in scores["baselines"].items()
        if b["margin_standard_error"] is not None and b["margin"] < -b["margin_standard_error"]
    }
    return min(above, key=lambda name: above[name]) if above else None


def _of_chains(scores: dict[str, Any]) -> str:
    """How far annealed chains can be trusted, and what is missing."""
    return (
        f"By annealed importance sampling: {scores['num_samples']} chains of {scores['num_distributions']:,} "
        f"distributions for each row, acceptance {scores['acceptance']:.2f}, effective chains "
        f"{scores['effective_sample_size']:.1f} (median). Without q(z | x) there is no ELBO, rate or distortion."
    )


def _rows(scores: dict[str, Any]) -> list[tuple[str, ...]]:
    bits_per_nat = 1 / (scores["num_dimensions"] * math.log(2))
    by = "annealed" if "acceptance" in scores else f"{scores['num_samples']:,} samples"
    name = evidence_name(scores.get("of_gaps", False))
    evidence = f"{name}, exactly" if scores.get("exact") else f"L ({by}) ≤ {name}"
    rows = [
        (evidence, *_cells(scores["log_evidence"], scores["log_evidence_standard_error"], bits_per_nat), ""),
    ]
    if "acceptance" not in scores:
        rows += [
            ("ELBO", *_cells(scores["elbo"], scores["elbo_standard_error"], bits_per_nat), ""),
            ("  rate", *_cells(scores["rate"]), ""),
            *((f"    of the {name}", *_cells(rate), "") for name, rate in scores.get("rate_of_parts", {}).items()),
            ("  distortion", *_cells(scores["distortion"]), ""),
        ]
    for name, baseline in scores["baselines"].items():
        error = _number(baseline["margin_standard_error"])
        above = "" if baseline["margin"] is None else f"{baseline['margin']:+.2f}"
        margin = f"{above}{f' ± {error}' if error else ''}"
        rows.append((name, *_cells(baseline["log_likelihood"], baseline["standard_error"], bits_per_nat), margin))
    return rows


def _cells(nats: float | None, error: float | None = None, bits_per_nat: float | None = None) -> tuple[str, str, str]:
    if nats is None:
        return "not finite", "", ""
    bits = "" if bits_per_nat is None else f"{-nats * bits_per_nat:.3f}"
    return f"{nats:.2f}", _number(error), bits


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"
