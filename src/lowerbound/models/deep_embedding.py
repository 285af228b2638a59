"""VaDE: a variational autoencoder whose prior has one Gaussian per cluster (Jiang et al. 2017, arXiv:1611.05148).

    p(c) = π_c,      p(z | c) = N(z; μ_c, diag σ_c²),      p(x | z) of a net

The paper (eqs. 9–16) puts q(z, c | x) = q(z | x) q(c | x) into the bound, which splits as

    E_q log [p(x | z) p(z) / q(z | x)]  −  E_q KL(q(c | x) ‖ p(c | z)),      p(z) = Σ_c π_c N(z; μ_c, diag σ_c²)

The first term does not depend on c, and the second is never negative. If q(c | z) may depend on z, the second vanishes
at q(c | z) = p(c | z), for every draw of z. The rest is the plain sampled ELBO with a mixture prior, in which the
cluster is summed out: log p(z) = logsumexp_c log π_c N(z; μ_c, diag σ_c²). This is the objective here. In the paper q(c
| x) is one distribution for all z of a datum, estimated by E_q[p(c | z)] (eq. 16). Its bound is lower by the second
term; both are equal where the cluster of z is certain.

    responsibilities      r_c(x) = E_q(z | x) [p(c | z)],      p(c | z) = π_c N_c(z) / Σ_j π_j N_j(z)

From random weights nearly all latents end in one cluster (paper, §3.2). Hence `start`, which uses no labels: (1) the
nets are trained as a deterministic autoencoder (`losses.Autoencoding`); (2) diagonal Gaussian mixtures are fitted to
the latents by EM from several starts of k-means, and the most likely one is kept; (3) it becomes the prior, and q(z |
x) gets one scale for all x: the mean component scale times the factor with the highest ELBO. (The authors copy the
weights of the mean into those of the log-variance, which makes the noise of a latent depend on where it lies.)
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import torch
from jaxtyping import Float, Int
from torch import Tensor

from lowerbound.data import InMemory
from lowerbound.gradients import Pathwise
from lowerbound.losses import VariationalLoss
from lowerbound.losses.autoencoding import Autoencoding
from lowerbound.losses.loss import Loss
from lowerbound.model import LatentVariableModel
from lowerbound.models.recipe import Recipe
from lowerbound.models.variational_autoencoder import Activation, vae
from lowerbound.nets import MLP
from lowerbound.nets.softplus import raw_of
from lowerbound.nets.views import Seen
from lowerbound.objectives import ELBO
from lowerbound.posteriors import DiagonalNormal
from lowerbound.priors import MixtureNormal
from lowerbound.priors.mixture_distribution import NormalMixture
from lowerbound.randomness import derive_seed, forked
from lowerbound.schedules import Cosine
from lowerbound.training.engine import Engine
from lowerbound.training.loop import steps_for, train

__all__ = [
    "RECIPE",
    "Pretrained",
    "fit_mixture",
    "number_by_size",
    "pretrain",
    "responsibilities",
    "sample_cluster",
    "start",
    "vade",
]

_BLOCK = 1024
_ROWS_TO_CHOOSE = 2000
_OF_THE_PAPER, _NARROW, _WIDE = (500, 500, 2000), (64,), 100
_FACTORS = (0.02, 0.05, 0.1, 0.2, 0.5, 1.0)
_PRETRAIN, _NOISE, _SAMPLE = 1, 2, 3  # streams of random numbers


@dataclass(frozen=True, kw_only=True)
class Pretrained:
    """The results of `start`.

    Attributes:
        log_density: mean of log p(z) of the latents under the mixture fitted to them, nats.
        bounds: the ELBO in nats per datum for each factor from the mean component scale to the scale of q.
        factor: the chosen factor.
    """

    log_density: float
    bounds: dict[float, float]
    factor: float


def vade(
    event_shape: Sequence[int],
    *,
    clusters: int = 10,
    latent_dim: int = 10,
    hidden: Sequence[int] | None = None,
    likelihood: str = "bernoulli",
    activation: Activation = "relu",
) -> LatentVariableModel:
    """A variational autoencoder with one Gaussian of the prior for each cluster; run `start` before training it.

    Arguments:
        event_shape: shape of one datum.
        clusters: how many Gaussians.
        latent_dim: length of z.
        hidden: widths of the hidden layers from the data to z, mirrored back; None for 500, 500 and 2000, which are the
            paper's, or 64 for rows of fewer than 100 numbers.
        likelihood: of `likelihoods`, with options (see `spelling`).
        activation: nonlinearity.

    Raises:
        ValueError: no cluster, or what `vae` refuses.

    >>> vade((8, 8), clusters=3, latent_dim=2, hidden=[32]).sample(5).shape
    torch.Size([5, 8, 8])
    """
    if clusters < 1:
        raise ValueError(f"vade got clusters={clusters} and needs at least 1.")
    return vae(
        event_shape,
        latent_dim=latent_dim,
        prior=f"mixture-normal:components={clusters}",
        likelihood=likelihood,
        hidden=_widths(event_shape)[0] if hidden is None else hidden,
        activation=activation,
    )


def _widths(event_shape: Sequence[int]) -> tuple[Sequence[int], str]:
    """Of few numbers the paper's net learns nothing: all rows of two planted groups were in one cluster."""
    if math.prod(event_shape) < _WIDE:
        return _NARROW, f"rows have fewer than {_WIDE} numbers"
    return _OF_THE_PAPER, ""


