"""Pixels and columns made ready for a likelihood.

The statistical test has a declared false-failure rate of 1e-6 for all its pixel values together.
"""

import importlib.util
import math
from types import ModuleType

import numpy as np
import pytest
import torch
from scipy import stats

from lowerbound.cli.describe import transform_words
from lowerbound.data import DataError, Identity, Pixels, Standardize, applied
from lowerbound.data import transform as checked

FALSE_FAILURE = 1e-6


def _check_bernoulli(raw, p, draw, num_draws):
    """Exact two-sided binomial test of each pixel, Bonferroni-corrected over the pixels."""
    torch.manual_seed(0)
    ones = sum(draw(raw).double() for _ in range(num_draws)).numpy()
    values = [stats.binomtest(int(n), num_draws, q).pvalue for n, q in zip(ones.flat, p.flat, strict=True)]
    assert min(values) > FALSE_FAILURE / len(values)


def test_dynamic_draws_each_byte_with_its_probability():
    bytes_ = torch.arange(256, dtype=torch.uint8)
    raw = bytes_.repeat(1000, 1)
    total = torch.zeros(256, dtype=torch.float64)
    torch.manual_seed(0)
    pixels = Pixels(binarization="dynamic")
    for _ in range(20):
        x = pixels(raw)
        assert ((x == 0) | (x == 1)).all()
        total += x.double().sum(0)
    num_draws = 20_000
    p = np.arange(256) / 255
    values = [stats.binomtest(int(n), num_draws, q).pvalue for n, q in zip(total, p, strict=True)]
    assert min(values) > FALSE_FAILURE / 256
    # black stays black and white stays white, always
    assert total[0] == 0
    assert total[255] == num_draws
    # All bytes together see a bias of 1/256: k / 256 for k / 255 lowers the sum by 0.5 of ~65 sd
    sd = math.sqrt(num_draws * (p * (1 - p)).sum())
    assert abs(total.sum().item() - num_draws * p.sum()) < stats.norm.isf(FALSE_FAILURE / 2) * sd
    assert num_draws * (np.arange(256) / 255 - np.arange(256) / 256).sum() > 9 * sd


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_dynamic_draws_each_intensity_with_its_probability(dtype):
    x = torch.linspace(0, 1, 9, dtype=dtype)
    pixels = Pixels(scale=None, binarization="dynamic")
    _check_bernoulli(x, x.double().numpy(), pixels, 2000)
    assert pixels(x).dtype == torch.float32


def test_dynamic_draws_with_another_scale():
    raw = torch.arange(17, dtype=torch.uint8)
    _check_bernoulli(raw, np.arange(17) / 16, Pixels(scale=16.0), 2000)
    halves = torch.tensor([0, 1, 2], dtype=torch.uint8)
    _check_bernoulli(halves, np.arange(3) / 2.5, Pixels(scale=2.5), 2000)


def test_dynamic_is_drawn_anew_and_follows_the_global_seed():
    raw = torch.full((100,), 128, dtype=torch.uint8)
    pixels = Pixels()
    torch.manual_seed(1)
    first, second = pixels(raw), pixels(raw)
    torch.manual_seed(1)
    assert torch.equal(pixels(raw), first)
    assert not torch.equal(first, second)
    assert (raw == 128).all()


def test_threshold_and_none_are_deterministic():
    raw = torch.tensor([0, 127, 128, 255], dtype=torch.uint8)
    assert Pixels(binarization="threshold")(raw).tolist() == [0, 0, 1, 1]
    exact = raw.double() / 255
    torch.testing.assert_close(Pixels(binarization="none")(raw).double(), exact, rtol=1e-7, atol=0)
    assert Pixels(scale=None, binarization="threshold")(torch.tensor([0.5, 0.51])).tolist() == [0, 1]


