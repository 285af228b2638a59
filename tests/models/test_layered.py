"""The deep latent Gaussian model and the ladder, as a user gets them."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch

from lowerbound import objectives
from lowerbound.data import InMemory, load
from lowerbound.data.transform import Pixels
from lowerbound.evaluate import annealed_importance, log_evidence
from lowerbound.gradients import Pathwise, StickTheLanding
from lowerbound.inference import HMC, Local
from lowerbound.losses import VariationalLoss
from lowerbound.models.ladder_autoencoder import NormalisedLeakyReLU, ladder
from lowerbound.models.layered import deep_latent_gaussian
from lowerbound.nets.views import Log1p
from lowerbound.objectives import ELBO, IWAE, FreeBits
from lowerbound.recipes import recipe_named
from lowerbound.spelling import construct
from lowerbound.training.loop import train

SMALL = {"latent_dims": [4, 2], "hidden": [[16], [8]]}
RECIPES = [deep_latent_gaussian, ladder]


def bars():
    """Images of four by four in which one row is on."""
    return torch.eye(4)[torch.arange(64) % 4][:, :, None].expand(-1, 4, 4).contiguous()


def sizes(net):
    return [layer.in_features for layer in net.modules() if isinstance(layer, torch.nn.Linear)]


def test_the_two_layer_network_of_burda():
    model = deep_latent_gaussian((28, 28))
    z = model.infer(torch.zeros(2, 28, 28)).sample((3,))
    assert [layer.shape for layer in z] == [(3, 2, 100), (3, 2, 50)]
    assert [sizes(net) for net in model.posterior.conditionals] == [[784, 200, 200], [100, 100, 100]]
    assert [sizes(net) for net in (*model.prior.conditionals[:1], model.likelihood)] == [
        [50, 100, 100],
        [100, 200, 200],
    ]


def test_the_ladder_of_soenderby():
    model = ladder((28, 28))
    assert [layer.shape[-1] for layer in model.prior().sample()] == [64, 32, 16, 8, 4]
    assert [sizes(step) for step in model.posterior.steps] == [[784, 512], [512, 256], [256, 128], [128, 64], [64, 32]]
    assert sizes(model.likelihood) == [64, 512, 512]


@pytest.mark.parametrize("recipe", RECIPES)
@pytest.mark.parametrize("likelihood, event", [("bernoulli", (4, 4)), ("normal:scale=heteroscedastic", (5,))])
def test_it_draws_scores_and_reconstructs(recipe, likelihood, event):
    model, x = recipe(event, likelihood=likelihood, **SMALL), torch.rand(6, *event).round()
    model.initialize(x)
    assert model.decode(model.prior().sample((7,))).sample().shape == (7, *event)
    assert model.reconstruct(x).shape == x.shape
    evidence = log_evidence(model, x, num_samples=20)
    assert (evidence.log_evidence >= evidence.elbo - 1e-4).all()


def test_a_datum_is_scored_alike_in_both_modes_and_any_batch():
    """What batch normalisation would not do."""
    model, x = ladder((4, 4), **SMALL), bars()
    z = tuple(layer.expand(-1, 64, -1) for layer in model.infer(x[:1]).sample((3,)))
    model.train()
    both = sum(model.joint(x)(z))
    model.eval()
    assert torch.allclose(sum(model.joint(x[:1])(tuple(layer[:, :1] for layer in z))), both[:, :1], atol=1e-5)
    h = NormalisedLeakyReLU()(torch.randn(5, 8))
    assert torch.allclose(torch.where(h < 0, h / 0.1, h).mean(-1), torch.zeros(5), atol=1e-5)


@pytest.mark.parametrize(
    "recipe, objective, estimator",
    [
        (deep_latent_gaussian, ELBO(), StickTheLanding()),
        (deep_latent_gaussian, IWAE(), Pathwise()),
        (ladder, FreeBits(0.1, "group", warmup=60), Pathwise()),
    ],
)
def test_it_learns(recipe, objective, estimator):
    """Four bars: log 4 nats, of 16 log 2 to begin with."""
    model = recipe((4, 4), **SMALL)
    loss = VariationalLoss(model, objective, estimator, 2)
    loss.check(bars())
    for _ in train(loss, InMemory(bars()), num_steps=200, batch_size=64, lr=2e-2, compile=False):
        pass
    assert log_evidence(model.eval(), bars()[:4], num_samples=200).mean > -4.0


@pytest.mark.slow
@pytest.mark.parametrize("warmed_up", [True, False])
def test_the_ladder_needs_the_warm_up_that_its_recipe_gives(warmed_up):
    """Without it every layer of a ladder of digits falls silent within 200 steps."""
    digits, transform = load("digits"), Pixels(scale=load("digits").pixel_scale)
    x = torch.as_tensor(digits.x_train)
    model = ladder((8, 8), latent_dims=(16, 8), hidden=((64, 64), (32, 32)))
    model.initialize(transform(x))
    objective = construct(objectives, recipe_named("ladder").defaults["objective"])
    objective.warmup = objective.warmup if warmed_up else 0
    loss = VariationalLoss(model, objective, Pathwise())
    *_, last = train(loss, InMemory(x, transform), num_steps=250, batch_size=64, lr=2e-3, compile=False, log_every=50)
    assert (last.terms["rate_1"] > 2) is warmed_up


COMPILED = """
import torch
from lowerbound.data import InMemory
from lowerbound.gradients import Pathwise
from lowerbound.training.loop import train
from lowerbound.losses import VariationalLoss
from lowerbound.models.ladder_autoencoder import ladder
from lowerbound.objectives import FreeBits

