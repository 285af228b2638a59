"""The tables of docs/choose.md say what benchmarks/results/defaults.json holds."""

from __future__ import annotations

import json
import re
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "choose.md").read_text()
SAVED: dict[str, Any] = json.loads((ROOT / "benchmarks" / "results" / "defaults.json").read_text())["results"]
BITS = 3072 * np.log(2)
NUMBER = r"[−+]?\d[\d,]*\.\d+"

TABLES = {
    "iris (": "iris",
    "wine (143)": "wine",
    "penguins (274)": "penguins",
    "diabetes (": "diabetes",
    "breast cancer (456)": "breast cancer",
    "linear, 5 columns (100)": "linear 100 x 5",
    "linear, 40 columns": "linear 400 x 40",
    "heavy tails": "heavy 1000 x 8",
    "curved, 5 columns (3,000)": "curved 3000 x 5",
    "rings": "rings 2000 x 2",
    "modes": "modes 2000 x 10",
    "nonlinear, 20 ": "nonlinear 2000 x 20",
    "nonlinear, 200": "nonlinear 1000 x 200",
    "diamonds, 7": "diamonds",
    "housing": "housing 15000 x 8",
    "curved, 5 columns (100,000)": "curved 100000 x 5",
    "columns on a grid, 6": "discrete 2000 x 6",
}
MIXED = {
    "penguins, 7": "penguins whole",
    "clinic": "clinic 300",
    "passengers": "passengers 900",
    "categories alone": "categories 1000",
    "ordered answers": "answers 800",
    "wine, 20 % gaps": "wine, gaps",
    "diamonds, 10": "diamonds whole",
    "breast cancer, 30": "breast cancer, gaps",
}
COUNTS = {
    "long-tailed counts": "long-tailed counts",
    "33 columns": "integers 33",
    "100 words": "newsgroups",
    "765 genes": "pbmc",
}
SERIES = {
    "second-order": "series autoregression 500",
    "the same (40)": "series autoregression 40",
    "beats": "series beats 400",
    "levels that last": "series regimes 400",
    "random walks": "series walks 300",
    "swings": "series swings 500",
}
IMAGES = ("digits", "mnist", "fashion-mnist", "omniglot", "frey-faces", "colour")


def row(start: str) -> list[str]:
    """The cells of the one row of the page that starts so."""
    (found,) = [line for line in PAGE.splitlines() if line.startswith(f"| {start}")]
    return [cell.strip() for cell in found.strip("| ").split(" | ")]


def numbers(cell: str) -> list[float]:
    return [float(number.replace("−", "-").replace(",", "")) for number in re.findall(NUMBER, cell)]


def default(name: str) -> float:
    """The mean over seeds."""
    return float(np.mean([v["log_p"][0] for key, v in SAVED[name]["contenders"].items() if key.startswith("default")]))


def others(name: str) -> dict[str, dict[str, Any]]:
    return {key: v for key, v in SAVED[name]["contenders"].items() if "default_above" in v and not key.endswith(" 0")}


def said(value: float, shown: float, decimals: int = 2) -> bool:
    """Whether a number is shown rounded; a half may fall to either side."""
    return abs(value - shown) <= 0.5 * 10**-decimals + 1e-4


@pytest.mark.parametrize("start, name", TABLES.items())
def test_tables_of_numbers(start: str, name: str):
    what, mine, best, difference, cpu = row(start)
    other = max(others(name), key=lambda key: others(name)[key]["log_p"][0])
    assert said(default(name), numbers(mine)[-1]), default(name)
    assert best.startswith(other), other
    assert said(others(name)[other]["log_p"][0], numbers(best)[0])
    margin, error = others(name)[other]["default_above"]
    assert said(margin, numbers(difference)[0]), margin
    assert said(error, numbers(difference)[1]), error
    assert_seconds(cpu, name)
    assert_seeds(what, name)


