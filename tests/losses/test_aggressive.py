"""Aggressive training of the encoder: whose turn it is, when it ends, and what it measures."""

from __future__ import annotations

import math

import jaxtyping
import pytest
import torch
from torch.distributions import Independent, Normal

from lowerbound.data import InMemory
from lowerbound.exact import LinearGaussian
from lowerbound.gradients import Pathwise
from lowerbound.inference import IterativeAmortised, Local
from lowerbound.losses import Aggressive
from lowerbound.losses.aggressive import mutual_information
from lowerbound.models import vae
from lowerbound.objectives import ELBO
from lowerbound.training.checkpoint import Checkpoint
from lowerbound.training.held_out import HeldOut
from lowerbound.training.loop import train
from lowerbound.training.steps import CannotCompile


def case(num_encoder_steps=2, **options):
    torch.manual_seed(0)
    model = vae((6,), latent_dim=3, hidden=[8], **options)
    return Aggressive(model, ELBO(), Pathwise(), num_encoder_steps=num_encoder_steps)


def rows(count=48):
    return InMemory(torch.rand(count, 6, generator=torch.Generator().manual_seed(1)).gt(0.5).float())


def moved_in_every_step(loss, num_steps):
    """For each step the parts of the model that it changed."""
    moved, before = [], {k: v.clone() for k, v in loss.model.named_parameters()}
    for _ in train(loss, rows(), num_steps=num_steps, batch_size=16, lr=0.01, log_every=1):
        after = {k: v.detach().clone() for k, v in loss.model.named_parameters()}
        moved.append({k.split(".")[0] for k in after if not torch.equal(before[k], after[k])})
        before = after
    return moved


def test_the_encoder_takes_its_steps_and_then_the_decoder_one():
    """Adam's momentum must not move those whose turn it is not, also after they have moved before."""
    assert moved_in_every_step(case(), 6) == [{"posterior"}, {"posterior"}, {"likelihood"}] * 2


def test_parts_of_the_inference_go_with_the_encoder_and_those_of_the_prior_with_the_decoder():
    torch.manual_seed(0)
    model = vae((6,), latent_dim=3, hidden=[8], prior="mixture-normal:components=2")
    loss = Aggressive(model, ELBO(), Pathwise(), inference=IterativeAmortised(3), num_encoder_steps=1)
    assert moved_in_every_step(loss, 2)[1] == {"prior", "likelihood"}
    assert {"posterior", "inference"} >= moved_in_every_step(loss, 1)[0] > {"inference"} - {"inference"}


def test_an_encoder_that_the_prior_shares_stays_an_encoder():
    loss = case(num_encoder_steps=1)
    loss.model.prior.shared = loss.model.posterior
    of_q = {id(p) for p in loss.model.posterior.parameters()}
    loss.phase = "encoder"
    resting = {id(p) for p in loss._resting()}
    assert not resting & of_q
    loss.phase = "decoder"
    assert {id(p) for p in loss._resting()} == of_q


def test_it_goes_on_while_the_information_rises_and_then_trains_both():
    loss = case()

    def after_an_evaluation_of(*information):
        loss.seen += torch.tensor([10.0 * len(information), 10.0 * sum(information)])
        loss._is_aggressive = None
        loss.at_step(0)
        return loss.phase

    loss.at_step(0)
    assert loss.phase == "encoder"
    assert after_an_evaluation_of(0.2) == "encoder"
    assert after_an_evaluation_of(0.1, 0.4) == "encoder"  # the mean over batches of held-out rows: 0.25
    assert after_an_evaluation_of(0.24) == "both"
    assert after_an_evaluation_of(5.0) == "both"  # for good


def test_the_loop_evaluates_and_ends_it():
    loss = case()
    information, phases = [], []
    for record in train(loss, rows(), num_steps=60, log_every=3, held_out=HeldOut(source=rows(20), every=3)):
        information.append(record.held_out["mutual_information"])
        phases.append(loss.phase)
    first_fall = next(i for i in range(1, 19) if not information[i] > information[i - 1])
    assert phases == ["decoder"] * (first_fall + 1) + ["both"] * (19 - first_fall)


def test_a_run_that_was_killed_goes_through_the_same_bits(tmp_path):
    def run(loss, steps, checkpoint=None):
        held_out = HeldOut(source=rows(20), every=4)
        seen = []
        for record in train(
            loss, rows(), num_steps=24, batch_size=16, lr=0.02, log_every=4, held_out=held_out, checkpoint=checkpoint
        ):
            seen.append((record.step, record.terms, record.held_out))
            if record.step == steps:
                break
        return seen

    whole = run(case(), 24)
    information = [held_out["mutual_information"] for _, _, held_out in whole]
    fall = next(i for i in range(1, 6) if not information[i] > information[i - 1])
    assert fall < 5  # killed between the evaluation that ends the first phase and the step that learns of it
    first = run(case(), 4 * (fall + 1), Checkpoint(path=tmp_path / "state.safetensors"))
    second = run(case(), 24, Checkpoint(path=tmp_path / "state.safetensors"))
    assert first + second == whole


def test_information_is_between_nothing_and_the_logarithm_of_the_number_of_data():
    loc, scale = torch.zeros(300, 2), torch.ones(300, 2)
    assert mutual_information(Independent(Normal(loc, scale), 1)).abs() < 1e-5
    far = 100 * torch.arange(300.0)[:, None] + loc
    assert mutual_information(Independent(Normal(far, scale), 1)) == pytest.approx(math.log(300), rel=1e-5)


def test_information_of_a_linear_gaussian_model():
    """½ log|I + Wᵀ Ψ⁻¹ W| as the data become many."""
    exact = LinearGaussian.random(3, 1, seed=4)
    expected = 0.5 * torch.logdet(exact.posterior_precision)
    got = torch.stack([mutual_information(exact.posterior(exact.sample(1000))) for _ in range(10)])
    assert (got.mean() - expected).abs() < 5 * got.std() / 10**0.5 + 0.01
    assert expected > 0.5


def test_it_cannot_be_compiled_and_says_so(monkeypatch):
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)
    with pytest.raises(CannotCompile, match="cannot be compiled as one graph"):
        next(train(case(), rows(), num_steps=2, compile=True))


def test_no_steps_of_the_encoder_are_refused():
    with pytest.raises(ValueError, match="num_encoder_steps=0"):
        case(num_encoder_steps=0)


def test_a_posterior_that_no_encoder_acts_on_is_refused():
    """Local inference differentiates nothing, so that the turns of the encoder would have no gradient."""
    torch.manual_seed(0)
    model = vae((6,), latent_dim=3, hidden=[8])
    loss = Aggressive(model, ELBO(), Pathwise(), inference=Local(num_steps=2))
    with pytest.raises(ValueError, match="Aggressive trains the encoder alone at first, and no parameter of it"):
        loss.check(torch.ones(2, 6))
    model.posterior.requires_grad_(False)
    with pytest.raises(ValueError, match="leave them out, or use VariationalLoss"):
        Aggressive(model, ELBO(), Pathwise()).check(torch.ones(2, 6))
