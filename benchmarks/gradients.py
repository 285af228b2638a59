"""Time and peak memory of a training step with each gradient estimator: 784-200-200-50 and back, batch 100, Adam.

python benchmarks/gradients.py [--repeats 15] [--num-samples 2] [--batch-size 100] [--only NAME …]

Estimators evaluate the likelihood at different numbers of latents for the same `num_samples`: at two of their own
choosing, at both ends of a coin, at 4 d + 1 points. Each is therefore set against the plain estimator of its posterior
(`Pathwise`, or `ScoreFunction` where there is no path) *with as many likelihood evaluations per datum*, which are
counted. Estimators are discovered: what the library exports and does not refuse is measured.
"""

from __future__ import annotations

import argparse
import json
import statistics
import warnings
from collections.abc import Callable

import torch
from contenders import binary_images
from timing import RESULTS, interleave, machine
from torch import Tensor
from torch.profiler import ProfilerActivity, profile

import lowerbound as lb
from lowerbound import baselines, gradients, objectives
from lowerbound.spelling import choices, construct

Step = Callable[[], object]

LATENT_DIM = 50
PROBLEMS = {
    "DiagonalNormal, ELBO": ("diagonal-normal", "standard-normal", "elbo", "pathwise"),
    "DiagonalNormal, IWAE": ("diagonal-normal", "standard-normal", "iwae", "pathwise"),
    "MixtureNormal, ELBO": ("mixture-normal", "standard-normal", "elbo", "pathwise"),
    "Bernoulli, ELBO": ("bernoulli", "bernoulli", "elbo", "score-function"),
    "Bernoulli, IWAE": ("bernoulli", "bernoulli", "iwae", "score-function"),
    "Categorical, ELBO": ("categorical", "categorical", "elbo", "score-function"),
}


def estimator(name: str) -> object:
    """By its name; a baseline stands after a plus sign."""
    given = {"event_shape": (784,), "latent_dim": LATENT_DIM, "num_data": 60_000}
    name, _, baseline = name.partition(" + ")
    if baseline:
        return gradients.ScoreFunction(construct(baselines, baseline, **given))
    return construct(gradients, name, **given)


def names() -> list[str]:
    with_baselines = [f"score-function + {name}" for name in choices(baselines) if name != "leave-one-out"]
    return [*choices(gradients), *with_baselines]


def make_loss(problem: str, name: str, num_samples: int) -> lb.VariationalLoss:
    posterior, prior, objective, _ = PROBLEMS[problem]
    torch.manual_seed(0)
    model = lb.models.vae(
        (784,), latent_dim=LATENT_DIM, hidden=(200, 200), activation="tanh", posterior=posterior, prior=prior
    )
    return lb.VariationalLoss(model, construct(objectives, objective), estimator(name), num_samples)


def step_of(loss: lb.VariationalLoss, x: Tensor) -> Step:
    """One step of Adam, eager: estimators with derivatives of their own inside do not compile."""
    optimizer = torch.optim.Adam(loss.parameters(), lr=1e-4, fused=True)

    def step() -> None:
        loss(x).loss.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    return step


def evaluations(loss: lb.VariationalLoss, x: Tensor) -> int | None:
    """How many latents per datum the likelihood is evaluated at in one step; None where the pair is refused."""
    try:
        loss.check(x)  # which evaluates some latents too, before they are counted
    except ValueError:
        return None
    counts: list[int] = []
    hook = loss.model.likelihood.net.register_forward_hook(
        lambda module, inputs, outputs: counts.append(outputs.numel() // x.numel())
    )
    try:
        loss(x)
    except ValueError:
        return None
    finally:
        hook.remove()
    return sum(counts)


def peak_mebibytes(step: Step) -> float:
    """The most that a step holds above what it began with: allocations and releases in order of time."""
    with warnings.catch_warnings(), profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        warnings.simplefilter("ignore")
        step()
    events = [e for e in profiler.profiler.kineto_results.events() if e.name() == "[memory]"]
    level = peak = 0
    for event in sorted(events, key=lambda e: e.start_ns()):
        level += event.nbytes()
        peak = max(peak, level)
    return peak / 2**20


def measure(problem: str, wanted: list[str], x: Tensor, num_samples: int, repeats: int) -> dict[str, dict[str, object]]:
    """The accepted estimators of one problem, each beside the plain one with as many evaluations."""
    plain, counted, steps = PROBLEMS[problem][3], {}, {}
    for name in wanted:
        loss = make_loss(problem, name, num_samples)
        count = evaluations(loss, x[:2])
        if count is None:
            continue
        counted[name], steps[name] = count, step_of(loss, x)
        reference = f"{plain} of {count}"
        if reference not in steps:
            steps[reference] = step_of(make_loss(problem, plain, count), x)
    seconds = interleave({f"{problem}: {name}": step for name, step in steps.items()}, repeats, warmup=3)
    medians = {name: 1e3 * statistics.median(seconds[f"{problem}: {name}"]) for name in steps}
    memory = {name: peak_mebibytes(step) for name, step in steps.items()}
    rows: dict[str, dict[str, object]] = {}
    for name, count in counted.items():
        reference = f"{plain} of {count}"
        rows[name] = {
            "evaluations": count,
            "median_ms": round(medians[name], 3),
            "time_over_plain": round(medians[name] / medians[reference], 3),
            "peak_mebibytes": round(memory[name], 1),
            "memory_over_plain": round(memory[name] / memory[reference], 3),
        }
    return rows


def print_table(results: dict[str, dict[str, dict[str, object]]]) -> None:
    print(f"{'':<34}{'evaluations':>12}{'ms':>10}{'time ×':>9}{'MiB':>9}{'memory ×':>10}")
    for problem, rows in results.items():
        print(problem)
        for name, row in rows.items():
            numbers = f"{row['evaluations']:>12}{row['median_ms']:>10}{row['time_over_plain']:>9}"
            print(f"  {name:<32}{numbers}{row['peak_mebibytes']:>9}{row['memory_over_plain']:>10}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--num-samples", type=int, default=2)
    parser.add_argument("--batch-size", type=int, default=100)
    parser.add_argument("--only", nargs="*", help="estimators to measure; nothing is saved then")
    arguments = parser.parse_args()
    x = binary_images(arguments.batch_size)
    results = {
        problem: measure(problem, arguments.only or names(), x, arguments.num_samples, arguments.repeats)
        for problem in PROBLEMS
    }
    print_table(results)
    if not arguments.only:
        protocol = (
            f"milliseconds and MiB of one eager training step: 784-200-200-{LATENT_DIM} and back, tanh, batch "
            f"{arguments.batch_size}, num_samples {arguments.num_samples}, Adam, CPU; each over the plain estimator of "
            "the same posterior and objective with as many likelihood evaluations per datum"
        )
        RESULTS.mkdir(exist_ok=True)
        content = {"protocol": protocol, "machine": machine(), "results": results}
        (RESULTS / "gradients.json").write_text(json.dumps(content, indent=2) + "\n")


if __name__ == "__main__":
    main()
