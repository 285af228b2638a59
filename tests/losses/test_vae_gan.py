"""The VAE/GAN: no gradient of one part reaches another, and what chooses its weights is what it says."""

from __future__ import annotations

import pytest
import scipy.stats
import torch
from torch.distributions import kl_divergence
from torch.nn.functional import softplus

import lowerbound as lb
from lowerbound.data import load
from lowerbound.data.given import dataset_of
from lowerbound.fitting.planning import plan
from lowerbound.losses import VAEGAN
from lowerbound.losses.vae_gan import sample_score
from lowerbound.models import ladder, vae
from lowerbound.nets import FeatureDiscriminator
from lowerbound.testing import flat_gradient
from lowerbound.training.checkpoint import Checkpoint
from lowerbound.training.held_out import HeldOut

BETA, GAMMA, OMEGA = 0.4, 3.0, 0.7


def case():
    torch.manual_seed(0)
    weights = {"beta": BETA, "gamma": GAMMA, "weight": OMEGA}
    loss = VAEGAN(vae((4,), latent_dim=2, hidden=[8]), 4, **weights, warmup=10, hidden=[8], features=3)
    for p in loss.parameters():
        torch.nn.init.normal_(p)
    loss.at_step(10)
    return loss.double(), torch.rand(6, 4, dtype=torch.float64).round()


def apart(loss, x):
    """The three losses of the paper, each by itself, at the draws of seed 1."""
    model, net = loss.model, loss.discriminator
    torch.manual_seed(1)
    q, p = model.infer(x), model.prior()
    z, z_p = q.rsample(), p.sample((len(x),))
    seen, dreamt = model.decode(z).mean, model.decode(z_p).mean
    l_rec = 0.5 * (net(x)[0] - net(seen)[0]).square().sum(-1).mean()
    l_g = softplus(-net(seen)[1]).mean() + softplus(-net(dreamt)[1]).mean()
    l_d = softplus(-net(x)[1]).mean() + softplus(net(seen)[1]).mean() + softplus(net(dreamt)[1]).mean()
    parts = {"encoder": model.posterior, "decoder": model.likelihood, "discriminator": net}
    l_enc, l_dec = BETA * kl_divergence(q, p).mean() + l_rec, GAMMA * l_rec + OMEGA * l_g
    losses = {"encoder": l_enc, "decoder": l_dec, "discriminator": l_d}
    return {name: (losses[name], list(part.parameters())) for name, part in parts.items()}


def test_each_part_has_the_gradient_of_its_own_loss_alone():
    loss, x = case()
    expected = {name: flat_gradient(own, parameters) for name, (own, parameters) in apart(loss, x).items()}
    torch.manual_seed(1)
    value = loss(x).loss
    together = sum(own for own, _ in apart(loss, x).values())
    for name, (_, parameters) in apart(loss, x).items():
        got = flat_gradient(value, parameters)
        torch.testing.assert_close(got, expected[name])
        mixed = flat_gradient(together, parameters)
        assert (mixed - got).norm() > 0.01 * got.norm(), name  # the sum of the losses, differentiated as it is


def test_features_are_read_early_and_the_verdict_comes_after_them():
    """Linear in x by default: a distance of features is one of x, in other coordinates."""
    torch.manual_seed(0)
    net, a, b = FeatureDiscriminator(4, after=[5]), torch.randn(4), torch.randn(4)
    h = [net(x)[0] for x in (a + b, a, b, torch.zeros(4))]
    torch.testing.assert_close(h[0] + h[3], h[1] + h[2])
    assert (h[1] - h[2]).norm() > 0.1
    along = [torch.func.jacrev(lambda x: net(x)[1])(x) for x in (a, b)]
    assert torch.linalg.matrix_rank(torch.stack(along)) == 2  # the verdict is not
    assert [p.shape[0] for p in net.head.parameters() if p.ndim == 2] == [5, 1]


def test_the_weight_of_the_adversarial_term_rises():
    loss, x = case()
    seen = []
    for step in (0, 5, 10, 20):
        loss.at_step(step)
        seen.append(loss.adversarial.item())
    assert seen == pytest.approx([0.0, OMEGA / 2, OMEGA, OMEGA])
    loss.at_step(0)
    torch.manual_seed(1)
    value, parameters = loss(x).loss, list(loss.model.likelihood.parameters())
    torch.manual_seed(1)
    seen_means = loss.model.decode(loss.model.infer(x).rsample().detach()).mean
    net = loss.discriminator
    l_rec = GAMMA * 0.5 * (net(x)[0] - net(seen_means)[0]).square().sum(-1).mean()
    torch.testing.assert_close(flat_gradient(value, parameters), flat_gradient(l_rec, parameters))


