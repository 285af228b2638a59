"""What every likelihood owes its net and the model: shapes, the sample axis, the compiler, honest refusals."""

import subprocess
import sys

import pytest
import torch
from torch import nn
from torch.distributions import Distribution

from lowerbound.likelihoods.beta import Beta
from lowerbound.likelihoods.categorical import Categorical
from lowerbound.likelihoods.continuous_bernoulli import ContinuousBernoulli
from lowerbound.likelihoods.discretized_logistic import DiscretizedLogistic
from lowerbound.likelihoods.discretized_logistic_mixture import DiscretizedLogisticMixture
from lowerbound.likelihoods.laplace import Laplace
from lowerbound.likelihoods.mixed import Mixed
from lowerbound.likelihoods.negative_binomial import NegativeBinomial
from lowerbound.likelihoods.outputs import event_shape_of
from lowerbound.likelihoods.poisson import Poisson
from lowerbound.likelihoods.student_t import StudentT
from lowerbound.likelihoods.zero_inflated import ZeroInflatedNegativeBinomial, ZeroInflatedPoisson
from lowerbound.nets import MLP, positive
from lowerbound.nets.softplus import raw_of

TABLE = "continuous + categorical-3 + positive + count + ordinal-3 + continuous"
CASES = [
    (Beta, {}, (2, 3)),
    (Categorical, {"num_classes": 4}, (2, 3)),
    (ContinuousBernoulli, {}, (2, 3)),
    (DiscretizedLogistic, {}, (2, 3)),
    (DiscretizedLogisticMixture, {"num_components": 2}, (3, 2, 1)),
    (Laplace, {"scale": "heteroscedastic"}, (2, 3)),
    (Mixed, {"columns": TABLE}, (6,)),
    (NegativeBinomial, {"dispersion": "heteroscedastic"}, (2, 3)),
    (NegativeBinomial, {}, (2, 3)),
    (Poisson, {}, (2, 3)),
    (StudentT, {}, (2, 3)),
    (ZeroInflatedNegativeBinomial, {}, (2, 3)),
    (ZeroInflatedPoisson, {}, (2, 3)),
]
every_likelihood = pytest.mark.parametrize("family, options, event_shape", CASES)


def build(family, options, event_shape) -> nn.Module:
    torch.manual_seed(0)
    return family(MLP(2, [8], family.parameter_shape(event_shape, **options)), **options)


@every_likelihood
def test_shapes_with_a_sample_axis(family, options, event_shape):
    likelihood = build(family, options, event_shape)
    assert likelihood.event_shape == event_shape
    p = likelihood(torch.randn(5, 4, 2))  # latents of 5 samples and 4 data
    assert p.batch_shape == (5, 4)
    assert p.event_shape == event_shape
    assert p.mean.shape == (5, 4, *event_shape)
    x = p.sample()
    assert x.dtype == torch.float32
    assert x.shape == (5, 4, *event_shape)
    torch.testing.assert_close(p.log_prob(x[0])[0], p.log_prob(x)[0])
    draws = p.sample((3,))
    assert draws.shape == (3, 5, 4, *event_shape)
    torch.testing.assert_close(p.log_prob(draws)[2], p.log_prob(draws[2]))


@every_likelihood
def test_rsample_is_there_exactly_when_it_is_claimed(family, options, event_shape):
    p = build(family, options, event_shape)(torch.randn(4, 2))
    assert isinstance(p, Distribution)
    if p.has_rsample:
        assert p.rsample((3,)).requires_grad
    else:
        with pytest.raises(NotImplementedError):
            p.rsample((3,))
    assert not p.sample().requires_grad


@every_likelihood
def test_rows_do_not_see_each_other(family, options, event_shape):
    likelihood, z = build(family, options, event_shape), torch.randn(6, 2)
    x, order = likelihood(z).sample(), torch.tensor([3, 1, 5, 0, 2, 4])
    log_prob = likelihood(z).log_prob(x)
    torch.testing.assert_close(likelihood(z[order]).log_prob(x[order]), log_prob[order])


