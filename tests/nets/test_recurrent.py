"""What each feature may see, and that steps are what the whole sequence is."""

from __future__ import annotations

import pytest
import torch

from lowerbound.nets.recurrent import BidirectionalGRU, CausalGRU
from lowerbound.nets.steps_of_sequences import StepsNetwork, make_causal_steps, make_whole_steps

NETWORKS = ("gru", "lstm", "transformer", "convolution")


@pytest.mark.parametrize("network", NETWORKS)
def test_causal_features_see_the_past_alone(network: StepsNetwork) -> None:
    net = make_causal_steps(network, 3, 8, 1 if network == "gru" else 2, 6).double()
    x = torch.randn(2, 6, 3, dtype=torch.float64)
    changed = x.clone()
    changed[:, 3] += 1
    difference = (net(changed) - net(x)).abs().amax((0, 2))
    assert bool((difference[:4] == 0).all())
    assert bool((difference[4:] > 0).all())


@pytest.mark.parametrize("network", NETWORKS)
def test_steps_give_the_features_of_the_whole(network: StepsNetwork) -> None:
    net = make_causal_steps(network, 3, 8, 1 if network == "gru" else 2, 6).double()
    x = torch.randn(4, 2, 6, 3, dtype=torch.float64)
    before, state, features = torch.zeros(4, 2, 3).double(), None, []
    for t in range(6):
        h, state = net.step(before, state)
        features.append(h)
        before = x[..., t, :]
    torch.testing.assert_close(torch.stack(features, -2), net(x))


@pytest.mark.parametrize("network", ["gru", "lstm", "transformer"])
def test_features_of_the_whole_see_everything(network: StepsNetwork) -> None:
    net = make_whole_steps(network, 3, 4, 6).double()
    x = torch.randn(2, 6, 3, dtype=torch.float64)
    changed = x.clone()
    changed[:, 3] += 1
    assert net(x).shape == (2, 6, 8)
    assert bool(((net(changed) - net(x)).abs().amax((0, 2)) > 0).all())
    torch.testing.assert_close(net(x[None])[0], net(x))


@pytest.mark.parametrize("make", [BidirectionalGRU, CausalGRU])
def test_another_width_is_refused(make: type) -> None:
    with pytest.raises(ValueError, match=r"got x of shape \(2, 6, 4\) and expected \(..., time, 3\)"):
        make(3, 5)(torch.zeros(2, 6, 4))


def test_a_transformer_does_not_go_beyond_its_steps_and_others_do() -> None:
    for network in NETWORKS:
        net, x, state = make_causal_steps(network, 3, 8, 1, 2), torch.zeros(4, 3), None
        for _ in range(2):
            _, state = net.step(x, state)
        if network != "transformer":
            net.step(x, state)
            continue
        with pytest.raises(ValueError, match="A transformer over 2 steps was asked for step 3; fit it to longer"):
            net.step(x, state)
