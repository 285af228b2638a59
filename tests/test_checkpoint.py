"""A checkpoint is whole or it is the old one, and a run that was left goes on with the same bits."""

from __future__ import annotations

import errno
import os
from dataclasses import asdict
from pathlib import Path
from typing import Any

import jaxtyping
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from lowerbound.data import InMemory
from lowerbound.losses import LossOutput
from lowerbound.schedules import Cosine
from lowerbound.training.checkpoint import BestWeights, Checkpoint, CheckpointError, write_atomically
from lowerbound.training.held_out import HeldOut
from lowerbound.training.loop import train
from lowerbound.training.record import Record

OF_THE_COMPILER = pytest.mark.filterwarnings("ignore:`torch.jit.script_method` is deprecated:DeprecationWarning")


@pytest.fixture
def without_type_checks(monkeypatch: pytest.MonkeyPatch) -> None:
    """The run-time type checks of this test suite cannot be compiled."""
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)


class Noisy(nn.Module):
    """Draws random numbers, and has dropout and a buffer that counts."""

    count: Tensor

    def __init__(self, *, counts: bool = True) -> None:
        super().__init__()
        self.counts = counts
        self.net = nn.Sequential(nn.Linear(3, 8), nn.Dropout(0.3), nn.Tanh(), nn.Linear(8, 3))
        self.register_buffer("count", torch.zeros(()))

    def forward(self, x: Tensor) -> LossOutput:
        if self.training and self.counts:
            self.count += 1
        loss = (self.net(x + 0.1 * torch.randn_like(x)) - x).square().mean()
        return LossOutput(loss, {"bound": -loss.detach()})


def noisy(*, counts: bool = True) -> Noisy:
    torch.manual_seed(4)
    return Noisy(counts=counts)


def run(loss: nn.Module, path: Path | None = None, *, leave_at: int | None = None, **changes: Any) -> list[Record]:
    """Train for 40 steps with a record every 7, leaving after the record at step `leave_at`."""
    x = torch.randn(30, 3, generator=torch.Generator().manual_seed(0))
    plan: dict[str, Any] = {
        "num_steps": 40,
        "batch_size": 8,
        "lr": Cosine(0.05, 0.001, 40),
        "clip_norm": 1.0,
        "seed": 9,
        "log_every": 7,
        "held_out": HeldOut(source=InMemory(x[25:]), every=5, patience=50),
        "checkpoint": None if path is None else Checkpoint(path=path, every=0.0),
        **changes,
    }
    records = []
    for record in train(loss, InMemory(x[:25]), **plan):
        records.append(record)
        if record.step == leave_at:
            break
    return records


def without_time(records: list[Record]) -> list[dict[str, Any]]:
    return [{k: v for k, v in asdict(record).items() if k != "seconds"} for record in records]


def same_state(a: nn.Module, b: nn.Module) -> bool:
    return all(torch.equal(p, q) for p, q in zip(a.state_dict().values(), b.state_dict().values(), strict=True))


@OF_THE_COMPILER
@pytest.mark.usefixtures("without_type_checks")
@pytest.mark.parametrize("compile", [False, pytest.param(True, marks=pytest.mark.slow)])
@pytest.mark.parametrize("leave_at", [7, 21, 35, 40])
def test_a_run_that_was_left_goes_on_with_the_same_bits(leave_at: int, compile: bool, tmp_path: Path) -> None:
    whole, first, second = noisy(counts=not compile), noisy(counts=not compile), Noisy(counts=not compile)
    expected = run(whole, compile=compile)
    before = run(first, tmp_path / "state", leave_at=leave_at, compile=compile)
    torch.rand(3)
    after = run(second, tmp_path / "state", compile=compile)
    assert without_time(before + after) == without_time(expected)
    assert same_state(second, whole)


def test_a_run_left_at_every_record_goes_on_with_the_same_bits(tmp_path: Path) -> None:
    whole = noisy()
    expected, records = run(whole), []
    loss: nn.Module = noisy()
    for step in (7, 14, 21, 28, 35, 40):
        records += run(loss, tmp_path / "state", leave_at=step)
        loss = Noisy()
    run(loss, tmp_path / "state")
    assert without_time(records) == without_time(expected)
    assert same_state(loss, whole)


