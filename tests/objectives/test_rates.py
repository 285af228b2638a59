"""Objectives that charge the rate in their own way: β, a capacity, free bits."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.distributions import Bernoulli, Independent, OneHotCategorical, kl_divergence

from lowerbound import schedules
from lowerbound.data import InMemory
from lowerbound.exact import EnumerableBernoulli, LinearGaussian
from lowerbound.factors import kl_per_factor
from lowerbound.gradients import Pathwise, StickTheLanding
from lowerbound.losses import VariationalLoss
from lowerbound.models import vae
from lowerbound.objectives import ELBO, BetaELBO, CapacityELBO, FreeBits
from lowerbound.protocols import FollowsSteps, Objective
from lowerbound.testing import check_objective, flat_gradient
from lowerbound.training.held_out import HeldOut
from lowerbound.training.loop import train
from lowerbound.weights import LogWeights, weigh

OBJECTIVES = [
    BetaELBO(),
    BetaELBO(0.5, rate="kl"),
    BetaELBO(warmup=3),
    CapacityELBO(),
    CapacityELBO(2.0, 1.0, 0),
    FreeBits(),
    FreeBits(per="group"),
]


def gaussian(dim=2):
    exact = LinearGaussian.random(3, dim)
    model, x = exact.model(exact.posterior_module(diagonal=True)), exact.sample(4)
    with torch.no_grad():
        model.posterior.log_scale += 0.3 * torch.arange(dim)
    return model, x


def weights(rate, num_samples=3):
    model, x = gaussian()
    q = model.infer(x)
    return weigh(q, model.joint(x), q.rsample((num_samples,)), rate=rate)


def value(objective, w):
    return objective.reduce(objective.signal(w))


@pytest.mark.parametrize("objective", OBJECTIVES, ids=repr)
def test_conformance(objective):
    assert isinstance(objective, Objective)
    check_objective(objective)


# The rate of each factor


@pytest.mark.parametrize("kind", range(3))
def test_the_rate_per_factor_sums_to_the_rate(kind):
    model, x = gaussian()
    q, joint = model.infer(x), model.joint(x)
    if kind:
        base = [Bernoulli, OneHotCategorical][kind - 1]
        logits = [torch.randn(4, 3, 5).double(), torch.randn(3, 5).double()]
        ndims = 3 - kind
        q, p = (Independent(base(logits=each), ndims, validate_args=False) for each in logits)
        joint = dataclasses.make_dataclass(
            "Joint", ["prior", "x"], namespace={"__call__": lambda self, z: (zero, zero)}
        )
        zero = torch.zeros(2, 4).double()
        joint = joint(p, x)
    w = weigh(q, joint, q.sample((2,)), rate="kl")
    assert w.rate_per_factor.shape == [(4, 2), (4, 15), (4, 3)][kind]
    prior = joint.prior.expand(q.batch_shape)
    assert torch.allclose(w.rate_per_factor.sum(-1), kl_divergence(q, prior))
    assert torch.allclose(w.rate[1], kl_divergence(q, prior))
    assert torch.equal(w.rate_per_factor, kl_per_factor(q, joint.prior))


@pytest.mark.parametrize("rate", ["sampled", "entropy"])
def test_other_forms_have_no_rate_per_factor(rate):
    assert weights(rate).rate_per_factor is None


def test_a_pair_that_is_not_of_products_has_no_rate_per_factor():
    exact = LinearGaussian.random(3, 2)
    model, x = exact.model(), exact.sample(4)
    q, full = model.infer(x), model.infer(x[:1])
    joint = dataclasses.replace(model.joint(x), prior=full)
    w = weigh(q, joint, q.rsample((2,)), rate="kl")
    assert w.rate_per_factor is None
    assert torch.isfinite(value(FreeBits(per="group"), w)).all()
    with pytest.raises(ValueError, match=r"both products .* use per='group'"):
        value(FreeBits(), w)


@pytest.mark.parametrize(
    "objective", [BetaELBO(1.0, rate="kl"), CapacityELBO(1.0, 0.0, 0), FreeBits(0.0), FreeBits(0.0, "group")], ids=repr
)
def test_where_they_are_the_elbo_so_are_their_gradients(objective):
    """Exact gradients come from the objective itself and could not tell that a term of it is a constant."""
    model, x = gaussian()
    q = model.infer(x)
    w = weigh(q, model.joint(x), q.rsample((3,)), rate="kl")
    got, expected = (flat_gradient(value(each, w).sum(), model.parameters()) for each in (objective, ELBO("kl")))
    torch.testing.assert_close(got, expected)


# β


@pytest.mark.parametrize("rate", ["sampled", "entropy", "kl"])
def test_beta_one_is_the_elbo_and_beta_zero_the_reconstruction(rate):
    w = weights(rate)
    assert torch.allclose(value(BetaELBO(1.0, rate=rate), w), value(ELBO(rate), w))
    assert torch.allclose(value(BetaELBO(0.0, rate=rate), w), w.log_likelihood.mean(0))
    assert torch.allclose(value(BetaELBO(4.0, rate=rate), w), (w.log_likelihood - 4 * w.rate).mean(0))


@pytest.mark.parametrize(
    "objective, schedule",
    [
        (BetaELBO(2.0, warmup=6), schedules.Linear(0.0, 1.0, 6)),
        (BetaELBO(2.0, warmup=6, anneal="cyclical"), schedules.Cyclical(12, fraction=0.5)),
        (BetaELBO(2.0, schedule=schedules.Sigmoid(0.0, 1.0, 6)), schedules.Sigmoid(0.0, 1.0, 6)),
        (BetaELBO(2.0), schedules.Constant(1.0)),
    ],
    ids=repr,
)
def test_the_weight_follows_its_schedule_in_training_and_is_beta_in_eval_mode(objective, schedule):
    assert isinstance(objective, FollowsSteps)
    w, same = weights("sampled"), objective.annealing.data_ptr()
    assert float(objective.train().weight) == pytest.approx(2 * schedule(0))
    for step in range(20):
        objective.at_step(step)
        expected = (w.log_likelihood - 2 * schedule(step) * w.rate).mean(0)
        assert torch.allclose(value(objective.train(), w), expected, rtol=1e-5)
        assert torch.equal(value(objective.eval(), w), (w.log_likelihood - 2.0 * w.rate).mean(0))
    assert objective.annealing.data_ptr() == same
    objective.train()


def test_beta_says_when_it_is_a_bound():
    assert BetaELBO(1.0).bound == BetaELBO(4.0).bound == "lower"
    assert BetaELBO(0.9).bound == BetaELBO(4.0, warmup=1).bound == "none"
    assert BetaELBO(4.0, schedule=schedules.Constant(1.0)).bound == "none"


def test_a_beta_below_one_exceeds_the_evidence_indeed():
    exact = EnumerableBernoulli.random(3, 4, seed=1)
    x = torch.cartesian_prod(*[torch.arange(2.0, dtype=torch.float64)] * 4)
    assert (exact.bound(BetaELBO(0.0), x, 1) > exact.log_evidence(x)).any()


def test_sticking_the_landing_takes_a_sampled_beta_elbo_only():
    model, x = gaussian()
    VariationalLoss(model, BetaELBO(), StickTheLanding()).check(x)
    with pytest.raises(ValueError, match="no score to remove"):
        VariationalLoss(model, BetaELBO(rate="kl"), StickTheLanding()).check(x)


def test_training_anneals_and_the_held_out_bound_does_not():
    """At the end of a warm-up the two agree; at its start only the training bound is free of the rate."""
    x = (torch.rand(40, 6, generator=torch.Generator().manual_seed(0)) > 0.5).float()
    loss = VariationalLoss(vae((6,), latent_dim=2, hidden=[4]), BetaELBO(1.0, warmup=4), Pathwise(), 2)
    with torch.no_grad():  # a posterior that is far from the prior, and stays there
        loss.model.posterior.net.layers[-1].bias.fill_(3.0)
    held_out = HeldOut(source=InMemory(x), every=1)
    records = [
        *train(loss, InMemory(x), num_steps=6, batch_size=40, lr=1e-6, log_every=1, held_out=held_out, compile=False)
    ]
    charged = []
    for record in records:
        t, h = record.terms, record.held_out
        assert h["bound"] == pytest.approx(h["likelihood"] + h["prior"] - h["posterior"], rel=1e-5)
        charged.append((t["likelihood"] - t["bound"]) / (t["posterior"] - t["prior"]))
    assert charged == pytest.approx([0.0, 0.25, 0.5, 0.75, 1.0, 1.0], abs=1e-4)


# A capacity


def test_capacity_charges_the_distance_from_what_is_allowed():
    w = weights("kl")
    objective = CapacityELBO(gamma=10.0, capacity=8.0, steps=4)
    assert isinstance(objective, FollowsSteps)
    for step, allowed in enumerate([0.0, 2.0, 4.0, 6.0, 8.0, 8.0]):
        objective.at_step(step)
        assert torch.allclose(value(objective.train(), w), w.log_likelihood.mean(0) - 10 * (w.rate[0] - allowed).abs())
        assert torch.allclose(value(objective.eval(), w), w.log_likelihood.mean(0) - 10 * (w.rate[0] - 8).abs())
    assert objective.bound == "none"


def test_a_capacity_of_zero_is_the_beta_elbo():
    w = weights("kl")
    assert torch.allclose(value(CapacityELBO(3.0, 0.0, 0), w), value(BetaELBO(3.0, rate="kl"), w))


# Free bits


def test_free_bits_of_zero_are_the_elbo_and_of_plenty_are_a_constant_rate():
    w = weights("kl")
    for per, groups in (("dimension", 2), ("group", 1)):
        assert torch.allclose(value(FreeBits(0.0, per), w), value(ELBO("kl"), w))
        assert torch.allclose(value(FreeBits(100.0, per), w), w.log_likelihood.mean(0) - 100 * groups)


@given(nats=st.floats(0.0, 5.0))
def test_free_bits_are_at_most_the_elbo_and_less_with_every_bit(nats):
    """Per dimension no less is charged than for the whole at the same total."""
    w = weights("kl")
    dimension, group = value(FreeBits(nats), w), value(FreeBits(2 * nats, "group"), w)
    assert (dimension <= group + 1e-12).all()
    assert (group <= value(ELBO("kl"), w) + 1e-12).all()
    assert (value(FreeBits(nats + 1), w) <= dimension).all()


def test_free_bits_by_hand_and_for_each_datum():
    """KLs 0.1, 2 and 3, 0.2 with λ = 1: 1 + 2 and 3 + 1; the whole 2.1 and 3.2."""
    zeros = torch.zeros(1, 2)
    per_factor = torch.tensor([[0.1, 2.0], [3.0, 0.2]])
    w = LogWeights(
        log_likelihood=zeros,
        log_prior=-per_factor.sum(-1)[None],
        log_q=zeros,
        z=zeros,
        form="kl",
        rate_per_factor=per_factor,
    )
    assert torch.allclose(value(FreeBits(1.0), w), torch.tensor([-3.0, -4.0]))
    assert torch.allclose(value(FreeBits(2.5, "group"), w), torch.tensor([-2.5, -3.2]))


def test_a_group_below_its_free_bits_gets_no_gradient():
    model, x = gaussian()
    q = model.infer(x)
    w = weigh(q, model.joint(x), q.sample((2,)), rate="kl")
    free = float(w.rate_per_factor[:, 0].min().detach()) + 1e3
    (gradient,) = torch.autograd.grad(value(FreeBits(free), w).sum(), model.posterior.log_scale, retain_graph=True)
    assert torch.equal(gradient, torch.zeros_like(gradient))
    (gradient,) = torch.autograd.grad(value(FreeBits(0.0), w).sum(), model.posterior.log_scale)
    assert (gradient != 0).all()


# Refusals


@pytest.mark.parametrize("objective", [CapacityELBO(), FreeBits(), FreeBits(per="group")], ids=repr)
@pytest.mark.parametrize("form", ["sampled", "entropy"])
def test_rates_that_are_not_in_closed_form_are_refused(objective, form):
    with pytest.raises(ValueError, match=r"in closed form .* use BetaELBO"):
        objective.signal(weights(form))


@pytest.mark.usefixtures("as_users_run")
@pytest.mark.parametrize(
    "make, words",
    [
        (lambda: BetaELBO(-1.0), r"beta=-1.0 and needs 0 or more"),
        (lambda: BetaELBO(warmup=-1), r"warmup=-1 and needs 0 or more"),
        (lambda: BetaELBO(anneal="sigmoid"), "choose 'linear' or 'cyclical', or give a schedule"),
        (lambda: BetaELBO(warmup=3, schedule=schedules.Constant(1.0)), "give one of them"),
        (lambda: CapacityELBO(capacity=-1.0), "capacity=-1.0 and needs 0 or more"),
        (lambda: FreeBits(-0.5), "nats=-0.5 and needs 0 or more"),
        (lambda: FreeBits(per="layer"), "choose 'dimension' or 'group'"),
    ],
)
def test_arguments_that_make_no_sense_are_refused(make, words):
    with pytest.raises(ValueError, match=words):
        make()
