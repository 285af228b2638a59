"""Every weight is p(x_obs) by enumeration with scipy, gaps of every kind included; sizes travel with the weights."""

from __future__ import annotations

import copy
import math
from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats
from scipy.special import gammaln

from lowerbound.evaluate import log_evidence
from lowerbound.exact import LinearGaussian
from lowerbound.linear import Candidate
from lowerbound.model import LatentVariableModel
from lowerbound.models.latent_classes import ClassPosterior, latent_classes, rows_of, start_latent_classes
from lowerbound.models.mixture_of_factor_analysers import mixture_of_factor_analysers, start_mixture_of_factor_analysers
from lowerbound.weights import is_exact

NAN = float("nan")
COLUMNS = "categorical-3+2*continuous+count+positive+ordinal-4"


def table(count: int = 120, gaps: float = 0.25) -> torch.Tensor:
    """Two clusters; every column far from standard units."""
    g = np.random.default_rng(3)
    k = g.integers(2, size=count)
    real = LinearGaussian.random(3, 1).sample(count).numpy() + 4.0 * k[:, None]
    classes = g.choice(3, count) * k
    ordinal = np.minimum(g.poisson(1 + k), 3)
    x = np.stack(
        [classes, 1e3 + 50 * real[:, 0], 0.01 * real[:, 1], g.poisson(3 + 20 * k), np.exp(real[:, 2]), ordinal], 1
    )
    x[g.random(x.shape) < gaps] = NAN
    x[4] = NAN
    return torch.as_tensor(x)


def fitted(x: torch.Tensor, columns: str | None = COLUMNS, **sizes: int) -> LatentVariableModel:
    model = latent_classes((x.shape[1],), columns=columns, **sizes).to(x.dtype)
    model.initialize(x)
    start_latent_classes(model, x)
    return model.eval()


def few(monkeypatch: pytest.MonkeyPatch) -> None:
    every = [
        Candidate(num_clusters=k, latent_dim=r, levels=(1.0, 5.0), shrinkage=1.0) for k, r in ((1, 1), (3, 0), (2, 1))
    ]
    for name in ("mixed_candidates", "candidates"):
        monkeypatch.setattr(f"lowerbound.linear.portfolio.{name}", lambda n, d: iter(every if d > 1 else [every[1]]))


@pytest.fixture(scope="module")
def precise() -> LatentVariableModel:
    """Fitted to the table of one seed, which is that of no test, in double precision."""
    with pytest.MonkeyPatch.context() as patched, torch.random.fork_rng():
        torch.manual_seed(0)
        few(patched)
        return fitted(table().double())


def by_enumeration(model: Any, x: np.ndarray) -> np.ndarray:
    """log p of each row: a sum over c of a Gaussian over the observed reals, times classes, times counts."""
    likelihood = model.likelihood.double()
    net, pi = likelihood.net, model.prior.logits.double().softmax(0).detach().numpy()
    with torch.no_grad():
        p = likelihood((torch.zeros(len(pi), net.weight.shape[2]).double(), torch.eye(len(pi)).double()))
    named = dict(zip(("categorical", "continuous", "count", "positive", "ordinal"), p.parts, strict=True))
    reals = (named["continuous"], named["positive"])
    a, b, loc, scale = (
        torch.cat([getattr(r, n) for r in reals], -1).numpy() for n in ("centre", "unit", "loc", "scale")
    )
    weight = net.weight.double().detach().numpy()
    log_p = []
    for row in x:
        y = np.array([row[1], row[2], np.log(row[4])])
        seen, total = ~np.isnan(y), 0.0
        for c in range(len(pi)):
            sigma = weight[c] @ weight[c].T + np.diag(scale[c] ** 2)
            sigma = (sigma * b[c] * b[c][:, None])[np.ix_(seen, seen)]
            gaussian = stats.multivariate_normal((a[c] + b[c] * loc[c])[seen], sigma) if seen.any() else None
            one = pi[c] * (1.0 if gaussian is None else gaussian.pdf(y[seen]))
            one /= row[4] if seen[2] else 1.0
            for value, part in ((row[0], named["categorical"]), (row[5], named["ordinal"])):
                one *= 1.0 if np.isnan(value) else float(part.log_probs[c, 0, int(value)].exp())
            if not np.isnan(row[3]):
                m, r, n = float(named["count"].mean[c, 0]), float(named["count"].inverse_dispersion[c, 0]), row[3]
                volume = gammaln(n + r) - gammaln(r) - gammaln(n + 1)
                one *= np.exp(volume + r * np.log(r / (r + m)) + n * np.log(m / (r + m)))
            total += one
        log_p.append(np.log(total))
    return np.array(log_p)


