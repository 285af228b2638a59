"""`lowerbound evaluate`: score a run on its test rows, or on other data."""

from __future__ import annotations

import click

from lowerbound.cli.others import Other, other_data, other_data_options

__all__ = ["evaluate"]


@click.command(short_help="Score a run on its test rows.")
@click.argument("run")
@click.option("--num-samples", type=click.IntRange(1), help="S of L_S. [default: 1000, or fewer where these take long]")
@click.option(
    "--annealed",
    type=click.IntRange(1),
    metavar="T",
    help="Bound log p(x) by annealed importance sampling of T distributions, without q(z | x); 1000 is usual.",
)
@click.option("--discretise", is_flag=True, help="Of relaxed bits: score the discrete model; nothing is saved then.")
@click.option("--language-model", is_flag=True, help="Of text: first fit the same net without latents, as a baseline.")
@click.option("--limit", type=click.IntRange(1), help="Score the first rows only; nothing is saved then.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON instead of a table.")
@other_data_options(
    "Score another file or data set; nothing is saved then. [default: the run's test rows]", ", which is left out."
)
@click.option("--quality", is_flag=True, help="Compare samples with the test rows: precision, recall, ...")
def evaluate(
    run: str,
    num_samples: int | None,
    annealed: int | None,
    discretise: bool,
    language_model: bool,
    limit: int | None,
    as_json: bool,
    other: Other,
    quality: bool,
) -> None:
    """Score RUN on its test rows: ELBO, importance-weighted bound, rate, distortion, active latents, baselines.

    A model of text is also compared with the language model of its net once that is fitted; it is kept in the run.

    The scores on the run's own test rows are saved as RUN/evaluation.json. Of another data set with a test part the
    test rows are scored, of another file all rows.

    --annealed T is for a posterior without a density, which has no ELBO: --num-samples is then the chains of a row, 16
    if nothing is said, and a row takes as long as about 10 x T x chains evaluations of the decoder; see --limit.

    --quality adds precision, recall, density, coverage and the Fréchet distance of samples, in features of a classifier
    of the labels that is trained for it; without labels, in the numbers of a row. Of molecules it adds the scores of
    MOSES, beside those of molecules of random fragments.
    """
    import json

    from lowerbound.cli.opened import fitted_of
    from lowerbound.cli.scores import fit_language_model, print_scores, score_fitted
    from lowerbound.cli.terminal import open_console
    from lowerbound.runs import Run

    if quality and other.data is not None:
        raise click.UsageError("--quality compares samples with the test rows of the run; leave out --data.")
    opened = Run.open(run)
    fitted = fitted_of(opened)
    console = None if as_json else open_console()
    rows = other_data(fitted, other)
    if language_model:
        fit_language_model(fitted, console)
    options = {"limit": limit, "num_samples": num_samples, "annealed": annealed, "discretise": discretise}
    scores = score_fitted(fitted, console, data=rows, **options)
    if quality:
        scores["quality"] = fitted.sample_quality()
    if other.data is None and limit is None and not discretise:
        opened.save_evaluation(scores)
    if console is None:
        click.echo(json.dumps(scores, indent=2))
    else:
        print_scores(console, scores, fitted)