def test_inverse_gives_back_raw_bytes():
    raw = torch.arange(256, dtype=torch.uint8)
    pixels = Pixels(binarization="none")
    assert torch.equal(pixels.inverse(pixels(raw)).round().to(torch.uint8), raw)
    x = torch.rand(5)
    unscaled = Pixels(scale=None, binarization="none")
    assert torch.equal(unscaled.inverse(unscaled(x)), x)
    assert torch.equal(Identity().inverse(Identity()(x)), x)


def _unchecked() -> ModuleType:
    """The module without run-time type checks, which `torch.compile` cannot trace."""
    spec = importlib.util.spec_from_file_location("unchecked_transform", checked.__file__)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("binarization", ["dynamic", "threshold", "none"])
@pytest.mark.parametrize("kind", ["bytes", "floats"])
def test_compiles_whole_and_runs_under_torch_func(binarization, kind):
    raw = torch.tensor([[0, 255, 0], [255, 0, 255]], dtype=torch.uint8)
    scale = 255.0 if kind == "bytes" else None
    pixels = _unchecked().Pixels(scale=scale, binarization=binarization)
    raw = raw if kind == "bytes" else raw / 255
    expected = torch.tensor([[0.0, 1, 0], [1, 0, 1]])
    compiled = torch.compile(pixels, fullgraph=True, backend="aot_eager")
    assert torch.equal(compiled(raw), expected)
    assert torch.equal(torch.func.vmap(pixels, randomness="different")(raw), expected)
    grad = torch.func.grad(lambda w: (w * pixels(raw)).sum())(torch.tensor(2.0))
    assert grad == 3


def test_refusals():
    with pytest.raises(ValueError, match=r"torch.uint8 but scale is None"):
        Pixels(scale=None)(torch.zeros(3, dtype=torch.uint8))
    with pytest.raises(ValueError, match="scale is 0"):
        Pixels(scale=0.0)


def test_standardize_matches_numpy_on_training_rows_only():
    x = np.random.default_rng(0).normal([1e3, -5, 0], [1, 10, 0.1], (100, 3)).astype(np.float32)
    rows = np.arange(0, 100, 3)
    transform = Standardize.fit(x, rows=rows)
    z = transform(torch.from_numpy(x[rows])).double()
    torch.testing.assert_close(z.mean(0), torch.zeros(3).double(), rtol=0, atol=1e-4)
    torch.testing.assert_close(z.std(0, correction=0), torch.ones(3).double(), rtol=1e-5, atol=0)
    back = transform.inverse(transform(torch.from_numpy(x))).float()
    torch.testing.assert_close(back, torch.from_numpy(x), rtol=1e-6, atol=1e-5)
    assert set(transform.state_dict()) == {"mean", "scale"}


def test_moments_do_not_depend_on_the_blocks(monkeypatch):
    import lowerbound.data.measured as module

    x = np.random.default_rng(0).normal(1e4, 1, (103, 2))
    blocks = module.row_blocks
    monkeypatch.setattr(module, "row_blocks", lambda x, rows: blocks(x, rows, block_bytes=160))
    mean, variance = module.moments(x, None)
    np.testing.assert_allclose(mean, x.mean(0), rtol=1e-12)
    np.testing.assert_allclose(variance, x.var(0), rtol=1e-9)


def test_gaps_are_passed_over_in_the_moments(monkeypatch):
    import lowerbound.data.measured as module

    x = np.random.default_rng(0).normal(5, 1, (50, 2))
    x[::3, 1] = np.nan
    blocks = module.row_blocks
    monkeypatch.setattr(module, "row_blocks", lambda x, rows: blocks(x, rows, block_bytes=160))
    mean, variance = module.moments(x, None)
    np.testing.assert_allclose(mean, np.nanmean(x, 0), rtol=1e-12)
    np.testing.assert_allclose(variance, np.nanvar(x, 0), rtol=1e-12)


