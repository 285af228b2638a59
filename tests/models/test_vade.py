"""VaDE: its bound against the one of the paper, clusters enumerated, the start, and clusters that were planted."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch.distributions import Independent, MultivariateNormal, Normal

from lowerbound import LatentVariableModel, posteriors, priors
from lowerbound.data import InMemory
from lowerbound.evaluate import clustering_accuracy, log_evidence
from lowerbound.gradients import Pathwise
from lowerbound.likelihoods import Normal as NormalLikelihood
from lowerbound.losses import VariationalLoss
from lowerbound.losses.autoencoding import Autoencoding
from lowerbound.models.deep_embedding import (
    fit_mixture,
    number_by_size,
    pretrain,
    responsibilities,
    sample_cluster,
    start,
    vade,
)
from lowerbound.models.variational_autoencoder import vae
from lowerbound.nets import MLP
from lowerbound.objectives import ELBO
from lowerbound.training.loop import train
from lowerbound.weights import weigh

CLUSTERS, LATENT_DIM, EVENT = 3, 2, 4


def model() -> Any:
    torch.manual_seed(0)
    made = vade((EVENT,), clusters=CLUSTERS, latent_dim=LATENT_DIM, hidden=[5]).double()
    with torch.no_grad():
        for parameter in made.prior.parameters():
            parameter.normal_()
    return made


def parts(made: Any, x: torch.Tensor, num_samples: int) -> tuple[Any, Any, torch.Tensor]:
    q, p = made.infer(x), made.prior()
    return q, p, q.rsample(torch.Size((num_samples,)))


def log_components(p: Any, z: torch.Tensor) -> torch.Tensor:
    """log N(z; μ_c, diag σ_c²) (..., c), by torch."""
    return torch.stack([Normal(p.loc[c], p.scale[c]).log_prob(z).sum(-1) for c in range(CLUSTERS)], -1)


def bound_of_the_paper(made: Any, x: torch.Tensor, z: torch.Tensor, gamma: torch.Tensor) -> torch.Tensor:
    """E_{q(z) γ(c)} [log p(x|z) + log p(z|c) + log p(c) − log q(z|x) − log γ_c] for draws z, (S, B)."""
    q, p = made.infer(x), made.prior()
    of_cluster = log_components(p, z) + p.log_weights - gamma.log()
    return made.decode(z).log_prob(x) + (gamma * of_cluster).sum(-1) - q.log_prob(z)


def test_with_the_best_responsibilities_the_bound_of_the_paper_is_the_plain_elbo_at_every_draw() -> None:
    made, x = model(), torch.rand(6, EVENT, dtype=torch.float64)
    q, p, z = parts(made, x, 7)
    best = torch.softmax(log_components(p, z) + p.log_weights, -1)
    written_out = bound_of_the_paper(made, x, z, best)
    torch.testing.assert_close(weigh(q, made.joint(x), z).log_w, written_out)
    torch.manual_seed(3)
    loss = VariationalLoss(made, ELBO(), Pathwise(), 5)(x).loss
    torch.manual_seed(3)
    z = parts(made, x, 5)[2]
    best = torch.softmax(log_components(p, z) + p.log_weights, -1)
    torch.testing.assert_close(loss, -bound_of_the_paper(made, x, z, best).mean())


def test_one_q_of_c_for_all_z_costs_the_mean_divergence_of_the_clusters() -> None:
    made, x = model(), torch.rand(6, EVENT, dtype=torch.float64)
    q, p, z = parts(made, x, 50)
    exact = torch.softmax(log_components(p, z) + p.log_weights, -1)
    gamma = exact.mean(0)  # equation 16
    divergence = (gamma * (gamma.log() - exact.log())).sum(-1)
    ours, theirs = weigh(q, made.joint(x), z).log_w, bound_of_the_paper(made, x, z, gamma)
    torch.testing.assert_close(ours - theirs, divergence)
    assert bool(((ours - theirs).mean(0) > 1e-4).all())


def test_the_closed_form_of_the_paper_is_the_expectation_of_its_sampled_form() -> None:
    """Equation 12, without log p(x | z): what the authors' code computes, at the same γ."""
    made, x = model(), torch.rand(4, EVENT, dtype=torch.float64)
    q, p, z = parts(made, x, 50_000)
    gamma = torch.softmax(log_components(p, z) + p.log_weights, -1).mean(0)
    mean, variance = q.mean[:, None], q.variance[:, None]
    squared = (variance + (mean - p.loc) ** 2) / p.scale**2 + p.scale.square().log()
    closed = -0.5 * (gamma * squared.sum(-1)).sum(-1) + (gamma * (p.log_weights - gamma.log())).sum(-1)
    closed = closed + 0.5 * (1 + q.variance.log()).sum(-1)
    draws = bound_of_the_paper(made, x, z, gamma) - made.decode(z).log_prob(x)
    error = draws.std(0) / math.sqrt(len(draws))
    assert bool(((draws.mean(0) - closed).abs() < 5 * error).all())
    assert bool((error < 0.04).all())


