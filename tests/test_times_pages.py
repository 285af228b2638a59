"""The times on the pages are those that benchmarks/results holds."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
README, EXPERIMENTS, TIME, DEVICES, SCALE = (
    (ROOT / name).read_text()
    for name in ("README.md", "docs/experiments.md", "docs/time.md", "docs/many-devices.md", "docs/scale.md")
)
OURS = "time_over_lowerbound compiled"


def saved(name: str) -> dict[str, Any]:
    return json.loads((ROOT / "benchmarks" / "results" / f"{name}.json").read_text())


def cells(page: str, start: str) -> list[str]:
    """The cells of the one row of a page that starts so."""
    (found,) = [line for line in page.splitlines() if line.startswith(f"| {start}")]
    return [cell.strip() for cell in found.strip("| ").split(" | ")]


def numbers(text: str) -> list[float]:
    return [float(number.replace(",", "")) for number in re.findall(r"\d[\d,]*\.?\d*", text)]


def test_what_compiling_gains() -> None:
    results = saved("compiled")["results"]
    timed = {name for name, found in results.items() if "eager_ms" in found}
    told = re.findall(r"^\| ([a-z].*?)(?: †)? \| ([\d.]+) \| ([\d.]+) \| ([\d.]+) \| (\d+) \|$", TIME, re.MULTILINE)
    assert {name for name, *_ in told} == timed
    for name, *texts in told:
        found, (eager, compiled, ratio, start) = results[name], map(float, texts)
        assert eager == float(f"{found['eager_ms']:.3g}"), name
        assert compiled == float(f"{found['compiled_ms']:.3g}"), name
        assert ratio == pytest.approx(found["eager_over_compiled"], abs=0.006), name
        assert start == round(found["seconds_to_start"]), name
    assert f"result for {len(results)} models is in" in TIME


def test_what_is_saved_if_nothing_is_said() -> None:
    large, small, runs = saved("epoch")["results"], saved("small_step")["results"], saved("precision")["runs"]
    of_text = [
        runs[f"Penn Treebank, language model, seed {seed}, bf16"]["cpu_seconds"]
        / runs[f"Penn Treebank, language model, seed {seed}, fp32"]["cpu_seconds"]
        for seed in range(3)
    ]
    *_, compiled = cells(TIME, "`--compile`")
    *_, low = cells(TIME, "`--precision`")
    assert f"{1 / large['lowerbound eager'][OURS]:.2f} of the time of a step for 784-512-20" in compiled
    assert f"{1 / small['lowerbound eager'][OURS]:.2f} for 64-128-8" in compiled
    assert f"{large['lowerbound compiled, bf16'][OURS]:.2f} of the time of a compiled step" in low
    assert f"{sorted(of_text)[1]:.2f} of a fit of the language model" in low


@pytest.mark.parametrize(
    "start, names",
    [
        ("lowerbound compiled, fp32", ["lowerbound compiled"]),
        ("lowerbound compiled, bf16", ["lowerbound compiled, bf16"]),
        ("lowerbound eager, fp32 and bf16", ["lowerbound eager", "lowerbound eager, bf16"]),
        ("hand-written PyTorch", ["hand-written"]),
        ("JAX", ["jax, one scan"]),
        ("pythae", ["pythae 0.1.2"]),
        ("Pyro", ["pyro 1.9.2"]),
        ("the matrix products", ["products", "products, bf16"]),
    ],
)
def test_a_pass_over_digits(start: str, names: list[str]) -> None:
    results = saved("epoch")["results"]
    _, seconds, ratios = cells(EXPERIMENTS, start)
    assert numbers(seconds) == pytest.approx([results[name]["median_s"] for name in names], abs=6e-4)
    assert numbers(ratios) == pytest.approx([results[name][OURS] for name in names], abs=6e-3)


@pytest.mark.parametrize(
    "start, name",
    [
        ("a pass over 6,400", "epoch"),
        ("a step of 64-128-8", "small_step"),
        ("a pass over 1,280", "convolutional_epoch"),
    ],
)
def test_the_front_page_compares_what_was_measured(start: str, name: str) -> None:
    results = saved(name)["results"]
    _, own, *others = cells(README, start)
    unit = "ms" if name == "small_step" else "s"
    assert numbers(own) == pytest.approx([results["lowerbound compiled"][f"median_{unit}"]], abs=6e-3)
    peers = [results[peer][OURS] for peer in ("hand-written", "pythae 0.1.2", "pyro 1.9.2") if peer in results]
    assert numbers(" ".join(others)) == pytest.approx(peers, abs=6e-3)


def test_evidence_and_annealing() -> None:
    found = saved("evidence")["results"]
    _, own, *others = cells(README, "L_1000 of 100 images")
    assert numbers(own) == pytest.approx([found["lowerbound log_evidence"]["median_s"]], abs=6e-3)
    over = "time_over_lowerbound log_evidence"
    assert numbers(" ".join(others)) == pytest.approx([found["pythae get_nll"][over]], abs=6e-2)
    assert f"L_1000 takes {1 / found['matrix products alone'][over]:.2f} of the time" in EXPERIMENTS
    annealed = saved("annealed_against")
    new, old = annealed["medians"].values()
    assert f"takes {new / old:.2f} of the time that it took before" in EXPERIMENTS
    words = f"annealed.py --images {annealed['images']} --distributions {annealed['distributions']} --against"
    assert words in EXPERIMENTS


def test_convolutions_on_a_second_processor() -> None:
    found = saved("convolutional_epoch_zen4")["results"]
    ours, low, eager, low_eager, by_hand, peer = (one["median_s"] for one in found.values())
    assert f"{ours:.3f} s compiled, {low:.3f} in bf16, {eager:.3f} and {low_eager:.3f} eager" in EXPERIMENTS
    assert f"{by_hand:.3f} s ({by_hand / ours:.2f} times the compiled one)" in EXPERIMENTS
    assert f"{peer:.3f} s ({peer / ours:.2f} times, and {peer / low:.2f} times bf16)" in EXPERIMENTS
    assert f"the third {by_hand / ours:.2f}× and {peer / ours:.2f}× ({peer / low:.2f}× pythae in bf16)" in README


def test_waiting_for_shards() -> None:
    found = saved("waiting")
    for form in (".npy", "compressed .npz"):
        shares = sorted(100 * waited / seconds for seconds, waited in found["results"][f"{form} shards"])
        assert f"{shares[0]:.1f} to {shares[-1]:.1f} % {'of its time ' * (form == '.npy')}for {form} shards" in SCALE
    assert found["mixed"] / found["shards"] == 0.1


def test_evidence_and_annealing_on_another_processor() -> None:
    page = EXPERIMENTS[EXPERIMENTS.index("**On another processor**") :]
    found, over = saved("evidence_zen4")["results"], "time_over_lowerbound log_evidence"
    products, pythae = found["matrix products alone"][over], found["pythae get_nll"][over]
    words = f"L_1000 takes {1 / products:.2f} times as long as its products (pythae {pythae / products:.1f} times)"
    assert words in page
    assert f"L_1000 {pythae:.2f}× ([experiments]" in README
    new, old = saved("annealed_against_zen4")["medians"].values()
    assert f"Annealing takes {new / old:.2f} of the time that it took before" in page


@pytest.mark.parametrize("batch", [128, 1024])
def test_a_second_process(batch: int) -> None:
    found = saved("many_devices")["results"]["speed"][f"batch {batch} a process"]
    _, one, two, sharded = cells(DEVICES, f"{batch:,} |")
    assert numbers(one) == [round(found["rows_per_second"]["1 process"], -2)]
    for text, name in ((two, "2 processes, ddp"), (sharded, "2 processes, fsdp")):
        assert numbers(text) == [round(found["rows_per_second"][name], -2), found["times_one_process"][name]]
