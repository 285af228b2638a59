"""A nonlinear state-space model of a swinging pendulum against the linear-Gaussian one, fitted by the same machinery.

The series are SIMULATED here, so that the state behind them is known: a damped pendulum that is pushed at random,

    dθ = ω dt,      dω = −(9.81 sin θ + 0.2 ω) dt + 1.0 dW,      dt = 0.01,

started at θ ~ U(−2.5, 2.5), ω ~ U(−2, 2) and read every 0.1 s for 5 s: x_t = (sin θ, cos θ) plus noise of standard
deviation 0.1 in each. Both models have the same latent_dim, posterior and training; the linear one has no hidden layer
in its transition and emission. Held-out L_K by importance sampling with the posterior; log p(x) and forecasts of the
next reading, from the tenth on, by a particle filter with p alone. Beside them the error of "as it was", and that of
"as it moved" (the last reading and the last difference); the noise alone is 0.1.

python papers/state_space.py
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor

from lowerbound.data import InMemory
from lowerbound.evaluate import log_evidence, particle_filter, summary
from lowerbound.gradients import Pathwise
from lowerbound.losses import VariationalLoss
from lowerbound.models.directed import DirectedModel
from lowerbound.models.sequence import state_space
from lowerbound.objectives import ELBO
from lowerbound.plots.style import CLASS_COLOURS, DATA, MODEL, new_figure, style_axes
from lowerbound.randomness import forked
from lowerbound.schedules import Exponential
from lowerbound.training.loop import train

RESULTS = Path(__file__).parent / "results"
MODELS: dict[str, tuple[int, ...]] = {"nonlinear": (32,), "linear-Gaussian": ()}


def main() -> None:
    """Read the options; simulate, fit both models, save after each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=3000)
    parser.add_argument("--series", type=int, default=2000)
    parser.add_argument("--test-series", type=int, default=200)
    parser.add_argument("--length", type=int, default=50, help="readings in a series, more than 12")
    parser.add_argument("--latent-dim", type=int, default=4)
    parser.add_argument("--evidence-samples", type=int, default=200)
    parser.add_argument("--particles", type=int, default=50_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=RESULTS / "state_space.json")
    given = parser.parse_args()
    x, _ = pendulum(given.series, given.seed, given.length)
    x_test, angle = pendulum(given.test_series, given.seed + 1, given.length)
    settings = {key: value for key, value in vars(given).items() if key != "out"}
    results: dict[str, Any] = {"protocol": __doc__, "settings": settings, "models": {}}
    fitted = {}
    for name, hidden in MODELS.items():
        model = fitted[name] = made(x, hidden, given.latent_dim, given.seed)
        results["models"][name] = trained(model, x, given) | scores(model, x_test, given)
        print(name, results["models"][name], flush=True)
        given.out.parent.mkdir(exist_ok=True)
        given.out.write_text(json.dumps(results, indent=2) + "\n")
    picture(fitted, x_test, angle, given)


def pendulum(num_series: int, seed: int, length: int) -> tuple[Tensor, Tensor]:
    """Readings (N, T, 2) and the true angle (N, T), radians."""
    generator = np.random.default_rng(seed)
    theta, omega = generator.uniform(-2.5, 2.5, num_series), generator.uniform(-2, 2, num_series)
    angles, dt, every = [], 0.01, 10
    for step in range(length * every):
        if step % every == 0:
            angles.append(theta)
        push = generator.standard_normal(num_series) * dt**0.5
        theta, omega = theta + omega * dt, omega - (9.81 * np.sin(theta) + 0.2 * omega) * dt + push
    angle = np.stack(angles, 1)
    clean = np.stack([np.sin(angle), np.cos(angle)], -1)
    x = clean + 0.1 * generator.standard_normal(clean.shape)
    return torch.as_tensor(x, dtype=torch.float32), torch.as_tensor(angle, dtype=torch.float32)


def made(x: Tensor, hidden: tuple[int, ...], latent_dim: int, seed: int) -> DirectedModel:
    """An untrained model."""
    with forked(torch.device("cpu"), seed):
        model = state_space(x.shape[1:], latent_dim=latent_dim, hidden=hidden, recurrent_dim=32)
    model.initialize(x)
    return model


