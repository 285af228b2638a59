from __future__ import annotations

import pytest
import torch

from lowerbound.randomness import derive_seed, forked

CPU = torch.device("cpu")


def test_seeds_differ_for_keys_that_differ_in_value_order_or_length() -> None:
    keys = [(0,), (1,), (0, 0), (0, 1), (1, 0), (0, 0, 1), (2**40, 0)]
    seeds = [derive_seed(*key) for key in keys]
    assert len(set(seeds)) == len(keys)
    assert seeds == [derive_seed(*key) for key in keys]


def test_seeds_fit_in_63_bits() -> None:
    assert all(0 <= derive_seed(i, 7) < 2**63 for i in range(100))


def test_the_numbers_depend_on_the_key_alone() -> None:
    def draw(*key: int) -> torch.Tensor:
        with forked(CPU, *key):
            return torch.rand(4)

    first = draw(3, 1)
    torch.rand(17)
    assert torch.equal(draw(3, 1), first)
    assert not torch.equal(draw(3, 2), first)


def test_the_caller_draws_what_it_would_have_drawn() -> None:
    torch.manual_seed(5)
    expected = torch.rand(4)
    torch.manual_seed(5)
    with forked(CPU, 0):
        torch.rand(9)
    assert torch.equal(torch.rand(4), expected)


def test_the_state_is_restored_after_an_error_too() -> None:
    before = torch.get_rng_state()
    with pytest.raises(RuntimeError, match="size of tensor"), forked(CPU, 0):
        torch.rand(9) + torch.rand(8)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_the_generator_of_the_device_is_forked_too() -> None:
    device = torch.device("cuda", 0)
    before = torch.cuda.get_rng_state()
    with forked(device, 3):
        first = torch.rand(4, device=device)
    with forked(device, 3):
        second = torch.rand(4, device=device)
    assert torch.equal(first, second)
    assert torch.equal(torch.cuda.get_rng_state(), before)