def test_log_p_of_x_is_the_sum_over_enumerated_clusters() -> None:
    """x = W z + b + noise: each cluster is one Gaussian of x. q is the prior of the likeliest one, made wider."""
    torch.manual_seed(1)
    prior = priors.MixtureNormal(LATENT_DIM, components=CLUSTERS)
    with torch.no_grad():
        prior.logits.copy_(torch.tensor([0.5, -1.0, 0.0]))
    decoder = MLP(LATENT_DIM, [], (EVENT,))
    likelihood = NormalLikelihood(decoder, event_shape=(EVENT,))
    q = posteriors.DiagonalNormal(MLP(EVENT, [], (2, LATENT_DIM)))
    made = LatentVariableModel(prior=prior, likelihood=likelihood, posterior=q).double()
    x = made.sample(5)
    w, b = decoder.layers[0].weight.detach(), decoder.layers[0].bias.detach()
    p, noise = prior(), made.decode(torch.zeros(1, LATENT_DIM, dtype=torch.float64)).variance[0].detach()
    covariances = [w @ torch.diag(p.scale[c] ** 2) @ w.T + torch.diag(noise) for c in range(CLUSTERS)]
    each = [MultivariateNormal(w @ p.loc[c] + b, covariances[c]).log_prob(x) for c in range(CLUSTERS)]
    exact = torch.logsumexp(torch.stack(each, -1) + p.log_weights, -1).detach()
    estimate = log_evidence(made, x, num_samples=20_000)
    assert float((estimate.log_evidence - exact).abs().max()) < 0.1
    assert bool((estimate.elbo < exact).all())


def test_responsibilities_are_the_average_of_softmaxes_and_not_one_at_the_mean() -> None:
    made, x = model(), torch.rand(6, EVENT, dtype=torch.float64)
    q, p, z = parts(made, x, 50_000)
    exact = torch.softmax(log_components(p, z) + p.log_weights, -1).mean(0).detach()
    found = responsibilities(made, x, num_samples=50_000)
    torch.testing.assert_close(found.sum(-1), torch.ones(6, dtype=torch.float64))
    assert float((found - exact).abs().max()) < 0.01
    at_the_mean = torch.softmax(log_components(p, q.mean) + p.log_weights, -1).detach()
    assert float((found - at_the_mean).abs().max()) > 0.05
    torch.testing.assert_close(found[2:4], responsibilities(made, x[2:4], num_samples=50_000))


def planted(rows: int = 300) -> tuple[torch.Tensor, torch.Tensor]:
    """Three clusters in 8 dimensions, the last as large as the others together, and which is which."""
    torch.manual_seed(5)
    label = (torch.arange(rows) % 4).clamp(max=2)
    centres = 2.5 * torch.randn(3, 8)
    return centres[label] + 0.5 * torch.randn(rows, 8), label


def small(clusters: int = 3) -> Any:
    torch.manual_seed(0)
    return vade((8,), clusters=clusters, latent_dim=2, hidden=[16], likelihood="normal")


@pytest.fixture(scope="module")
def begun() -> tuple[Any, Any]:
    made = small()
    return made, start(made, planted()[0], seed=1, epochs=30, batch_size=50, lr=2e-2, num_starts=2)


def test_the_start_finds_planted_clusters_and_training_keeps_them(begun: tuple[Any, Any]) -> None:
    made = begun[0]
    x, label = planted()
    assert clustering_accuracy(responsibilities(made, x).argmax(1), label).value > 0.97
    before = float(VariationalLoss(made, ELBO(), Pathwise(), 20)(x).terms["bound"])
    copy = small()
    copy.load_state_dict(made.state_dict())
    loss = VariationalLoss(copy, ELBO(), Pathwise())
    for _ in train(loss, InMemory(x), num_steps=100, batch_size=100, lr=4e-3, compile=False):
        pass
    assert float(VariationalLoss(copy, ELBO(), Pathwise(), 20)(x).terms["bound"]) > before + 0.3
    assert clustering_accuracy(responsibilities(copy, x).argmax(1), label).value > 0.97


def test_without_the_start_the_planted_clusters_are_not_found() -> None:
    x, label = planted()
    assert clustering_accuracy(responsibilities(small(), x).argmax(1), label).value < 0.9


