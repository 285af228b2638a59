"""Layers divided among processes (`--strategy fsdp`) learn what whole ones do, from and to the same checkpoint."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, distributed, nn

from lowerbound.data import load
from lowerbound.fitting.planning import plan
from lowerbound.fitting.preparing import prepare
from lowerbound.gradients import REBAR, Pathwise
from lowerbound.losses import Autoencoding, LossOutput, VariationalLoss
from lowerbound.models import vae
from lowerbound.objectives import ELBO
from lowerbound.optimizers import Adam, optimizer_for
from lowerbound.training import sharding
from lowerbound.training.engine import Engine
from lowerbound.training.sharded_state import state_here
from lowerbound.training.sharding import SMALLEST, Shards, check_sharded

WIDE = 257


class Reconstruction(nn.Module):
    """Two large layers, small ones, and a number that no layer holds."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))
        self.register_buffer("seen", torch.zeros(()))
        layers = [nn.Linear(6, WIDE), nn.Tanh(), nn.Linear(WIDE, WIDE), nn.Tanh(), nn.Linear(WIDE, WIDE), nn.Tanh()]
        self.net = nn.Sequential(*layers, nn.Linear(WIDE, 6)).double()

    def forward(self, x: Tensor) -> LossOutput:
        loss = (self.scale * self.net(x.double()) - x.double()).square().mean()
        return LossOutput(loss, {"bound": -loss.detach()})


def _vae(hidden: int = 256) -> VariationalLoss:
    return VariationalLoss(vae((256,), latent_dim=2, hidden=[hidden]), ELBO(), Pathwise())


def _normed() -> nn.Module:
    return nn.Sequential(nn.Linear(256, 256), nn.BatchNorm1d(256))


@pytest.mark.parametrize(
    "loss, optimizer, words",
    [
        (lambda: Autoencoding(_vae().model), Adam(), "trains the variational loss and this is Autoencoding; use ddp"),
        (lambda: VariationalLoss(_vae().model, ELBO(), REBAR()), Adam(), "got REBAR; use ddp"),
        (_vae, torch.optim.LBFGS, "adam, adamw, adamax or sgd"),
        (_normed, Adam(), "no BatchNorm"),
        (lambda: _vae(hidden=64), Adam(), f"{SMALLEST:,} numbers and more, and there is none here"),
    ],
    ids=["loss", "gradient", "optimizer", "batch-norm", "small"],
)
def test_what_cannot_be_divided_is_refused(loss: Any, optimizer: Any, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        check_sharded(loss(), optimizer)


def test_half_precision_with_a_scale_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValueError, match="fsdp trains in fp32 or bf16"):
        Engine(precision="fp16", strategy="fsdp")


@pytest.fixture
def one_process(tmp_path: Path) -> Iterator[None]:
    """A group of one, which divides nothing but takes the same way."""
    distributed.init_process_group("gloo", init_method=f"file://{tmp_path / 'group'}", rank=0, world_size=1)
    yield
    distributed.destroy_process_group()


@pytest.mark.usefixtures("one_process")
def test_gradients_norms_and_the_layers_that_come_back() -> None:
    torch.manual_seed(0)
    loss, x = Reconstruction(), torch.randn(8, 6)
    layers, before = list(loss.modules()), {n: p.detach().clone() for n, p in loss.named_parameters()}
    loss(x).loss.backward()
    expected = [p.grad.clone() for p in loss.parameters() if p.grad is not None]
    loss.zero_grad(set_to_none=True)
    shards = Shards(loss, torch.device("cpu"))
    assert sum(a is not b for a, b in zip(loss.modules(), layers, strict=True)) == 2
    optimizer = optimizer_for(loss, shards.over_own(Adam()))
    parts = optimizer.param_groups[0]["params"]
    loss(x).loss.backward()
    shards.collect_gradients()
    for part, gradient in zip(parts, expected, strict=True):
        torch.testing.assert_close(part.grad, gradient)
    norms = shards.whole_norms([part.grad.norm() for part in parts])
    torch.testing.assert_close(torch.stack([n.double() for n in norms]), torch.stack([g.norm() for g in expected]))
    groups = {"loss": state_here(loss), "optimizer": {"1/exp_avg": torch.zeros_like(parts[1])}}
    there_and_back = shards.parts(shards.whole(groups))
    assert all(torch.equal(there_and_back["loss"][name], before[name]) for name in before)
    with torch.no_grad():
        parts[3].add_(1.0)
    shards.give_back()
    assert all(a is b for a, b in zip(loss.modules(), layers, strict=True))
    changed = [n for n, p in loss.named_parameters() if not torch.equal(p, before[n])]
    assert changed == [list(before)[3]]
    assert type(loss.net[2].weight) is nn.Parameter