def start(
    loss: Loss | LatentVariableModel,
    x: Tensor,
    *,
    seed: int = 0,
    epochs: float = 20,
    batch_size: int = 256,
    lr: float = 2e-3,
    num_starts: int = 10,
    engine: Engine | None = None,
) -> Pretrained:
    """Pretrain the nets, fit the mixture to the latents and give q its first scale, in place.

    Arguments:
        loss: a loss whose model is a `vade`, or the model itself.
        x: training rows (N, *event) as the likelihood sees them, at least as many as clusters; no labels.
        seed: of everything random.
        epochs: passes over x as an autoencoder.
        batch_size: rows per step.
        lr: the learning rate at the start; it falls to a hundredth along a cosine.
        num_starts: starts of k-means and EM, of which the most likely mixture is kept.
        engine: where to pretrain.

    Raises:
        ValueError: a model of other parts, or more clusters than rows.
    """
    model = loss.model if isinstance(loss, Loss) else loss
    _parts(model, len(x))
    pretrain(model, x, seed=seed, epochs=epochs, batch_size=batch_size, lr=lr, engine=engine)
    return fit_mixture(model, x, seed=seed, num_starts=num_starts)


def pretrain(
    model: LatentVariableModel,
    x: Tensor,
    *,
    seed: int = 0,
    epochs: float = 20,
    batch_size: int = 256,
    lr: float = 2e-3,
    engine: Engine | None = None,
) -> float:
    """Train the nets as a deterministic autoencoder; see `start`.

    Returns:
        log p(x | E_q[z | x]) at the end, nats per datum.
    """
    loss = Autoencoding(model)
    loss.check(x[:1])
    model.initialize(x[:_ROWS_TO_CHOOSE])
    num_steps = steps_for(epochs, len(x), min(batch_size, len(x)))
    engine = engine or Engine()
    records = train(
        loss,
        InMemory(x, device=engine.torch_device),
        num_steps=num_steps,
        batch_size=min(batch_size, len(x)),
        lr=Cosine(lr, lr / 100, num_steps),
        seed=derive_seed(seed, _PRETRAIN),
        log_every=num_steps,
        engine=engine,
    )
    *_, last = records
    return last.terms["likelihood"]


@torch.no_grad()
def fit_mixture(model: LatentVariableModel, x: Tensor, *, seed: int = 0, num_starts: int = 10) -> Pretrained:
    """Make the most likely mixture of the latents E_q[z | x] the prior, and scale q to it; see `start`."""
    prior, _ = _parts(model, len(x))
    z = torch.cat([model.infer(rows.to(prior.loc.device)).mean for rows in x.split(_BLOCK)])
    log_density = _copy_mixture(prior, z, seed, num_starts)
    return _choose_scale(model, x[:_ROWS_TO_CHOOSE].to(prior.loc.device), seed, log_density)


@torch.no_grad()
def responsibilities(
    model: LatentVariableModel, x: Float[Tensor, "batch *event"], *, num_samples: int = 100, seed: int = 0
) -> Float[Tensor, "batch cluster"]:
    """r_c(x) = E_q(z | x) [p(c | z)], the average of `num_samples` draws.

    Every datum gets the same standard normal noise, so that its result does not depend on the other data.

    Arguments:
        model: a `vade`.
        x: data as the likelihood sees them.
        num_samples: draws of z for each datum.
        seed: of the noise.

    Returns:
        Probabilities; each row sums to one.

    Raises:
        ValueError: a model of other parts, or no sample.
    """
    prior, posterior = _parts(model)
    if num_samples < 1:
        raise ValueError(f"responsibilities got num_samples={num_samples} and needs at least 1.")
    p = cast(NormalMixture, prior())
    with forked(x.device, seed, _NOISE):
        noise = torch.randn(num_samples, 1, posterior.latent_shape[0], device=x.device, dtype=p.loc.dtype)
    parts = []
    for rows in x.split(_BLOCK):
        q = model.infer(rows)
        parts.append(torch.softmax(p.log_joint(q.mean + q.stddev * noise), -1).mean(0))
    return torch.cat(parts)


@torch.no_grad()
def number_by_size(model: LatentVariableModel, clusters: Int[Tensor, "batch"]) -> None:
    """Renumber the clusters by size, in place: cluster 0 has most data, and clusters without data come last.

    Arguments:
        model: a `vade`.
        clusters: the cluster of each datum, by its present number.

    Raises:
        ValueError: a model of other parts.
    """
    prior, _ = _parts(model)
    counts = torch.bincount(clusters, minlength=len(prior.logits))
    order = counts.argsort(descending=True, stable=True).to(prior.logits.device)
    for parameter in (prior.logits, prior.loc, prior.raw_scale):
        parameter.copy_(parameter[order])


