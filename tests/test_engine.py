from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from lowerbound.data import InMemory
from lowerbound.losses import LossOutput
from lowerbound.training import engine
from lowerbound.training.engine import Engine
from lowerbound.training.loop import train


@pytest.mark.parametrize(
    "arguments, words",
    [
        ({"precision": "fp16", "device": "cpu"}, "fp16 needs a CUDA device"),
        ({"devices": 0}, "devices=0"),
        ({"devices": 10**6, "device": "cpu"}, "devices=1000000 and this machine has room for"),
    ],
)
def test_refusals(arguments: dict[str, object], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        Engine(**arguments)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "name, value, words",
    [
        ("RANK", "abc", "RANK='abc'; expected a whole number from 0"),
        ("LOCAL_WORLD_SIZE", "0", "LOCAL_WORLD_SIZE='0'; expected a whole number from 1"),
        ("SLURM_NTASKS", "4", "no SLURM_NTASKS_PER_NODE; ask for --ntasks-per-node"),
    ],
)
def test_an_environment_that_no_launcher_makes_is_refused(
    name: str, value: str, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(ValueError, match=words):
        _ = Engine(device="cpu").fabric


@pytest.mark.parametrize("device", ["cuda", "mps"])
def test_a_device_that_is_not_there_is_refused(device: engine.Device, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "_present", lambda: ["cpu"])
    with pytest.raises(ValueError, match=f"No {device} device is available here; use one of cpu, or auto"):
        Engine(device=device)


def test_fp16_is_refused_where_auto_means_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "_present", lambda: ["cpu"])
    with pytest.raises(ValueError, match="use bf16 or fp32"):
        Engine(precision="fp16")


def test_auto_takes_the_fastest_device_there_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "_present", lambda: ["cpu", "cuda"])
    assert Engine().accelerator == "cuda"
    assert Engine(device="cpu").accelerator == "cpu"


def test_one_process_is_its_own_mean() -> None:
    here = Engine(device="cpu")
    assert (here.rank, here.world_size, here.torch_device) == (0, 1, torch.device("cpu"))
    assert torch.equal(here.mean(torch.arange(3.0)), torch.arange(3.0))


class Watched(nn.Module):
    """Notes the precision in which its layer computes."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(3, 1)
        self.seen: set[torch.dtype] = set()

    def forward(self, x: Tensor) -> LossOutput:
        y = self.layer(x)
        self.seen.add(y.dtype)
        loss = (y.float() - x.sum(-1, keepdim=True)).square().mean()
        return LossOutput(loss, {"bound": -loss.detach()})


@pytest.mark.parametrize("precision, dtype", [("fp32", torch.float32), ("bf16", torch.bfloat16)])
def test_precision_is_that_of_layers_and_not_of_weights(precision: engine.Precision, dtype: torch.dtype) -> None:
    loss = Watched()
    records = list(
        train(
            loss,
            InMemory(torch.randn(40, 3)),
            num_steps=60,
            batch_size=20,
            lr=0.05,
            log_every=20,
            engine=Engine(device="cpu", precision=precision),
        )
    )
    assert loss.seen == {dtype}
    assert loss.layer.weight.dtype == torch.float32
    assert records[-1].terms["bound"] > records[0].terms["bound"]