def test_seconds_since_1970_keep_their_variation():
    """17 minutes of them; float32 tells apart only steps of 128 seconds there, and gave −1.14 nats for −0.74."""
    seconds = 1.7e9 + np.random.default_rng(0).uniform(0, 1020, (500, 1))
    transform = Standardize.fit(seconds)
    exact = (seconds - seconds.mean()) / seconds.std()
    np.testing.assert_allclose(applied(transform, seconds).numpy(), exact, rtol=0, atol=2e-7)
    np.testing.assert_allclose(transform.inverse(applied(transform, seconds)), seconds, rtol=0, atol=1e-3)


def test_within_range_changes_columns_that_hardly_vary_or_have_extreme_units_and_nothing_else():
    x = np.column_stack([1.7e9 + np.arange(60.0), np.arange(60.0), np.full(60, 3.0), 1e-30 * np.arange(1, 61)])
    x[5, 0] = np.nan
    may = np.array([True, True, False, False])
    transform = Standardize.within_range(x, may, np.array([True, True, True, True]))
    z = applied(transform, x)
    np.testing.assert_array_equal(z[:, 1:3], x[:, 1:3])
    np.testing.assert_array_equal(np.diff(z[6:, 0]), 1.0)
    assert z[5, 0].isnan()
    np.testing.assert_allclose(z[:, 3] / z[0, 3], np.arange(1, 61), rtol=1e-6)
    assert 0.5 < z[:, 3].std() < 2
    assert isinstance(transform, Standardize)
    assert transform.keeps_units
    words = transform_words(transform, ["t", "a", "b", "mass"])
    assert words.endswith("moved to their mean for the model, mass divided by a power of two, the others as stored")
    assert not Standardize.fit(x[6:, [0, 1]]).keeps_units
    np.testing.assert_allclose(transform.inverse(z)[:, 3], x[:, 3], rtol=1e-7)
    assert isinstance(Standardize.within_range(x[:, 1:3], may[1:3], may[1:3]), Identity)


def test_a_transform_that_is_deterministic_says_so_and_can_be_applied_at_once():
    x = np.arange(12, dtype=np.uint8).reshape(6, 2)
    assert [Pixels(binarization=b).deterministic for b in ("dynamic", "threshold", "none")] == [False, True, True]
    pixels = Pixels(binarization="none")
    assert torch.equal(applied(pixels, x, np.array([4, 1])), pixels(torch.from_numpy(x[[4, 1]])))
    assert Identity()(torch.from_numpy(x)).dtype == torch.float32


def test_standardize_refuses_constant_columns_and_bad_scales():
    x = np.array([[1.0, 0.1, 5], [2.0, 0.1, 5]], dtype=np.float32)
    with pytest.raises(DataError, match=r"2 constant columns \('b', 'c'\)"):
        Standardize.fit(x, columns=("a", "b", "c"))
    with pytest.raises(DataError, match="1 value that is NaN or infinite"):
        Standardize.fit(np.array([[1.0], [np.nan]]))
    with pytest.raises(ValueError, match="scale is not positive"):
        Standardize(torch.zeros(2), torch.tensor([1.0, 0.0]))


def test_the_volume_of_a_row_counts_every_number_that_is_there():
    one = Standardize(torch.tensor(3.0), torch.tensor(10.0))  # of arrays (N, 4, 3): one scale for all numbers
    assert one.log_scale_of(torch.zeros(2, 4, 3)).tolist() == pytest.approx([12 * math.log(10)] * 2)
    each = Standardize(torch.zeros(2), torch.tensor([2.0, 5.0]))
    rows = torch.tensor([[0.0, 0.0], [torch.nan, 0.0], [torch.nan, torch.nan]])
    assert each.log_scale_of(rows).tolist() == pytest.approx([math.log(10), math.log(5), 0.0])


@pytest.mark.parametrize("description", [None, [], "identity"])
def test_what_describes_no_transform_is_refused(description):
    with pytest.raises(TypeError):
        checked.transform_of(description, {})
