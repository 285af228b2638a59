"""What compiling a step gains, for every recipe and choice of this library that differs in kind, or why it cannot.

Each case is a small model; the computing time of its step is the median over rounds that take turns with the eager one.
"seconds to start" is that of the first step of the graph; "difference" the largest of a term or a norm of a gradient
between both forms in the first three steps from the same weights and random numbers, over the value. Each result is
saved as soon as it is there, and what is saved is not computed again. Run twice, the second time with `--warm`, for the
start from the graphs kept on disk. With `--follow` it is only found whether torch's compiler follows a step as one
graph, which takes no C++ compiler and a tenth of the time.

python benchmarks/compiled.py [--only NAME …] [--warm] [--follow] [--rounds 5]
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import time
import warnings
from pathlib import Path
from typing import Any

import torch
from timing import RESULTS, machine

from lowerbound.data import load
from lowerbound.data.given import dataset_of
from lowerbound.fitting.planning import plan
from lowerbound.fitting.preparing import prepare
from lowerbound.losses.guards import to_training
from lowerbound.optimizers import Adam
from lowerbound.training.compiling import keep_graphs
from lowerbound.training.engine import Device
from lowerbound.training.steps import CannotCompile, CompiledStep, EagerStep

STEPS = 20
_DISCRETE = {"prior": "bernoulli", "posterior": "bernoulli", "objective": "elbo", "num_samples": 4}
CASES: dict[str, dict[str, Any]] = {
    "vae, elbo": {"objective": "elbo"},
    "vae, iwae": {},
    "vae, convolution": {"network": "convolution", "hidden": [16, 32], "objective": "elbo"},
    "posterior planar": {"posterior": "planar"},
    "posterior full-normal": {"posterior": "full-normal"},
    "posterior iaf": {"posterior": "iaf"},
    "posterior maf": {"posterior": "maf"},
    "prior flow": {"prior": "flow-prior"},
    "prior vamp": {"prior": "vamp-prior:components=50"},
    "score function, learned baseline": {**_DISCRETE, "gradient": "score-function:baseline=learned"},
    "vimco": {**_DISCRETE, "objective": "iwae", "gradient": "score-function:baseline=leave-one-out"},
    "rebar": {**_DISCRETE, "gradient": "rebar"},
    "relax": {**_DISCRETE, "gradient": "relax"},
    "arm": {**_DISCRETE, "gradient": "arm"},
    "factor-analysis": {"recipe": "factor-analysis"},
    "deep-latent-gaussian": {"recipe": "deep-latent-gaussian"},
    "binary-layers": {"recipe": "binary-layers"},
    "concrete-layers": {"recipe": "concrete-layers"},
    "ladder": {"recipe": "ladder"},
    "very-deep": {"recipe": "very-deep"},
    "biva": {"recipe": "biva"},
    "draw": {"recipe": "draw"},
    "pixel-vae": {"recipe": "pixel-vae"},
    "skip-vae": {"recipe": "skip-vae"},
    "fsq": {"recipe": "fsq"},
    "vq": {"recipe": "vq"},
    "rate-distortion": {"recipe": "rate-distortion"},
    "dvae": {"recipe": "dvae"},
    "avb": {"recipe": "avb"},
    "aae": {"recipe": "aae"},
    "vae-gan": {"recipe": "vae-gan"},
    "cvae": {"recipe": "cvae"},
    "semi-supervised": {"recipe": "semi-supervised"},
    "vade": {"recipe": "vade"},
    "wake-sleep": {"loss": "wake-sleep"},
    "aggressive": {"loss": "aggressive"},
    "language-model": {"recipe": "language-model"},
    "sentence-vae": {"recipe": "sentence-vae"},
    "autoregressive-rows": {"recipe": "autoregressive-rows"},
    "state-space": {"recipe": "state-space"},
    "hidden-markov": {"recipe": "hidden-markov"},
}
OF_SERIES, OF_TEXT = ("state-space", "hidden-markov"), ("language-model", "sentence-vae")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", default=list(CASES), choices=list(CASES))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--warm", action="store_true", help="only the start, of graphs that were kept")
    parser.add_argument("--follow", action="store_true", help="only whether the compiler follows it")
    parser.add_argument("--out", type=Path, default=RESULTS / "compiled.json")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    keep_graphs()
    saved = json.loads(arguments.out.read_text())["results"] if arguments.out.exists() else {}
    for name in arguments.only:
        found = saved.get(name)
        if found is not None and "eager_ms" not in found and not arguments.follow:
            found = None  # it was only followed
        if arguments.warm and found and "seconds_to_start" in found:
            step, raw, _ = made(name)
            found["seconds_to_start_again"] = round(started(step, raw), 2)
        elif found is None and not arguments.warm:
            found = followed(name) if arguments.follow else one(name, arguments.rounds)
        if found is not None:
            saved[name] = found
            print(name, found, flush=True)
            content = {"protocol": __doc__, "machine": machine(), "results": saved}
            arguments.out.write_text(json.dumps(content, indent=1) + "\n")


def made(name: str, device: Device = "cpu") -> tuple[CompiledStep, tuple[torch.Tensor, ...], EagerStep]:
    """Both forms of a step, and a batch."""
    given = dict(CASES[name])
    dataset: Any = load("digits")
    if name in OF_SERIES:
        dataset = dataset_of(torch.randn(200, 12, 3, generator=torch.Generator().manual_seed(0)).numpy())
    if name in OF_TEXT:
        dataset = dataset_of([f"{'a b c d e f g'[: 1 + 2 * (i % 7)]} ." for i in range(200)])
    torch.manual_seed(0)
    planned = plan(dataset, given.pop("recipe", "vae"), **given, device=device, steps=100, precision="fp32")
    engine = planned.engine()
    training = prepare(dataset, planned, engine)
    to_training(training.loss, ())
    raw = training.source.gather(torch.arange(planned.batch_size) % len(training.source))
    compiled = CompiledStep(training.loss, training.source.transform, planned.clip_norm)
    return compiled, raw, EagerStep(training.loss, training.source.transform, engine, Adam(), planned.clip_norm)


def started(step: CompiledStep, raw: tuple[torch.Tensor, ...]) -> float:
    """Seconds of computing, the compiler's own processes included, until the first step is done."""
    begun = time.process_time() + _of_children()
    step.prepare(raw)
    return time.process_time() + _of_children() - begun


