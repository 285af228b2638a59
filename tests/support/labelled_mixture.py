"""A labelled model whose every density is known: p(y) = π_y, p(z) = N(0, 1), p(x | z, y) = N(W z + U y + b, σ² I).

Then p(x | y) = N(U y + b, W Wᵀ + σ² I) and p(z | x, y) is Gaussian with a mean that is linear in (x, y). With that as
q(z | x, y), log p(x, z | y) − log q(z | x, y) is log p(x | y) at every z: L(x | y) is exact, and free of noise.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.distributions import MultivariateNormal

from lowerbound.labelled import LabelledModel
from lowerbound.likelihoods import Normal
from lowerbound.model import LatentVariableModel
from lowerbound.models.with_few_labels import BroadcastMLP
from lowerbound.nets import MLP
from lowerbound.nets.softplus import raw_of
from lowerbound.posteriors import DiagonalNormal
from lowerbound.priors import StandardNormal

SIZE, CLASSES, SIGMA = 2, 3, 0.7
PRIOR = (0.5, 0.3, 0.2)


class ExactClassifier(nn.Module):
    """The logits of p(y | x)."""

    def __init__(self, likelihood: Normal):
        super().__init__()
        self.likelihood = [likelihood]  # in a list, so that its parameters are not this module's

    def forward(self, x: Tensor) -> Tensor:
        return log_joint(self.likelihood[0], x)


def mixture(*, exact_classifier: bool, exact_latent: bool = True) -> LabelledModel:
    """The model, float64, with random parameters."""
    decoder = BroadcastMLP([1, CLASSES], [], SIZE).double()
    encoder = BroadcastMLP([SIZE, CLASSES], [], (2, 1)).double()
    likelihood = Normal(decoder, scale=SIGMA)
    if exact_latent:
        set_exact(encoder, decoder)
    classifier = ExactClassifier(likelihood) if exact_classifier else MLP(SIZE, [4], CLASSES).double()
    model = LatentVariableModel(prior=StandardNormal(1), likelihood=likelihood, posterior=DiagonalNormal(encoder))
    return LabelledModel(
        conditional=model, classifier=classifier, num_classes=CLASSES, class_probabilities=PRIOR
    ).double()


@torch.no_grad()
def set_exact(encoder: BroadcastMLP, decoder: BroadcastMLP) -> None:
    """q(z | x, y) = p(z | x, y): mean s² Wᵀ (x − U y − b) / σ², variance s² = 1 / (1 + WᵀW / σ²)."""
    weight, bias = decoder.layers[0].weight, decoder.layers[0].bias
    w, u = weight[:, :1], weight[:, 1:]
    variance = 1 / (1 + (w.mT @ w) / SIGMA**2)
    gain = variance * w.mT / SIGMA**2
    layer = encoder.layers[0]
    layer.weight.zero_()
    layer.weight[0] = torch.cat([gain, -gain @ u], 1)[0]
    layer.bias.copy_(torch.cat([-gain @ bias, raw_of(variance.sqrt(), 1e-4)[0]]))


def log_joint(likelihood: Normal, x: Tensor) -> Tensor:
    """log p(x, y) (B, C), nats, from the parameters of the likelihood; differentiable."""
    layer = likelihood.net.layers[0]
    w, u = layer.weight[:, :1], layer.weight[:, 1:]
    covariance = w @ w.mT + SIGMA**2 * torch.eye(SIZE, dtype=w.dtype)
    log_p = MultivariateNormal((u + layer.bias[:, None]).mT, covariance).log_prob(x[:, None])
    return log_p + torch.tensor(PRIOR, dtype=w.dtype).log()
