"""Two processes on the CPU, over gloo, train losses that leave parameters without a gradient, and two players."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = """
import json, sys
import torch
from lowerbound.data import InMemory
from lowerbound.training.engine import Engine
from lowerbound.gradients import DensityRatio, Pathwise
from lowerbound.training.held_out import HeldOut
from lowerbound.training.loop import train
from lowerbound.losses import Aggressive, Autoencoding, VariationalLoss
from lowerbound.models import vae
from lowerbound.objectives import ELBO

name, devices = sys.argv[1], int(sys.argv[2])
if __name__ == "__main__":
    torch.manual_seed(0)
    model = vae((6,), latent_dim=3, hidden=[8], prior="mixture-normal:components=2")
    if name == "players":
        model = vae((6,), latent_dim=3, hidden=[8], posterior="implicit:noise_dim=2")
        loss = VariationalLoss(model, ELBO(), DensityRatio(3, 6, contrast=4, hidden=8))
    else:
        aggressive = Aggressive(model, ELBO(), Pathwise(), num_encoder_steps=2)
        loss = Autoencoding(model) if name == "autoencoding" else aggressive
    x = torch.rand(48, 6, generator=torch.Generator().manual_seed(1)).gt(0.5).float()
    engine, phases = Engine(device="cpu", devices=devices), []
    for record in train(loss, x, num_steps=24, batch_size=16, lr=0.02, log_every=3, accumulate=2,
                        held_out=HeldOut(source=x[:20], every=3), engine=engine):
        phases.append(getattr(loss, "phase", None))
    total = sum(p.double().sum().item() for p in loss.parameters())
    with open(f"{sys.argv[3]}/{engine.rank}.json", "w") as file:  # lines of two processes would run into each other
        json.dump([phases, total, record.held_out["estimate" if name == "players" else "bound"]], file)
"""


@pytest.mark.slow
@pytest.mark.parametrize("name", ["aggressive", "autoencoding", "players"])
def test_parts_without_a_gradient_hold_up_no_other_process(name: str, tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text(SCRIPT)
    command = [sys.executable, str(tmp_path / "script.py"), name]
    found = {}
    for devices in ("1", "2"):
        folder = tmp_path / devices
        folder.mkdir()
        words = [*command, devices, str(folder)]
        done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=300)
        assert done.returncode == 0, done.stderr[-2000:]
        found[devices] = [json.loads(path.read_text()) for path in sorted(folder.iterdir())]
    first, second = found["2"]
    assert first == second  # the same phases, weights and bound in both
    if name != "players":  # whose estimate swings in its first steps
        assert first[2] == pytest.approx(found["1"][0][2], abs=0.3)
    if name == "aggressive":
        assert {"decoder", "both"} == set(first[0])