@pytest.mark.slow
@pytest.mark.usefixtures("one_process")
@pytest.mark.parametrize(
    "given",
    [
        {"network": "convolution", "hidden": [16, 32], "objective": "elbo"},
        {"posterior": "iaf"},
        {"prior": "flow-prior"},
        {"recipe": "very-deep"},
        {"recipe": "draw"},
        {"recipe": "pixel-vae"},
        {"recipe": "autoregressive-rows"},
    ],
    ids=lambda given: next(iter(given.values())),
)
def test_nets_of_every_kind_have_the_gradients_of_whole_layers(
    given: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sharding, "SMALLEST", 64)
    dataset = load("digits")
    planned = plan(dataset, given.pop("recipe", "vae"), **given, device="cpu", steps=100, precision="fp32")
    training = prepare(dataset, planned, planned.engine())
    loss, batch = training.loss, training.source.transform(*training.source.gather(torch.arange(16)))
    loss.check(*batch[:2])
    check_sharded(loss, Adam())

    def backward() -> None:
        torch.manual_seed(0)
        loss(*batch).loss.backward()

    backward()
    expected = {name: p.grad for name, p in loss.named_parameters() if p.requires_grad}
    loss.zero_grad(set_to_none=True)
    shards = Shards(loss, torch.device("cpu"))
    backward()
    shards.collect_gradients()
    for name, p in loss.named_parameters():
        if p.requires_grad:
            torch.testing.assert_close(shards.own(p).grad, expected[name], rtol=1e-4, atol=1e-6, msg=name)


TRAIN = """
import json, sys
from pathlib import Path
import torch
from test_sharding import Reconstruction, _vae
from lowerbound.training.checkpoint import Checkpoint
from lowerbound.training.engine import Engine
from lowerbound.training.held_out import HeldOut
from lowerbound.training.loop import train

if __name__ == "__main__":
    what, strategy, devices, leave_at, folder = sys.argv[1], sys.argv[2], *map(int, sys.argv[3:5]), Path(sys.argv[5])
    torch.manual_seed(0)
    engine = Engine(device="cpu", devices=devices, strategy=strategy, precision="bf16" if what == "bf16" else "fp32")
    loss = Reconstruction() if what == "exact" else _vae()
    x = torch.rand(101, 6 if what == "exact" else 256, generator=torch.Generator().manual_seed(1)).round()
    found = []
    for record in train(loss, x, num_steps=12, batch_size=16, lr=0.01, clip_norm=0.5, log_every=2, ema=0.9,
                        skip_above=100.0, accumulate=2, optimizer="adamw", engine=engine, compile=False,
                        held_out=HeldOut(source=x[:33], every=2, batch_size=16),
                        checkpoint=Checkpoint(path=folder / "state", every=0.0)):
        found.append([record.terms["bound"], record.gradient_norm, record.held_out["bound"]])
        if record.step == leave_at:
            break
    sums = [p.double().norm().item() for p in loss.parameters()]
    (folder / f"{engine.rank}.json").write_text(json.dumps([engine.world_size, found, sums]))
"""


def _trained(folder: Path, what: str, strategy: str, devices: int, leave_at: int = 0, torchrun: int = 0) -> list[Any]:
    """What the first process found."""
    folder.mkdir(exist_ok=True)
    (folder / "train.py").write_text(TRAIN)
    launcher = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={torchrun}"] if torchrun else []
    words = [str(folder / "train.py"), what, strategy, str(devices), str(leave_at), str(folder)]
    path = {"PYTHONPATH": ":".join([str(Path(__file__).parent), *sys.path])}
    done = subprocess.run(
        [sys.executable, *launcher, *words],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
        env={**os.environ, **path},
    )
    assert done.returncode == 0, done.stderr[-3000:]
    found = [json.loads(path.read_text()) for path in sorted(folder.glob("*.json"))]
    assert all(one == found[0] for one in found)
    return found[0]


@pytest.mark.slow
def test_one_two_and_four_processes_give_the_same_losses_and_take_turns_at_one_checkpoint(tmp_path: Path) -> None:
    whole = _trained(tmp_path / "whole", "exact", "ddp", 1)
    turns = [("fsdp", 2, 4, 0), ("ddp", 1, 6, 0), ("fsdp", 1, 10, 4), ("ddp", 2, 0, 0)]
    found = []
    for strategy, devices, leave_at, torchrun in turns:
        for old in (tmp_path / "moved").glob("*.json"):
            old.unlink()
        found.append(_trained(tmp_path / "moved", "exact", strategy, devices, leave_at, torchrun))
    assert [size for size, _, _ in found] == [2, 1, 4, 2]
    records = [record for _, some, _ in found for record in some]
    assert len(records) == len(whole[1])
    for record, expected in zip(records, whole[1], strict=True):
        assert record == pytest.approx(expected, abs=1e-6)
    assert found[-1][2] == pytest.approx(whole[2], rel=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("what", ["vae", "bf16"])
def test_noise_and_precision_are_those_of_whole_layers(what: str, tmp_path: Path) -> None:
    """The same random numbers as DistributedDataParallel, on as many processes."""
    found = [_trained(tmp_path / strategy, what, strategy, 2) for strategy in ("fsdp", "ddp")]
    for record, expected in zip(found[0][1], found[1][1], strict=True):
        assert record == pytest.approx(expected, rel=1e-5 if what == "vae" else 2e-3)