def _of_children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def rows(step: CompiledStep | EagerStep, raw: tuple[torch.Tensor, ...]) -> torch.Tensor:
    """Terms and norms of three steps."""
    torch.manual_seed(0)
    return torch.stack([step(raw, 1e-4) for _ in range(3)])


def followed(name: str) -> dict[str, Any]:
    """Whether one graph is made of a step, which torch then runs operation by operation."""
    compile_by_torch = torch.compile
    torch.compile = lambda method, **_: compile_by_torch(  # type: ignore[assignment]
        method, dynamic=False, fullgraph=True, backend="aot_eager"
    )
    try:
        step, raw, _ = made(name)
        step.prepare(raw)
    except (CannotCompile, ValueError) as error:
        return {"refused": str(error)[:300]}
    finally:
        torch.compile = compile_by_torch
        torch._dynamo.reset()
    return {"followed": True}


def one(name: str, rounds: int) -> dict[str, Any]:
    """The times of both forms, or why there is but one."""
    try:
        compiled, raw, eager = made(name)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # of torch's compiler
            start = started(compiled, raw)
    except (CannotCompile, ValueError) as error:  # a choice that digits do not bear is a refusal too, and is shown
        return {"refused": str(error)[:300]}
    expected = rows(made(name)[2], raw)
    difference = ((rows(compiled, raw) - expected).abs() / (1e-2 + expected.abs())).max().item()
    seconds: dict[str, list[float]] = {"eager": [], "compiled": []}
    for form, step in [("eager", eager), ("compiled", compiled)] * (rounds + 1):
        begun = time.process_time()
        for _ in range(STEPS):
            step(raw, 1e-5)
        seconds[form].append((time.process_time() - begun) / STEPS)
    eager_ms, compiled_ms = (1e3 * statistics.median(seconds[form][1:]) for form in ("eager", "compiled"))
    return {
        "eager_ms": round(eager_ms, 3),
        "compiled_ms": round(compiled_ms, 3),
        "eager_over_compiled": round(eager_ms / compiled_ms, 2),
        "seconds_to_start": round(start, 1),
        "difference": float(f"{difference:.1e}"),
    }


if __name__ == "__main__":
    main()
