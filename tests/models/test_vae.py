"""`models.vae`, and every exported choice of every axis: it is built from its name alone and trains."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import torch
from torch import Tensor

from lowerbound import gradients, likelihoods, losses, objectives, penalties, posteriors, priors
from lowerbound.data import InMemory
from lowerbound.models import vae
from lowerbound.spelling import axis_of, choices, construct
from lowerbound.training.loop import train

SHAPE, LATENT_DIM, ROWS = (6, 5), 4, 24

BINARY = {"posterior": "bernoulli", "gradient": "score-function", "num_samples": 2}
ONE_HOT = {"posterior": "categorical:categories=3", "gradient": "score-function", "num_samples": 2}

GOES_WITH: dict[tuple[str, str], dict[str, Any]] = {
    ("posteriors", "implicit"): {"gradient": "density-ratio"},
    # Latents of another kind than a real vector need a prior and a posterior of that kind.
    ("priors", "bernoulli"): BINARY,
    ("priors", "rbm"): BINARY,
    ("priors", "autoregressive-bernoulli"): BINARY,
    ("priors", "autoregressive-map"): {**BINARY, "prior": "autoregressive-map:network=transformer,channels=8,layers=2"},
    ("priors", "categorical"): {"prior": "categorical:categories=3", **ONE_HOT},
    ("priors", "autoregressive-categorical"): {"prior": "autoregressive-categorical:categories=3", **ONE_HOT},
    ("posteriors", "bernoulli"): {**BINARY, "prior": "bernoulli"},
    ("posteriors", "categorical"): {**ONE_HOT, "prior": "categorical:categories=3"},
    ("posteriors", "relaxed-bernoulli"): {"prior": "relaxed-bernoulli"},
    ("priors", "relaxed-bernoulli"): {"posterior": "relaxed-bernoulli"},
    ("priors", "relaxed-categorical"): {
        "posterior": "relaxed-categorical:categories=3",
        "prior": "relaxed-categorical:categories=3",
    },
    ("posteriors", "relaxed-categorical"): {
        "posterior": "relaxed-categorical:categories=3",
        "prior": "relaxed-categorical:categories=3",
    },
    # Estimators that are derived for one objective, or need more than one sample.
    ("gradients", "dreg"): {"objective": "iwae", "num_samples": 3},
    ("gradients", "reweighted-wake-sleep"): {"objective": "iwae", "num_samples": 3},
    ("gradients", "arm"): {"posterior": "bernoulli", "prior": "bernoulli"},
    ("gradients", "concrete"): {"posterior": "bernoulli", "prior": "bernoulli"},
    ("gradients", "disarm"): {"posterior": "bernoulli", "prior": "bernoulli"},
    ("gradients", "rebar"): {"posterior": "bernoulli", "prior": "bernoulli"},
    ("gradients", "relax"): {"posterior": "bernoulli", "prior": "bernoulli"},
    ("gradients", "straight-through"): {"posterior": "bernoulli", "prior": "bernoulli"},
    ("losses", "aggressive"): {"loss": "aggressive:num_encoder_steps=1"},
    ("losses", "auxiliary"): {"loss": "auxiliary:hidden=[8]", "likelihood": "autoregressive:channels=4,layers=2"},
    ("losses", "monte-carlo-em"): {"num_samples": 4},
    ("gradients", "fixed-samples"): {"objective": "log-variance"},
    ("objectives", "geco"): {"objective": "geco:target=10"},
    ("gradients", "enumerate"): {"posterior": "bernoulli", "prior": "bernoulli"},
    ("gradients", "stratified"): {"posterior": "mixture-normal"},
    # A table of columns of kinds.
    ("likelihoods", "bag-of-words"): {"likelihood": "bag-of-words", "shape": (30,)},
    ("likelihoods", "mixed"): {"likelihood": "mixed:columns=10*continuous+10*count+10*categorical-2", "shape": (30,)},
}
_OF_CODES = "codes have a prior of their own: recipes fsq and vq (see test_quantized_autoencoder)"
LEFT_OUT: dict[tuple[str, str], str] = {
    **{("posteriors", name): _OF_CODES for name in ("finite-scalar", "lookup-free")},
    **{("posteriors", name): _OF_CODES for name in ("residual-quantized", "vector-quantized")},
    ("gradients", "quantized"): _OF_CODES,
    ("likelihoods", "tokens"): "of text: recipe sentence-vae (see test_sentence_autoencoder)",
    ("losses", "semi-supervised"): "of a model with labels (see tests/losses)",
    ("losses", "subsets"): "of a model of blocks (see test_multimodal)",
    ("objectives", "cubo"): "an upper bound, to be read after training; refused (see tests/losses)",
    ("objectives", "chi-divergence"): "for a p that is held fixed; refused otherwise (see tests/losses)",
}

AXES = {
    axis.__name__.rpartition(".")[2]: axis
    for axis in (priors, likelihoods, posteriors, objectives, gradients, losses, penalties)
}
EVERY = [(axis, name) for axis, package in AXES.items() for name in choices(package)]


def binary(shape: tuple[int, ...] = SHAPE, seed: int = 0) -> Tensor:
    """Values 0 and 1 are in the support of every likelihood."""
    return (torch.rand(ROWS, *shape, generator=torch.Generator().manual_seed(seed)) > 0.5).float()


def loss_of(
    *,
    shape: tuple[int, ...] = SHAPE,
    objective: str = "elbo",
    gradient: str = "pathwise",
    num_samples: int = 2,
    loss: str = "variational",
    penalty: str | None = None,
    **options: Any,
) -> Any:
    model = vae(shape, latent_dim=LATENT_DIM, hidden=[8], **options)
    given = {"event_shape": shape, "num_data": ROWS, "latent_dim": LATENT_DIM}
    made = construct(
        losses,
        loss,
        model=model,
        objective=construct(objectives, objective, **given),
        gradient=construct(gradients, gradient, **given),
        num_samples=num_samples,
        penalty=None if penalty is None else construct(penalties, penalty, model=model, **given),
        event_shape=shape,
    )
    model.initialize(binary(shape))
    made.check(binary(shape)[:2])
    return made


@pytest.mark.parametrize("axis, name", EVERY, ids=[f"{axis}-{name}" for axis, name in EVERY])
def test_every_choice_is_built_by_its_name_and_trains(axis: str, name: str) -> None:
    if (axis, name) in LEFT_OUT:
        pytest.skip(LEFT_OUT[axis, name])
    options = {axis_of(AXES[axis]): name, **GOES_WITH.get((axis, name), {})}
    loss = loss_of(**options)
    before = {key: p.detach().clone() for key, p in loss.named_parameters() if p.requires_grad}
    (record,) = train(loss, InMemory(binary(options.get("shape", SHAPE))), num_steps=2, batch_size=12, lr=0.01)
    assert record.gradient_norm > 0
    after = dict(loss.named_parameters())
    moved = {key.split(".")[1] for key, p in before.items() if not torch.equal(after[key], p)}
    assert {"likelihood", "posterior"} <= moved
    assert loss.model.sample(3).shape == (3, *options.get("shape", SHAPE))


def test_the_tables_of_this_file_name_choices_that_exist() -> None:
    """A line that outlived its class would hide nothing and mislead."""
    assert {axis for axis, _ in [*GOES_WITH, *LEFT_OUT]} <= set(AXES)
    unknown = [key for key in [*GOES_WITH, *LEFT_OUT] if key not in EVERY]
    assert unknown == []


@pytest.mark.parametrize("network, hidden", [("mlp", [8]), ("mlp", []), ("mlp", [8, 7, 6]), ("convolution", [3, 4])])
@pytest.mark.parametrize("likelihood", ["bernoulli", "normal:scale=heteroscedastic"])
@pytest.mark.parametrize("shape", [(6, 5), (2, 5, 4)])
def test_shapes(shape: tuple[int, ...], likelihood: str, network: Any, hidden: list[int]) -> None:
    model = vae(shape, latent_dim=3, likelihood=likelihood, network=network, hidden=hidden)
    assert model.sample(7).shape == (7, *shape)
    assert model.infer(torch.zeros(4, *shape)).rsample((2,)).shape == (2, 4, 3)
    assert model.log_weights(torch.zeros(4, *shape), 2).log_w.shape == (2, 4)


def test_widths_are_mirrored() -> None:
    model = vae((10,), latent_dim=3, hidden=[9, 7])
    widths = [tuple(p.shape) for name, p in model.named_parameters() if name.endswith("weight")]
    assert sorted(widths) == sorted([(9, 10), (7, 9), (6, 7), (7, 3), (9, 7), (10, 9)])


@pytest.mark.parametrize("activation", ["relu", "tanh", "elu", "silu", "softplus"])
def test_activations(activation: Any) -> None:
    names = {type(module).__name__.lower() for module in vae((4,), hidden=[3], activation=activation).modules()}
    assert activation in names


@pytest.mark.parametrize(
    "options, words",
    [
        ({"latent_dim": 0}, "latent_dim is 0"),
        ({"network": "convolution", "event_shape": (12,)}, "image shape"),
        ({"prior": "normal"}, "no prior named 'normal'"),
        ({"likelihood": "normal:scal=1"}, "no option 'scal'"),
        ({"likelihood": "normal:scale=-1.0"}, r"scale=-1\.0"),
        ({"posterior": "diagonal-normal:net=1"}, "got net=1 and expected a Module, which only Python can give"),
    ],
)
def test_refusals(options: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        vae(**{"event_shape": (6, 5), "hidden": [4], **options})


def test_initialize_starts_the_output_at_the_mean_of_the_data() -> None:
    x = torch.cat([binary(), binary(seed=1)]).flatten(1)
    model = vae((30,), hidden=[])
    model.initialize(x)
    mean = model.decode(torch.zeros(1, 16)).mean[0]
    torch.testing.assert_close(mean, x.mean(0).clamp(0.01, 0.99))


def test_pairs_of_a_bound_and_an_estimator_that_do_not_go_together_are_refused_before_training() -> None:
    refused = []
    bounds, estimators = ["elbo", "elbo:rate=kl", "iwae"], ["pathwise", "dreg", "stick-the-landing"]
    for objective, gradient in itertools.product(bounds, estimators):
        try:
            loss_of(objective=objective, gradient=gradient)
        except ValueError:
            refused.append((objective, gradient))
    assert refused == [
        ("elbo", "dreg"),
        ("elbo:rate=kl", "dreg"),
        ("elbo:rate=kl", "stick-the-landing"),
        ("iwae", "stick-the-landing"),
    ]
