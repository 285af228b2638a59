"""What trains without complaint and means nothing is refused before the first step, also from a loop of one's own."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from lowerbound.baselines import LeaveOneOut
from lowerbound.data import InMemory
from lowerbound.fitted import Fitted
from lowerbound.gradients import (
    ARM,
    DReG,
    Pathwise,
    RaoBlackwell,
    ReweightedWakeSleep,
    ScoreFunction,
    StickTheLanding,
    VarGrad,
)
from lowerbound.inference import SemiAmortised
from lowerbound.likelihoods import Bernoulli, ContinuousBernoulli
from lowerbound.losses import Autoencoding, LossOutput, MonteCarloEM, VariationalLoss, WakeSleep
from lowerbound.losses.loss import require_rows
from lowerbound.model import LatentVariableModel
from lowerbound.models import vae
from lowerbound.nets import MLP
from lowerbound.objectives import CUBO, ELBO, IWAE, LogVariance
from lowerbound.posteriors import DiagonalNormal
from lowerbound.priors import StandardNormal
from lowerbound.protocols import Estimate
from lowerbound.support import Support, unit_interval
from lowerbound.training.held_out import HeldOut
from lowerbound.training.loop import train
from lowerbound.weights import weigh

BITS = {"prior": "bernoulli", "posterior": "bernoulli"}


class Proportions(ContinuousBernoulli):
    """Says that x lies in [0, 1]."""

    @property
    def support(self) -> Support:
        return unit_interval


def model(**choices: str) -> LatentVariableModel:
    torch.manual_seed(0)
    return vae((4,), latent_dim=2, hidden=(3,), **choices)


def of_nets(encoder: nn.Module, decoder: nn.Module) -> LatentVariableModel:
    return LatentVariableModel(
        prior=StandardNormal(2), likelihood=Bernoulli(decoder, 4), posterior=DiagonalNormal(encoder, 2)
    )


def proportions() -> LatentVariableModel:
    net = MLP(4, [], (2, 2))
    return LatentVariableModel(
        prior=StandardNormal(2), likelihood=Proportions(MLP(2, [], 4)), posterior=DiagonalNormal(net)
    )


REFUSED = {
    "IWAE with StickTheLanding": (lambda: VariationalLoss(model(), IWAE(), StickTheLanding(), 4), "use DReG"),
    "ELBO with DReG": (lambda: VariationalLoss(model(), ELBO(), DReG(), 4), "use StickTheLanding"),
    "an upper bound": (lambda: VariationalLoss(model(), CUBO(), Pathwise(), 4), "upper bound"),
    "bits against a density": (
        lambda: VariationalLoss(model(prior="bernoulli"), ELBO(), ScoreFunction(), 4),
        "bounds nothing",
    ),
    "a path through bits": (lambda: VariationalLoss(model(**BITS), ELBO(), Pathwise(), 4), r"use ScoreFunction\(\)"),
    "one sample of LeaveOneOut": (lambda: VariationalLoss(model(**BITS), ELBO(), ScoreFunction(), 1), "got 1: there"),
    "one sample of VarGrad": (lambda: VariationalLoss(model(**BITS), ELBO(), VarGrad(), 1), "for a variance"),
    "one sample of RWS": (lambda: VariationalLoss(model(**BITS), IWAE(), ReweightedWakeSleep(), 1), "at least 2"),
    "one sample of RaoBlackwell": (lambda: VariationalLoss(model(**BITS), ELBO(), RaoBlackwell(), 1), "got 1: there"),
    "three samples of ARM": (lambda: VariationalLoss(model(**BITS), ELBO(), ARM(), 3), "even number"),
    "the variance of one sample": (lambda: VariationalLoss(model(), LogVariance(), Pathwise(), 1), "for a variance"),
}


@pytest.mark.parametrize("make, sentence", REFUSED.values(), ids=REFUSED)
def test_train_refuses_before_the_first_step(make, sentence, tmp_path) -> None:
    loss = make()
    before = [p.clone() for p in loss.parameters()]
    with pytest.raises(ValueError, match=sentence):
        next(train(loss, torch.ones(6, 4), num_steps=1))
    assert all(torch.equal(p, q) for p, q in zip(before, loss.parameters(), strict=True))
    with pytest.raises(ValueError, match=sentence):
        make()(torch.ones(6, 4))


@pytest.mark.parametrize(
    "estimator, objective",
    [(ScoreFunction(LeaveOneOut()), ELBO()), (RaoBlackwell(), ELBO()), (VarGrad(), ELBO()), (ARM(), ELBO())],
    ids=lambda each: type(each).__name__,
)
def test_check_sees_the_number_of_samples(estimator, objective) -> None:
    """By itself, as a plan asks it before any model is trained."""
    q = model(**BITS).infer(torch.ones(2, 4))
    estimator.check(objective, q, 2)
    with pytest.raises(ValueError, match="num_samples"):
        estimator.check(objective, q, 1)


@pytest.mark.parametrize(
    "make",
    [
        lambda m: VariationalLoss(m, ELBO(), Pathwise()),
        lambda m: WakeSleep(m, ELBO(), 2),
        lambda m: MonteCarloEM(m, 2),
        Autoencoding,
    ],
)
def test_data_outside_of_the_support_are_refused(make) -> None:
    """Grey levels 0 … 255 as floats gave a bound of +605,436,112 nats."""
    levels = torch.randint(0, 256, (6, 4), generator=torch.Generator().manual_seed(0)).float()
    with pytest.raises(ValueError, match=r"takes numbers in \[0, 1\]"):
        next(train(make(proportions()), levels, num_steps=1))
    next(train(make(proportions()), levels / 255, num_steps=1))


def test_a_row_that_is_not_among_the_first_two_is_looked_at_too() -> None:
    x = torch.rand(6, 4)
    x[5, 3] = 200
    with pytest.raises(ValueError, match="x holds 200 at row 5, column 3"):
        VariationalLoss(proportions(), ELBO(), Pathwise())(x)


def test_the_first_batch_alone_is_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    checks: list[int] = []
    monkeypatch.setattr(Pathwise, "check", lambda *args: checks.append(1))
    loss = VariationalLoss(model(), ELBO(), Pathwise())
    for _ in range(3):
        loss(torch.ones(6, 4))
    assert len(checks) == 1
    assert not any("checked" in name for name in loss.state_dict())
    list(train(loss, torch.ones(6, 4), num_steps=4, held_out=HeldOut(source=torch.ones(3, 4), every=1), log_every=1))
    assert len(checks) == 2


def test_the_check_leaves_no_trace() -> None:
    """Neither in random numbers, nor in the averages of a baseline, nor in the buffers of a net."""

    class Counts(nn.Linear):
        def __init__(self) -> None:
            super().__init__(4, 4)
            self.register_buffer("calls", torch.zeros(()))

        def forward(self, x: Tensor) -> Tensor:
            self.calls += 1
            return super().forward(x).unflatten(-1, (2, 2))

    def run(*, checked: bool) -> tuple[Tensor, ...]:
        torch.manual_seed(1)
        encoder = Counts()
        made = VariationalLoss(of_nets(encoder, MLP(2, [], 4)), ELBO(), Pathwise(), 2)
        if not checked:
            made.check = lambda *args: None  # type: ignore[method-assign]
        made._checked_in = True
        list(train(made, InMemory(torch.ones(6, 4)), num_steps=3))
        return encoder.calls, *(p.detach() for p in made.parameters())

    assert all(torch.equal(a, b) for a, b in zip(run(checked=True), run(checked=False), strict=True))


def test_the_check_of_the_first_batch_uses_up_no_random_number() -> None:
    """Nor do the draws of an inference scheme, or dropout, while it looks at q."""
    encoder = nn.Sequential(nn.Dropout(0.5), MLP(4, [], (2, 2)))
    for inference in (None, SemiAmortised(num_steps=2)):
        loss = VariationalLoss(of_nets(encoder, MLP(2, [], 4)), ELBO(), Pathwise(), 2, inference=inference)
        values = []
        for _ in range(2):
            torch.manual_seed(3)
            values.append(loss(torch.ones(6, 4)).loss.item())
        assert values[0] == values[1]


def test_a_posterior_needs_no_density_that_its_estimator_does_not_ask_for() -> None:
    class Unweighted(Pathwise):
        """Scores samples by the likelihood and a rate of zero, as a learned ratio would."""

        def estimate(self, objective, posterior, joint, num_samples):
            z = posterior.rsample((num_samples,))
            w = weigh(posterior, joint, z, log_q=-z.square().sum(-1))
            return Estimate(surrogate=objective.reduce(objective.signal(w)), weights=w)

    class Implicit(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = MLP(4, [], (2, 2))

        def forward(self, context: Tensor):
            q = DiagonalNormal(self.net)(context)

            def without_density(value: Tensor) -> Tensor:
                raise NotImplementedError

            q.log_prob = without_density  # type: ignore[method-assign]
            return q

    made = model()
    made.posterior = Implicit()
    next(train(VariationalLoss(made, ELBO(), Unweighted(), 2), torch.ones(6, 4), num_steps=1))
    with pytest.raises(ValueError, match="no density"):
        next(train(VariationalLoss(made, ELBO(), Pathwise(), 2), torch.ones(6, 4), num_steps=1))
    with pytest.raises(ValueError, match="ScoreFunction needs a density or draws that Normal does not have"):
        next(train(VariationalLoss(made, ELBO(), ScoreFunction(), 2), torch.ones(6, 4), num_steps=1))


@pytest.mark.parametrize("where", ["encoder", "decoder"])
def test_batch_norm_is_refused_in_training_mode(where: str) -> None:
    encoder = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4) if where == "encoder" else nn.Identity())
    decoder = nn.Sequential(nn.BatchNorm1d(2) if where == "decoder" else nn.LayerNorm(2), nn.Linear(2, 4))
    made = of_nets(nn.Sequential(encoder, nn.Unflatten(-1, (2, 2))), decoder)
    loss = VariationalLoss(made, ELBO(), Pathwise())
    loss.eval()(torch.ones(6, 4))  # whose statistics are constants
    with pytest.raises(ValueError, match="with which the density of one row depends on the other rows"):
        loss.train()(torch.ones(6, 4))
    with pytest.raises(ValueError, match="GroupNorm"):
        next(train(loss, torch.ones(6, 4), num_steps=1))


def test_batch_norm_in_eval_mode_stays_there_in_training() -> None:
    norm = nn.BatchNorm1d(2)
    made = of_nets(nn.Sequential(nn.Linear(4, 4), nn.Unflatten(-1, (2, 2))), nn.Sequential(norm, nn.Linear(2, 4)))
    loss = VariationalLoss(made, ELBO(), Pathwise())
    norm.eval()
    x = (torch.arange(24.0).reshape(6, 4) > 11).float()
    held_out = HeldOut(source=x, every=1)
    records = list(train(loss, x, num_steps=3, log_every=1, held_out=held_out))
    assert (len(records), norm.training, norm.num_batches_tracked.item()) == (3, False, 0)
    norm.eval()
    loss(x)
    loss.train()  # as between epochs of a loop of one's own: the norm is in training mode again
    with pytest.raises(ValueError, match="depends on the other rows"):
        loss(x)


@pytest.mark.parametrize(
    "given, words",
    [
        (lambda x: (x, x), "got a tuple and expected a tensor of rows .*; take the rows out of it"),
        (lambda x: x.numpy(), "got a ndarray and expected a tensor"),
        (lambda x: x[:0], r"shape \(0, 4\) and needs at least one row"),
        (lambda x: x.double(), "x in float64 and the model computes in float32; give x.to"),
    ],
)
def test_what_is_no_batch_of_rows_is_refused_in_a_sentence(given, words) -> None:
    with pytest.raises(ValueError, match=words):
        require_rows(model(), given(torch.ones(6, 4)), "VariationalLoss")


def test_other_modules_are_trained_as_they_are() -> None:
    class Plain(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.w = nn.Parameter(torch.ones(()))

        def forward(self, x: Tensor) -> LossOutput:
            return LossOutput(self.w * x.mean(), {"bound": x.mean()})

    assert next(train(Plain(), torch.ones(6, 4), num_steps=1)).step == 1


def test_every_row_in_memory_is_looked_at_before_the_first_step() -> None:
    loss = VariationalLoss(model(likelihood="poisson"), ELBO(), Pathwise())
    x = torch.ones(1000, 4)
    x[999, 2] = 2.5
    with pytest.raises(ValueError, match=r"x holds 2\.5 at row 999, column 2; Poisson takes counts"):
        next(train(loss, x, num_steps=5, batch_size=4))
    with pytest.raises(ValueError, match=r"x holds 2\.5 at row 1007, column 2"):
        next(train(loss, x, num_steps=5, batch_size=4, row_numbers=np.arange(8, 1008)))


def test_a_posterior_net_of_another_length_than_stated_is_refused() -> None:
    encoder = nn.Sequential(nn.Linear(4, 8), nn.Unflatten(1, (2, 4)))
    made = LatentVariableModel(
        prior=StandardNormal(4), likelihood=Bernoulli(MLP(4, [], 4), 4), posterior=DiagonalNormal(encoder, 3)
    )
    with pytest.raises(ValueError, match=r"net of DiagonalNormal gives latents of shape \(4,\), and the latent_shape"):
        next(train(VariationalLoss(made, ELBO(), Pathwise()), torch.zeros(8, 4), num_steps=1))


class MixesRows(nn.Module):
    """Centres over the batch."""

    def __init__(self) -> None:
        super().__init__()
        self.net = MLP(4, [], (2, 2))

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x - x.mean(0))


def test_a_model_by_hand_that_mixes_rows_is_no_fitted_model() -> None:
    with pytest.raises(ValueError, match="a MixesRows, gives a row alone another output than among other rows"):
        Fitted(of_nets(MixesRows(), MLP(2, [], 4)), data=np.tile(np.eye(4, dtype=np.float32), (5, 1)))
