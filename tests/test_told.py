"""What a part that is told of each step may change, beside what it is to change: the numbers of tensors."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from lowerbound.training.told import Held


@dataclass
class Settings:
    beta: float = 1.0
    more: dict[str, Any] = field(default_factory=lambda: {"rates": [1.0, 2.0]})


@dataclass(slots=True)
class Slotted:
    beta: float = 1.0


class Part(nn.Module):
    weight: Tensor
    settings: Any

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("weight", torch.ones(3))
        self.first, self.second = nn.Linear(2, 2), nn.Linear(2, 2)
        self.used = self.first
        self.settings, self.rates, self.past, self.names = Settings(), [1.0, [2.0]], deque([1]), {"a", "b"}
        self.tables, self.factor, self.pair = [torch.ones(2)], 1, (1, [2])
        self.__dict__["other"] = [nn.Linear(1, 1)]  # known, and no part of it
        self.itself = [self]


CHANGES: dict[str, Callable[[Any], object]] = {
    "number": lambda part: setattr(part, "factor", 2),
    "type of a number": lambda part: setattr(part, "factor", True),
    "added": lambda part: setattr(part, "new", None),
    "deleted": lambda part: delattr(part, "factor"),
    "renamed": lambda part: setattr(part, "itself_too", part.__dict__.pop("itself")),
    "training": lambda part: part.second.eval(),
    "frozen": lambda part: part.first.weight.requires_grad_(False),
    "tensor replaced by its equal": lambda part: setattr(part, "weight", torch.ones(3)),
    "tensor in a list": lambda part: part.tables.__setitem__(0, torch.ones(2)),
    "module in use": lambda part: setattr(part, "used", part.second),
    "part of a module in use": lambda part: setattr(part.used, "weight", nn.Parameter(torch.ones(2, 2))),
    "list": lambda part: part.rates.append(1),
    "order in a list": lambda part: part.rates.reverse(),
    "list in a list": lambda part: part.rates[1].__setitem__(0, 5.0),
    "list in a tuple": lambda part: part.pair[1].append(5),
    "deque": lambda part: part.past.append(1),
    "set": lambda part: part.names.add("c"),
    "plain object": lambda part: setattr(part.settings, "beta", 2.0),
    "deep in a plain object": lambda part: part.settings.more["rates"].__setitem__(0, 3.0),
    "key": lambda part: part.settings.more.__setitem__("rate", part.settings.more.pop("rates")),
    "part of another module": lambda part: setattr(part.other[0], "bias", None),
    "hook": lambda part: part.used.register_forward_hook(lambda *_: None),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES.keys())
def test_a_change_of_more_than_the_numbers_of_tensors_is_seen(change: Callable[[Any], object]) -> None:
    part = Part()
    before = Held([part])
    change(part)
    assert not before.is_as_before()
    assert Held([part]) != before


def test_numbers_of_tensors_may_change_and_an_equal_number_may_be_set() -> None:
    part = Part()
    before = Held([part])
    part.weight.fill_(5.0)
    part.tables[0].add_(1)
    assert before.is_as_before()
    part.settings.beta = float("1")
    assert not before.is_as_before()
    assert Held([part]) == before


def test_an_object_made_anew_is_another_one_where_python_puts_it_in_the_same_place() -> None:
    part = Part()
    for _ in range(20):
        before = Held([part])
        part.settings = None
        part.settings = Settings()
        assert Held([part]) != before


def test_what_cannot_be_followed_counts_as_changed() -> None:
    part = Part()
    part.settings = Slotted()
    before = Held([part])
    assert not before.is_as_before()
    assert Held([part]) != before
