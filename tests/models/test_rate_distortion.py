"""The recipe rate-distortion: its bound, its front, and what it refuses."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import lowerbound as lb
from lowerbound.models.rate_distortion import rate_distortion
from lowerbound.report.comparison import render_comparison

GREY = (255 * np.random.default_rng(0).random((40, 9, 8))).astype(np.uint8)
SMALL = {"steps": 3, "hidden": [4], "code_channels": 2, "device": "cpu", "compile": False}


@pytest.mark.parametrize("prior", ["factorized", "hyperprior"])
def test_log_w_is_minus_distortion_minus_rate_of_rounded_codes(prior):
    torch.manual_seed(0)
    model = rate_distortion((2, 9, 7), prior=prior, hidden=[4, 4], noise=0.1).eval().double()
    x = torch.rand(5, 2, 9, 7).double()
    w = model.log_weights(x, 1)
    codes = model.infer(x).sample()
    z = codes[0] if isinstance(codes, tuple) else codes
    assert torch.equal(z, z.round())
    again = model.likelihood(tuple(codes) if isinstance(codes, tuple) else codes).mean
    exact = -((x - again) ** 2).sum((1, 2, 3)) / 0.02 - x[0].numel() * np.log(0.1 * np.sqrt(2 * np.pi))
    torch.testing.assert_close(w.log_likelihood[0], exact)
    torch.testing.assert_close(w.log_w[0], exact + model.prior().log_prob(codes))
    assert bool((w.rate > 0).all())


def test_a_larger_weight_of_the_rate_gives_fewer_bits():
    rates = []
    for beta in (0.01, 100):
        given = {**SMALL, "steps": 100, "lr": 0.02, "noise": 0.02, "objective": f"beta-elbo:beta={beta}"}
        fitted = lb.fit(GREY, "rate-distortion", **given)
        rates.append(fitted.evaluate(GREY)["rate"])
    assert rates[1] < 0.5 * rates[0]


def test_what_evaluate_says_of_pictures_is_the_rate():
    fitted = lb.fit(GREY, "rate-distortion", **SMALL)
    scores = fitted.evaluate(GREY)
    assert scores["pictures"]["bits_per_pixel"] == pytest.approx(scores["rate"] / np.log(2) / 72, rel=1e-6)
    error = fitted.reconstruct(GREY) / 255 - GREY / 255
    assert scores["pictures"]["psnr"] == pytest.approx(-10 * np.log10((error**2).mean()), rel=1e-6)
    assert scores["pictures"]["ms_ssim"] is None


def test_a_comparison_draws_the_front():
    runs = [lb.fit(GREY, "rate-distortion", objective=f"beta-elbo:beta={beta}", **SMALL) for beta in (0.1, 9)]
    found = lb.compare(*runs, num_samples=1)
    assert all(p is not None and p.bits_per_pixel > 0 for p in found.pictures)
    page = render_comparison(found)
    assert "Rate and distortion" in page
    assert all(f"{p.psnr:.2f}" in page for p in found.pictures if p is not None)


def test_rate_and_score_of_evaluate_agree():
    """L_S of a point mass is its ELBO, whatever S is."""
    fitted = lb.fit(GREY, "rate-distortion", prior="hyperprior", **SMALL)
    scores = fitted.evaluate(GREY, num_samples=3)
    assert scores["log_evidence"] == pytest.approx(scores["elbo"], rel=1e-5)
    assert scores["rate"] + scores["distortion"] == pytest.approx(-scores["elbo"], rel=1e-6)


@pytest.mark.parametrize("prior", ["factorized", "hyperprior"])
def test_the_prior_learns_rounded_codes_after_training_and_the_pictures_stay(prior):
    """Codes about 0.4 are always 0: the noise of training reaches 0.9, and rounded they need no bits."""
    given = {**SMALL, "steps": 40, "lr": 0.02, "noise": 0.02, "prior": prior, "batch_size": 8}
    plain = lb.fit(GREY, "rate-distortion", prior_epochs=0, **given)
    fitted = lb.fit(GREY, "rate-distortion", prior_epochs=20, prior_patience=5, **given)
    assert np.array_equal(plain.reconstruct(GREY), fitted.reconstruct(GREY))
    rates = [one.evaluate(GREY)["pictures"]["bits_per_pixel"] for one in (plain, fitted)]
    assert rates[1] < 0.95 * rates[0]
    assert [record["stage"] for record in fitted.records][-1] == 2


@pytest.mark.parametrize(
    "given, sentence",
    [
        ({"objective": "beta-elbo:beta=0"}, "codes cost nothing"),
        ({"hidden": [4, 4, 4, 4]}, "halvings leave nothing"),
        ({"prior": "normal"}, "expected factorized or hyperprior"),
        ({"code_channels": 0}, "needs at least 1"),
        ({"noise": 0}, "positive number"),
        ({"prior_epochs": -1}, "prior_epochs is -1"),
        ({"prior_patience": 0}, "prior_patience is 0"),
    ],
)
def test_it_refuses_in_a_sentence(given, sentence):
    with pytest.raises(ValueError, match=sentence):
        lb.fit(GREY, "rate-distortion", **{**SMALL, **given})


def test_rows_of_a_table_are_refused():
    with pytest.raises(ValueError, match="needs pictures"):
        lb.fit(np.random.default_rng(0).normal(size=(30, 4)), "rate-distortion", **SMALL)