x = torch.eye(4)[torch.arange(64) % 4][:, :, None].expand(-1, 4, 4).contiguous()
model = ladder((4, 4), latent_dims=[4, 2], hidden=[[16], [8]])
loss = VariationalLoss(model, FreeBits(0.1, "group", warmup=10), Pathwise())
for record in train(loss, InMemory(x), num_steps=20, batch_size=8, compile=True):
    assert {"rate_1", "rate_2"} < set(record.terms)
"""


@pytest.mark.slow
def test_it_can_be_compiled():
    """In a process without the run-time type checks of this suite, which the compiler cannot follow."""
    done = subprocess.run([sys.executable, "-c", COMPILED], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]


@pytest.mark.parametrize("scheme", [HMC(num_warmup=1, num_samples=4), Local(num_steps=1), Local(1, family="diagonal")])
@pytest.mark.parametrize("recipe", RECIPES)
def test_schemes_that_move_one_vector_refuse_layers(recipe, scheme):
    with pytest.raises(ValueError, match=r"needs"):
        scheme(recipe((4, 4), **SMALL), bars()[:2])


@pytest.mark.parametrize("start", ["prior", "posterior"])
def test_annealing_refuses_layers(start):
    with pytest.raises(ValueError, match=r"several layers; use evaluate\.log_evidence"):
        annealed_importance(ladder((4, 4), **SMALL), bars()[:2], num_distributions=3, start=start)


@pytest.mark.parametrize("recipe", RECIPES)
def test_sizes_that_do_not_fit_are_refused(recipe):
    with pytest.raises(ValueError, match="hidden of 1 nets for 2 layers"):
        recipe((4, 4), latent_dims=[4, 2], hidden=[[8]])
    with pytest.raises(ValueError, match=r"latent_dims=\[4, 0\]"):
        recipe((4, 4), latent_dims=[4, 0], hidden=[[8], [8]])


def test_a_ladder_needs_a_width_for_each_layer():
    with pytest.raises(ValueError, match="at least one width"):
        ladder((4, 4), latent_dims=[4, 2], hidden=[[8], []])


@pytest.mark.parametrize("make", RECIPES)
def test_the_first_layer_sees_x_as_its_likelihood_says(make):
    """Gaps were read as NaN by the first net, and counts as they are."""
    small = {"latent_dims": [2, 1], "hidden": [[4], [3]]}
    x = torch.tensor([[1.0, torch.nan], [torch.nan, 0.0], [0.5, 2.0]])
    model = make((2,), likelihood="mixed:columns=2*continuous", **small)
    assert all(bool(z.isfinite().all()) for z in model.infer(x).sample())
    assert bool(model.log_weights(x, 2).log_w.isfinite().all())
    assert any(isinstance(part, Log1p) for part in make((2,), likelihood="poisson", **small).posterior.modules())
