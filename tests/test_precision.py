"""Training in bfloat16: the nets alone are rounded; latents, densities and weights are float32."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from lowerbound.gradients import ARM, DReG, Pathwise, ScoreFunction, StickTheLanding, Stratified, VarGrad
from lowerbound.losses import LossOutput, VariationalLoss
from lowerbound.models import vae
from lowerbound.objectives import ELBO, IWAE, FreeBits
from lowerbound.protocols import Estimate
from lowerbound.training.engine import Engine
from lowerbound.training.loop import train

BITS = {"prior": "bernoulli", "posterior": "bernoulli"}
CASES: list[Any] = [
    (ELBO(), Pathwise(), {}),
    (ELBO("kl"), Pathwise(), {}),
    (ELBO(), StickTheLanding(), {}),
    (IWAE(), DReG(), {}),
    (IWAE(), Pathwise(), {}),
    (FreeBits(0.5), Pathwise(), {}),
    (ELBO(), ScoreFunction(), BITS),
    (IWAE(), ScoreFunction(), BITS),
    (ELBO(), VarGrad(), BITS),
    (ELBO(), ARM(), BITS),
    (IWAE(), DReG(), {"posterior": "full-normal"}),
    (IWAE(), DReG(), {"posterior": "low-rank-normal"}),
    (IWAE(), DReG(), {"posterior": "planar"}),
    (IWAE(), DReG(), {"posterior": "sylvester"}),
    (ELBO(), Stratified(), {"posterior": "mixture-normal"}),
    (IWAE(), DReG(), {"prior": "mixture-normal"}),
    (IWAE(), DReG(), {"prior": "vamp-prior"}),
    (IWAE(), DReG(), {"prior": "flow-prior:transforms=1"}),
    (IWAE(), DReG(), {"posterior": "maf"}),
]


def data() -> Tensor:
    torch.manual_seed(0)
    return (torch.rand(64, 10) < torch.rand(64, 1)).float()


class Watched:
    """An estimator that looks at the weights it passes on."""

    def __init__(self, inner: Any):
        self.inner, self.dtypes = inner, set()
        self.kind = inner.kind

    def estimate(self, *arguments: Any) -> Estimate:
        made = self.inner.estimate(*arguments)
        w = made.weights
        self.dtypes |= {t.dtype for t in (made.surrogate, w.log_likelihood, w.log_prior, w.log_q, w.z)}
        return made

    def check(self, *arguments: Any) -> None:
        self.inner.check(*arguments)


@pytest.mark.parametrize("objective, gradient, choices", CASES, ids=str)
def test_weights_are_float32_and_the_bound_is_that_of_float32(objective: Any, gradient: Any, choices: Any) -> None:
    found = {}
    for precision in ("fp32", "bf16"):
        torch.manual_seed(1)
        watched = Watched(gradient)
        loss = VariationalLoss(vae((10,), latent_dim=2, hidden=(16,), **choices), objective, watched, 4)
        engine = Engine(device="cpu", precision=precision)
        records = list(train(loss, data(), num_steps=24, batch_size=64, lr=1e-2, log_every=24, engine=engine))
        found[precision] = records[-1].terms["bound"]
        assert watched.dtypes == {torch.float32}
    assert found["bf16"] == pytest.approx(found["fp32"], rel=0.005)


def test_data_are_not_rounded() -> None:
    """259 is no bfloat16: as a grey level, a count or a column it would become 260."""
    seen: list[Tensor] = []

    class Notes(torch.nn.Linear):
        def forward(self, x: Tensor) -> LossOutput:
            seen.append(x)
            return LossOutput(super().forward(x).mean(), {"bound": x.mean()})

    x = torch.full((4, 2), 259.0)
    next(train(Notes(2, 1), x, num_steps=1, engine=Engine(device="cpu", precision="bf16")))
    assert bool((seen[0] == 259).all())
