"""Tables of mixed columns: the product over observed columns, and nothing of the missing ones."""

import numpy as np
import pytest
import torch
from scipy import stats
from torch.utils._python_dispatch import TorchDispatchMode

from lowerbound import likelihoods
from lowerbound.likelihoods import mixed
from lowerbound.likelihoods.columns import ContinuousColumns
from lowerbound.likelihoods.mixed import Mixed
from lowerbound.models.parts import outputs_of
from lowerbound.nets import MLP, positive

NAN = float("nan")
COLUMNS = ["continuous", "categorical-3", "positive", "continuous", "count", "ordinal-4", "categorical-3"]
ROW = [0.3, 2.0, 1.7, -1.2, 5.0, 1.0, 0.0]


@pytest.fixture
def likelihood() -> Mixed:
    return Mixed(MLP(2, [8], Mixed.parameter_shape(7, COLUMNS)), COLUMNS).double()


def expected_terms(likelihood: Mixed, z: torch.Tensor) -> np.ndarray:
    """log p of each entry of ROW at one z, from scipy, the parameters taken off the net by hand."""
    y = likelihood.net(z)
    (c0, c1), (k0, k1), (pos,), count, ordinal = (
        y[:4].view(2, 2), y[4:10].view(2, 3), y[10:12].view(1, 2), y[12], y[13]
    )  # fmt: skip
    scale = [float(positive(c[1], 1e-3)) for c in (c0, c1, pos)]
    cuts = [-1.0, 0.0 + 1e-3, 1.0 + 2e-3]  # raw cut points start at −(K − 2)/2 in steps of 1 + 1e-3
    cumulative = stats.logistic.cdf(np.array(cuts) - float(ordinal))
    r, mean = 1 + 1e-6, float(positive(count, 1e-6))
    return np.array(
        [
            stats.norm.logpdf(ROW[0], float(c0[0]), scale[0]),
            float(k0.log_softmax(0)[2]),
            stats.lognorm.logpdf(ROW[2], scale[2], scale=np.exp(float(pos[0]))),
            stats.norm.logpdf(ROW[3], float(c1[0]), scale[1]),
            stats.nbinom.logpmf(5, r, r / (r + mean)),
            np.log(cumulative[1] - cumulative[0]),
            float(k1.log_softmax(0)[0]),
        ]
    )


@torch.no_grad()
def test_each_column_has_its_own_density(likelihood):
    z = torch.tensor([0.4, -1.1], dtype=torch.float64)
    p = likelihood(z)
    x = torch.tensor(ROW, dtype=torch.float64)
    terms = expected_terms(likelihood, z)
    np.testing.assert_allclose(p.log_prob_per_column(x), terms, rtol=1e-6)
    np.testing.assert_allclose(p.log_prob(x), terms.sum(), rtol=1e-6)


@torch.no_grad()
@pytest.mark.parametrize("missing", [[0], [1, 6], [2, 4], [0, 1, 2, 3, 4, 5, 6], []])
def test_missing_entries_leave_the_product_over_observed_columns(likelihood, missing):
    z = torch.tensor([0.4, -1.1], dtype=torch.float64)
    x = torch.tensor(ROW, dtype=torch.float64)
    x[missing] = NAN
    kept = [i for i in range(7) if i not in missing]
    np.testing.assert_allclose(
        likelihood(z).log_prob(x), expected_terms(likelihood, z)[kept].sum(), rtol=1e-6, atol=1e-12
    )


@torch.no_grad()
@pytest.mark.parametrize("column, num_classes", [(1, 3), (5, 4), (6, 3)])
def test_a_missing_class_is_the_sum_over_its_classes(likelihood, column, num_classes):
    p, x = likelihood(torch.zeros(2, dtype=torch.float64)), torch.tensor(ROW, dtype=torch.float64)
    filled = x.repeat(num_classes, 1)
    filled[:, column] = torch.arange(num_classes)
    x[column] = NAN
    torch.testing.assert_close(p.log_prob(x), p.log_prob(filled).logsumexp(0))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_gradients_are_finite_whatever_is_missing_and_zero_for_it(dtype):
    likelihood = Mixed(torch.nn.Identity(), COLUMNS).to(dtype)
    shape = Mixed.parameter_shape(7, COLUMNS)
    y = torch.randn(128, *shape, dtype=dtype, requires_grad=True)
    x = torch.tensor(ROW, dtype=dtype).repeat(128, 1)
    x[torch.rand(128, 7) < 0.5] = NAN
    x[0] = NAN
    gradients = torch.autograd.grad(likelihood(y).log_prob(x).sum(), [y, *likelihood.parameters()])
    assert all(g.isfinite().all() for g in gradients)
    assert (gradients[0][0] == 0).all()
    present = ~x[:, 4].isnan()
    assert torch.equal(gradients[0][:, 12] != 0, present)


