"""What a data set looks like in a few numbers with names: the statistics T of predictive checks.

Each function takes data sets (set, row, *event), all of one size, and gives one number for each of them, by name. NaN
marks a missing entry, which is passed over.

=========  ================================================================================================
table      of each column mean, sd, skewness, min, max and share of zeros (of dates not the last), or the share of each
           category; the correlation of each pair of columns of numbers
counts     of each column mean, dispersion index (variance / mean), max and share of zeros
images     mean intensity, total variation (mean absolute difference of neighbours), share of ink (above one half)
texts      length (mean, sd, min, max), share of unknown tokens, and how many different tokens occur
molecules  heavy atoms (mean, sd, min, max), of these the share of nitrogen, of oxygen, of halogens, of all others but
           carbon, and of atoms in aromatic rings; rings joined outside of fragments
series     of each channel mean, sd, min, max, correlation of neighbouring steps (lag 1), and mean absolute step
numbers    of all numbers together mean, sd, skewness, min, max and share of zeros
=========  ================================================================================================
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import TypeAlias

import torch
from jaxtyping import Float64
from torch import Tensor

__all__ = [
    "Statistics",
    "count_statistics",
    "image_statistics",
    "molecule_statistics",
    "number_statistics",
    "series_statistics",
    "table_statistics",
    "text_statistics",
]

Statistics: TypeAlias = Callable[[Tensor], Mapping[str, Tensor]]
"""From data sets (set, row, *event) to numbers (set,), by name."""

_MOST_CORRELATED = 40
_ATOM = re.compile(r"\[\d*([A-Z][a-z]?|[a-z]{1,2})[^\]]*\]|(Cl|Br|[BCNOPSFI]|[bcnops])")
_HALOGENS = ("F", "Cl", "Br", "I")


def table_statistics(
    x: Float64[Tensor, "set row column"],
    names: Sequence[str],
    categories: Sequence[Sequence[str] | None],
    durations: Mapping[str, tuple[str, float]] | None = None,
) -> dict[str, Float64[Tensor, "set"]]:
    """Those of a table.

    Arguments:
        x: data sets; categories by their numbers.
        names: of the columns.
        categories: of each column, None for numbers; correlations are of the first 40 columns of numbers.
        durations: by the names of columns that are dates in seconds: the unit of their sd, and its size in seconds.
    """
    found: dict[str, Tensor] = {}
    for d, (name, classes) in enumerate(zip(names, categories, strict=True)):
        column = x[..., d]
        if classes is None and name in (durations or {}):
            unit, size = (durations or {})[name]
            found |= {f"{name}: {what}": value for what, value in _moments_of_dates(column, unit, size).items()}
        elif classes is None:
            found |= {f"{name}: {what}": value for what, value in _moments(column).items()}
        else:
            found |= {f"{name} = {c}: share": _share(column, k) for k, c in enumerate(classes)}
    numbers = [d for d, classes in enumerate(categories) if classes is None][:_MOST_CORRELATED]
    return found | _correlations(x[..., numbers], [names[d] for d in numbers])


def count_statistics(x: Float64[Tensor, "set row column"], names: Sequence[str]) -> dict[str, Float64[Tensor, "set"]]:
    """Those of counts.

    Arguments:
        x: data sets.
        names: of the columns.
    """
    mean = x.nanmean(1)
    variance = (x - mean[:, None]).square().nanmean(1)
    dispersion = variance / mean.clamp_min(torch.finfo(x.dtype).tiny)
    highest = x.nan_to_num(nan=-torch.inf).amax(1)
    parts = {"mean": mean, "dispersion index": dispersion, "max": highest, "share of zeros": _share(x, 0)}
    return {f"{name}: {what}": value[:, d] for d, name in enumerate(names) for what, value in parts.items()}


def image_statistics(
    x: Float64[Tensor, "set row *event"], low: float = 0.0, high: float = 1.0
) -> dict[str, Float64[Tensor, "set"]]:
    """Those of images, whose last two axes are height and width.

    Arguments:
        x: data sets of intensities.
        low: the intensity of no ink.
        high: that of full ink.
    """
    rows, columns = (x.diff(dim=axis).abs().flatten(1) for axis in (-2, -1))
    steps = rows.shape[1] + columns.shape[1]
    variation = (rows.sum(1) + columns.sum(1)) / max(1, steps)
    ink = (x > (low + high) / 2).double().flatten(1).mean(1)
    return {"mean intensity": x.flatten(1).mean(1), "total variation": variation, "share of ink": ink}


def text_statistics(x: Float64[Tensor, "set row position"]) -> dict[str, Float64[Tensor, "set"]]:
    """Those of texts, whose symbols end at the first 0 and are 1 where they are unknown."""
    lengths = (x != 0).double().sum(-1)
    known = {f"length: {name}": v for name, v in _moments(lengths).items() if name in ("mean", "sd", "min", "max")}
    unknown = (x == 1).double().sum((1, 2)) / lengths.sum(1).clamp_min(1)
    different = torch.tensor([len(one.unique()) for one in x], dtype=x.dtype, device=x.device)
    return {**known, "share of unknown tokens": unknown, "different tokens": different}


def molecule_statistics(
    x: Float64[Tensor, "set row position"], symbols: Sequence[str]
) -> dict[str, Float64[Tensor, "set"]]:
    """Those of molecules, whose symbols end at the first 0.

    Arguments:
        x: data sets.
        symbols: in SMILES, by number (`data.MoleculeSchema`).
    """
    counted = [_atoms(symbol) for symbol in symbols]
    of = {
        "nitrogen": [atoms["N"] for atoms in counted],
        "oxygen": [atoms["O"] for atoms in counted],
        "halogens": [sum(atoms[name] for name in _HALOGENS) for atoms in counted],
        "aromatic atoms": [atoms["aromatic"] for atoms in counted],
        "all": [sum(atoms.values()) - atoms["aromatic"] for atoms in counted],
        "carbon": [atoms["C"] for atoms in counted],
        "rings": [float(symbol.startswith("&")) for symbol in symbols],
    }
    numbers = x.long()
    each = {name: torch.tensor(values, dtype=x.dtype, device=x.device)[numbers].sum(-1) for name, values in of.items()}
    size, rings = each.pop("all"), each.pop("rings")
    each["other elements"] = size - each.pop("carbon") - each["nitrogen"] - each["oxygen"] - each["halogens"]
    sizes = {f"heavy atoms: {name}": v for name, v in _moments(size).items() if name in ("mean", "sd", "min", "max")}
    shares = {f"share of {name}": value.sum(1) / size.sum(1).clamp_min(1) for name, value in each.items()}
    return {**sizes, **shares, "rings joined outside of fragments": rings.mean(1)}


def series_statistics(x: Float64[Tensor, "set row time channel"]) -> dict[str, Float64[Tensor, "set"]]:
    """Those of series. The correlation is that of x_t and x_{t+1} over all rows and steps, about the means of each."""
    found = {}
    for d in range(x.shape[-1]):
        channel, name = x[..., d], "" if x.shape[-1] == 1 else f"{d}: "
        parts = {k: v for k, v in _moments(channel.flatten(1)).items() if k in ("mean", "sd", "min", "max")}
        found |= {f"{name}{what}": value for what, value in parts.items()}
        if x.shape[2] > 1:
            pairs = torch.stack([channel[..., :-1].flatten(1), channel[..., 1:].flatten(1)], -1)
            found[f"{name}correlation of neighbouring steps"] = _correlations(pairs, "ab")["a and b: correlation"]
            found[f"{name}mean absolute step"] = channel.diff(dim=-1).abs().flatten(1).nanmean(1)
    return found


def number_statistics(x: Float64[Tensor, "set row *event"]) -> dict[str, Float64[Tensor, "set"]]:
    """Those of all numbers together."""
    return _moments(x.flatten(1))


def _atoms(symbol: str) -> Counter[str]:
    """How often each element occurs in SMILES, points aside, and how many atoms are aromatic."""
    if not symbol or symbol[0] in "&?":
        return Counter()
    names = [bracketed or plain for bracketed, plain in _ATOM.findall(symbol)]
    return Counter(name.capitalize() for name in names) + Counter(aromatic=sum(name.islower() for name in names))


def _moments(x: Float64[Tensor, "set number"]) -> dict[str, Tensor]:
    mean = _mean(x)
    away = x - mean[:, None]
    variance = _mean(away.square())
    return {
        "mean": mean,
        "sd": variance.sqrt(),
        "skewness": _mean(away**3) / variance.clamp_min(torch.finfo(x.dtype).tiny) ** 1.5,
        "min": x.nan_to_num(nan=torch.inf, posinf=torch.inf).amin(1),
        "max": x.nan_to_num(nan=-torch.inf, neginf=-torch.inf).amax(1),
        "share of zeros": _share(x, 0),
    }


def _moments_of_dates(x: Float64[Tensor, "set number"], unit: str, size: float) -> dict[str, Tensor]:
    """Of which 1970 is no zero, and the sd is a duration."""
    found = {name: value for name, value in _moments(x).items() if name != "share of zeros"}
    found[f"sd in {unit}"] = found.pop("sd") / size
    return found


def _correlations(x: Float64[Tensor, "set row number"], names: Sequence[str]) -> dict[str, Tensor]:
    """Over the rows that have both entries."""
    known = (~x.isnan()).double()
    away = (x - x.nanmean(1, keepdim=True)).nan_to_num(nan=0.0)
    products, squares = away.mT @ away, away.square().mT @ known
    correlation = products / (squares * squares.mT).sqrt().clamp_min(torch.finfo(x.dtype).tiny)
    pairs = [(i, j) for i in range(len(names)) for j in range(i)]
    return {f"{names[j]} and {names[i]}: correlation": correlation[:, i, j] for i, j in pairs}


def _mean(x: Tensor) -> Tensor:
    return x.nanmean(1)


def _share(x: Tensor, value: float) -> Tensor:
    """Of the entries that are known, those that have a value."""
    return (x == value).double().where(~x.isnan(), torch.nan).nanmean(1)