@every_likelihood
def test_expanding_repeats_the_distribution(family, options, event_shape):
    p = build(family, options, event_shape)(torch.randn(4, 2))
    x, wide = p.sample(), p.expand(torch.Size((3, 4)))
    assert wide.batch_shape == (3, 4)
    torch.testing.assert_close(wide.log_prob(x), p.log_prob(x).expand(3, 4))


@every_likelihood
def test_runs_where_its_parameters_are_and_never_looks_at_them(family, options, event_shape):
    """On the device "meta", tensors have no values to read and do not mix with those of another device."""
    likelihood = build(family, options, event_shape).to("meta")
    p = likelihood(torch.randn(5, 4, 2, device="meta"))
    x = torch.empty(4, *event_shape, device="meta")
    assert p.log_prob(x).shape == (5, 4)
    assert p.log_prob(x).device.type == "meta"
    assert p.mean.shape == (5, 4, *event_shape)


def one_graph(family, options, event_shape) -> None:
    likelihood, z = build(family, options, event_shape), torch.randn(4, 2)
    x = likelihood(z).sample()

    def log_prob(z: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
        return likelihood(z).log_prob(x)

    torch._dynamo.reset()
    compiled = torch.compile(log_prob, fullgraph=True, backend="eager")
    torch.testing.assert_close(compiled(z, x), log_prob(z, x))


@pytest.mark.slow
def test_every_likelihood_is_one_graph_without_breaks():
    """In a process of its own, for the type checker of the tests cannot be traced."""
    done = subprocess.run([sys.executable, __file__], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.split() == [case[0].__name__ for case in CASES]


@every_likelihood
def test_several_contexts_reach_the_net_as_arguments(family, options, event_shape):
    torch.manual_seed(0)
    net = MLP([2, 3], [8], family.parameter_shape(event_shape, **options))
    assert family(net, **options)((torch.randn(4, 2), torch.randn(4, 3))).batch_shape == (4,)


@every_likelihood
def test_initialize_without_an_output_bias_is_harmless(family, options, event_shape):
    shape = family.parameter_shape(event_shape, **options)
    net = nn.Sequential(nn.Linear(2, MLP(1, [], shape).layers[-1].out_features), nn.Unflatten(-1, shape))
    likelihood = family(net, event_shape=event_shape, **options)
    likelihood.initialize(build(family, options, event_shape)(torch.zeros(50, 2)).sample())
    assert likelihood(torch.zeros(4, 2)).event_shape == event_shape


@every_likelihood
def test_initialize_raises_the_likelihood_of_its_data(family, options, event_shape):
    x = build(family, options, event_shape)(torch.zeros(200, 2)).sample()
    likelihood = build(family, options, event_shape)
    with torch.no_grad():
        likelihood.net.output_bias.copy_(torch.full_like(likelihood.net.output_bias, 3.0))
        before = likelihood(torch.zeros(200, 2)).log_prob(x).mean()
        likelihood.initialize(x)
        after = likelihood(torch.zeros(200, 2)).log_prob(x).mean()
    assert after > before


def test_event_shape_is_what_the_parameter_axes_leave():
    assert event_shape_of(MLP(1, [], (2, 3, 4)), None, (2,), owner="X") == (3, 4)
    assert event_shape_of(nn.Identity(), (3, 4), (2,), owner="X") == (3, 4)
    with pytest.raises(ValueError, match=r"X got a net of output shape \(2, 3\) and expected \(2, 5\)"):
        event_shape_of(MLP(1, [], (2, 3)), 5, (2,), owner="X")
    with pytest.raises(ValueError, match="X cannot tell the output shape of Identity"):
        event_shape_of(nn.Identity(), None, (2,), owner="X")


def test_raw_of_inverts_positive():
    value = torch.tensor([1e-3, 0.5, 1.0, 30.0, 1e6], dtype=torch.float64)
    torch.testing.assert_close(positive(raw_of(value, 1e-4), 1e-4), value)


if __name__ == "__main__":
    for case in CASES:
        one_graph(*case)
        print(case[0].__name__)
