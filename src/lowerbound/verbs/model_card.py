"""The card of a model that is shared: what it is, of what, how good, and what it is not, in Markdown."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from lowerbound.evaluate.missing import of_gaps
from lowerbound.fitted import Fitted
from lowerbound.verbs.citing import catalogue_entry, cite
from lowerbound.verbs.effort import knows_log_p
from lowerbound.verbs.evidence_name import OF_GAPS, evidence_name
from lowerbound.verbs.methods_paragraph import methods_paragraph

__all__ = ["model_card"]

_FRONT = "---\nlibrary_name: lowerbound\ntags:\n- lowerbound\n- latent-variable-model\n---\n"
_SCORES = {
    "elbo": "ELBO",
    "rate": "rate, KL(q ‖ p)",
    "distortion": "distortion, −E log p(x ∣ z)",
    "bits_per_dim": "bits per dimension",
}


def model_card(fitted: Fitted, name: str) -> str:
    """The card.

    Arguments:
        fitted: the model.
        name: under which it is shared, as `lowerbound pull NAME` takes it.
    """
    plan = fitted.plan
    title = name.rpartition("/")[2] if plan is None else f"{plan.recipe} of {_of(fitted)}"
    sections = {
        "What it is": [methods_paragraph(fitted)],
        "Data": list(_data(fitted)),
        "Scores on test rows": list(_scores(fitted.scores or {})),
        "How to load it": [f"```sh\nlowerbound pull {name} --out RUN\nlowerbound sample RUN\n```", _IN_PYTHON],
        "Settings": list(_settings(fitted)),
        "Limits": [*(f"- {limit}" for limit in _limits(fitted))],
        "What to cite": [f"```bibtex\n{cite(fitted).bibtex}\n```"],
    }
    body = "\n\n".join(f"## {heading}\n\n" + "\n".join(lines) for heading, lines in sections.items() if lines)
    return f"{_FRONT}\n# {_plain(title)}\n\n{body}\n"


_IN_PYTHON = '```python\nimport lowerbound as lb\n\nfitted = lb.Fitted.open("RUN")\n```'


def _of(fitted: Fitted) -> str:
    """The name of the data, without the folders of a path."""
    data = fitted.config.get("data") or {}
    return str(data.get("name") or str(data.get("path") or "data").replace("\\", "/").rpartition("/")[2])


def _data(fitted: Fitted) -> Iterator[str]:
    """What the data are; of a data set of the catalogue its origin and licence."""
    schema, known = fitted.schema, catalogue_entry(fitted)
    shape = " × ".join(str(n) for n in schema.event_shape)
    yield f"{_plain(_of(fitted))}: rows of kind {schema.kind}, of shape {shape}. The data are not shared."
    if known is not None:
        yield f"{known.description} Origin: {known.origin}; licence: {known.licence}."
    names = schema.column_names
    if names:
        yield f"Columns: {', '.join(_plain(name) for name in names[:50])}{', …' if len(names) > 50 else ''}."


def _scores(scores: Mapping[str, Any]) -> Iterator[str]:
    """A table of scores and baselines, with the error of what has one; nothing if it was not evaluated."""
    error, of = scores.get("log_evidence_standard_error"), evidence_name(scores.get("of_gaps", False))
    how = "exactly" if scores.get("exact") else "at least (L_S)"
    rows = [
        f"| {words} | {scores[name]:.4g}{f' ± {error:.2g}' if name == 'log_evidence' and error is not None else ''} |"
        for name, words in {"log_evidence": f"{of}, {how}", **_SCORES}.items()
        if scores.get(name) is not None
    ]
    for name, found in (scores.get("baselines") or {}).items():
        value, spread = found.get("log_likelihood"), found.get("standard_error")
        rows.append(
            f"| baseline {name.replace('_', ' ')} | {value:.4g}{'' if spread is None else f' ± {spread:.2g}'} |"
        )
    if rows:
        gaps = f" {OF_GAPS}" if scores.get("of_gaps") else ""
        yield f"Nats per row unless stated otherwise; ± is the standard error of the mean over rows.{gaps}\n"
        yield from ("| score | value |", "|---|---|", *rows)


def _settings(fitted: Fitted) -> Iterator[str]:
    if fitted.plan is None:
        return
    yield from ("| setting | value |", "|---|---|")
    for name, value in fitted.plan.in_use().items():
        if name not in ("given", "reasons", "model") and value is not None:
            yield f"| {name} | {_plain(value)} |"
    for name, value in fitted.plan.model.items():
        yield f"| {name} | {_plain(value)} |"


def _limits(fitted: Fitted) -> Iterator[str]:
    """What whoever takes the model must know."""
    yield (
        "It is a model of rows like those it was fitted to, and says nothing of others; `lowerbound score` tells how "
        "likely rows are under it."
    )
    if not knows_log_p(fitted.model):
        yield f"{evidence_name(of_gaps(fitted.model))} is known by a lower bound."
    yield from _below(fitted.scores or {})
    if not fitted.scores:
        yield "It was not evaluated on test rows."
    if fitted.weights is not None:
        yield f"Its weights are not those of a finished training. {_plain(fitted.weights)}"
    yield from (_plain(note) for note in fitted.notes)


def _below(scores: Mapping[str, Any]) -> Iterator[str]:
    """The baselines that are better."""
    value, baselines = scores.get("log_evidence"), scores.get("baselines") or {}
    better = [name for name, found in baselines.items() if value is not None and found["log_likelihood"] > value]
    if better:
        yield f"On test rows it is below a simpler model: {', '.join(name.replace('_', ' ') for name in better)}."


def _plain(value: object) -> str:
    """Text that is no Markdown: in one line, without bars, brackets and backticks that mean something."""
    text = " ".join(str(value).split())
    for sign in "\\`|<>[]*_#":
        text = text.replace(sign, f"\\{sign}")
    return text
