"""`models.cvae`: exact where all is linear and Gaussian, conditional in all three nets, and clear about contexts."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.distributions import MultivariateNormal
from torch.nn.functional import one_hot

from lowerbound import posteriors
from lowerbound.data import InMemory
from lowerbound.gradients import Pathwise
from lowerbound.losses import VariationalLoss
from lowerbound.models.conditional_autoencoder import ConditionalModel, cvae
from lowerbound.nets import positive
from lowerbound.objectives import ELBO
from lowerbound.spelling import choices
from lowerbound.training.loop import train

ROWS = 24
CODES = ("finite-scalar", "lookup-free", "residual-quantized", "vector-quantized")


def digits_of(num_rows: int = ROWS, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Images (N, 6, 5) of one of three classes, and their labels, one-hot."""
    g = torch.Generator().manual_seed(seed)
    label = torch.arange(num_rows) % 3
    rate = torch.rand(3, 6, 5, generator=g)[label]
    return (torch.rand(num_rows, 6, 5, generator=g) < rate).float(), one_hot(label, 3).float()


def model(**options: Any) -> ConditionalModel:
    return cvae((6, 5), num_classes=3, latent_dim=2, hidden=[8], **options)


@pytest.mark.parametrize("name", choices(posteriors))
def test_every_posterior_over_real_vectors_trains_all_three_nets(name: str) -> None:
    if name in ("bernoulli", "categorical", "relaxed-bernoulli", "relaxed-categorical", *CODES):
        with pytest.raises(ValueError, match="not real vectors"):
            model(posterior=name)
        return
    loss = VariationalLoss(model(posterior=name), ELBO(), Pathwise(), num_samples=2)
    x, c = digits_of()
    if name == "implicit":
        with pytest.raises(ValueError, match="has no density"):
            loss.check(x, c)
        return
    loss.check(x, c)
    before = {key: p.detach().clone() for key, p in loss.named_parameters()}
    list(train(loss, InMemory((x, c)), num_steps=2, batch_size=12, lr=0.01))
    moved = {key.split(".")[1] for key, p in loss.named_parameters() if not torch.equal(before[key], p)}
    assert moved == {"prior", "likelihood", "posterior"}


def test_its_joint_density_is_that_of_a_linear_gaussian_model(seed: int) -> None:
    """log p(x, z | c) − log p(z | x, c) = log p(x | c) at every z: the algebra of Gaussians on the very weights."""
    made = cvae((4,), context_shape=(3,), latent_dim=2, hidden=[], likelihood="normal:scale=0.7").double()
    x, c = torch.randn(5, 4, dtype=torch.float64), torch.randn(5, 3, dtype=torch.float64)
    loc, raw = made.prior.net(c).unbind(-2)  # type: ignore[union-attr]
    scale = positive(raw, made.prior.min_scale)  # type: ignore[union-attr]
    layer = made.likelihood.net.layers[-1]  # type: ignore[union-attr]
    weight, rest = layer.weight[:, :2], layer.weight[:, 2:]
    noise = c @ rest.T + layer.bias
    precision = torch.diag_embed(scale**-2) + weight.T @ weight / 0.49
    mean = torch.linalg.solve(precision, loc / scale**2 + (x - noise) @ weight / 0.49)
    posterior = MultivariateNormal(mean, precision_matrix=precision)
    covariance = weight @ torch.diag_embed(scale**2) @ weight.T + 0.49 * torch.eye(4, dtype=torch.float64)
    evidence = MultivariateNormal(loc @ weight.T + noise, covariance).log_prob(x)
    z = torch.randn(7, 5, 2, dtype=torch.float64)
    log_likelihood, log_prior = made.joint(x, c)(z)
    torch.testing.assert_close(log_likelihood + log_prior - posterior.log_prob(z), evidence.expand(7, 5))