@pytest.mark.parametrize("dtype, tolerance", [(torch.float64, 1e-9), (torch.float32, 1e-4)])
def test_every_weight_is_the_evidence(
    monkeypatch: pytest.MonkeyPatch, precise: LatentVariableModel, dtype: torch.dtype, tolerance: float
) -> None:
    few(monkeypatch)
    x = table().to(dtype)
    model = fitted(x) if dtype == torch.float32 else copy.deepcopy(precise)
    log_w = model.log_weights(x, 7).log_w.detach().double().numpy()
    expected = by_enumeration(model, x.double().numpy())
    np.testing.assert_allclose(log_w, np.broadcast_to(expected, log_w.shape), atol=tolerance, rtol=tolerance)
    assert expected[4] == pytest.approx(0, abs=1e-6)  # nothing was observed


def test_classes_are_summed_out(precise: LatentVariableModel) -> None:
    """p(class | rest) = p(class, rest) / p(rest), each by enumeration; and draws of whole rows agree with them."""
    x, model = table().double(), copy.deepcopy(precise)
    q = model.posterior
    assert isinstance(q, ClassPosterior)
    assert q.is_exact_for(model)
    rows = x[:30].clone()
    rows[:, 0] = NAN
    p = q.class_probabilities(rows)
    assert p is not None
    evidence = by_enumeration(model, rows.numpy())
    for value in range(3):
        known = rows.clone()
        known[:, 0] = value
        expected = np.exp(by_enumeration(model, known.numpy()) - evidence)
        np.testing.assert_allclose(p[:, 0, value], expected, atol=1e-9)
    assert p.shape == (30, 6, 4)
    assert bool((p[:, [1, 2, 3, 4]] == 0).all())
    torch.manual_seed(0)
    drawn = q.decoded(rows, 4000).sample()
    seen = torch.stack([(drawn[..., 0] == value).double().mean(0) for value in range(3)], 1)
    torch.testing.assert_close(seen, p[:, 0, :3], atol=0.04, rtol=0)


def test_rows_in_blocks_have_the_same_bits(precise: LatentVariableModel, monkeypatch: pytest.MonkeyPatch) -> None:
    q, x = precise.posterior, table().double()
    assert isinstance(q, ClassPosterior)
    together = q._inferred(x)[0]
    monkeypatch.setattr("lowerbound.models.latent_classes._BLOCK", 20)
    assert torch.equal(q._inferred(x)[0], together)
    assert q._inferred(x[:0])[0].shape == (0, together.shape[1])