def test_an_error_in_the_body_leaves_a_checkpoint_to_go_on_from(tmp_path: Path) -> None:
    whole, first, second = noisy(), noisy(), Noisy()
    expected = run(whole)
    x = torch.randn(30, 3, generator=torch.Generator().manual_seed(0))
    plan = Checkpoint(path=tmp_path / "state", every=1e9)
    records = train(
        first,
        InMemory(x[:25]),
        num_steps=40,
        batch_size=8,
        lr=Cosine(0.05, 0.001, 40),
        clip_norm=1.0,
        seed=9,
        log_every=7,
        held_out=HeldOut(source=InMemory(x[25:]), every=5, patience=50),
        checkpoint=plan,
    )
    next(records), next(records)
    assert not plan.exists()
    records.close()  # what leaving the loop by a break or an error does
    assert without_time(run(second, tmp_path / "state")) == without_time(expected[2:])
    assert same_state(second, whole)


def test_a_finished_run_yields_nothing_more_and_has_its_best_weights(tmp_path: Path) -> None:
    whole, second = noisy(), Noisy()
    run(whole, tmp_path / "state")
    assert run(second, tmp_path / "state") == []
    assert same_state(second, whole)


def test_a_run_that_stopped_early_stays_stopped(tmp_path: Path) -> None:
    """And patience goes on counting where it was left: the best bound comes at 7, and two evaluations are no better."""
    changes: dict[str, Any] = {"lr": 0.0, "held_out": HeldOut(source=InMemory(torch.randn(5, 3)), every=1, patience=2)}
    run(noisy(), tmp_path / "state", leave_at=14, **changes)
    rest = run(Noisy(), tmp_path / "state", **changes)
    assert [(r.step, r.stopped is not None) for r in rest] == [(21, True)]
    assert run(Noisy(), tmp_path / "state", **changes) == []


def test_the_time_of_earlier_parts_counts(tmp_path: Path) -> None:
    before = run(noisy(), tmp_path / "state", leave_at=14)
    after = run(Noisy(), tmp_path / "state")
    assert after[0].seconds > before[-1].seconds > 0


