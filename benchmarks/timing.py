"""Interleaved timing: contenders take turns, so that a drift of the machine's speed meets them all alike."""

from __future__ import annotations

import json
import multiprocessing
import os
import platform
import resource
import statistics
import time
from collections.abc import Callable, Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

__all__ = ["CLOCKS", "interleave", "machine", "peak_mebibytes", "report"]

RESULTS = Path(__file__).parent / "results"


CLOCKS: Mapping[str, Callable[[], float]] = {"wall": time.perf_counter, "cpu": time.process_time}
"""Seconds that pass, for a quiet machine; or those that this process computes, for one that others share."""


def interleave(
    contenders: Mapping[str, Callable[[], object]], repeats: int, warmup: int = 1, clock: str = "wall"
) -> dict[str, list[float]]:
    """Seconds of each call: `warmup` rounds uncounted, then `repeats` rounds in which every contender runs once."""
    now = CLOCKS[clock]
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    for round_ in range(warmup + repeats):
        for name, call in contenders.items():
            start = now()
            call()
            taken = now() - start
            if round_ >= warmup:
                seconds[name].append(taken)
                print(f"round {round_ - warmup + 1}/{repeats}  {name:<32} {taken:9.4f} s", flush=True)
    return seconds


def peak_mebibytes(call: Callable[[], object]) -> float:
    """How much the resident memory of a process rises while it calls this, at most: of a copy of this process."""
    here, there = multiprocessing.Pipe(duplex=False)

    def run() -> None:
        before = int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
        call()
        there.send(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024 - before / 2**20)

    child = multiprocessing.get_context("fork").Process(target=run)
    child.start()
    there.close()
    found = here.recv()
    child.join()
    return round(found, 1)


def machine() -> dict[str, Any]:
    """What the figures depend on."""
    names = ("lowerbound", "torch", "numpy", "pythae", "pyro-ppl", "jax")
    return {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "python": platform.python_version(),
        "versions": {name: v for name in names if (v := _version(name))},
    }


def report(
    name: str,
    protocol: str,
    seconds: dict[str, list[float]],
    unit: float,
    unit_name: str,
    baseline: str,
    more: Mapping[str, Mapping[str, float]] | None = None,
) -> None:
    """Print medians, ratios to a baseline and what else is known of each contender; save them as results/NAME.json."""
    medians = {contender: statistics.median(times) * unit for contender, times in seconds.items()}
    rows = {
        contender: {
            f"median_{unit_name}": round(median, 4),
            f"min_{unit_name}": round(min(seconds[contender]) * unit, 4),
            f"max_{unit_name}": round(max(seconds[contender]) * unit, 4),
            f"time_over_{baseline}": round(median / medians[baseline], 3),
            **({} if more is None else more[contender]),
        }
        for contender, median in medians.items()
    }
    RESULTS.mkdir(exist_ok=True)
    content = {"protocol": protocol, "machine": machine(), "results": rows}
    (RESULTS / f"{name}.json").write_text(json.dumps(content, indent=2) + "\n")
    for contender, row in rows.items():
        print(f"{contender:<32}", *(f"{key} {value}" for key, value in row.items()))


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "unknown")


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
