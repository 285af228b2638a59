"""What `train` takes as data."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, IterableDataset, TensorDataset

from lowerbound.data import InMemory
from lowerbound.data.feed import Batches, OfDataset
from lowerbound.losses import LossOutput
from lowerbound.training.checkpoint import Checkpoint
from lowerbound.training.held_out import HeldOut
from lowerbound.training.loop import train

X = torch.arange(20.0)[:, None].expand(20, 2).contiguous()
Y = torch.arange(20) % 3


class Notes(nn.Module):
    """Notes the rows that it is shown."""

    def __init__(self) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.ones(2))
        self.seen: list[list[float]] = []

    def forward(self, x: Tensor) -> LossOutput:
        assert x.dtype == torch.float32
        self.seen.append(x[:, 0].tolist())
        loss = (self.w * x / 20 + torch.randn(2)).square().mean()
        return LossOutput(loss, {"bound": -loss.detach()})


class NotesLabels(Notes):
    def forward(self, x: Tensor, y: Tensor) -> LossOutput:  # type: ignore[override]
        assert y.tolist() == [int(i) % 3 for i in x[:, 0]]
        return super().forward(x)


class Stream(IterableDataset):
    def __iter__(self):
        return iter([(X[:5], Y[:5]), (X[5:8], Y[5:8])])


def shown(data, loss: Notes | None = None, **plan) -> tuple[list[list[float]], list[float]]:
    loss = Notes() if loss is None else loss
    records = list(train(loss, data, num_steps=6, log_every=2, **plan))
    return loss.seen, [r.epoch for r in records]


@pytest.mark.parametrize(
    "data",
    [X, X.numpy(), X.double().numpy(), X.long(), X.numpy().astype(np.uint8), (X,), InMemory(X), TensorDataset(X, Y)],
    ids=["tensor", "array", "float64 array", "int64 tensor", "uint8 array", "tuple", "source", "data set"],
)
def test_rows_with_numbers_come_in_the_same_order_whatever_holds_them(data) -> None:
    if isinstance(data, Tensor) and not data.is_floating_point():
        data = data.float() if isinstance(data, InMemory) else data
    expected = shown(InMemory(X), batch_size=5)
    assert shown(data, batch_size=5) == expected
    assert expected[1] == [0.5, 1.0, 1.5]


@pytest.mark.parametrize("data", [(X, Y), (X.numpy(), Y.numpy()), TensorDataset(X, Y), DataLoader(TensorDataset(X, Y))])
def test_labels_go_to_a_loss_that_asks_for_them(data) -> None:
    assert len(shown(data, NotesLabels())[0]) == 6


def test_a_loader_makes_its_own_batches_and_only_x_is_data() -> None:
    seen, epochs = shown(DataLoader(TensorDataset(X, Y), batch_size=8))
    assert seen == [list(range(8)), list(range(8, 16)), list(range(16, 20))] * 2
    assert epochs == pytest.approx([2 / 3, 4 / 3, 2.0])


def test_a_loader_is_shuffled_by_the_seed_of_training() -> None:
    def order(seed: int) -> list[list[float]]:
        torch.rand(3)
        return shown(DataLoader(TensorDataset(X), batch_size=10, shuffle=True), seed=seed)[0]

    assert order(1) == order(1)
    assert order(1) != order(2)


@pytest.mark.parametrize("data", [[X[:5], X[5:8]], Stream(), DataLoader(Stream(), batch_size=None)])
def test_any_iterable_of_batches_is_gone_through_again_and_again(data) -> None:
    assert shown(data)[0] == [list(range(5)), list(range(5, 8))] * 3


def test_a_generator_ends_after_one_pass_and_says_so() -> None:
    with pytest.raises(ValueError, match="generator gave no batch on pass 2"):
        shown(x for x in X.split(4))


def test_a_run_over_a_loader_cannot_be_resumed_and_says_so(tmp_path) -> None:
    assert not Batches([X]).resumable
    with pytest.raises(ValueError, match="got a checkpoint and a DataLoader"):
        shown(DataLoader(TensorDataset(X)), checkpoint=Checkpoint(path=tmp_path / "state"))


def test_a_run_over_a_data_set_resumes_to_the_bit(tmp_path) -> None:
    def run(loss: Notes, stop: int | None = None, **plan) -> Tensor:
        for record in train(loss, TensorDataset(X, Y), num_steps=6, batch_size=3, log_every=2, **plan):
            if record.step == stop:
                break
        return loss.w.detach()

    whole = run(Notes())
    checkpoint = Checkpoint(path=tmp_path / "state", every=0.0)
    run(Notes(), 2, checkpoint=checkpoint)
    assert torch.equal(run(Notes(), checkpoint=checkpoint), whole)


def test_held_out_rows_may_be_anything_with_numbers() -> None:
    bounds = []
    for source in (X, X.numpy(), TensorDataset(X, Y), OfDataset(TensorDataset(X))):
        plan = HeldOut(source=source, every=6)
        bounds += [r.held_out["bound"] for r in train(Notes(), X, num_steps=6, held_out=plan) if r.held_out]
    assert len(bounds) == 4
    assert len(set(bounds)) == 1
    with pytest.raises(ValueError, match="where rows must have numbers"):
        next(train(Notes(), X, num_steps=6, held_out=HeldOut(source=DataLoader(TensorDataset(X)), every=1)))


@pytest.mark.parametrize(
    "data, sentence",
    [
        ("digits", "got str where rows must have numbers"),
        (7, "got int where rows must have numbers"),
        ((X, "labels"), "got tuple where rows must have numbers"),
        ([{"x": X}], "a batch holds dict and the loss takes 1 tensors"),
    ],
)
def test_what_is_no_data_is_refused(data, sentence) -> None:
    with pytest.raises(ValueError, match=sentence):
        shown(data)


def test_a_batch_size_beside_a_loader_is_refused() -> None:
    with pytest.raises(ValueError, match="makes batches itself"):
        shown(DataLoader(TensorDataset(X)), batch_size=5)
