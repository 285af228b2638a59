"""The categorical likelihood: classes on the first axis, as indices or as intensities."""

import pytest
import torch

from lowerbound.likelihoods.categorical import Categorical, CategoricalDistribution, from_classes, to_classes
from lowerbound.nets import MLP


def test_log_prob_picks_the_class_from_the_first_axis():
    logits = torch.randn(3, 4, 2, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    x = torch.randint(4, (3, 2, 5), generator=torch.Generator().manual_seed(1))
    p = Categorical(torch.nn.Identity(), num_classes=4, event_shape=(2, 5))(logits)
    expected = torch.zeros(3, dtype=torch.float64)
    for b in range(3):
        for i in range(2):
            for j in range(5):
                row = logits[b, :, i, j]
                expected[b] += row[x[b, i, j]] - row.exp().sum().log()
    torch.testing.assert_close(p.log_prob(x), expected)
    torch.testing.assert_close(p.log_prob(x.double()), expected)


@pytest.mark.parametrize("num_classes", [2, 50, 199, 256])
def test_intensities_reach_their_own_class(num_classes):
    """For K = 50 and 199, k/(K − 1) · (K − 1) falls just below k for some k in single precision."""
    k = torch.arange(num_classes)
    logits = torch.randn(num_classes, generator=torch.Generator().manual_seed(0))
    p = CategoricalDistribution(logits.expand(num_classes, -1), scale=num_classes - 1)
    torch.testing.assert_close(p.log_prob(k.float() / (num_classes - 1)), p.log_probs[0])
    assert torch.equal(to_classes(from_classes(k, num_classes), num_classes), k)
    assert torch.equal(from_classes(k, num_classes), k.float() / (num_classes - 1))


def test_samples_of_intensities_are_intensities():
    likelihood = Categorical(MLP(2, [], (4, 50)), num_classes=4, unit_interval=True)
    x = likelihood(torch.zeros(2)).sample((20,))
    assert set(x.unique().tolist()) == set((torch.arange(4) / 3).tolist())


@pytest.mark.parametrize("scale", [1, 3])
def test_moments_are_sums_over_the_classes(scale):
    p = CategoricalDistribution(torch.tensor([[0.1, 0.2, 0.3, 0.4], [1, 0, 0, 0]], dtype=torch.float64).log(), scale)
    torch.testing.assert_close(p.mean, torch.tensor([2.0, 0.0], dtype=torch.float64) / scale)
    torch.testing.assert_close(p.variance, torch.tensor([1.0, 0.0], dtype=torch.float64) / scale**2)
    torch.testing.assert_close(p.mode, torch.tensor([3.0, 0.0], dtype=torch.float64) / scale)
    entropy = -sum(v * torch.tensor(v).log() for v in (0.1, 0.2, 0.3, 0.4))
    torch.testing.assert_close(
        p.entropy(), torch.tensor([float(entropy), 0], dtype=torch.float64), rtol=1e-6, atol=1e-6
    )


def test_values_and_gradients_are_finite_at_extreme_logits():
    logits = torch.tensor([[-1e30, 0.0, 1e30], [-88.0, 88.0, 0.0]], requires_grad=True)
    log_prob = CategoricalDistribution(logits).log_prob(torch.tensor([[0.0], [1.0], [2.0]]))
    (gradient,) = torch.autograd.grad(log_prob.sum(), logits)
    assert log_prob.isfinite().all()
    assert gradient.isfinite().all()


@pytest.mark.parametrize("unit_interval", [False, True])
def test_initialize_starts_at_the_frequencies(unit_interval):
    x = torch.tensor([[0.0, 3], [0, 1], [2, 1], [2, 1]])
    likelihood = Categorical(MLP(2, [], (4, 2)), num_classes=4, unit_interval=unit_interval)
    likelihood.initialize(x / 3 if unit_interval else x)
    probs = likelihood(torch.zeros(2)).base_dist.log_probs.exp()
    torch.testing.assert_close(probs, torch.tensor([[2.25, 0.25, 2.25, 0.25], [0.25, 3.25, 0.25, 1.25]]) / 5)


def test_refuses_one_class_and_a_net_with_classes_last():
    with pytest.raises(ValueError, match="num_classes=1"):
        Categorical(MLP(2, [], (1, 3)), num_classes=1)
    with pytest.raises(ValueError, match=r"output shape \(3, 4\) and expected \(4, \*event_shape\)"):
        Categorical(MLP(2, [], (3, 4)), num_classes=4)