@pytest.mark.parametrize("start, name", MIXED.items())
def test_mixed_tables(start: str, name: str):
    what, mine, *rest, difference = row(start)
    assert said(default(name), numbers(mine)[0]), default(name)
    columns = ("independent columns", "latent class model", "mixture of full covariances", "vae 0")
    for column, cell in zip(columns, rest, strict=True):
        if cell and column in SAVED[name]["contenders"]:
            assert said(SAVED[name]["contenders"][column]["log_p"][0], numbers(cell)[0]), column
    mixtures = {key: value for key, value in others(name).items() if key != "independent columns"}
    margin, error = max(mixtures.values(), key=lambda value: value["log_p"][0])["default_above"]
    assert said(margin, numbers(difference)[0]), margin
    assert said(error, numbers(difference)[1]), error
    assert_seeds(what, name)


@pytest.mark.parametrize("start, name", COUNTS.items())
def test_counts(start: str, name: str):
    what, mine, mixture, autoencoder, difference = row(start)
    assert said(default(name), numbers(mine)[0]), default(name)
    margin, error = others(name)["negative binomial mixture"]["default_above"]
    assert said(others(name)["negative binomial mixture"]["log_p"][0], numbers(mixture)[0])
    assert said(margin, numbers(difference)[0]), margin
    assert said(error, numbers(difference)[1]), error
    assert said(SAVED[name]["contenders"]["counts 0"]["log_p"][0], numbers(autoencoder)[0])
    assert_seeds(what, name)


@pytest.mark.parametrize("start, name", SERIES.items())
def test_series(start: str, name: str):
    _, mine, autoregression, states, best, difference = row(start)
    found = others(name)
    named = ("autoregression", "hidden Markov model")
    rest = {key: value["log_p"][0] for key, value in found.items() if key not in named}
    other = max(rest, key=lambda key: rest[key])
    assert said(default(name), numbers(mine)[0]), default(name)
    assert said(found["autoregression"]["log_p"][0], numbers(autoregression)[0])
    assert said(found["hidden Markov model"]["log_p"][0], numbers(states)[0])
    assert best.startswith(other), other
    assert said(rest[other], numbers(best)[0])
    margin, error = max(found.values(), key=lambda value: value["log_p"][0])["default_above"]
    assert said(margin, numbers(difference)[0]), margin
    assert said(error, numbers(difference)[1]), error


@pytest.mark.parametrize("name", IMAGES)
def test_images(name: str):
    _, mine, best, difference, cpu = row(f"`{name}`" if name != "colour" else "photographs in colour")
    unit, found = -BITS if name == "colour" else 1.0, others(name)
    other = max(found, key=lambda key: found[key]["log_p"][0])
    assert said(default(name) / unit, numbers(mine)[0]), default(name) / unit
    assert best.startswith(other), other
    assert said(found[other]["log_p"][0] / unit, numbers(best)[0])
    margin, error = found[other]["default_above"]
    assert said(margin / unit, numbers(difference)[0]), margin / unit
    assert said(error / abs(unit), numbers(difference)[1]), error / abs(unit)
    assert_seconds(cpu, name)


def test_a_table_ends_at_an_empty_line():
    lines = PAGE.splitlines()
    after = [below for line, below in pairwise(lines) if line.startswith("|") and not below.startswith("|")]
    assert set(after) == {""}


def assert_seconds(cell: str, name: str) -> None:
    """Whether the CPU seconds are the mean over seeds."""
    spent = [v["cpu_seconds"] for key, v in SAVED[name]["contenders"].items() if key.startswith("default")]
    assert said(float(np.mean(spent)), float(cell.removesuffix(" s")), 0), np.mean(spent)


def assert_seeds(what: str, name: str) -> None:
    """Whether the row says how many seeds are saved, where there are several."""
    count = sum(key.startswith("default") for key in SAVED[name]["contenders"])
    words = {1: "", 3: "seeds 0 to 2", 5: "five seeds"}
    assert words[count] in what, f"{count} seeds"