@pytest.mark.parametrize("former", [True, False])
def test_a_run_of_many_rows_goes_on_in_its_own_order(
    former: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A checkpoint of before order 2 does not name its order, which is that of a permutation in memory."""
    path = tmp_path / "checkpoint"
    with monkeypatch.context() as patched:
        if not former:
            patched.setattr("lowerbound.data.numbered.KEYED_ABOVE", 10)
        whole = run(noisy())
        run(noisy(), path, leave_at=14)
    monkeypatch.setattr("lowerbound.data.numbered.KEYED_ABOVE", 10)
    groups, numbers = Checkpoint(path=path).load()
    assert numbers["order"] == 2
    if former:
        del numbers["order"]
        Checkpoint(path=path).save(groups, numbers)
    rest = run(noisy(), path)
    assert without_time(rest) == without_time(whole)[2:]
    assert Checkpoint(path=path).load()[1]["order"] == (1 if former else 2)


def test_seconds_that_were_waited_are_added_up(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint"
    run(noisy(), path, leave_at=14)
    groups, numbers = Checkpoint(path=path).load()
    Checkpoint(path=path).save(groups, {**numbers, "waited": 5.0})
    assert run(noisy(), path)[-1].waited == 5


def test_an_order_that_is_not_known_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "checkpoint"
    run(noisy(), path, leave_at=14)
    groups, numbers = Checkpoint(path=path).load()
    Checkpoint(path=path).save(groups, {**numbers, "order": 3})
    with pytest.raises(CheckpointError, match="takes rows in order 3, which this version does not know"):
        run(noisy(), path)


def test_another_optimizer_is_resumed_too(tmp_path: Path) -> None:
    def momentum(parameters: Any) -> torch.optim.Optimizer:
        return torch.optim.SGD(parameters, lr=1.0, momentum=0.9)

    whole, first, second = noisy(), noisy(), Noisy()
    run(whole, optimizer=momentum)
    run(first, tmp_path / "state", leave_at=14, optimizer=momentum)
    run(second, tmp_path / "state", optimizer=momentum)
    assert same_state(second, whole)


def test_what_is_saved_comes_back(tmp_path: Path) -> None:
    plan = Checkpoint(path=tmp_path / "state")
    groups = {"loss": {"a.b/c": torch.randn(2, 3), "count": torch.tensor(3)}, "best": {"a": torch.randn(3, 2).T}}
    plan.save(groups, {"step": 3, "nothing": None, "pi": 0.1})
    loaded, state = plan.load()
    assert state == {"step": 3, "nothing": None, "pi": 0.1}
    for name, group in groups.items():
        assert loaded[name].keys() == group.keys()
        assert all(torch.equal(loaded[name][key], tensor) for key, tensor in group.items())


def test_a_missing_file(tmp_path: Path) -> None:
    plan = Checkpoint(path=tmp_path / "state")
    assert not plan.exists()
    with pytest.raises(CheckpointError, match="There is no checkpoint at"):
        plan.load()


@pytest.mark.parametrize("kept", [0, 5, 100, -1])
def test_a_truncated_file(kept: int, tmp_path: Path) -> None:
    path = tmp_path / "state"
    Checkpoint(path=path).save({"loss": {"a": torch.randn(100)}}, {"step": 1})
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(CheckpointError, match="is not a checkpoint"):
        Checkpoint(path=path).load()


@pytest.mark.parametrize("metadata", [None, {"state": "{not json"}, {"format": "pt"}])
def test_a_foreign_file_of_the_same_format(metadata: dict[str, str] | None, tmp_path: Path) -> None:
    save_file({"a": torch.zeros(2)}, str(tmp_path / "state"), metadata=metadata)
    with pytest.raises(CheckpointError, match="is not a checkpoint"):
        Checkpoint(path=tmp_path / "state").load()


def test_a_checkpoint_of_another_loss_is_refused_in_one_sentence(tmp_path: Path) -> None:
    run(noisy(), tmp_path / "state", leave_at=7)
    other = Noisy()
    other.net = nn.Sequential(nn.Linear(3, 3))
    with pytest.raises(CheckpointError, match="another model"):
        run(other, tmp_path / "state")


def no_space(descriptor: int) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


def test_the_old_file_stays_when_the_disk_refuses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "state"
    write_atomically(path, b"old")
    monkeypatch.setattr(os, "fsync", no_space)
    with pytest.raises(OSError, match="No space left"):
        write_atomically(path, b"new")
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["state"]


def test_training_says_that_the_disk_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "state"
    run(noisy(), path, leave_at=7)
    before = path.read_bytes()
    monkeypatch.setattr(os, "fsync", no_space)
    with pytest.raises(CheckpointError, match="No space left on device"):
        run(Noisy(), path)
    assert path.read_bytes() == before


def test_the_new_file_is_on_the_disk_before_it_takes_the_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    happened = []
    fsync, replace = os.fsync, os.replace
    monkeypatch.setattr(os, "fsync", lambda descriptor: (happened.append("flushed"), fsync(descriptor))[1])
    monkeypatch.setattr(os, "replace", lambda old, new: (happened.append("named"), replace(old, new))[1])
    write_atomically(tmp_path / "state", b"new")
    assert happened[:2] == ["flushed", "named"]
    assert (tmp_path / "state").read_bytes() == b"new"


def test_saving_waits_for_its_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    saved: list[int] = []
    monkeypatch.setattr(Checkpoint, "save", lambda self, groups, state: saved.append(state["step"]))
    run(noisy(), checkpoint=Checkpoint(path=tmp_path / "state", every=1e9))
    assert saved == [40]
    run(noisy(), checkpoint=Checkpoint(path=tmp_path / "state", every=0.0))
    assert saved == [40, 7, 14, 21, 28, 35, 40]


def test_best_weights_are_those_of_the_largest_bound() -> None:
    module = nn.Linear(2, 1)
    best = BestWeights(module)
    offered = {}
    for bound in (-3.0, -1.0, float("nan"), -2.0, -1.0):
        nn.init.normal_(module.weight)
        offered.setdefault(bound, module.weight.detach().clone())
        best.offer(bound)
    best.restore()
    assert torch.equal(module.weight, offered[-1.0])
    assert best.bound == -1.0


def test_without_an_offer_the_weights_stay() -> None:
    module = nn.Linear(2, 1)
    before = module.weight.detach().clone()
    BestWeights(module).restore()
    assert torch.equal(module.weight, before)


def test_tensors_that_share_memory_are_saved_each(tmp_path):
    shared, checkpoint = torch.arange(6.0), Checkpoint(path=tmp_path / "state")
    checkpoint.save({"loss": {"a": shared, "b": shared, "tail": shared[2:]}}, {"step": 0})
    loaded = checkpoint.load()[0]["loss"]
    assert torch.equal(loaded["a"], shared)
    assert torch.equal(loaded["b"], shared)
    assert torch.equal(loaded["tail"], shared[2:])


@pytest.mark.parametrize("links", [True, False])
def test_a_new_file_takes_no_place_that_is_taken(links: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.EPERM, "Operation not permitted")  # as a disk without hard links does

    if not links:
        monkeypatch.setattr(os, "link", refuse)
    write_atomically(tmp_path / "x", b"first", new=True)
    (tmp_path / "link").symlink_to(tmp_path / "none")
    for name in ("x", "link"):
        with pytest.raises(FileExistsError):
            write_atomically(tmp_path / name, b"second", new=True)
    assert (tmp_path / "x").read_bytes() == b"first"
    assert sorted(file.name for file in tmp_path.iterdir()) == ["link", "x"]