@torch.no_grad()
def test_samples_are_complete_and_in_their_ranges(likelihood):
    p = likelihood(torch.randn(5, 2, dtype=torch.float64))
    x = p.sample((200,))
    assert x.shape == (200, 5, 7)
    assert p.log_prob(x).isfinite().all()
    assert (x[..., 2] > 0).all()
    for column, num_classes in [(1, 3), (5, 4), (6, 3)]:
        assert set(x[..., column].unique().tolist()) == set(range(num_classes))
    assert (x[..., 4] == x[..., 4].round()).all()
    assert (x[..., 0] != x[..., 0].round()).all()


@torch.no_grad()
def test_the_mean_of_each_kind(likelihood):
    z = torch.tensor([0.4, -1.1], dtype=torch.float64)
    y, p = likelihood.net(z), likelihood(z)
    ordinal = sum(
        k * p.log_prob_per_column(torch.tensor([*ROW[:5], float(k), 0.0]).double())[5].exp() for k in range(4)
    )
    expected = [
        y[0],
        y[4:7].argmax(),
        (y[10] + positive(y[11], 1e-3) ** 2 / 2).exp(),
        y[2],
        positive(y[12], 1e-6),
        ordinal,
        y[7:10].argmax(),
    ]
    torch.testing.assert_close(p.mean, torch.stack([torch.as_tensor(v).double() for v in expected]))


