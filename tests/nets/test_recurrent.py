"""What each feature may see, and that steps are what the whole sequence is."""

from __future__ import annotations

import pytest
import torch

from lowerbound.nets.recurrent import BidirectionalGRU, CausalGRU


def test_causal_features_see_the_past_alone() -> None:
    net = CausalGRU(3, 5).double()
    x = torch.randn(2, 6, 3, dtype=torch.float64)
    changed = x.clone()
    changed[:, 3] += 1
    difference = (net(changed) - net(x)).abs().amax((0, 2))
    assert bool((difference[:4] == 0).all())
    assert bool((difference[4:] > 0).all())


def test_steps_give_the_features_of_the_whole() -> None:
    net = CausalGRU(3, 5).double()
    x = torch.randn(4, 2, 6, 3, dtype=torch.float64)
    before, state, features = torch.zeros(4, 2, 3).double(), None, []
    for t in range(6):
        h, state = net.step(before, state)
        features.append(h)
        before = x[..., t, :]
    torch.testing.assert_close(torch.stack(features, -2), net(x))


def test_bidirectional_features_see_everything() -> None:
    net = BidirectionalGRU(3, 5).double()
    x = torch.randn(2, 6, 3, dtype=torch.float64)
    changed = x.clone()
    changed[:, 3] += 1
    assert net(x).shape == (2, 6, 10)
    assert bool(((net(changed) - net(x)).abs().amax((0, 2)) > 0).all())
    torch.testing.assert_close(net(x[None])[0], net(x))


@pytest.mark.parametrize("make", [BidirectionalGRU, CausalGRU])
def test_another_width_is_refused(make: type) -> None:
    with pytest.raises(ValueError, match=r"got x of shape \(2, 6, 4\) and expected \(..., time, 3\)"):
        make(3, 5)(torch.zeros(2, 6, 4))
