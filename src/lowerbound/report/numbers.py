"""The scores of a run as rows of a table, each with its unit and one sentence on its meaning.

Bits per dimension are b = −nats / (D ln 2), up to an offset that depends on the data alone. The scores give b for L_K;
the b of another score differs by the difference in nats divided by −D ln 2.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from lowerbound.criterion import chooses, criterion_of, described, unit_of
from lowerbound.evaluate.importance import FEWEST_WEIGHTS
from lowerbound.report.contents import ReportContents
from lowerbound.verbs.evidence_name import OF_GAPS, evidence_name

__all__ = ["Score", "Tile", "format_nats", "scores", "tiles"]

_UNRELIABLE = 0.7
_QUALITY = {
    "precision": "The share of samples that lie among test rows, in a space of features.",
    "recall": "The share of test rows that lie among samples: low where kinds of rows are never sampled.",
    "density": "How densely samples lie among test rows; 1 where they are distributed alike.",
    "coverage": "The share of test rows with a sample nearby.",
}


@dataclass(frozen=True, kw_only=True)
class Score:
    """One row of the headline table, as text."""

    name: str
    nats: str
    bits: str = ""
    meaning: str


@dataclass(frozen=True, kw_only=True)
class Tile:
    """One headline number, as text; `verdict` colours it."""

    name: str
    value: str
    unit: str
    verdict: Literal["good", "bad", "none"] = "none"


def format_nats(value: float | int | None, like: float | int | None = None) -> str:
    """A number with decimals that suit its size, or the size of `like`; None stands for one that is not finite.

    >>> format_nats(-86.354), format_nats(-1.2345), format_nats(0.4, like=-86.4), format_nats(-0.0001, like=-86.4)
    ('−86.35', '−1.234', '0.40', '0.00')
    """
    if value is None:
        return "not finite"
    digits = 2 if abs(value if like is None else like) >= 10 else 3
    return f"{round(value, digits) + 0.0:,.{digits}f}".replace("-", "−")  # + 0.0, so that none is −0.00


def scores(contents: ReportContents) -> list[Score]:
    """The rows of the headline table; empty without an evaluation."""
    return (
        []
        if contents.evaluation is None
        else [
            *_bounds(contents),
            *_parts(contents),
            *_topics(contents),
            *_of_cells(contents),
            *_quality(contents),
            *_baselines(contents),
        ]
    )


def tiles(contents: ReportContents) -> list[Tile]:
    """The headline numbers: of the evaluation, or of training if there is none."""
    e = contents.evaluation or {}
    found = []
    if "log_evidence" in e:
        name = f"{_of(e)}, exactly" if e.get("exact") else f"{_of(e)}, {_bound_name(contents)}"
        found += [Tile(name=name, value=format_nats(e["log_evidence"]), unit="nats per row")]
    elif (tile := _of_held_out(contents)) is not None:
        found += [tile]
    if e.get("bits_per_dim") is not None:
        found += [
            Tile(name="compression", value=f"{e['bits_per_dim']:.3f}".replace("-", "−"), unit="bits per dimension")
        ]
    if e.get("codes") is not None:
        found += [Tile(name="codes in use", value=_used(e["codes"]), unit="by the rows that were scored")]
    elif e.get("active_units") is not None:
        found += [Tile(name="active units", value=_active(contents), unit="latent dimensions in use")]
    baselines = {name: nats for name, nats in (e.get("baselines") or {}).items() if nats is not None}
    if baselines and "log_evidence" in e:
        name, best = max(baselines.items(), key=lambda item: item[1])
        margin = e["log_evidence"] - best
        found += [
            Tile(
                name="over the best baseline",
                value=("+" if margin > 0 else "") + format_nats(margin, e["log_evidence"]),
                unit=f"nats, against {_words(name)}",
                verdict="good" if margin > 0 else "bad",
            )
        ]
    return found


def _bounds(contents: ReportContents) -> Iterator[Score]:
    e = contents.evaluation or {}
    if "acceptance" in e:
        yield Score(
            name="Log-likelihood, by annealed importance sampling",
            nats=_with_error(e["log_evidence"], e.get("log_evidence_standard_error")),
            bits=_bits(contents, e["log_evidence"]),
            meaning=f"A bound on {_of(e)} from {e['num_samples']} chains of {e['num_distributions']:,} distributions, "
            "which needs no q(z | x), averaged over test rows, ± one standard error. It lies below the truth and "
            "rises towards it with the distributions. Compare models by this row; there is no ELBO, rate or "
            f"distortion beside it.{_of_gaps(e)}",
        )
        return
    if "log_evidence" in e:
        yield Score(
            name=f"Log-likelihood, {_bound_name(contents)}",
            nats=_with_error(e["log_evidence"], e.get("log_evidence_standard_error")),
            bits=_bits(contents, e["log_evidence"]),
            meaning=_meaning_of_evidence(e),
        )
    if "elbo" in e:
        gap = e["log_evidence"] - e["elbo"] if "log_evidence" in e and e["elbo"] is not None else None
        loose = (
            ""
            if gap is None
            else f" It is {format_nats(gap, e['elbo'])} nats looser: near zero, q(z | x) fits p(z | x) well."
        )
        yield Score(
            name="ELBO",
            nats=format_nats(e["elbo"]),
            bits=_bits(contents, e["elbo"]),
            meaning=f"The bound with one sample, −distortion − rate.{loose}",
        )


def _parts(contents: ReportContents) -> Iterator[Score]:
    e = contents.evaluation or {}
    if "acceptance" in e:
        return
    like = e.get("elbo")
    if "rate" in e:
        meaning = "What a latent says about its row, E[log q(z | x) − log p(z)]. At zero the model ignores its latents."
        yield Score(name="Rate", nats=format_nats(e["rate"], like), meaning=meaning)
    if "distortion" in e:
        meaning = "What is left to say about the row once its latent is known, −E[log p(x | z)]. Lower is sharper."
        yield Score(name="Distortion", nats=format_nats(e["distortion"], like), meaning=meaning)
    if e.get("codes") is not None:
        meaning = (
            f"Codes that some position of the rows has; {e['codes']['effective']:.0f} of them used alike would say as "
            "much. Few of many: the codebook has collapsed."
        )
        yield Score(name="Codes in use", nats=f"{_used(e['codes'])} codes", meaning=meaning)
    elif e.get("pictures") is not None:
        yield _of_pictures(e["pictures"])
    elif e.get("active_units") is not None:
        meaning = "Latent dimensions whose mean moves with x. The others could be left out."
        yield Score(name="Active units", nats=f"{_active(contents)} units", meaning=meaning)
    if e.get("pareto_k_above_07") is not None:
        meaning = (
            f"Rows whose importance weights are heavy-tailed (Pareto k̂ > {_UNRELIABLE}): there L_K may lie well below "
            f"{_of(e)} and its error is understated. A few per cent are no worry; most rows are."
        )
        yield Score(name="Unreliable rows", nats=f"{e['pareto_k_above_07']:.1%} of rows", meaning=meaning)
    elif not e.get("exact") and (e.get("num_samples") or FEWEST_WEIGHTS) < FEWEST_WEIGHTS:
        meaning = (
            f"Whether importance weights are heavy-tailed (Pareto k̂) shows from K = {FEWEST_WEIGHTS} on; K is "
            f"{e['num_samples']} here. Evaluate with more samples."
        )
        yield Score(name="Unreliable rows", nats="not known", meaning=meaning)


def _of_pictures(found: dict[str, Any]) -> Score:
    near = "" if found["ms_ssim"] is None else f", and an MS-SSIM of {found['ms_ssim']:.4f}, where 1 is equal"
    ratio = "without any error" if found["psnr"] is None else f"with a PSNR of {found['psnr']:.2f} dB"
    meaning = f"What a file takes for each pixel of the test rows, {ratio}{near}."
    return Score(name="Codes of pictures", nats=f"{found['bits_per_pixel']:.4f} bits per pixel", meaning=meaning)


def _topics(contents: ReportContents) -> Iterator[Score]:
    e = contents.evaluation or {}
    if "topics" not in e:
        return
    meaning = (
        "Of the first words of each topic in training texts, the mean over topics: 1 for words that are always "
        "together, 0 for independent ones, −1 for words that never are."
    )
    yield Score(name="Coherence (NPMI)", nats=f"{e['coherence']:.3f}", meaning=meaning)
    for i, topic in enumerate(e["topics"]):
        yield Score(name=f"Topic {i}", nats=f"NPMI {topic['coherence']:.2f}", meaning=" ".join(topic["words"]))


def _of_cells(contents: ReportContents) -> Iterator[Score]:
    """How far batches are mixed and types apart (`integration_scores`)."""
    found = (contents.evaluation or {}).get("integration")
    if found is None:
        return
    for role, own in found["latents"].items():
        other = found["principal components"][role]
        meaning = (
            f"Of the {found['num_neighbours']} nearest neighbours of a cell in the latents, how many are of another "
            f"{role}, over how many chance gives: 1 is mixed, 0 apart. In principal components {other['mixing']:.2f}."
        )
        yield Score(name=f"Mixing of {own['column']}", nats=f"{own['mixing']:.2f}", meaning=meaning)
        meaning = f"1 if each {role} is apart, 0 if they overlap; {other['silhouette']:.2f} in these components."
        yield Score(name=f"Silhouette of {own['column']}", nats=f"{own['silhouette']:.2f}", meaning=meaning)


def _quality(contents: ReportContents) -> Iterator[Score]:
    found = (contents.evaluation or {}).get("quality")
    if found is None:
        return
    if "random_fragments" in found:
        yield from _of_molecules(found)
        return
    for name, meaning in _QUALITY.items():
        value = f"{found[name]:.3f} ± {found[f'{name}_error']:.3f}"
        yield Score(name=name.capitalize(), nats=value, meaning=meaning)
    meaning = (
        f"Of Gaussians with the moments of the features ({found['features']}); of two halves of the test rows it is "
        f"{found['frechet_of_data']:.3g}."
    )
    yield Score(name="Fréchet distance", nats=f"{found['frechet']:.3g}", meaning=meaning)


def _of_molecules(found: dict[str, Any]) -> Iterator[Score]:
    """Scores of samples of molecules (`evaluate.molecules`)."""
    others = found["random_fragments"]
    for name in found:
        if name in others:
            meaning = f"Of samples; molecules of random fragments have {others[name]:.3f}. See evaluate.molecules."
            yield Score(name=f"Samples: {_words(name)}", nats=f"{found[name]:.3f}", meaning=meaning)


def _baselines(contents: ReportContents) -> Iterator[Score]:
    e = contents.evaluation or {}
    for name, nats in (e.get("baselines") or {}).items():
        meaning = "A model without latents to learn."
        if "log_evidence" in e and nats is not None:
            margin = e["log_evidence"] - nats
            verdict = "better" if margin > 0 else "worse"
            meaning = f"The run is {format_nats(abs(margin), nats)} nats {verdict} than this baseline."
        yield Score(
            name=f"Baseline: {_words(name)}", nats=format_nats(nats), bits=_bits(contents, nats), meaning=meaning
        )
    for name, reason in (e.get("baselines_left_out") or {}).items():
        yield Score(name=f"Baseline: {_words(name)}", nats="—", meaning=f"Left out: {reason}.")


def _meaning_of_evidence(evaluation: Mapping[str, Any]) -> str:
    if evaluation.get("exact"):
        return (
            f"{_of(evaluation)}, averaged over test rows, ± one standard error. Compare models by this row."
            f"{_of_gaps(evaluation)}"
        )
    how = "annealed" if "acceptance" in evaluation else "importance-weighted"
    rises = "more distributions and chains" if "acceptance" in evaluation else "K"
    return (
        f"The {how} bound on {_of(evaluation)}, averaged over test rows, ± one standard error. It lies below the truth "
        f"and rises towards it with {rises}. Compare models by this row.{_of_gaps(evaluation)}"
    )


def _of(evaluation: Mapping[str, Any]) -> str:
    return evidence_name(evaluation.get("of_gaps", False))


def _of_gaps(evaluation: Mapping[str, Any]) -> str:
    """What the name of a score of values and gaps means, and what it is comparable to."""
    return f" {OF_GAPS} Only models of gaps have this score." if evaluation.get("of_gaps") else ""


def _bound_name(contents: ReportContents) -> str:
    e = contents.evaluation or {}
    k = e.get("num_samples")
    if e.get("exact"):
        return _of(e)
    if "acceptance" in e:
        return "annealed"
    return "L_K" if k is None else f"L_K with K = {k:,}"


def _used(codes: Mapping[str, Any]) -> str:
    return f"{codes['used']:,} of {codes['number']:,}"


def _active(contents: ReportContents) -> str:
    e = contents.evaluation or {}
    total = e.get("latent_dim")
    return str(e["active_units"]) if total is None else f"{e['active_units']} of {total}"


def _of_held_out(contents: ReportContents) -> Tile | None:
    """The best held-out bound of training, or its last estimate, which says that it is none."""
    found = [r["held_out"] for r in contents.metrics if r.get("held_out") is not None]
    if not found:
        return None
    criterion = criterion_of(found[-1])
    values = [terms[criterion] for terms in found]
    unit = "nats per row" if unit_of(criterion) == "nats" else unit_of(criterion)
    which, value = ("best", max(values)) if chooses(criterion) else ("last", values[-1])
    return Tile(name=f"{which} held-out {described(criterion)}", value=format_nats(value), unit=unit)


def _with_error(value: float | int, error: float | int | None) -> str:
    return format_nats(value) if error is None else f"{format_nats(value)} ± {format_nats(error, value)}"


def _bits(contents: ReportContents, nats: float | int | None) -> str:
    """Bits per dimension of a score, from those of L_K; empty if these are not known."""
    e = contents.evaluation or {}
    if nats is None or e.get("bits_per_dim") is None or "log_evidence" not in e or contents.originals is None:
        return ""
    dimensions = math.prod(contents.originals.shape[1:])
    bits = e["bits_per_dim"] + (e["log_evidence"] - nats) / (dimensions * math.log(2))
    return f"{bits:.3f}".replace("-", "−")


def _words(name: str) -> str:
    return name.replace("_", " ").replace("-", " ")