def trained(model: DirectedModel, x: Tensor, given: argparse.Namespace) -> dict[str, Any]:
    """Adam on the ELBO, the rate falling from 5e-3 to a tenth of it."""
    begun, loss = time.process_time(), VariationalLoss(model, ELBO(), Pathwise())
    every = max(1, given.steps // 10)
    options: dict[str, Any] = {"batch_size": 50, "clip_norm": 100.0, "seed": given.seed, "compile": False}
    lr = Exponential(5e-3, 5e-4, given.steps)
    for record in train(loss, InMemory(x), num_steps=given.steps, lr=lr, log_every=every, **options):
        print(f"step {record.step}: bound {record.terms['bound']:.2f} nats a series", flush=True)
    return {"cpu_seconds_training": time.process_time() - begun, "steps": given.steps}


def scores(model: DirectedModel, x: Tensor, given: argparse.Namespace) -> dict[str, Any]:
    """Held-out bounds, nats a series, and forecasts."""
    evidence = log_evidence(model, x, num_samples=given.evidence_samples, seed=given.seed, max_elements=2**22)
    filtered = particle_filter(model, x, num_particles=given.particles, seed=given.seed)
    return {
        "log_evidence": evidence.mean,
        "standard_error": evidence.standard_error_of_mean,
        "num_samples": given.evidence_samples,
        "filtered_log_evidence": filtered.log_evidence.mean().item(),
        "smallest_effective_sample_size": filtered.effective_sample_size.min().item(),
        "elbo": evidence.mean_elbo,
        "rate": summary(model, x, seed=given.seed).rate,
        "forecast_rmse": rmse(filtered.forecasts, x),
        "as_it_was_rmse": rmse(x[:, :-1], x),
        "as_it_moved_rmse": rmse(2 * x[:, 1:-1] - x[:, :-2], x),
        "parameters_of_p": sum(len(p.flatten()) for p in theta(model)),
    }


def rmse(forecasts: Tensor, x: Tensor) -> float:
    """Root mean square error of one reading, from the tenth of the series on."""
    count = x.shape[1] - 10
    return (forecasts[:, -count:] - x[:, -count:]).square().mean().sqrt().item()


@torch.no_grad()
def picture(fitted: dict[str, DirectedModel], x: Tensor, angle: Tensor, given: argparse.Namespace) -> None:
    """One series with its forecasts; and the inferred states of many, coloured by the true angle."""
    figure = new_figure(9.5, 6.5)
    panels = figure.subplots(2, len(fitted))
    for column, (name, model) in enumerate(fitted.items()):
        ahead = particle_filter(model, x[:1], num_particles=given.particles, seed=given.seed).forecasts[0]
        with forked(x.device, given.seed):
            state = model.infer(x).sample(torch.Size((16,))).mean(0).flatten(0, 1)
        top, bottom = panels[0, column], panels[1, column]
        seconds = np.arange(x.shape[1]) / 10
        top.plot(seconds, x[0, :, 0], ".", color=DATA, label="sin θ, measured")
        top.plot(seconds, angle[0].sin(), color=CLASS_COLOURS[2], linewidth=1, label="sin θ, true")
        top.plot(seconds[5:], ahead[5:, 0], color=MODEL, label="forecast one step ahead")
        style_axes(top, title=f"{name}: forecasts", x="time (s)", y="sin θ", small=True)
        _, _, basis = torch.linalg.svd(state - state.mean(0), full_matrices=False)
        flat = (state - state.mean(0)) @ basis[:2].mT
        dots = bottom.scatter(*flat.mT, c=angle.flatten().sin(), s=2, cmap="cividis")
        style_axes(bottom, title=f"{name}: inferred states", x="first component", y="second component", small=True)
        figure.colorbar(dots, ax=bottom, label="true sin θ")
    panels[0, 0].legend(fontsize=7, loc="lower left")
    figure.savefig(given.out.with_suffix(".png"))


def theta(model: DirectedModel) -> list[Tensor]:
    """The parameters of p."""
    parts = cast(list[torch.nn.Module], [model.prior, model.likelihood])
    return [p for part in parts for p in part.parameters()]


if __name__ == "__main__":
    main()
