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
from lowerbound.gradients import DReG, Pathwise, ScoreFunction
from lowerbound.models import vae
from lowerbound.objectives import ELBO, IWAE
from lowerbound.steps import Adam, CannotCompile, CompiledStep, EagerStep

torch.manual_seed(0)
x = torch.rand(20, 3).round()
pairs = [(IWAE(), DReG()), (IWAE(), Pathwise()), (ELBO("kl"), Pathwise()), (IWAE(), ScoreFunction())]
for objective, gradient in pairs:
    def make():
        torch.manual_seed(1)
        return VariationalLoss(vae((3,), latent_dim=2, hidden=(4,)), objective, gradient, 5)
    compiled = CompiledStep(make(), InMemory(x).transform, None)
    eager = EagerStep(make(), InMemory(x).transform, Engine(device="cpu"), Adam, None)
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