def test_initialize_fits_every_column_to_its_observed_entries():
    rng = torch.Generator().manual_seed(0)
    n = 4000
    classes = torch.multinomial(torch.tensor([0.5, 0.2, 0.3]), n, True, generator=rng).float()
    grades = torch.multinomial(torch.tensor([0.1, 0.2, 0.3, 0.4]), n, True, generator=rng).float()
    x = torch.stack(
        [
            3 + 0.5 * torch.randn(n, generator=rng),
            classes,
            (1 + 0.3 * torch.randn(n, generator=rng)).exp(),
            torch.full((n,), NAN),
            torch.poisson(torch.full((n,), 4.0), generator=rng),
            grades,
            2 - classes,
        ],
        -1,
    )
    x[torch.rand(n, 7, generator=rng) < 0.2] = NAN
    likelihood = Mixed(MLP(2, [], Mixed.parameter_shape(7, COLUMNS)), COLUMNS)
    likelihood.initialize(x)
    p = likelihood(torch.zeros(2))
    continuous, categorical, logs, count, ordinal = p.parts
    seen = ~x.isnan()
    torch.testing.assert_close(continuous.mean[0], x[seen[:, 0], 0].mean(), rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(continuous.stddev[0], x[seen[:, 0], 0].std(), rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(continuous.stddev[1], torch.tensor(1.0))
    torch.testing.assert_close(
        logs.centre[0] + logs.unit[0] * logs.loc[0], x[seen[:, 2], 2].log().mean(), rtol=1e-4, atol=1e-4
    )
    torch.testing.assert_close(count.mean[0], x[seen[:, 4], 4].mean(), rtol=1e-3, atol=1e-3)
    for probs, column in [(categorical.log_probs[0], 1), (categorical.log_probs[1], 6), (ordinal.log_probs[0], 5)]:
        observed = x[seen[:, column], column]
        shares = torch.stack([(observed == k).float().mean() for k in range(probs.shape[-1])])
        torch.testing.assert_close(probs.exp(), shares, rtol=0, atol=2e-3)


def test_one_string_names_the_same_columns_as_a_list():
    text = "2*continuous + categorical-5+count"
    assert Mixed.parameter_shape(4, text) == Mixed.parameter_shape(4, ["2*continuous", "categorical-5", "count"])
    assert Mixed(MLP(2, [], 10), text)(torch.zeros(3, 2)).event_shape == (4,)


@pytest.mark.parametrize(
    "columns", ["text", "categorical", "categorical-1", "continuous-2", "0*count", "", ["count", "x"]]
)
def test_refuses_unknown_kinds(columns):
    with pytest.raises(ValueError, match=r"Mixed got a column .* expected continuous, positive"):
        Mixed.parameter_shape(2, columns)


def test_refuses_the_wrong_number_of_columns_or_outputs():
    with pytest.raises(ValueError, match=r"event_shape=3 and 2 columns"):
        Mixed.parameter_shape(3, "2*count")
    with pytest.raises(ValueError, match=r"output shape \(5,\) and expected \(4,\) for its 2 columns"):
        Mixed(MLP(2, [], 5), "2*continuous")


def test_refuses_no_columns():
    with pytest.raises(ValueError, match="Mixed got no columns; name the kind of each"):
        Mixed.parameter_shape(0, [])
    with pytest.raises(ValueError, match="mixed needs columns; write it as mixed:columns=VALUE"):
        outputs_of(likelihoods, "mixed", (3,))


def a_table(num_rows: int = 300) -> torch.Tensor:
    rng = torch.Generator().manual_seed(1)
    age = 40 + 14 * torch.randn(num_rows, generator=rng, dtype=torch.float64)
    fare = (2 + torch.randn(num_rows, generator=rng, dtype=torch.float64)).exp()
    x = torch.stack([age, fare, (age > 40).double(), 0.1 * age + fare.log()], -1)
    return torch.where(torch.rand(num_rows, 4, generator=rng) < 0.1, NAN, x)


def trained(x: torch.Tensor, columns: str) -> torch.Tensor:
    """log p of each row after some steps from fixed latents."""
    torch.manual_seed(0)
    likelihood = Mixed(MLP(2, [8], Mixed.parameter_shape(4, columns)), columns).double()
    z = torch.randn(len(x), 2, dtype=torch.float64)
    likelihood.initialize(x)
    optimizer = torch.optim.Adam(likelihood.parameters(), lr=0.02)
    for _ in range(30):
        optimizer.zero_grad()
        (-likelihood(z).log_prob(x).mean()).backward()
        optimizer.step()
    return likelihood(z).log_prob(x).detach()


def test_units_shift_the_fit_by_exactly_their_logarithm():
    """Continuous columns times 1000, positive columns times 7: the same steps, and a density in the new units."""
    x, units = a_table(), torch.tensor([1000.0, 7.0, 1.0, 1000.0], dtype=torch.float64)
    columns = "continuous + positive + categorical-2 + continuous"
    shift = torch.where(x.isnan(), 0.0, units.log()).sum(-1)
    torch.testing.assert_close(trained(x * units, columns), trained(x, columns) - shift, rtol=1e-7, atol=1e-7)


def test_raw_units_fit_as_standardised_ones():
    """Without units of their own the columns would start, and stay for long, hundreds of nats below."""
    x, columns = a_table(), "continuous + positive + categorical-2 + continuous"
    standard = x.clone()
    mean, scale = x[:, ::3].nanmean(0), (x[:, ::3] - x[:, ::3].nanmean(0)).square().nanmean(0).sqrt()
    standard[:, ::3] = (x[:, ::3] - mean) / scale
    shift = torch.where(x[:, ::3].isnan(), 0.0, scale.log()).sum(-1)
    torch.testing.assert_close(trained(x, columns), trained(standard, columns) - shift, rtol=1e-7, atol=1e-7)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_column_of_one_value_keeps_its_unit(dtype):
    """Its spread is rounding; a unit of that size would be a density of any height."""
    x = torch.tensor([[0.1, 0.1, 1e6]], dtype=dtype).repeat(700, 1)
    columns = "continuous + positive + continuous"
    likelihood = Mixed(MLP(2, [], Mixed.parameter_shape(3, columns)), columns).to(dtype)
    likelihood.initialize(x)
    assert all((group.units == 1).all() for group in likelihood.groups)


def test_units_are_saved_with_the_weights():
    columns = "continuous + positive"
    one, other = (Mixed(MLP(2, [], Mixed.parameter_shape(2, columns)), columns) for _ in range(2))
    one.initialize(100 + torch.rand(50, 2))
    other.load_state_dict(one.state_dict())
    z, x = torch.randn(4, 2), 100 + torch.rand(4, 2)
    assert torch.equal(one(z).log_prob(x), other(z).log_prob(x))


@torch.no_grad()
def test_large_values_keep_their_digits():
    """Of seconds since 1970 within minutes, x − a is exact and a + b μ is not."""
    x = 1.7e9 + 128.0 * torch.arange(8)[:, None]
    likelihood = Mixed(MLP(2, [], Mixed.parameter_shape(1, "continuous")), "continuous")
    likelihood.initialize(x)
    group = likelihood.groups[0]
    assert isinstance(group, ContinuousColumns)
    y = torch.tensor([[0.3, -0.5]])
    got = group(y[:, None]).log_prob(x)[..., 0]
    a, b = group.centres.double(), group.units.double()
    expected = stats.norm.logpdf(x[:, 0], a + b * 0.3, b * float(positive(torch.tensor(-0.5), 1e-3)))
    np.testing.assert_allclose(got.squeeze(), expected, rtol=1e-5)


def test_a_value_that_is_not_positive_has_no_density():
    p = Mixed(MLP(2, [], 2), "positive")(torch.zeros(1, 2))
    assert (p.log_prob(torch.tensor([[[0.0]], [[-1.0]]])) == -torch.inf).all()


class Counted(TorchDispatchMode):
    """Counts the operations of tensors."""

    count = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.count += 1
        return func(*args, **(kwargs or {}))


def test_more_columns_of_the_same_kinds_are_not_more_operations():
    counts = []
    for repeat in (1, 40):
        columns = "+".join(f"{repeat}*{kind}" for kind in ("continuous", "positive", "categorical-3", "count"))
        likelihood = Mixed(MLP(2, [], Mixed.parameter_shape(4 * repeat, columns)), columns)
        z = torch.zeros(5, 2)
        x = likelihood(z).sample()
        with Counted() as counted:
            likelihood(z).log_prob(x).sum().backward()
        counts.append(counted.count)
    assert counts[0] == counts[1]


def test_the_size_of_many_columns_is_found_from_one_of_each_kind(monkeypatch):
    made, group = [], mixed._group
    monkeypatch.setattr(mixed, "_group", lambda kind, count: made.append(kind) or group(kind, count))
    assert Mixed.parameter_shape(12_000, "+".join(["continuous", "categorical-3"] * 6000)) == (6000 * (2 + 3),)
    assert len(made) == 2