def test_q_sees_both_the_datum_and_the_condition() -> None:
    made = model()
    x, c = digits_of()
    mean = made.infer(x, c).mean
    assert not torch.allclose(mean, made.infer(1 - x, c).mean)
    assert not torch.allclose(mean, made.infer(x, c.roll(1, -1)).mean)


def test_without_a_prior_network_z_does_not_depend_on_the_condition() -> None:
    free, _ = model(prior_network=False), model()
    _, c = digits_of()
    assert free.prior(c).batch_shape == ()
    assert not list(free.prior.parameters())  # type: ignore[union-attr]
    assert model().prior(c).batch_shape == (ROWS,)
    assert free.sample(4, c).shape == (4, ROWS, 6, 5)


def test_it_learns_which_class_looks_how() -> None:
    x, c = digits_of(300, seed=1)
    made = model(prior_network=True)
    loss = VariationalLoss(made, ELBO(rate="kl"), Pathwise())
    list(train(loss, InMemory((x, c)), num_steps=150, batch_size=50, lr=1e-2))
    drawn = made.sample_mean(200, torch.eye(3)).mean(0).flatten(1)
    truth = torch.stack([x[c[:, k] == 1].mean(0) for k in range(3)]).flatten(1)
    nearest = torch.cdist(drawn, truth).argmin(-1)
    assert nearest.tolist() == [0, 1, 2]
    assert torch.cdist(drawn, truth).diagonal().max() < 0.5 * torch.cdist(truth, truth)[0, 1:].min()


@pytest.mark.usefixtures("as_users_run")
@pytest.mark.parametrize(
    "context, words",
    [
        (None, "got no context; give context= as one tensor of shape \\(B, 3\\)"),
        (torch.zeros(4, dtype=torch.int64), "shape \\(4,\\), torch.int64"),
        (torch.zeros(4, 3, dtype=torch.int64), "torch.int64; .* as floats"),
        (torch.zeros(4, 2), "shape \\(4, 2\\)"),
        (torch.zeros(4, 1, 3), "shape \\(4, 1, 3\\)"),
        ((torch.zeros(4, 3), torch.zeros(4, 3)), "a context of 2 tensors"),
        (torch.zeros(5, 3), "4 rows of data and 5 of context"),
    ],
)
def test_contexts_that_are_refused(context: Any, words: str) -> None:
    made, x = model(), torch.zeros(4, 6, 5)
    uses = [lambda: made.infer(x, context), lambda: made.joint(x, context), lambda: made.log_weights(x, 2, context)]
    if "rows of data" not in words:
        uses += [lambda: made.sample(2, context), lambda: made.decode(torch.zeros(1, 4, 2), context)]
    for use in uses:
        with pytest.raises(ValueError, match=words):
            use()


@pytest.mark.parametrize(
    "options, words",
    [
        ({}, "num_classes=None and context_shape=None; give exactly one"),
        ({"num_classes": 3, "context_shape": (3,)}, "give exactly one"),
        ({"num_classes": 0}, "shape \\(0,\\)"),
        ({"context_shape": ()}, "at least one axis"),
        ({"num_classes": 3, "latent_dim": 0}, "latent_dim is 0"),
        ({"num_classes": 3, "likelihood": "bernouli"}, "no likelihood named 'bernouli'"),
    ],
)
def test_options_that_are_refused(options: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        cvae((6, 5), **options)


@pytest.mark.parametrize("context_shape", [(7,), (2, 4)])
def test_conditions_of_any_shape(context_shape: tuple[int, ...]) -> None:
    made = cvae((5,), context_shape=context_shape, latent_dim=2, hidden=[4, 3])
    c = torch.rand(6, *context_shape)
    assert made.log_weights(torch.rand(6, 5), 3, c).log_w.shape == (3, 6)
    assert made.reconstruct(torch.rand(6, 5), c).shape == (6, 5)
    assert made.sample_mean(2, c).shape == (2, 6, 5)
