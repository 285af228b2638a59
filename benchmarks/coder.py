"""The coder of lossless files beside constriction (Bamler 2022, arXiv:2201.01741) on the same symbols.

Every symbol has a distribution of its own, as under a decoder: bits with their logits, rounded Gaussians and
discretized logistics with their μ and σ. Both coders are given these parameters as arrays and make what they need of
them, ours on 256 lanes. Of logistics constriction has no family and is given a table for each symbol, which is made
here and counted. Both give value k the parts ⌊F_k (2^b − K)⌋ − ⌊F_{k−1} (2^b − K)⌋ + 1 of 2^b, with b = 30 for ours
and 24 for constriction: "information" is Σ −log₂ of these shares. Seconds are CPU seconds of one thread, medians of
rounds in which both take turns.

python benchmarks/coder.py [--symbols 784000] [--rounds 5]        needs `pip install constriction`
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import json
import statistics
import time
from collections.abc import Callable
from importlib.metadata import version
from typing import Any

import numpy as np
from scipy import special
from timing import RESULTS, machine

from lowerbound.coding import BitStack
from lowerbound.coding.families import Family
from lowerbound.coding.numbering import Steps
from lowerbound.coding.symbols import Elements, pop, push
from lowerbound.distributions import distribution_functions

constriction: Any = importlib.import_module("constriction") if importlib.util.find_spec("constriction") else None
LANES = 256
STREAMS = {"bits": 2, "gaussian-256": 256, "gaussian-16384": 1 << 14, "logistic-256": 256}
"""How many values a symbol has."""
TABLES_AT_ONCE = 1 << 14


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--symbols", type=int, default=784_000)
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    if constriction is None:
        raise SystemExit("constriction is not installed: pip install constriction.")
    num = arguments.symbols // LANES * LANES
    results = {name: _stream(name, size, num, arguments.rounds) for name, size in STREAMS.items()}
    content = {"machine": machine(), "constriction": version("constriction"), "lanes": LANES, "results": results}
    (RESULTS / "coder.json").write_text(json.dumps(content, indent=1) + "\n")


def _stream(name: str, size: int, num: int, rounds: int) -> dict[str, Any]:
    elements = _elements(name, size, num)
    k = _drawn(elements, size)
    information = {"ours": _information(elements, size, k, 30), "constriction": _information(elements, size, k, 24)}
    contenders: dict[str, Callable[[], tuple[int, float, float]]] = {
        "ours": lambda: _ours(elements, k),
        "constriction": lambda: _theirs(name, elements, size, k),
    }
    found: dict[str, list[tuple[int, float, float]]] = {contender: [] for contender in contenders}
    for _ in range(rounds):
        for contender, call in contenders.items():
            found[contender].append(call())
    rows = {}
    for contender, measured in found.items():
        bits, encode, decode = measured[0][0], *(statistics.median(m[i] for m in measured) for i in (1, 2))
        rows[contender] = {
            "bits": bits,
            "information": information[contender],
            "over_information_percent": 100 * (bits / information[contender] - 1),
            "encode_symbols_per_second": round(num / encode),
            "decode_symbols_per_second": round(num / decode),
        }
        print(f"{name:15s} {contender:14s}", *(f"{key} {value:,.4f}" for key, value in rows[contender].items()))
    return {"symbols": num, "values": size, **rows}


def _elements(name: str, size: int, num: int) -> Elements:
    """The family of every symbol (elements, lanes), with parameters from one seed, and its values."""
    g, shape = np.random.default_rng(0), (num // LANES, LANES)
    if name == "bits":
        family = Family(distribution_functions.bernoulli, (g.normal(-2.0, 3.0, shape),), "bits")
        return Elements(family, Steps.of(shape[0], size=size), floored=True)
    loc, scale = g.uniform(0.1, 0.9, shape), np.exp(g.uniform(np.log(0.002), np.log(0.05), shape))
    if name.startswith("gaussian"):
        family = Family(distribution_functions.normal, (loc * size, scale * size))
        return Elements(family, Steps.of(shape[0], size=size, half=0.5), floored=True)
    family = Family(distribution_functions.level, (2 * loc - 1, scale, np.full(shape, float(size))))
    return Elements(family, Steps.of(shape[0], size=size, step=1 / (size - 1)), floored=True)


def _drawn(elements: Elements, size: int) -> np.ndarray:
    """The first k with F_k ≥ u."""
    u = np.random.default_rng(1).random(elements.family.parameters[0].shape)
    low, high = np.zeros(u.shape, np.int64), np.full(u.shape, size - 1)
    while (low < high).any():
        middle = (low + high) // 2
        above = _shares(elements, middle) >= u
        low, high = np.where(above, low, middle + 1), np.where(above, middle, high)
    return np.minimum(low, size - 1)


def _shares(elements: Elements, k: np.ndarray) -> np.ndarray:
    return elements.family.function(elements.numbering.end(k), *elements.family.parameters)


def _information(elements: Elements, size: int, k: np.ndarray, bits: int) -> float:
    """Σ −log₂ of the parts of 2^bits that the symbols take."""
    parts = 1 << bits
    upper = np.where(k == size - 1, 1.0, _shares(elements, k))
    lower = np.where(k == 0, 0.0, _shares(elements, k - 1))
    width = np.floor(upper * (parts - size)) - np.floor(lower * (parts - size)) + 1
    return float((bits - np.log2(width)).sum())


def _ours(elements: Elements, k: np.ndarray) -> tuple[int, float, float]:
    stack, start = BitStack(lends=True), time.process_time()
    stack.widen(LANES)
    push(stack, elements, k)
    content, between = stack.to_bytes(), time.process_time()
    again = BitStack.from_bytes(content, stack.num_words, LANES)
    found, end = pop(again, elements, LANES), time.process_time()
    assert np.array_equal(found, k)
    return 8 * len(content), between - start, end - between


def _theirs(name: str, elements: Elements, size: int, k: np.ndarray) -> tuple[int, float, float]:
    symbols, coder, start = k.ravel().astype(np.int32), constriction.stream.stack.AnsCoder(), time.process_time()
    blocks = list(range(0, len(symbols), TABLES_AT_ONCE if name.startswith("logistic") else len(symbols)))
    for first in reversed(blocks):
        family, given, block = _their_model(name, elements, size, first)
        coder.encode_reverse(symbols[block], family, *given)
    content, between = coder.get_compressed(), time.process_time()
    again, found = constriction.stream.stack.AnsCoder(content), []
    for first in blocks:
        family, given, _ = _their_model(name, elements, size, first)
        found.append(again.decode(family, *given))
    end = time.process_time()
    assert np.array_equal(np.concatenate(found), symbols)
    return 32 * len(content), between - start, end - between


def _their_model(name: str, elements: Elements, size: int, first: int) -> tuple[Any, tuple[np.ndarray, ...], slice]:
    """A family of constriction, its parameters, and the symbols from the first on that have them."""
    model, parameters = constriction.stream.model, [p.ravel() for p in elements.family.parameters]
    if name == "bits":
        return model.Bernoulli(perfect=False), (special.expit(parameters[0]),), slice(None)
    if name.startswith("gaussian"):
        return model.QuantizedGaussian(0, size - 1), tuple(parameters), slice(None)
    block = slice(first, first + TABLES_AT_ONCE)
    values = np.arange(size) / (size - 1)
    shares = elements.family.function(values, *(p[block, None] for p in parameters))
    return model.Categorical(perfect=False), (np.diff(shares, axis=1, prepend=0.0),), block


if __name__ == "__main__":
    main()
