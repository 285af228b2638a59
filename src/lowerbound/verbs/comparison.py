"""Which of several fits of the same data is better on test rows, and by how much.

    d_n = L_K(x_n; run) − L_K(x_n; best)          mean d ± sd(d) / √N

Rows differ far more than models do, and two models find the same rows hard: the difference row by row has a much
smaller error than the two scores have. It needs the same test rows in the same units, and other runs are refused.

The best run was chosen on the rows that it is compared on, which flatters it a little. p-values are two-sided, of the
normal law, and adjusted for the number of comparisons (Holm 1979): the probability to call any difference real where
none is stays below the level that they are read at.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float64
from scipy.stats import norm

from lowerbound.data import Rows
from lowerbound.data.sparse import Array
from lowerbound.evaluate import PictureCodes, has_picture_codes, picture_codes
from lowerbound.evaluate.missing import of_gaps
from lowerbound.fitted import Fitted
from lowerbound.fitting.defaults import facts_of
from lowerbound.likelihoods.mixed import Mixed
from lowerbound.models.cell_likelihood import CellLikelihood

__all__ = ["Comparison", "Difference", "compare"]

_ASIDE = (
    "given",
    "reasons",
    "device",
    "devices",
    "strategy",
    "compile",
)  # of a plan: how it came about, and matters of the machine


@dataclass(frozen=True, kw_only=True)
class Difference:
    """A run against the best one, over the same rows.

    Attributes:
        mean: of the run minus the best, nats per row; 0 for the best itself.
        standard_error: of that, from the spread of the differences over rows.
        p_value: that there is none, adjusted for the number of runs; 1 for the best.
    """

    mean: float
    standard_error: float
    p_value: float


@dataclass(frozen=True, kw_only=True, eq=False)
class Comparison:
    """Several fits on the same test rows.

    Attributes:
        names: of the runs.
        scores: L_K of each run and row, nats, in the units of the data.
        num_samples: K.
        data: the name of the data.
        units: what the scores are: probabilities, densities, …
        settings: what differs between the plans: by name of the setting, its value in each run.
        records: of the training of each run.
        log_scales: log p of what each run's likelihood scores minus log p of the data, nats.
        pictures: of runs that code pictures, bits per pixel and PSNR on the test rows; None for others.
    """

    names: tuple[str, ...]
    scores: Float64[np.ndarray, "run row"]
    num_samples: int
    data: str
    units: str
    settings: Mapping[str, tuple[Any, ...]]
    records: tuple[Sequence[Mapping[str, Any]], ...]
    log_scales: tuple[float, ...]
    pictures: tuple[PictureCodes | None, ...] = ()

    @property
    def means(self) -> Float64[np.ndarray, "run"]:
        """The mean over rows, nats."""
        return self.scores.mean(1)

    @property
    def standard_errors(self) -> Float64[np.ndarray, "run"]:
        """Of those means, for new rows."""
        return _error(self.scores)

    @property
    def best(self) -> int:
        """The number of the run with the highest mean."""
        return int(self.means.argmax())

    @property
    def differences(self) -> tuple[Difference, ...]:
        """Of each run to the best."""
        apart = self.scores - self.scores[self.best]
        means, errors = apart.mean(1), _error(apart)
        others = np.arange(len(self.names)) != self.best
        p = np.ones(len(self.names))
        z = np.divide(np.abs(means), errors, out=np.full_like(means, np.inf), where=errors > 0)
        p[others] = holm(2 * norm.sf(np.where(means == 0, 0, z)[others]))
        columns = zip(means.tolist(), errors.tolist(), p.tolist(), strict=True)
        return tuple(Difference(mean=mean, standard_error=error, p_value=value) for mean, error, value in columns)

    @property
    def note(self) -> str:
        """What to keep in mind when reading the differences."""
        count = len(self.names) - 1
        several = f" p is adjusted for {count} comparisons." if count > 1 else ""
        return f"The best run was chosen on these rows, which flatters it a little.{several}"


def compare(
    *runs: Fitted | Path | str,
    num_samples: int = 1000,
    limit: int | None = None,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> Comparison:
    """Score several fits on the test rows of their data.

    Arguments:
        runs: two or more fitted models, or their folders.
        num_samples: K of L_K, latents per row.
        limit: only so many rows, the first.
        seed: of all draws, the same for all runs, so that pixels are binarized alike.
        progress: called after each run with their number so far and in all.

    Raises:
        ValueError: what is no run, fewer than two runs or rows, the same run twice, or runs of other data, other test
            rows or other units.
    """
    fits = _opened(runs)
    names = _names(fits)
    for name, fitted in zip(names[1:], fits[1:], strict=True):
        _check_data(names[0], fits[0], name, fitted)
    rows = [_first(fitted.test_rows(), limit) for fitted in fits]
    if len(rows[0].x) < 2:
        raise ValueError(f"compare got {len(rows[0].x)} test row and needs at least 2 for a standard error.")
    units = [_units(fitted, held_out.x, seed) for fitted, held_out in zip(fits, rows, strict=True)]
    for name, unit in zip(names[1:], units[1:], strict=True):
        if unit != units[0]:
            where = ", of other columns" if unit[0] == units[0][0] else ""
            raise ValueError(
                f"Scores of {name} are {unit[0]} and of {names[0]} {units[0][0]}{where}; compare runs of like units."
            )
    scores = []
    for done, (fitted, held_out) in enumerate(zip(fits, rows, strict=True), 1):
        scores.append(fitted.score(held_out, num_samples=num_samples, seed=seed))
        if progress is not None:
            progress(done, len(fits))
    return Comparison(
        names=names,
        scores=np.stack(scores),
        num_samples=num_samples,
        data=fits[0].dataset.name,
        units=units[0][0],
        settings=_settings(fits),
        records=tuple(fitted.records for fitted in fits),
        log_scales=tuple(fitted.log_scale for fitted in fits),
        pictures=tuple(_pictures(fitted, held_out.x, seed) for fitted, held_out in zip(fits, rows, strict=True)),
    )


def _pictures(fitted: Fitted, x: Array, seed: int) -> PictureCodes | None:
    """Rate and distortion of a run that codes pictures."""
    if not has_picture_codes(fitted.model):
        return None
    return picture_codes(fitted.model, fitted.events(x, seed), levels=fitted.schema.pixel_levels)


def holm(p: Float64[np.ndarray, "test"]) -> Float64[np.ndarray, "test"]:
    """Adjusted p-values: of the k-th smallest of m, the largest of (m − j + 1) p_(j) over j ≤ k, at most 1.

    >>> holm(np.array([0.04, 0.01, 0.03]))
    array([0.06, 0.03, 0.06])
    """
    order = p.argsort(kind="stable")
    adjusted = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1))
    return np.minimum(1, adjusted)[order.argsort()]


def _error(values: Float64[np.ndarray, "run row"]) -> Float64[np.ndarray, "run"]:
    return values.std(1, ddof=1) / np.sqrt(values.shape[1])


def _opened(runs: Sequence[Any]) -> list[Fitted]:
    """The fitted models that a user gives, opened where folders are given."""
    for run in runs:
        if not isinstance(run, Fitted | Path | str):
            raise ValueError(
                f"compare got a {type(run).__name__}; give fitted models or folders one after another, as in "
                "compare(a, b)."
            )
    return [run if isinstance(run, Fitted) else Fitted.open(run) for run in runs]


def _names(fits: Sequence[Fitted]) -> tuple[str, ...]:
    """What each run is called: its folder, or its name with a number where several have it."""
    if len(fits) < 2:
        raise ValueError(f"compare got {len(fits)} run and needs at least two.")
    folders = [None if fitted.folder is None else fitted.folder.resolve() for fitted in fits]
    for i, folder in enumerate(folders):
        if folder is not None and folder in folders[:i]:
            raise ValueError(f"compare got {fits[i].folder} twice; name each run once.")
    names: list[str] = []
    for fitted in fits:
        name = str(fitted.folder or fitted.name)
        count = sum(other == name or other.startswith(f"{name} (") for other in names)
        names.append(f"{name} ({count + 1})" if count else name)
    return tuple(names)


def _check_data(first: str, one: Fitted, name: str, other: Fitted) -> None:
    """Refuse other data, and the same data held out in another way."""
    a, b = one.dataset, other.dataset
    if a.checksum == b.checksum:
        if not a.num_test:
            raise ValueError(f"{first} was fitted to all rows of {a.name} and has no test rows to compare on.")
        return
    same_size = a.event_shape == b.event_shape and a.num_train + a.num_test == b.num_train + b.num_test
    if same_size and a.num_test != b.num_test:
        raise ValueError(
            f"{name} holds out {b.num_test:,} rows and {first} {a.num_test:,}; compare runs with one test part."
        )
    raise ValueError(f"{name} is of other data ({b.name}) than {first} ({a.name}); compare runs of the same data.")


def _first(rows: Rows, limit: int | None) -> Rows:
    y = None if rows.y is None else rows.y[:limit]
    c = None if rows.covariates is None else rows.covariates[:limit]
    return Rows(x=rows.x[:limit], y=y, num_test=0, name=rows.name, schema=rows.schema, covariates=c)


def _given(fitted: Fitted) -> str:
    """What the model is given of a row, in words, after whether it says which of its entries are missing."""
    given = ["its class"] if fitted.is_conditional else [covariate.name for covariate in fitted.schema.covariates]
    if isinstance(likelihood := fitted.model.likelihood, CellLikelihood) and likelihood.library == "observed":
        given.append("the size of its library")
    gaps = " of values and of which are missing" if of_gaps(fitted.model) else ""
    return gaps + (f" given {', '.join(given)}" if given else "")


def _units(fitted: Fitted, x: Array, seed: int) -> tuple[str, tuple[bool, ...]]:
    """What log p of a row is of, in words: probabilities or densities, of which rows, given what; and of a table by
    columns, which of them have a probability.
    """
    likelihood, given = fitted.model.likelihood, _given(fitted)
    if isinstance(likelihood, Mixed):
        grouped = [bool(g.discrete) for g, n in zip(likelihood.groups, likelihood.sizes, strict=True) for _ in range(n)]
        columns = tuple(grouped[i] for i in likelihood.restore.tolist())
        if len(set(columns)) > 1:
            words = f"probabilities of {sum(columns)} columns and densities of {len(columns) - sum(columns)}"
            return words + given, columns
        return _words(columns[0]) + given, ()
    facts = facts_of(likelihood)
    if not (facts.domain == "unit interval" and facts.discrete):
        return _words(facts.discrete) + given, ()
    events = fitted.events(x, seed)
    if bool(((events != 0) & (events != 1)).any()):
        return f"expected log-probabilities of grey values{given}", ()
    binarization = getattr(fitted.transform, "binarization", "none")
    made = "" if binarization == "none" else f" of pixels made 0 or 1 ({binarization})"
    return f"probabilities{made}{given}", ()


def _words(discrete: bool) -> str:
    return "probabilities" if discrete else "densities"


def _settings(fits: Sequence[Fitted]) -> dict[str, tuple[Any, ...]]:
    """The settings, by dotted name, that are not the same in all plans; None where a plan has none of that name."""
    flat = [{} if fitted.plan is None else _flat(fitted.plan.to_json()) for fitted in fits]
    names = dict.fromkeys(name for plan in flat for name in plan)
    values = {name: tuple(plan.get(name) for plan in flat) for name in names}
    return {name: found for name, found in values.items() if any(value != found[0] for value in found)}


def _flat(plan: Mapping[str, Any]) -> dict[str, Any]:
    model = {f"model.{name}": value for name, value in plan["model"].items()}
    return {**{name: value for name, value in plan.items() if name not in (*_ASIDE, "model")}, **model}
