"""Rows come back as they were, in −ELBO bits, and what cannot be coded is refused by name."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import scipy.stats
import torch

from lowerbound.coding import Codec, Steps
from lowerbound.coding.families import Family
from lowerbound.coding.numbering import LatentCells
from lowerbound.coding.stack import PARTS, BitStack
from lowerbound.coding.symbols import Elements, pop, push
from lowerbound.distributions.distribution_functions import normal
from lowerbound.models import vae
from lowerbound.models.layered import deep_latent_gaussian
from lowerbound.randomness import forked

ROWS, DIM, DRAWS = 400, 3, 64
BITS, COUNTS = Steps.of(DIM, size=2), Steps.of(DIM, size=1 << 20)
LEVELS = Steps.of(DIM, size=8, step=1 / 7)
TENTHS = Steps.of(DIM, size=400, low=-20.0, step=0.1, half=0.5)
LIKELIHOODS = {
    "bernoulli": BITS,
    "categorical:num_classes=8": Steps.of(DIM, size=8),
    "discretized-logistic:num_levels=8": LEVELS,
    "poisson": COUNTS,
    "negative-binomial": COUNTS,
    "zero-inflated-poisson": COUNTS,
    "normal": TENTHS,
    "laplace": TENTHS,
    "student-t": TENTHS,
}
PAIRS = {
    "diagonal-normal": ("standard-normal", "mixture-normal:components=3", "autoregressive-normal", "laplace"),
    "full-normal": ("standard-normal", "autoregressive-normal"),
    "low-rank-normal": ("standard-normal",),
    "mixture-normal:components=2": ("standard-normal", "mixture-normal:components=3"),
    "bernoulli": ("bernoulli",),
    "categorical:categories=3": ("categorical:categories=3",),
}


def model_of(likelihood="bernoulli", posterior="diagonal-normal", prior="standard-normal", seed=0):
    with forked(torch.device("cpu"), seed):
        model = vae((DIM,), latent_dim=2, likelihood=likelihood, posterior=posterior, prior=prior, hidden=(4,)).double()
        with torch.no_grad():
            for p in model.parameters():
                p.add_((0.05 if "autoregressive" in prior or "flow" in prior else 0.3) * torch.randn_like(p))
    return model.eval()


def numbers_of(model, steps, seed=1):
    """Numbers of rows that the model draws."""
    with forked(torch.device("cpu"), seed), torch.no_grad():
        x = model.sample(ROWS).double().reshape(ROWS, -1).numpy()
    return np.clip(steps.number(x.T).T, 0, steps.size - 1)


def coded(model, steps, k, batch=64, samples=1, **given):
    codec = Codec(model, steps, torch.from_numpy, batch=batch, samples=samples)
    encoded = codec.encode(k, **given)
    stack = BitStack.from_bytes(encoded.stack.to_bytes(), encoded.stack.num_words, len(encoded.stack.heads))
    assert np.array_equal(codec.decode(stack, encoded.groups, **given), k)
    assert stack.is_what_was_lent(encoded.stack.lent)
    assert -5e-3 < encoded.symbol_bits / encoded.drawn_bits - 1 < 1e-3  # less where a value would take over 30 bits
    return encoded.net_bits / len(k)


@torch.no_grad()
def bits_of(model, steps, k, seen=None):
    """−ELBO of one draw for each row in bits (draws, N); of densities, on cells as wide as a step."""
    values = steps.value(np.ascontiguousarray(k.T)).T
    x = torch.from_numpy(np.ascontiguousarray(values if seen is None else np.where(seen, values, np.nan)))
    with forked(torch.device("cpu"), 2):
        log_w = model.log_weights(x, DRAWS).log_w
    cells = np.where(steps.half > 0, np.log2(steps.step), 0.0) * (np.ones(k.shape) if seen is None else seen)
    return -log_w.numpy() / math.log(2) - cells.sum(1)


def check(model, steps, k, **given):
    achieved, draws = coded(model, steps, k, **given), bits_of(model, steps, k, **given)
    error = (draws - draws.mean(0)).std() / math.sqrt(ROWS)
    assert achieved == pytest.approx(draws.mean(), rel=2e-3, abs=3 * error)
    return achieved


@pytest.mark.parametrize("likelihood", LIKELIHOODS)
def test_every_likelihood_takes_its_negative_elbo(likelihood):
    model, steps = model_of(likelihood), LIKELIHOODS[likelihood]
    check(model, steps, numbers_of(model, steps))


@pytest.mark.parametrize(
    "posterior, prior", [(q, p) for q, priors in PAIRS.items() for p in priors], ids=lambda word: word
)
def test_every_posterior_and_prior_takes_its_negative_elbo(posterior, prior):
    model = model_of("bernoulli", posterior, prior)
    check(model, BITS, numbers_of(model, BITS))


def test_mean_length_of_ten_thousand_rows_is_the_enumerated_negative_elbo():
    """Of two bits z and three bits x: E_q[log q(z | x) − log p(x, z)] over four z, for each of eight x."""
    model = model_of("bernoulli", "bernoulli", "bernoulli")
    z = torch.cartesian_prod(*[torch.tensor([0.0, 1.0]).double()] * 2)
    x = torch.cartesian_prod(*[torch.tensor([0.0, 1.0]).double()] * DIM)
    with torch.no_grad(), forked(torch.device("cpu"), 4):
        q, joint = model.infer(x), model.joint(x)
        each = z[:, None].expand(4, 8, 2)
        log_q, (log_likelihood, log_prior) = q.log_prob(each), joint(each)
        bits = (log_q - log_likelihood - log_prior) / math.log(2)
        mean, second = (log_q.exp() * bits).sum(0), (log_q.exp() * bits.square()).sum(0)
        rows = model.sample(10_000).long()
    which = rows @ torch.tensor([4, 2, 1])
    exact, error = mean[which].mean(), math.sqrt((second - mean.square())[which].sum()) / len(rows)
    codec = Codec(model, BITS, torch.from_numpy, batch=256)
    encoded = codec.encode(rows.numpy())
    assert np.array_equal(codec.decode(encoded.stack, encoded.groups), rows.numpy())
    assert encoded.net_bits / len(rows) == pytest.approx(float(exact), abs=3 * error)


def test_layers_drawn_from_the_data_up_take_their_negative_elbo():
    with forked(torch.device("cpu"), 5):
        model = deep_latent_gaussian((DIM,), latent_dims=[2, 1], hidden=[[4], [4]]).double().eval()
    check(model, BITS, numbers_of(model, BITS))


def test_discrete_latents_and_layers_cannot_be_refined():
    with forked(torch.device("cpu"), 5):
        layers = deep_latent_gaussian((DIM,), latent_dims=[2, 1], hidden=[[4], [4]]).double().eval()
    for model in (model_of("bernoulli", "bernoulli", "bernoulli"), layers):
        codec = Codec(model, BITS, torch.from_numpy, batch=16, refine=2)
        with pytest.raises(ValueError, match="cannot be refined"):
            codec.encode(np.zeros((20, DIM), np.int64))


def test_a_latent_that_the_prior_excludes_takes_thirty_bits():
    """At 9 standard deviations −log₂ p of a cell is 70 and more, of which the file takes 30: less than −ELBO."""
    cells = LatentCells(np.zeros((1, 1)), np.ones((1, 1)))
    under_p = Elements(Family(normal, (np.zeros((1, 1)), np.ones((1, 1)))), cells, floored=True)
    k = np.array([[np.abs(cells.value(np.arange(1 << 18)[None]) - 9).argmin()]])
    width = cells.end(k) - cells.end(k - 1)
    of_the_density = 0.5 * 81 / math.log(2) + 0.5 * math.log2(2 * math.pi) - math.log2(width.item())
    stack = BitStack(lends=True)
    stack.widen(1)
    push(stack, under_p, k)
    assert stack.symbol_bits == 30
    assert of_the_density > 65
    assert pop(stack, under_p, 1).item() == k.item()


def test_the_stack_takes_what_its_symbols_take():
    """100,000 symbols of random widths: the roundings of either sign cancel."""
    g, stack = np.random.default_rng(0), BitStack(lends=True)
    stack.widen(100)
    exact = 0.0
    for _ in range(1000):
        width = np.exp2(g.uniform(20, 30, 100)).astype(np.uint64)
        start = (g.random(100) * (PARTS - width)).astype(np.uint64)
        stack.push(start, width, slice(0, 100))
        exact += float((30 - np.log2(width.astype(float))).sum())
    assert stack.symbol_bits == pytest.approx(exact, rel=1e-12)
    assert stack.num_bits == pytest.approx(exact, rel=2e-4)


def test_the_cells_of_real_latents_have_equal_mass_under_students_t():
    cells = LatentCells(np.full((1, 1), 2.0), np.full((1, 1), 3.0))
    k = np.array([[0, 1000, 131071, 200000, (1 << 18) - 2]])
    u = scipy.stats.t.cdf((cells.end(k) - 2) / 3, df=2)
    np.testing.assert_allclose(u, (k + 1) / (1 << 18), rtol=1e-9)
    assert cells.end(np.array([[(1 << 18) - 1]])).item() == np.inf


@pytest.mark.parametrize("num_samples", [2, 3])
def test_with_several_latents_rows_take_the_enumerated_importance_weighted_bound(num_samples):
    """Σ over all (z_1, …, z_K) of two bits each of Π q(z_k | x) · −log₂ (1/K Σ w), within three standard errors."""
    model = model_of(posterior="bernoulli", prior="bernoulli", seed=3)
    k = numbers_of(model, BITS)
    x, every = torch.from_numpy(k).double(), torch.cartesian_prod(*[torch.tensor([0.0, 1.0]).double()] * 2)
    with torch.no_grad():
        z = every[:, None].expand(-1, len(x), -1)
        log_q, (log_x, log_z) = model.infer(x).log_prob(z), model.joint(x)(z)
    log_w, moments = (log_x + log_z - log_q).numpy(), np.zeros((3, len(x)))
    for combined in itertools.product(range(4), repeat=num_samples):
        of = list(combined)
        length = -(np.logaddexp.reduce(log_w[of]) - math.log(num_samples)) / math.log(2)
        moments += np.exp(log_q.numpy()[of].sum(0)) * np.stack([np.ones(len(x)), length, length**2])
    np.testing.assert_allclose(moments[0], 1)
    error = math.sqrt((moments[2] - moments[1] ** 2).sum()) / len(x)
    assert coded(model, BITS, k, samples=num_samples) == pytest.approx(moments[1].mean(), abs=3 * error + 0.02)
    assert moments[1].mean() + 0.005 < -(np.exp(log_q.numpy()) * log_w).sum(0).mean() / math.log(2)


@pytest.mark.parametrize("posterior", ["diagonal-normal", "maf:transforms=1,hidden=4"])
def test_real_latents_are_coded_with_several_for_a_row(posterior):
    model = model_of(posterior=posterior, seed=2)
    assert coded(model, BITS, numbers_of(model, BITS)[:40], samples=3) > 0


def test_layers_are_coded_with_several_latents():
    with forked(torch.device("cpu"), 0):
        model = deep_latent_gaussian((DIM,), latent_dims=(2, 2), hidden=((4,), (4,))).double().eval()
    assert coded(model, BITS, numbers_of(model, BITS)[:40], samples=3) > 0
