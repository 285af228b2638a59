"""The loss with known and unknown labels, against sums by hand and a mixture of Gaussians."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
import torch
from labelled_mixture import CLASSES, SIZE, log_joint, mixture
from torch import Tensor

from lowerbound.gradients import Enumerate, Pathwise, ScoreFunction
from lowerbound.labelled import LabelledModel
from lowerbound.losses.semi_supervised import SemiSupervised
from lowerbound.objectives import ELBO, IWAE
from lowerbound.testing import assert_unbiased

BY = {"enumerated": Enumerate(), "sampled": ScoreFunction()}


def data(rows: int = 5) -> Tensor:
    return torch.randn(rows, SIZE, dtype=torch.float64)


def by_hand(model: LabelledModel, x: Tensor) -> Tensor:
    """U(x) = Σ_y q(y | x) L(x, y) + H(q(y | x)), where L is exact (B,)."""
    q = model.classify(x)
    return (q * log_joint(model.likelihood, x)).sum(1) - (q * q.log()).sum(1)


def test_unlabelled_rows_are_enumerated() -> None:
    model, x = mixture(exact_classifier=False), data()
    out = SemiSupervised(model)(x)
    torch.testing.assert_close(out.terms["bound"], by_hand(model, x).mean().detach())
    torch.testing.assert_close(out.loss.detach(), -out.terms["bound"])
    assert out.terms["classification"] == out.terms["accuracy"] == 0


@pytest.mark.parametrize("by", BY)
@pytest.mark.parametrize("objective", [ELBO(), IWAE()])
def test_the_bound_is_the_evidence_where_q_is_exact(by: str, objective: Any) -> None:
    model, x = mixture(exact_classifier=True), data()
    bound = SemiSupervised(model, gradient=BY[by], num_labels=4, objective=objective, num_samples=3)(x).terms["bound"]
    torch.testing.assert_close(bound, log_joint(model.likelihood, x).logsumexp(1).mean().detach())


@pytest.mark.parametrize("by", BY)
def test_a_known_label_takes_the_place_of_its_posterior(by: str) -> None:
    model, x, y = mixture(exact_classifier=False), data(), torch.tensor([2, 0, 1, 0, 2])
    out = SemiSupervised(model, 3.0, BY[by])(x, y)
    expected = log_joint(model.likelihood, x)[range(5), y].mean()
    log_q = model.classify(x).log()[range(5), y].mean()
    torch.testing.assert_close(out.terms["bound"], expected.detach())
    torch.testing.assert_close(out.loss, -expected - 3.0 * log_q)


def test_known_and_unknown_labels_in_one_batch() -> None:
    model, x, y = mixture(exact_classifier=False), data(), torch.tensor([2, -1, 1, -1, -1])
    out = SemiSupervised(model, 3.0)(x, y)
    bounds = torch.where(y >= 0, log_joint(model.likelihood, x)[range(5), y], by_hand(model, x))
    q = model.classify(x)
    log_q = (q[0, 2].log() + q[2, 1].log()) / 2
    torch.testing.assert_close(out.loss, -bounds.mean() - 3.0 * log_q)
    assert out.terms["accuracy"] == (q.argmax(1) == y)[y >= 0].double().mean()


def test_labelled_rows_beside_the_batch_serve_the_classifier_alone() -> None:
    model, x, more, y = mixture(exact_classifier=False), data(), data(2), torch.tensor([1, 2])
    alone = SemiSupervised(model, 3.0)(x)
    beside = SemiSupervised(model, 3.0)(x, torch.full((5,), -1), more, y)
    torch.testing.assert_close(beside.terms["bound"], alone.terms["bound"])
    torch.testing.assert_close(alone.loss - beside.loss, 3.0 * model.classify(more).log()[range(2), y].mean())


def test_known_labels_can_weigh_more_than_as_data() -> None:
    model, x, more, y = mixture(exact_classifier=False), data(), data(2), torch.tensor([1, 2])
    alone = SemiSupervised(model, 3.0)(x, torch.full((5,), -1), more, y)
    weighed = SemiSupervised(model, 3.0, labelled_weight=2.0)(x, torch.full((5,), -1), more, y)
    exact = log_joint(model.likelihood, more)[range(2), y].mean()
    torch.testing.assert_close(alone.loss - weighed.loss, 2.0 * exact)
    torch.testing.assert_close(weighed.terms["bound"], alone.terms["bound"])


def test_rows_without_a_label_have_no_part_in_that() -> None:
    model, x, y = mixture(exact_classifier=False), data(), torch.tensor([2, -1, 1, -1, -1])
    losses = [SemiSupervised(model, labelled_weight=weight)(x, y).loss for weight in (0.0, 2.0)]
    known = y >= 0
    exact = log_joint(model.likelihood, x)[known, y[known]].mean()
    torch.testing.assert_close(losses[0] - losses[1], 2.0 * exact)
    none = [SemiSupervised(model, labelled_weight=weight)(x).loss for weight in (0.0, 2.0)]
    torch.testing.assert_close(none[0], none[1])


@pytest.mark.parametrize("by", BY)
def test_the_bound_of_a_known_label_teaches_the_classifier_nothing(by: str) -> None:
    model, x = mixture(exact_classifier=False), data()
    SemiSupervised(model, 0.0, BY[by])(x, torch.tensor([2, 0, 1, 0, 2])).loss.backward()
    grads = [p.grad for p in model.posterior.classifier.parameters()]
    assert all(g is None or not g.any() for g in grads)


def gradient(model: LabelledModel, loss: Tensor) -> tuple[Tensor, Tensor]:
    """For the classifier and for the likelihood."""
    parts = (list(model.posterior.classifier.parameters()), list(model.likelihood.parameters()))
    grads = iter(torch.autograd.grad(loss, parts[0] + parts[1]))
    phi, theta = (torch.cat([next(grads).flatten() for _ in part]) for part in parts)
    return phi, theta


def test_the_gradient_of_enumerated_labels_has_no_noise_for_the_classifier() -> None:
    model, x = mixture(exact_classifier=False), data(1)
    phi, theta = gradient(model, -by_hand(model, x).mean())
    copies, loss = x.expand(4000, -1), SemiSupervised(model)
    torch.testing.assert_close(gradient(model, loss(x).loss)[0], phi)
    assert_unbiased(lambda: gradient(model, loss(copies).loss)[1][None], theta)


def test_sampled_labels_are_unbiased_for_theta_and_phi() -> None:
    model, x = mixture(exact_classifier=False), data(1)
    exact = torch.cat(gradient(model, -by_hand(model, x).mean()))
    copies, loss = x.expand(4000, -1), SemiSupervised(model, gradient=ScoreFunction(), num_labels=2)
    assert_unbiased(lambda: torch.cat(gradient(model, loss(copies).loss))[None], exact, smallest_detectable=0.05)


def test_more_latents_make_the_importance_weighted_bound_tighter() -> None:
    model, x = mixture(exact_classifier=False, exact_latent=False), data(1).expand(5000, -1)
    one, many = (SemiSupervised(model, objective=IWAE(), num_samples=k)(x).terms["bound"] for k in (1, 20))
    assert one + 0.05 < many < by_hand(model, x[:1]) + 0.02


COMPILED = """
import torch
from lowerbound.data import InMemory
from lowerbound.training.loop import train
from lowerbound.losses.semi_supervised import SemiSupervised
from lowerbound.models.with_few_labels import semi_supervised

