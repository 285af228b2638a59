import pytest
import torch
from torch.distributions import Independent, Normal

from lowerbound.priors.component_usage import unused_components
from lowerbound.priors.mixture_normal import MixtureNormal
from lowerbound.priors.standard_normal import StandardNormal
from lowerbound.priors.vamp_prior import VampPrior


def far_apart():
    prior = MixtureNormal(1, components=3)
    with torch.no_grad():
        prior.loc.copy_(torch.tensor([[-10.0], [0.0], [10.0]]))
    return prior


def test_it_names_the_component_that_no_code_uses():
    z = torch.tensor([[-10.0]] * 6 + [[10.0]] * 2)
    report = unused_components(far_apart(), z)
    torch.testing.assert_close(report.usage, torch.tensor([0.75, 0.0, 0.25]))
    assert report.unused.tolist() == [1]
    entropy = -(0.75 * torch.tensor(0.75).log() + 0.25 * torch.tensor(0.25).log())
    assert report.effective == pytest.approx(float(entropy.exp()), rel=1e-4)


def test_the_threshold_is_a_fraction_of_the_equal_share():
    z = torch.tensor([[-10.0]] * 6 + [[0.0]] * 3 + [[10.0]])
    assert unused_components(far_apart(), z, threshold=0.25).unused.tolist() == []
    assert unused_components(far_apart(), z, threshold=0.35).unused.tolist() == [2]


def test_it_takes_a_posterior_as_well_as_latents():
    loc = torch.tensor([[-10.0], [0.0], [10.0], [10.0]])
    q = Independent(Normal(loc, 1e-3), 1)
    torch.testing.assert_close(unused_components(far_apart(), q).usage, torch.tensor([0.25, 0.25, 0.5]))


def test_a_mixture_of_other_components_counts_too():
    def q(u):
        return torch.distributions.MultivariateNormal(u, torch.eye(2), validate_args=False)

    prior = VampPrior(q, 2, components=2, bounded=False)
    with torch.no_grad():
        prior.raw_pseudo_inputs.copy_(torch.tensor([[-9.0, 0.0], [9.0, 0.0]]))
    report = unused_components(prior, torch.tensor([[[9.0, 0.0]], [[9.0, 1.0]]]))
    assert report.unused.tolist() == [0]
    assert report.effective == pytest.approx(1.0, abs=1e-5)


def test_a_prior_without_components_is_refused():
    with pytest.raises(ValueError, match="expected a mixture"):
        unused_components(StandardNormal(2), torch.zeros(3, 2))
