"""Latents of any shape: the model with z of shape (2, 3) is the model with z of length 6, number for number."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from lowerbound import posteriors, priors
from lowerbound.evaluate import aggregate_posterior, annealed_importance, log_evidence, summary
from lowerbound.gradients import DReG, Pathwise, RaoBlackwell, ScoreFunction, StickTheLanding
from lowerbound.inference import HMC, Local, infer
from lowerbound.likelihoods import Bernoulli
from lowerbound.losses import VariationalLoss
from lowerbound.model import LatentVariableModel, flat_latents
from lowerbound.nets import MLP
from lowerbound.objectives import ELBO, IWAE, FreeBits
from lowerbound.penalties import MMD, TotalCorrelation
from lowerbound.posteriors.top_down import MergedNormal
from lowerbound.weights import weigh

SHAPE = (2, 3)
REAL = [
    (priors.StandardNormal, posteriors.DiagonalNormal, {}),
    (priors.Laplace, posteriors.DiagonalNormal, {}),
    (priors.RelaxedBernoulli, posteriors.RelaxedBernoulli, {}),
    (priors.RelaxedCategorical, posteriors.RelaxedCategorical, {"categories": 4}),
]
DISCRETE = [
    (priors.Bernoulli, posteriors.Bernoulli, {}),
    (priors.Categorical, posteriors.Categorical, {"categories": 4}),
]


def model_of(prior, posterior, options, latent_shape):
    torch.manual_seed(0)
    parameters = posterior.parameter_shape(latent_shape, **options)
    q = posterior(MLP(5, [7], parameters), **options)
    p = prior(latent_shape, **options)
    likelihood = Bernoulli(MLP(p().event_shape, [7], 5))
    return LatentVariableModel(prior=p, likelihood=likelihood, posterior=q).double()


def both(kind):
    shaped, flat = model_of(*kind, SHAPE), model_of(*kind, 6)
    flat.load_state_dict({name: v.view_as(flat.state_dict()[name]) for name, v in shaped.state_dict().items()})
    return shaped, flat


def data():
    torch.manual_seed(1)
    return torch.rand(4, 5).double().round()


def seeded(f):
    torch.manual_seed(2)
    return f()


@pytest.mark.parametrize("kind", REAL + DISCRETE, ids=lambda kind: kind[1].__name__)
def test_the_weights_are_those_of_the_vector(kind):
    shaped, flat = both(kind)
    x = data()
    event = SHAPE + tuple(kind[2].values())
    assert shaped.prior().event_shape == shaped.infer(x).event_shape == event
    assert shaped.prior().batch_shape == ()
    one, other = (seeded(lambda m=m: m.log_weights(x, 7)) for m in (shaped, flat))
    assert one.z.shape == (7, 4, *event)
    torch.testing.assert_close(flat_latents(one.z), flat_latents(other.z))
    torch.testing.assert_close(one.log_w, other.log_w)
    torch.testing.assert_close(one.log_prior, other.log_prior)
    assert seeded(lambda: shaped.sample(3)).equal(seeded(lambda: flat.sample(3)))


@pytest.mark.parametrize("kind", [REAL[0], *DISCRETE], ids=lambda kind: kind[1].__name__)
def test_closed_rates_and_free_bits(kind):
    x, terms = data(), []
    for model in both(kind):
        q = model.infer(x)
        z = seeded(lambda q=q: q.sample((3,)))
        w = weigh(q, model.joint(x), z, rate="kl")
        assert w.rate_per_factor.shape == (4, 6)
        terms.append(torch.stack([w.log_w.mean(), FreeBits(0.1).reduce(FreeBits(0.1).signal(w)).mean()]))
        entropy = weigh(q, model.joint(x), z, rate="entropy")
        terms[-1] = torch.cat([terms[-1], entropy.log_q.mean()[None]])
    torch.testing.assert_close(*terms)


@pytest.mark.parametrize(
    "kind, objective, gradient",
    [
        (REAL[0], ELBO("kl"), Pathwise()),
        (REAL[0], IWAE(), DReG()),
        (REAL[0], ELBO(), StickTheLanding()),
        (DISCRETE[0], ELBO(), ScoreFunction()),
        (DISCRETE[0], ELBO(), RaoBlackwell()),
        (DISCRETE[1], ELBO(), ScoreFunction()),
    ],
)
def test_losses_and_their_gradients(kind, objective, gradient):
    x, found = data(), []
    for model in both(kind):
        loss = VariationalLoss(model, objective, gradient, num_samples=3)
        loss.check(x)
        value = seeded(lambda loss=loss: loss(x).loss)
        gradients = torch.autograd.grad(value, [*model.parameters()], allow_unused=True)
        found.append(torch.cat([value[None], *(g.flatten() for g in gradients if g is not None)]))
    torch.testing.assert_close(*found)


@pytest.mark.parametrize("penalty", [MMD(), TotalCorrelation(num_data=100)], ids=["mmd", "total correlation"])
def test_penalties(penalty):
    x, found = data(), []
    for model in both(REAL[0]):
        q, p = model.infer(x), model.prior()
        penalty.check(q, p)
        found.append(seeded(lambda q=q, p=p: penalty(q, p)))
    torch.testing.assert_close(*found)


EVALUATIONS = {
    "evidence": lambda m, x: log_evidence(m, x, num_samples=20).log_evidence,
    "summary": lambda m, x: summary(m, x, num_samples=4).rate_per_dimension,
    "activity": lambda m, x: summary(m, x, num_samples=4).activity,
    "aggregate": lambda m, x: torch.stack([t.values for t in aggregate_posterior(m, x).kl_per_dimension]),
    "annealing": lambda m, x: annealed_importance(m, x, num_distributions=5, num_chains=2).per_datum.values,
    "local": lambda m, x: infer(m, x, Local(num_steps=3), num_samples=5).bound,
    "hmc": lambda m, x: infer(m, x, HMC(num_chains=2, num_samples=4, num_warmup=4), num_samples=5).mean.flatten(1),
}


@pytest.mark.filterwarnings("ignore::lowerbound.inference.InferenceWarning")  # chains of a few steps
@pytest.mark.parametrize("name", EVALUATIONS)
def test_evaluations(name):
    x = data()
    one, other = (EVALUATIONS[name](model, x) for model in both(REAL[0]))
    torch.testing.assert_close(one, other)


def test_merging_maps():
    p, e = (posteriors.DiagonalNormal(MLP(4, [], (2, *SHAPE)))(torch.randn(3, 4)) for _ in range(2))
    merged = MergedNormal(p, e)
    assert merged.event_shape == SHAPE
    assert merged.log_prob(merged.sample((5,))).shape == (5, 3)


def test_the_shape_is_read_from_the_net_and_checked_against_it():
    assert posteriors.DiagonalNormal(MLP(4, [], (2, 4, 7, 7))).latent_shape == (4, 7, 7)
    assert posteriors.Categorical(MLP(4, [], (7, 7, 10))).latent_shape == (7, 7)
    assert posteriors.DiagonalNormal.parameter_shape((4, 7, 7)) == (2, 4, 7, 7)
    assert priors.StandardNormal(8)().event_shape == (8,)
    for wrong in ((3, 4, 7), (2,)):
        with pytest.raises(ValueError, match=r"DiagonalNormal got a net of output shape .*parameter_shape"):
            posteriors.DiagonalNormal(MLP(4, [], wrong))
    with pytest.raises(ValueError, match=r"latent_shape=\(7, 4\) needs \(2, 7, 4\)"):
        posteriors.DiagonalNormal(MLP(4, [], (2, 4, 7)), (7, 4))


VECTORS = [
    lambda shape: posteriors.FullNormal(nn.Linear(2, 2), shape),
    lambda shape: posteriors.LowRankNormal(nn.Linear(2, 2), latent_shape=shape),
    lambda shape: posteriors.MixtureNormal(nn.Linear(2, 2), latent_shape=shape),
    lambda shape: posteriors.Planar(nn.Linear(2, 2), latent_shape=shape),
    lambda shape: posteriors.Radial(nn.Linear(2, 2), latent_shape=shape),
    lambda shape: posteriors.Sylvester(nn.Linear(2, 2), latent_shape=shape),
    lambda shape: posteriors.IAF(nn.Linear(2, 2), latent_shape=shape),
    lambda shape: posteriors.AuxiliaryNormal(nn.Linear(2, 2), latent_shape=shape),
    lambda shape: posteriors.SequenceNormal(nn.Linear(2, 2), shape, features=2),
    lambda shape: priors.MixtureNormal(shape),
    lambda shape: priors.FlowPrior(shape),
    lambda shape: priors.RBM(shape),
    lambda shape: priors.AutoregressiveNormal(shape),
    lambda shape: priors.AutoregressiveBernoulli(shape),
    lambda shape: priors.AutoregressiveCategorical(shape),
]


@pytest.mark.parametrize("made", VECTORS)
def test_what_is_over_vectors_refuses_a_shape(made):
    with pytest.raises(ValueError, match=r"is over vectors and got latent_shape=\(2, 3\); give one length") as refusal:
        made(SHAPE)
    assert len(str(refusal.value)) < 300