def test_many_components_have_two_digits(precise: LatentVariableModel, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same weights, decoded from codes (2, m) of c; few values stand for many."""
    x, model = table().double(), copy.deepcopy(precise)
    expected = model.log_weights(x, 2).log_w[0]
    monkeypatch.setattr("lowerbound.distributions.long_categorical.MOST_ONE_HOT", 2)
    zeta, c = model.infer(x).sample((3,))
    components = len(model.prior.logits)
    assert components > 2
    assert c.shape[2:] == (2, math.isqrt(components - 1) + 1)
    torch.testing.assert_close(model.log_weights(x, 3).log_w, expected.expand(3, -1), atol=1e-9, rtol=1e-9)
    assert model.decode((zeta, c)).sample().shape == (3, *x.shape)
    assert model.prior(None).sample((5,))[1].shape == (5, 2, 2)


def test_a_posterior_is_exact_only_for_its_own_model(precise: LatentVariableModel) -> None:
    model = copy.deepcopy(precise)
    assert is_exact(model)
    with torch.no_grad():
        model.prior.logits[0] += 0.1
    assert not is_exact(model)
    with torch.no_grad():
        model.prior.logits[0] -= 0.1
        model.likelihood.net.table[0, 0] += 0.1
    assert not is_exact(model)


def test_rounding_of_an_exact_posterior_is_no_heavy_tail() -> None:
    x = table().float()
    evidence = log_evidence(fitted(x, components=2, latent_dim=1), x, num_samples=200)
    assert evidence.unreliable_fraction == 0


def test_missing_entries_are_decoded_at_their_conditional_mean() -> None:
    exact = LinearGaussian.random(4, 2)
    x = exact.sample(300) * torch.tensor([1.0, 10.0, 0.1, 1.0]) + 5
    x[::2, 1], x[::3, 2] = NAN, NAN
    model: Any = fitted(x, None, components=1, latent_dim=2)
    q = model.infer(x)
    zeta, c = q.layers_at(q.sample())
    with torch.no_grad():
        filled = model.decode((zeta.mean, c.mode)).mean.numpy()
        at_zero = model.likelihood((torch.zeros(1, 2).double(), torch.ones(1, 1).double())).parts[0]
    w = (at_zero.unit[0][:, None] * model.likelihood.net.weight[0]).detach().numpy()
    sigma = w @ w.T + np.diag(at_zero.variance[0].numpy())
    for n in range(6):
        o = ~x[n].isnan().numpy()
        gain = sigma[np.ix_(~o, o)] @ np.linalg.inv(sigma[np.ix_(o, o)])
        expected = at_zero.mean[0].numpy()[~o] + gain @ (x[n].numpy()[o] - at_zero.mean[0].numpy()[o])
        np.testing.assert_allclose(filled[n, ~o], expected, rtol=1e-8)


def test_complete_reals_are_fitted_as_a_mixture_of_factor_analysers(monkeypatch: pytest.MonkeyPatch) -> None:
    few(monkeypatch)
    x = LinearGaussian.random(4, 1).sample(80)
    y = (x - x.mean(0)) / x.std(0, correction=0)
    other = mixture_of_factor_analysers((4,)).double()
    start_mixture_of_factor_analysers(other, y)
    volume = x.std(0, correction=0).log().sum()
    log_w = other.log_weights(y, 1).log_w - volume
    torch.testing.assert_close(fitted(x, None).log_weights(x, 1).log_w, log_w, atol=1e-6, rtol=1e-6)


def test_planted_clusters_are_found_and_assigned() -> None:
    x = table(gaps=0.1)
    k = torch.as_tensor(np.random.default_rng(3).integers(2, size=len(x)))
    probabilities = fitted(x, components=2).posterior.cluster_probabilities(x)  # pyright: ignore
    torch.testing.assert_close(probabilities.sum(1), torch.ones(len(x)).double())
    agree = float((probabilities.argmax(1) == k).double().mean())
    assert max(agree, 1 - agree) > 0.95


def test_classes_alone_have_c_for_their_latent() -> None:
    x = table()[:, [0, 5]]
    model = fitted(x, "categorical-3+ordinal-4", components=3)
    assert model.infer(x).sample().shape == (len(x), 3)
    assert model.sample(9).shape == (9, 2)
    p = model.likelihood(torch.eye(3).double()).parts  # type: ignore[union-attr]
    rows = [[part.log_probs[c, 0].exp().detach() for part in p] for c in range(3)]
    pi = model.prior.logits.softmax(0)  # type: ignore[union-attr]
    expected = torch.stack([pi[c] * rows[c][0][1] * rows[c][1][2] for c in range(3)]).sum().log()
    torch.testing.assert_close(model.log_weights(torch.tensor([[1.0, 2.0]]).double(), 3).log_w, expected.expand(3, 1))


def test_sizes_come_back_with_the_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    few(monkeypatch)
    x = table()
    model = fitted(x)
    other = latent_classes((6,), columns=COLUMNS).double()
    other.load_state_dict(model.state_dict())
    torch.testing.assert_close(other.log_weights(x, 1).log_w, model.log_weights(x, 1).log_w)
    mine, theirs = (m.posterior.cluster_probabilities(x) for m in (other, model))  # pyright: ignore
    torch.testing.assert_close(mine, theirs)


def test_rows_are_in_the_units_of_the_likelihood() -> None:
    x = table()
    model = latent_classes((6,), columns=COLUMNS).double()
    model.initialize(x)
    rows = rows_of(model.likelihood, x)  # pyright: ignore[reportArgumentType]
    torch.testing.assert_close(rows.real.nanmean(0), torch.zeros(3).double(), atol=1e-9, rtol=0)
    torch.testing.assert_close(rows.real.square().nanmean(0), torch.ones(3).double())
    assert rows.others is not None
    assert rows.others.sizes == (3, 4)


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(ValueError, match="are of tables"):
        latent_classes((8, 8))
    with pytest.raises(ValueError, match="between 0 and 2 for 3 real columns"):
        latent_classes((6,), columns=COLUMNS, latent_dim=3)
    with pytest.raises(ValueError, match="components is 0"):
        latent_classes((6,), columns=COLUMNS, components=0)
