"""Which choices can be coded without loss, found by coding (`coding`).

    python -m lowerbound.testing.lossless_matrix > docs/lossless-matrix.md

Rows that a small random model draws are coded and decoded under every exported posterior with every exported prior, and
under every exported likelihood. x is coded given z, and z by q and p alone, so that what holds of a likelihood with one
kind of latents holds with all.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias, cast

import numpy as np
import torch
from torch import Tensor

from lowerbound import likelihoods, posteriors, priors
from lowerbound.coding import Codec, Steps
from lowerbound.model import LatentVariableModel
from lowerbound.models import vae
from lowerbound.randomness import forked
from lowerbound.spelling import choices
from lowerbound.support import StatesFacts, Support, counts, positive, reals

__all__ = ["LATENTS", "CodingCell", "cell_of", "likelihood_cells", "page", "pair_cells"]

CodingStatus: TypeAlias = Literal["coded", "refused", "no model"]

_SHAPE, _BATCH, _DRAWS = (1, 3), 16, 16  # an image of three pixels, which all likelihoods take
_NOISE, _SHRUNK = 0.05, 0.3  # p(z) is to exclude no z of q(z | x), which would take less than -ELBO
_VECTORS = ("mixed", "tokens", "bag-of-words")
_SPELLED: Mapping[str, str] = {
    "categorical": "categorical:categories=3",
    "autoregressive-categorical": "autoregressive-categorical:categories=3",
    "relaxed-categorical": "relaxed-categorical:categories=3",
    "autoregressive-map": "autoregressive-map:categories=3,network=transformer,channels=4,layers=1",
    "finite-scalar": "finite-scalar:levels=[3]",
    "vector-quantized": "vector-quantized:num_codes=3,features=2",
    "residual-quantized": "residual-quantized:num_codes=3,features=2,stages=2",
    "flow-prior": "flow-prior:hidden=4,transforms=2",
    "flow-matching": "flow-matching:hidden=4,steps=16",
    "vamp-prior": "vamp-prior:components=3",
    "mixture-normal": "mixture-normal:components=2",
    "maf": "maf:transforms=2,hidden=4",
    "iaf": "iaf:transforms=2,hidden=4",
    "nsf": "nsf:transforms=2,hidden=4",
    "planar": "planar:layers=2",
    "radial": "radial:layers=2",
}
_LIKELIHOODS: Mapping[str, str] = {
    "categorical": "categorical:num_classes=5",
    "ordinal": "ordinal:num_classes=5",
    "discretized-logistic": "discretized-logistic:num_levels=5",
    "discretized-logistic-mixture": "discretized-logistic-mixture:num_levels=5,num_components=2",
    "mixed": "mixed:columns=continuous+categorical-3+heteroscedastic-count",
    "tokens": "tokens:num_symbols=4,embedding_dim=4,width=4,context_dim=4",
    "autoregressive": "autoregressive:network=transformer,channels=4,layers=1",
}
LATENTS: Mapping[str, tuple[str, str]] = {
    "reals": ("diagonal-normal", "standard-normal"),
    "a flow": ("maf", "standard-normal"),
    "bits": ("bernoulli", "bernoulli"),
    "codes": ("vector-quantized", "categorical"),
}
"""One posterior and prior of each kind that the coder treats in its own way."""

_INTRODUCTION = """# What can be coded without loss

Found by coding: `python -m lowerbound.testing.lossless_matrix > docs/lossless-matrix.md` writes this page anew, and a
test fails where it is out of date. [Lossless files](lossless.md) says how.

