"""A model of data with a label, against a mixture of Gaussians whose every density is known."""

from __future__ import annotations

import pytest
import torch
from labelled_mixture import CLASSES, PRIOR, SIGMA, SIZE, log_joint, mixture

from lowerbound.evaluate import log_evidence, summary
from lowerbound.labelled import LabelledModel
from lowerbound.nets import MLP


def data(rows: int = 6) -> torch.Tensor:
    return torch.randn(rows, SIZE, dtype=torch.float64)


def test_with_exact_posteriors_every_weight_is_the_evidence() -> None:
    model, x = mixture(exact_classifier=True), data()
    exact = log_joint(model.likelihood, x).logsumexp(1)
    torch.testing.assert_close(model.log_weights(x, 20).log_w, exact.expand(20, -1))
    torch.testing.assert_close(log_evidence(model, x, num_samples=5).log_evidence, exact)


def test_evidence_without_a_good_classifier() -> None:
    model, x = mixture(exact_classifier=False, exact_latent=False), data()
    exact = log_joint(model.likelihood, x).logsumexp(1)
    estimate = log_evidence(model, x, num_samples=20_000)
    assert torch.all((estimate.log_evidence - exact).abs() < 6 * estimate.standard_error)
    assert estimate.standard_error.max() < 0.05
    assert summary(model, x, num_samples=200).elbo < exact.mean()


def test_with_labels_it_is_the_model_of_x_given_y() -> None:
    model, x = mixture(exact_classifier=False), data(CLASSES)
    y = model.one_hot(torch.arange(CLASSES))
    exact = log_joint(model.likelihood, x).diagonal() - torch.tensor(PRIOR, dtype=torch.float64).log()
    torch.testing.assert_close(log_evidence(model, x, num_samples=3, context=y).log_evidence, exact)


def test_samples_have_the_moments_of_the_mixture() -> None:
    model, num = mixture(exact_classifier=False), 100_000
    layer = model.likelihood.net.layers[0]
    means, w = (layer.weight[:, 1:] + layer.bias[:, None]).mT.detach(), layer.weight[:, :1].detach()
    within = w @ w.mT + SIGMA**2 * torch.eye(SIZE)
    p = torch.tensor(PRIOR, dtype=torch.float64)
    x, mean = model.sample(num), p @ means
    covariance = within + (means - mean).mT @ torch.diag(p) @ (means - mean)
    assert torch.all((x.mean(0) - mean).abs() < 5.5 * (covariance.diagonal() / num).sqrt())
    torch.testing.assert_close(x.mT.cov(), covariance, atol=0.02, rtol=0)
    of_class = model.draw(num, model.one_hot(torch.full((num,), 2)))[0]
    assert torch.all((of_class.mean(0) - means[2]).abs() < 5.5 * (within.diagonal() / num).sqrt())


def test_a_draw_of_the_prior_has_its_probability() -> None:
    model = mixture(exact_classifier=False)
    z, y = model.prior().sample(torch.Size((4,)))
    expected = torch.distributions.Normal(0.0, 1.0).log_prob(z)[:, 0] + torch.tensor(PRIOR).double().log()[y.argmax(-1)]
    torch.testing.assert_close(model.prior().log_prob((z, y)), expected)


def test_transfer_keeps_the_latent_and_changes_the_label() -> None:
    model, x = mixture(exact_classifier=True), data(4)
    out = model.transfer(x, torch.tensor([2, 0]), own=torch.tensor([0, 0, 1, 2]))
    u = model.likelihood.net.layers[0].weight[:, 1:]
    torch.testing.assert_close(out[:, 0] - out[:, 1], (u[:, 2] - u[:, 0]).expand(4, -1))
    own = model.transfer(x, torch.arange(CLASSES), own=torch.tensor([0, 0, 1, 2]))[range(4), [0, 0, 1, 2]]
    centre = (u + model.likelihood.net.layers[0].bias[:, None]).mT[[0, 0, 1, 2]]
    assert torch.all((own - centre).square().sum(1) <= (x - centre).square().sum(1))  # the mean of q shrinks
    predicted = model.transfer(x, torch.tensor([1]))
    torch.testing.assert_close(predicted, model.transfer(x, torch.tensor([1]), own=model.classify(x).argmax(-1)))


def test_classify_is_the_posterior_of_the_label() -> None:
    model, x = mixture(exact_classifier=True), data()
    torch.testing.assert_close(model.classify(x), log_joint(model.likelihood, x).softmax(1))


def test_parameters_are_saved_once() -> None:
    """A tensor under two names could not be saved."""
    state = mixture(exact_classifier=False).state_dict(keep_vars=True)
    assert len({id(value) for value in state.values()}) == len(state)


@pytest.mark.parametrize("labels", [[3], [-1, 0]])
def test_labels_of_no_class_are_refused(labels: list[int]) -> None:
    with pytest.raises(ValueError, match="give labels from 0 to 2"):
        mixture(exact_classifier=False).one_hot(torch.tensor(labels))


@pytest.mark.parametrize("given", [[0.5, 0.5], [1.0, 0.0, 0.0]])
def test_class_probabilities_are_one_positive_number_for_each(given: list[float]) -> None:
    model = mixture(exact_classifier=False)
    with pytest.raises(ValueError, match="one positive number for each"):
        LabelledModel(
            conditional=model, classifier=MLP(SIZE, [], CLASSES), num_classes=CLASSES, class_probabilities=given
        )


def test_a_mean_over_labels_is_refused() -> None:
    with pytest.raises(NotImplementedError, match="use draws"):
        _ = mixture(exact_classifier=False).prior().mean


def test_weights_saved_under_the_former_name_of_the_latent_load() -> None:
    model, other = (mixture(exact_classifier=False, exact_latent=exact) for exact in (True, False))
    former = {name.replace("posterior.latent.", "posterior.code."): t for name, t in model.state_dict().items()}
    assert any("posterior.code." in name for name in former)
    other.load_state_dict(former)
    torch.testing.assert_close(other.state_dict(), model.state_dict(), rtol=0, atol=0)