@torch.no_grad()
def sample_cluster(model: LatentVariableModel, cluster: int, num_samples: int, *, mean: bool = False) -> Tensor:
    """Draw x ~ p(x | z), z ~ N(μ_c, diag σ_c²), for one cluster c: (num_samples, *event).

    Arguments:
        model: a `vade`.
        cluster: c, from 0.
        num_samples: how many.
        mean: E[x | z] in place of a draw of x, as for galleries of images.

    Raises:
        ValueError: there is no such cluster, or the model has other parts.
    """
    p = cast(NormalMixture, _parts(model)[0]())
    if not 0 <= cluster < len(p.loc):
        raise ValueError(f"sample_cluster got cluster={cluster} and there are {len(p.loc)}, counted from 0.")
    loc, scale = p.loc[cluster], p.scale[cluster]
    x = model.decode(loc + scale * torch.randn(num_samples, len(loc), device=loc.device, dtype=loc.dtype))
    return x.mean if mean else x.sample()


def _parts(model: LatentVariableModel, num_rows: int | None = None) -> tuple[MixtureNormal, DiagonalNormal]:
    """The mixture and q of a VaDE."""
    prior, posterior = model.prior, model.posterior
    if not (isinstance(prior, MixtureNormal) and isinstance(posterior, DiagonalNormal)):
        raise ValueError(
            f"VaDE needs the prior MixtureNormal and the posterior DiagonalNormal and got {type(prior).__name__} and "
            f"{type(posterior).__name__}; build the model with vade()."
        )
    clusters = len(prior.logits)
    if num_rows is not None and num_rows < clusters:
        raise ValueError(
            f"VaDE got {num_rows} rows for {clusters} clusters and needs at least one row for each; "
            "ask for fewer clusters or give more rows."
        )
    return prior, posterior


def _copy_mixture(prior: MixtureNormal, z: Tensor, seed: int, num_starts: int) -> float:
    """π, μ and σ of the most likely mixture; its mean log density."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.mixture import GaussianMixture  # here, because importing it takes a second

    latents = z.double().cpu().numpy()
    floor = max(prior.min_scale**2, 1e-6 * float(latents.var()))
    mixture = GaussianMixture(
        len(prior.logits),
        covariance_type="diag",
        n_init=num_starts,
        reg_covar=floor,
        random_state=derive_seed(seed) % 2**32,
    )
    with warnings.catch_warnings():  # an EM that stops a little early is a start as good as another
        warnings.simplefilter("ignore", ConvergenceWarning)
        mixture.fit(latents)
    weights, means, variances = (
        torch.as_tensor(a).to(prior.loc) for a in (mixture.weights_, mixture.means_, mixture.covariances_)
    )
    prior.logits.copy_(weights.log())
    prior.loc.copy_(means)
    prior.raw_scale.copy_(raw_of(variances.sqrt(), prior.min_scale))
    return float(mixture.score(latents))


def _choose_scale(model: LatentVariableModel, x: Tensor, seed: int, log_density: float) -> Pretrained:
    """Try the scales factor × mean component scale for q, and keep the one with the highest ELBO."""
    prior, posterior = _parts(model)
    p = cast(NormalMixture, prior())
    typical = (p.log_weights.exp() @ p.scale**2).sqrt()
    loss, bounds = VariationalLoss(model, ELBO(), Pathwise()).eval(), {}
    for factor in _FACTORS:
        set_scale(posterior, factor * typical)
        with forked(x.device, seed, _NOISE):
            total = sum(float(loss(rows).terms["bound"]) * len(rows) for rows in x.split(_BLOCK))
        bounds[factor] = total / len(x)
    best = max(bounds, key=lambda factor: bounds[factor])
    set_scale(posterior, best * typical)
    return Pretrained(log_density=log_density, bounds=bounds, factor=best)


@torch.no_grad()
def set_scale(posterior: DiagonalNormal, scale: Float[Tensor, "latent"]) -> None:
    """Make q(z | x) = N(μ(x), diag scale²) for every x with an unchanged mean, by a change of the last layer of the
    net.
    """
    net = posterior.net.net if isinstance(posterior.net, Seen) else posterior.net
    last = net.layers[-1] if isinstance(net, MLP) else None
    assert isinstance(last, torch.nn.Linear)
    mean_rows = posterior.latent_shape[0]
    last.weight[mean_rows:].zero_()
    last.bias[mean_rows:].copy_(raw_of(scale, posterior.min_scale))


RECIPE = Recipe(
    name="vade",
    cites=("jiang2017variational",),
    make=vade,
    defaults={"objective": "elbo", "binarization": "none"},
    start=start,
    widths=_widths,
    assigns=True,
)