| cell | |
|---|---|
| **coded** | rows came back to the last bit; what they take is -ELBO at the latents that coded them, to 0.2 % |
| (number) | refused, for the reason below |
| – | such a model cannot be made |
"""


@dataclass(frozen=True, kw_only=True)
class CodingCell:
    """One model.

    Attributes:
        status: whether its rows are coded.
        sentence: of the refusal; empty where there is none.
        bits: that each row took.
        symbol_bits: the same without the rounding of the stack.
        drawn_bits: log₂ q(z | x) − log₂ p(x, z) of each row at the z that coded it.
        elbo_bits: −ELBO of each row.
        standard_error: of their difference.
    """

    status: CodingStatus
    sentence: str = ""
    bits: float = math.nan
    symbol_bits: float = math.nan
    drawn_bits: float = math.nan
    elbo_bits: float = math.nan
    standard_error: float = math.nan


def pair_cells(rows: int = 60) -> dict[tuple[str, str], CodingCell]:
    """Every posterior with every prior, under bits as data, by their names.

    Arguments:
        rows: that are coded.
    """
    return {
        (q, p): cell_of("bernoulli", _SPELLED.get(q, q), _SPELLED.get(p, p), rows)
        for q in sorted(choices(posteriors))
        for p in sorted(choices(priors))
    }


def likelihood_cells(rows: int = 60) -> dict[tuple[str, str], CodingCell]:
    """Every likelihood with each kind of latents, by their names."""
    return {
        (name, kind): cell_of(_LIKELIHOODS.get(name, name), _SPELLED.get(q, q), _SPELLED.get(p, p), rows)
        for name in sorted(choices(likelihoods))
        for kind, (q, p) in LATENTS.items()
    }


def cell_of(likelihood: str, posterior: str, prior: str, rows: int, seed: int = 0) -> CodingCell:
    """Code rows that a small model draws, and compare what comes back.

    Raises:
        AssertionError: rows came back otherwise.
    """
    try:
        model = _model(likelihood, posterior, prior, seed)
        k, steps = _rows_of(model, rows)
        shape = tuple(model.sample(1).shape[1:])

        def events(values: np.ndarray) -> Tensor:
            return torch.from_numpy(np.ascontiguousarray(values)).reshape(len(values), *shape)

        model.log_weights(events(steps.value(k.T).T), 1)
    except (ValueError, RuntimeError, NotImplementedError, TypeError) as error:
        return CodingCell(status="no model", sentence=str(error))
    codec = Codec(model, steps, events, batch=_BATCH)
    try:
        encoded = codec.encode(k)
    except ValueError as refusal:
        return CodingCell(status="refused", sentence=str(refusal))
    lent = encoded.stack.lent
    if not (np.array_equal(codec.decode(encoded.stack, encoded.groups), k) and encoded.stack.is_what_was_lent(lent)):
        raise AssertionError(f"{likelihood}, {posterior}, {prior}: rows came back otherwise")
    with forked(torch.device("cpu"), 2):
        bits = codec.negative_elbo_bits(k, _DRAWS)
    error = math.sqrt(bits.var(0, ddof=1).sum() * (1 + 1 / _DRAWS)) / rows
    return CodingCell(
        status="coded",
        bits=encoded.net_bits / rows,
        symbol_bits=encoded.symbol_bits / rows,
        drawn_bits=encoded.drawn_bits / rows,
        elbo_bits=float(bits.mean()),
        standard_error=error,
    )


Cells: TypeAlias = Mapping[tuple[str, str], CodingCell]


def page(pairs: Cells, of_likelihoods: Cells) -> str:
    """The whole of docs/lossless-matrix.md, of what `pair_cells` and `likelihood_cells` found."""
    reasons: dict[str, int] = {}
    tables = [
        ("## Posteriors (rows) and priors (columns)", pairs),
        ("## Likelihoods, and the kind of latents: reals, a flow, bits, codes", of_likelihoods),
    ]
    lines = [_INTRODUCTION, *(line for title, cells in tables for line in _section(title, cells, reasons))]
    lines.append("## Reasons\n")
    lines += [f"{number}. {sentence}" for sentence, number in reasons.items()]
    return "\n".join(lines) + "\n"


def _section(title: str, cells: Cells, reasons: dict[str, int]) -> Iterator[str]:
    rows, columns = (list(dict.fromkeys(key[i] for key in cells)) for i in (0, 1))
    yield f"{title}\n"
    yield "| | " + " | ".join(f"`{name}`" for name in columns) + " |"
    yield "|---" * (1 + len(columns)) + "|"
    for row in rows:
        yield f"| `{row}` | " + " | ".join(_word(cells[row, column], reasons) for column in columns) + " |"
    yield ""


def _word(cell: CodingCell, reasons: dict[str, int]) -> str:
    if cell.status == "refused":
        return str(reasons.setdefault(cell.sentence, len(reasons) + 1))
    return "**coded**" if cell.status == "coded" else "–"


def _model(likelihood: str, posterior: str, prior: str, seed: int) -> LatentVariableModel:
    """Weights are moved from their start, so that z says something about x."""
    with forked(torch.device("cpu"), seed), torch.no_grad():
        shape = _SHAPE[1:] if likelihood.partition(":")[0] in _VECTORS else _SHAPE
        model = vae(shape, latent_dim=2, likelihood=likelihood, posterior=posterior, prior=prior, hidden=(4,))
        for p in model.double().parameters():
            p.add_(_NOISE * torch.randn_like(p))
        for name, p in model.named_parameters():
            if name.startswith("posterior"):
                p.mul_(_SHRUNK)
    return model.eval()


def _rows_of(model: LatentVariableModel, rows: int) -> tuple[np.ndarray, Steps]:
    """Numbers of rows that the model draws, and the values that they are numbers of."""
    with forked(torch.device("cpu"), 1), torch.no_grad():
        x = model.sample(rows).double().reshape(rows, -1).numpy()
    support = cast(StatesFacts, model.likelihood).support
    steps = _steps_of(list(support.columns or [support] * x.shape[1]))
    return np.clip(steps.number(x.T).T, 0, steps.size - 1), steps


def _steps_of(supports: list[Support]) -> Steps:
    """Values of a support, or whole numbers, or tenths from −20 to 20 (above 0 where they are positive)."""
    parts = []
    for each in supports:
        if each.description == counts.description:
            parts.append((0.0, 1.0, 1 << 20, 0.0))
        elif each.grid:
            lowest, *others = each.grid
            parts.append((lowest, others[0] - lowest if others else 1.0, len(each.grid), 0.0))
        elif each.description in (reals.description, positive.description):
            parts.append((-20.0 if each.description == reals.description else 0.1, 0.1, 400, 0.5))
        else:
            parts.append((0.05, 0.1, 10, 0.5) if "interval" in each.description else (0.0, 1.0, 2, 0.0))
    low, step, size, half = (np.array(part) for part in zip(*parts, strict=True))
    return Steps(low, step, size, half)


if __name__ == "__main__":
    sys.stdout.write(page(pair_cells(), likelihood_cells()))