def test_the_prior_is_the_mixture_of_the_latents(begun: tuple[Any, Any]) -> None:
    made, found = begun
    x, _ = planted()
    z = made.infer(x).mean.detach()
    p = made.prior()
    torch.testing.assert_close(p.log_prob(z).mean().item(), found.log_density, rtol=1e-3, atol=1e-3)
    cluster = responsibilities(made, x).argmax(1)
    for c in range(3):
        torch.testing.assert_close(p.loc[c].detach(), z[cluster == c].mean(0), rtol=0, atol=0.3)
    shares = torch.bincount(cluster, minlength=3) / len(x)
    torch.testing.assert_close(p.log_weights.exp().detach(), shares, rtol=0, atol=0.03)


def test_the_scale_of_q_is_one_for_all_x_and_has_the_highest_of_the_bounds(begun: tuple[Any, Any]) -> None:
    made, found = begun
    x, _ = planted()
    q, p = made.infer(x), made.prior()
    typical = (p.log_weights.exp() @ p.scale**2).sqrt()
    torch.testing.assert_close(q.stddev, (found.factor * typical).expand(len(x), 2), rtol=1e-4, atol=1e-4)
    assert found.factor == max(found.bounds, key=found.bounds.get)
    here = float(VariationalLoss(made, ELBO(), Pathwise(), 50)(x).terms["bound"])
    assert here == pytest.approx(found.bounds[found.factor], abs=0.5)
    assert len(set(found.bounds.values())) == len(found.bounds) > 3


def test_the_scale_is_set_without_moving_the_means() -> None:
    x, _ = planted()
    made = small()
    before = made.infer(x).mean
    fit_mixture(made, x, num_starts=1)
    assert torch.equal(made.infer(x).mean, before)


def test_pretraining_is_repeatable_and_improves_the_autoencoder() -> None:
    x, _ = planted()
    first, second = small(), small()
    untrained = float(Autoencoding(first)(x).terms["bound"])
    values = [pretrain(made, x, seed=4, epochs=8, batch_size=50, lr=1e-2) for made in (first, second)]
    assert values[0] == values[1] > untrained + 1
    assert all(
        torch.equal(a, b) for a, b in zip(first.state_dict().values(), second.state_dict().values(), strict=True)
    )


def test_samples_of_a_cluster_come_from_its_gaussian(begun: tuple[Any, Any]) -> None:
    made = begun[0]
    x, _ = planted()
    cluster = responsibilities(made, x).argmax(1)
    for c in range(3):
        drawn = sample_cluster(made, c, 500)
        assert drawn.shape == (500, 8)
        distances = torch.stack([(drawn.mean(0) - x[cluster == other].mean(0)).norm() for other in range(3)])
        assert int(distances.argmin()) == c
        means = sample_cluster(made, c, 500, mean=True)
        assert float(means.var(0).sum()) < float(drawn.var(0).sum())


def test_more_clusters_than_rows_is_refused_before_training() -> None:
    x = planted()[0]
    with pytest.raises(ValueError, match=r"got 4 rows for 5 clusters .* ask for fewer clusters or give more rows"):
        start(small(clusters=5), x[:4])
    begin = start(small(clusters=5), x[:5], epochs=1, num_starts=1)
    assert math.isfinite(begin.log_density)


def test_a_model_of_other_parts_is_refused() -> None:
    x = planted()[0]
    with pytest.raises(ValueError, match=r"got StandardNormal and DiagonalNormal; build the model with vade\(\)"):
        start(VariationalLoss(vae((8,), likelihood="normal"), ELBO(), Pathwise()), x)
    with pytest.raises(ValueError, match="build the model with"):
        responsibilities(vae((8,)), x)


def test_clusters_are_numbered_by_their_size_and_are_otherwise_the_same() -> None:
    made, x = model(), torch.rand(40, EVENT, dtype=torch.float64)
    before, log_p = responsibilities(made, x), made.prior().log_prob(made.infer(x).mean)
    number_by_size(made, torch.tensor([1] * 5 + [2] * 30 + [0] * 5))
    torch.testing.assert_close(responsibilities(made, x), before[:, [2, 0, 1]])
    torch.testing.assert_close(made.prior().log_prob(made.infer(x).mean), log_p)


def test_what_makes_no_sense_is_refused() -> None:
    with pytest.raises(ValueError, match="clusters=0"):
        vade((8,), clusters=0)
    with pytest.raises(ValueError, match="cluster=3 and there are 3"):
        sample_cluster(small(), 3, 2)
    with pytest.raises(ValueError, match="num_samples=0"):
        responsibilities(small(), planted()[0], num_samples=0)


def test_defaults_are_the_nets_of_the_paper() -> None:
    made: Any = vade((784,))
    widths = [layer.out_features for layer in made.posterior.net.layers if hasattr(layer, "out_features")]
    back = [layer.out_features for layer in made.likelihood.net.layers if hasattr(layer, "out_features")]
    assert widths == [500, 500, 2000, 20]
    assert back == [2000, 500, 500, 784]
    assert isinstance(made.infer(torch.zeros(1, 784)), Independent)
