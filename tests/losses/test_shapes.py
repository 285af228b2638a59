"""Parts that do not fit in shape, and probabilities where logits are read, are refused before the first step."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from lowerbound.gradients import Pathwise
from lowerbound.likelihoods import Bernoulli, Categorical, ContinuousBernoulli, Normal
from lowerbound.losses import Autoencoding, Loss, VariationalLoss, WakeSleep
from lowerbound.model import LatentVariableModel, require_distribution
from lowerbound.models import vae
from lowerbound.nets import MLP
from lowerbound.objectives import ELBO
from lowerbound.posteriors import DiagonalNormal
from lowerbound.priors import StandardNormal
from lowerbound.training.loop import train

X = torch.rand(20, 6, generator=torch.Generator().manual_seed(0))


class Decoder(nn.Module):
    """A net of one's own, whose last function need be no module."""

    def __init__(self, last=torch.sigmoid, shape: tuple[int, ...] = (6,)):
        super().__init__()
        self.layer, self.last, self.shape = nn.Linear(2, 6), last, shape

    def forward(self, z: Tensor) -> Tensor:
        return self.last(self.layer(z)).unflatten(-1, self.shape)


def _model(likelihood: nn.Module, encoder: nn.Module | None = None, prior_dim: int = 2) -> LatentVariableModel:
    q = DiagonalNormal(encoder or MLP(6, [4], (2, 2)), latent_shape=2)
    return LatentVariableModel(prior=StandardNormal(prior_dim), likelihood=likelihood, posterior=q)


def _first_record(loss: Loss) -> object:
    return next(iter(train(loss, X, num_steps=1, batch_size=10)))


def _variational(model: LatentVariableModel) -> VariationalLoss:
    return VariationalLoss(model, ELBO(), Pathwise())


@pytest.mark.parametrize("last, word", [(torch.sigmoid, "Sigmoid"), (torch.tanh, "Tanh"), (torch.relu, "ReLU")])
def test_probabilities_where_logits_are_read_are_refused(last, word) -> None:
    with pytest.raises(ValueError, match=rf"net of Bernoulli ends in a {word} and Bernoulli takes logits"):
        _first_record(_variational(_model(Bernoulli(Decoder(last), event_shape=6))))


def test_the_refusal_is_of_every_loss_and_of_frozen_nets() -> None:
    frozen = Decoder().requires_grad_(False)
    for loss in (
        WakeSleep(_model(Bernoulli(Decoder(), event_shape=6)), ELBO()),
        Autoencoding(_model(ContinuousBernoulli(Decoder(), event_shape=6))),
        _variational(_model(Bernoulli(frozen, event_shape=6))),
    ):
        with pytest.raises(ValueError, match="ends in a Sigmoid"):
            _first_record(loss)


def test_a_softmax_of_classes_is_refused() -> None:
    likelihood = Categorical(Decoder(lambda y: y.unflatten(-1, (3, 2)).softmax(-2).flatten(-2), (3, 2)), 3, 2)
    model = _model(likelihood, MLP(2, [4], (2, 2)))
    with pytest.raises(ValueError, match="ends in a Softmax"):
        _variational(model).check(torch.zeros(4, 2))


def test_functions_that_reach_all_numbers_are_not_refused() -> None:
    for last in (nn.Identity(), nn.LeakyReLU(), lambda y: 10 * torch.tanh(y), lambda y: y.clamp(-20, 20)):
        _variational(_model(Bernoulli(Decoder(last), event_shape=6))).check(X)
    _variational(_model(Normal(Decoder(), event_shape=6, scale=1.0))).check(X)  # means of a Gaussian may be squashed


@pytest.mark.parametrize(
    "model, sentence",
    [
        (
            lambda: _model(Bernoulli(MLP(2, [4], 6)), nn.Linear(6, 4)),
            r"The posterior gave latents of shape \(4,\) for 2 rows and must give one for each",
        ),
        (
            lambda: _model(Bernoulli(MLP(3, [4], 6)), prior_dim=3),
            r"q\(z \| x\) is over latents of shape \(2,\) and p\(z\) over \(3,\); choose both over the same latents",
        ),
        (
            lambda: _model(Bernoulli(nn.Linear(5, 6), event_shape=6)),
            r"The net of the likelihood cannot take latents of shape \(2, 2\)",
        ),
        (
            lambda: _model(Bernoulli(MLP(2, [4], 6)), nn.Sequential(nn.Linear(7, 4), nn.Unflatten(1, (2, 2)))),
            r"The net of the posterior cannot take rows of shape \(2, 6\)",
        ),
        (
            lambda: _model(Bernoulli(MLP(2, [4], 5))),
            r"p\(x \| z\) is over rows of shape \(5,\) and the rows have \(6,\)",
        ),
    ],
)
def test_parts_that_do_not_fit_are_named(model, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        _first_record(_variational(model()))


def test_a_bare_net_is_no_posterior() -> None:
    """A module's type says nothing of what it returns, so that no type checker knows it."""
    for part in ("posterior", "likelihood"):
        with pytest.raises(ValueError, match=f"The {part} gave a Tensor and must give a distribution"):
            require_distribution(nn.Linear(6, 2)(X), part)
    with pytest.raises(ValueError, match="The posterior gave a Tensor and must give a distribution"):
        vae((6,), posterior=nn.Linear(6, 2))
