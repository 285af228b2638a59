"""The compiled step with the library's own losses, in a process without the run-time type checks of this suite."""

from __future__ import annotations

import subprocess
import sys

import pytest

SCRIPT = """
import torch
from lowerbound import VariationalLoss
from lowerbound.data import InMemory
from lowerbound.engine import Engine
from lowerbound.gradients import DensityRatio, DReG, Pathwise, ScoreFunction
from lowerbound.models import vae
from lowerbound.objectives import ELBO, IWAE
from lowerbound.optimizers import Adam
from lowerbound.steps import CannotCompile, CompiledStep, EagerStep

torch.manual_seed(0)
x = torch.rand(20, 3).round()
pairs = [(IWAE(), DReG()), (IWAE(), Pathwise()), (ELBO("kl"), Pathwise()), (IWAE(), ScoreFunction())]
for objective, gradient in pairs:
    def make():
        torch.manual_seed(1)
        return VariationalLoss(vae((3,), latent_dim=2, hidden=(4,)), objective, gradient, 5)
    compiled = CompiledStep(make(), InMemory(x).transform, None)
    eager = EagerStep(make(), InMemory(x).transform, Engine(device="cpu"), Adam(), None)
    compiled.prepare((x,))
    rows = []
    for step in (compiled, eager):
        torch.manual_seed(0)
        rows.append(torch.stack([step((x,), 0.1) for _ in range(3)]))
    torch.testing.assert_close(*rows, rtol=1e-4, atol=1e-5)
def players():
    torch.manual_seed(1)
    model = vae((3,), latent_dim=2, hidden=(4,), posterior="implicit:noise_dim=2")
    return VariationalLoss(model, ELBO(), DensityRatio(2, 3, contrast=4, hidden=8), 1)
compiled = CompiledStep(players(), InMemory(x).transform, None)
eager = EagerStep(players(), InMemory(x).transform, Engine(device="cpu"), Adam(), None)
compiled.prepare((x,))
rows = []
for step in (compiled, eager):
    torch.manual_seed(0)
    rows.append(torch.stack([step((x,), 0.1) for _ in range(3)]))
torch.testing.assert_close(*rows, rtol=1e-4, atol=1e-5)
flow = VariationalLoss(vae((3,), latent_dim=2, hidden=(4,), prior="flow-prior:transforms=1"), ELBO(), Pathwise())
try:
    CompiledStep(flow, InMemory(x).transform, None).prepare((x,))
except CannotCompile as error:
    print("refused:", error)
"""


@pytest.mark.slow
def test_the_compiled_step_is_the_eager_one_for_every_kind_of_gradient_and_refuses_flows():
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    assert "refused: This loss cannot be compiled as one graph" in done.stdout


CHAINS = """
import torch
from lowerbound import LatentVariableModel, VariationalLoss, likelihoods, posteriors, priors
from lowerbound.gradients import Pathwise
from lowerbound.models.ladder_autoencoder import ladder
from lowerbound.models.layered import deep_latent_gaussian
from lowerbound.nets import MLP
from lowerbound.objectives import ELBO, FreeBits, IWAE

torch.manual_seed(0)
x = torch.rand(5, 3).round()
small = {"latent_dims": [2, 1], "hidden": [[4], [4]]}

def path():
    prior = priors.Path([priors.residual_group(4, 2, 3, depth=3) for _ in range(3)], start=4)
    groups = [posteriors.DiagonalNormal(MLP([4, 6], [], (2, 2))) for _ in range(3)]
    q = posteriors.TopDownPath(prior, MLP(3, [], 6), groups)
    return LatentVariableModel(prior=prior, likelihood=likelihoods.Bernoulli(MLP(4, [], 3)), posterior=q)

for model in (path(), ladder((3,), **small), deep_latent_gaussian((3,), **small)):
    for objective in (IWAE(), FreeBits(per="group"), ELBO("kl")):
        if objective != IWAE() and not isinstance(model.infer(x), posteriors.top_down.TopDownChain):
            continue  # a bottom-up posterior has no closed rate
        loss = VariationalLoss(model, objective, Pathwise(), 2)
        loss(x)  # torch finds the formula of a KL once, before it can be traced
        named = dict(loss.named_parameters())
        def value(values):
            return torch.func.functional_call(loss, dict(zip(named, values)), (x,))
        def run(values):
            return torch.func.grad_and_value(value, has_aux=True)(values)
        found = []
        for f in (torch.compile(run, backend="eager", fullgraph=True, dynamic=False), run):
            torch.manual_seed(1)
            gradients, (bound, _) = f([p.detach() for p in named.values()])
            found.append(torch.cat([bound[None], *(g.flatten() for g in gradients)]))
        torch.testing.assert_close(*found)
print("traced")
"""


@pytest.mark.slow
def test_losses_on_chains_are_one_graph():
    done = subprocess.run([sys.executable, "-c", CHAINS], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    assert "traced" in done.stdout


PIXELS = """
import torch
from lowerbound import VariationalLoss
from lowerbound.gradients import DReG, Pathwise
from lowerbound.losses import Auxiliary
from lowerbound.models import pixel_vae
from lowerbound.objectives import ELBO, IWAE

torch.manual_seed(0)
x = torch.rand(5, 3, 2).round()
for causal in ("convolution", "transformer"):
    def model(likelihood="bernoulli"):
        options = {"latent_dim": 2, "hidden": [4], "channels": 4, "layers": 2, "position_dropout": 0.2}
        return pixel_vae((3, 2), likelihood=likelihood, causal=causal, **options)
    losses = [
        VariationalLoss(model(), ELBO("kl"), Pathwise()),
        VariationalLoss(model("discretized-logistic-mixture:num_levels=2"), IWAE(), DReG(), 3),
        Auxiliary(model(), ELBO("kl"), Pathwise(), hidden=[4]),
    ]
    for loss in losses:
        loss(x)
        named = dict(loss.named_parameters())
        def value(values):
            return torch.func.functional_call(loss, dict(zip(named, values)), (x,))
        def run(values):
            return torch.func.grad_and_value(value, has_aux=True)(values)
        found = []
        for f in (torch.compile(run, backend="eager", fullgraph=True, dynamic=False), run):
            torch.manual_seed(1)
            gradients, (bound, _) = f([p.detach() for p in named.values()])
            found.append(torch.cat([bound[None], *(g.flatten() for g in gradients)]))
        torch.testing.assert_close(*found)
print("traced")
"""


@pytest.mark.slow
def test_losses_of_pixels_are_one_graph():
    done = subprocess.run([sys.executable, "-c", PIXELS], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    assert "traced" in done.stdout
