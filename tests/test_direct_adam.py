"""The direct update has the bits of torch's own, whatever gradients and groups there are."""

from __future__ import annotations

import torch
from torch import nn

from lowerbound.optimizers import Adam, AdamW
from lowerbound.training.direct_adam import DirectAdam, has_direct_update


def _trained(direct: bool, steps: int) -> tuple[list[torch.Tensor], dict[str, object]]:
    torch.manual_seed(0)
    nets = [nn.Linear(5, 4), nn.Linear(4, 3)]
    groups = [
        {"params": list(nets[0].parameters()), "lr_factor": 1.0},
        {"params": list(nets[1].parameters()), "betas": (0.5, 0.99), "weight_decay": 0.1},
    ]
    optimizer = Adam()(groups)
    assert has_direct_update(optimizer)
    update = DirectAdam(optimizer).step if direct else optimizer.step
    for i in range(steps):
        optimizer.param_groups[1]["lr"] = 0.01 * (i + 1)
        out = nets[0](torch.randn(7, 5))
        (nets[1](out).square().sum() if i != 3 else out.sum()).backward()  # in step 3 the second net has no gradient
        update()
        optimizer.zero_grad(set_to_none=True)
    return [p.detach() for net in nets for p in net.parameters()], optimizer.state_dict()


def test_updates_have_the_bits_of_torch() -> None:
    (own, state), (expected, other) = _trained(True, 8), _trained(False, 8)
    for a, b in zip(own, expected, strict=True):
        assert torch.equal(a, b)
    torch.testing.assert_close(state, other, rtol=0, atol=0)


def test_other_optimisers_keep_their_own_step() -> None:
    parameters = [nn.Parameter(torch.ones(3))]
    assert not has_direct_update(AdamW()(list(parameters)))
    assert not has_direct_update(torch.optim.Adam(parameters))
    assert not has_direct_update(torch.optim.Adam(parameters, fused=True, amsgrad=True))
    assert not has_direct_update(Adam()([nn.Parameter(torch.ones(3, dtype=torch.float64))]))