x, y = torch.rand(40, 6).round(), torch.arange(40) % 4 - 1
terms = []
for compiled in (False, True):
    torch.manual_seed(0)
    loss = SemiSupervised(semi_supervised((6,), num_classes=3, latent_dim=2, hidden=[8]))
    *_, record = train(loss, InMemory((x, y)), num_steps=4, batch_size=20, log_every=4, compile=compiled)
    terms.append(torch.tensor(list(record.terms.values())))
torch.testing.assert_close(*terms, rtol=1e-4, atol=1e-5)
"""


@pytest.mark.slow
def test_the_compiled_step_is_the_eager_one() -> None:
    """In a process without the run-time type checks of this suite, which the compiler cannot follow."""
    done = subprocess.run([sys.executable, "-c", COMPILED], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]


@pytest.mark.parametrize(
    "labels, match",
    [
        (torch.tensor([0, 3]), "give labels from 0 to 2"),
        (torch.tensor([0, -2]), "−1 where there is no label"),
        (torch.tensor([0]), "one whole number for each row"),
        (torch.tensor([0.0, 1.0]), "one whole number for each row"),
    ],
)
def test_labels_that_do_not_fit_are_refused(labels: Tensor, match: str) -> None:
    with pytest.raises(ValueError, match=match):
        SemiSupervised(mixture(exact_classifier=False)).check(data(2), labels)


def test_choices_that_do_not_go_together_are_refused() -> None:
    model = mixture(exact_classifier=False)
    with pytest.raises(ValueError, match="use ELBO"):
        SemiSupervised(model, objective=ELBO(rate="kl")).check(data(2))
    with pytest.raises(ValueError, match="reparameteri"):
        SemiSupervised(model, gradient=Pathwise()).check(data(2))
    with pytest.raises(ValueError, match="num_labels=0"):
        SemiSupervised(model, num_labels=0)


@pytest.mark.parametrize("by", BY)
def test_what_goes_together_is_accepted(by: str) -> None:
    SemiSupervised(mixture(exact_classifier=False), gradient=BY[by]).check(data(2), torch.tensor([-1, CLASSES - 1]))