def test_the_sample_score_is_minus_the_energy_distance():
    torch.manual_seed(0)
    a, b = torch.randn(400, 1, dtype=torch.float64), torch.randn(300, 1, dtype=torch.float64) + 1
    exact = -(scipy.stats.energy_distance(a[:, 0], b[:, 0]) ** 2)  # of the biased kind, by about E‖x − x'‖ / N
    own = [torch.cdist(s, s).sum() / len(s) ** 2 / (len(s) - 1) for s in (a, b)]
    assert sample_score(a, b).item() == pytest.approx(exact + sum(own).item())
    same = torch.stack([sample_score(torch.randn(50, 2), torch.randn(50, 2)) for _ in range(100)])
    assert abs(same.mean()) < 4 * same.std() / 10


def test_held_out_rows_choose_the_weights_by_it_and_patience_stops_by_it():
    loss, x = case()
    loss, x = loss.float(), x.float().repeat(10, 1)
    held_out = HeldOut(source=x, every=2, patience=2)
    records = list(lb.train(loss, x, num_steps=200, batch_size=16, lr=0.05, log_every=2, held_out=held_out))
    scores = [r.held_out["sample_score"] for r in records]
    best = max(range(len(scores)), key=lambda i: scores[i])
    assert "bound" not in records[0].terms
    assert records[best].is_best
    assert not any(r.is_best for r in records[best + 1 :])
    assert len(records) == best + 3  # two without improvement
    assert records[-1].stopped == "no better held-out sample score (no bound) in 2 evaluations"


def test_all_three_players_resume_to_the_bit(tmp_path):
    def run(name, leave_at=None):
        loss, x = case()
        records = []
        for record in lb.train(
            loss.float(), x.float().repeat(4, 1), num_steps=8, batch_size=8, lr=0.05, log_every=2,
            checkpoint=Checkpoint(path=tmp_path / name),
        ):  # fmt: skip
            records.append(record.terms)
            if record.step == leave_at:
                break
        return records, [p.detach().clone() for p in loss.parameters()]

    whole, last = run("whole")
    run("parts", leave_at=4)
    rest, resumed = run("parts")
    assert rest == whole[2:]
    assert all(torch.equal(a, b) for a, b in zip(last, resumed, strict=True))


@pytest.mark.parametrize(
    "model, told",
    [
        (ladder((2, 2), latent_dims=[2, 1], hidden=[[8], [8]]), "factorised real latents in one layer"),
        (vae((2, 2), latent_dim=2, hidden=[8], prior="bernoulli", posterior="bernoulli"), "use diagonal-normal"),
        (
            vae((2, 2), latent_dim=2, hidden=[8], likelihood="autoregressive:channels=4,layers=1"),
            "has none in closed form",
        ),
    ],
    ids=["ladder", "bits", "autoregressive"],
)
def test_what_it_cannot_train_is_refused(model, told):
    with pytest.raises(ValueError, match=told):
        VAEGAN(model, (2, 2)).check(torch.ones(3, 2, 2))


@pytest.mark.parametrize(
    "options", [{"gamma": -1.0}, {"warmup": -1}, {"features": 0}, {"beta1": 1.0}, {"convolution": True}]
)
def test_numbers_out_of_range_are_refused(options):
    with pytest.raises(ValueError, match="got"):
        VAEGAN(vae((4,), latent_dim=2, hidden=[8]), 4, **options)


def test_grey_values_are_compared_as_they_are():
    """Drawn anew as 0 or 1, they would be told from every mean at a glance."""
    found = plan(load("digits"), "vae-gan")
    assert (found.model["likelihood"], found.binarization) == ("normal:scale=0.1", "none")
    with pytest.raises(ValueError, match="drawn anew as 0 or 1 differ from every mean; take --likelihood normal:scale"):
        lb.fit("digits", "vae-gan", likelihood="bernoulli", steps=1, hidden=[4], latent_dim=2)
    lb.fit("digits", "vae-gan", likelihood="bernoulli", binarization="threshold", steps=1, hidden=[4], latent_dim=2)
    black_and_white = dataset_of(load("digits").x_test > 0.5)
    assert plan(black_and_white, "vae-gan").model["likelihood"] == "bernoulli"
