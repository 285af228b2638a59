"""Disentanglement on planted factors, where the best, a mixed and a useless representation are known."""

from __future__ import annotations

import math

import pytest
import torch

from lowerbound.data.shapes import shapes
from lowerbound.evaluate import (
    beta_vae_score,
    dci_scores,
    factor_vae_score,
    mutual_information_gap,
    separated_attribute_predictability,
)
from lowerbound.evaluate.latent_gaps import _bins, _thresholded

GAPS = [mutual_information_gap, separated_attribute_predictability]
ACCURACIES = [factor_vae_score, beta_vae_score]
SIZES = (3, 4, 5)


def planted(num_rows=3000):
    """Three independent factors, and the latents that are their values on a scale of its own, with a dead latent."""
    generator = torch.Generator().manual_seed(0)
    factors = torch.stack([torch.randint(size, (num_rows,), generator=generator) for size in SIZES], 1)
    latents = factors.double() * torch.tensor([1.0, -2.0, 0.5]) + 0.01 * torch.randn(num_rows, 3, generator=generator)
    return torch.cat([latents, 0.001 * torch.randn(num_rows, 1, generator=generator)], 1), factors


def rotated(latents):
    """Half a right angle in every plane of the standardised latents: each latent tells of all factors."""
    turn = torch.tensor([[2.0, -1, 2], [2, 2, -1], [-1, 2, 2]]).double() / 3
    return torch.cat([latents[:, :3] / latents[:, :3].std(0) @ turn, latents[:, 3:]], 1)


def useless(num_rows=3000):
    return torch.randn(num_rows, 4, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


@pytest.mark.parametrize("score", GAPS)
def test_gaps_are_one_below_and_nought(score):
    latents, factors = planted()
    best, mixed, nothing = (score(z, factors) for z in (latents, rotated(latents), useless()))
    assert best.value > 0.99
    assert mixed.value < 0.5 * best.value
    assert abs(nothing.value) < 0.02
    assert best.standard_error < 0.01
    assert 0 < nothing.standard_error < 0.02


@pytest.mark.parametrize("score", ACCURACIES)
def test_accuracies_are_one_below_and_chance(score):
    latents, factors = planted()
    best, mixed, nothing = (score(z, factors) for z in (latents, rotated(latents), useless()))
    assert best.value == 1
    assert best.standard_error == 0
    assert mixed.value < 0.97
    assert abs(nothing.value - 1 / 3) < 5 * nothing.standard_error + 0.02


def test_dci_is_one_below_and_nought():
    latents, factors = planted(1000)
    best, mixed, nothing = (dci_scores(z, factors, num_trees=5) for z in (latents, rotated(latents), useless(1000)))
    assert best.disentanglement.value > 0.97
    assert best.completeness.value > 0.97
    assert best.informativeness.value > 0.99
    assert mixed.disentanglement.value < 0.7
    assert mixed.completeness.value < 0.7
    assert nothing.disentanglement.value < 0.05
    assert nothing.completeness.value < 0.05
    chance = sum(1 / size for size in SIZES) / 3
    assert abs(nothing.informativeness.value - chance) < 5 * nothing.informativeness.standard_error


def test_a_duplicated_latent_closes_the_gaps_and_halves_completeness():
    latents, factors = planted(1000)
    twice = torch.cat([latents[:, :3], latents[:, :3]], 1)
    for score in GAPS:
        assert abs(score(twice, factors).value) < 1e-6
    got = dci_scores(twice, factors, num_trees=20)
    assert got.disentanglement.value > 0.97
    assert got.completeness.value < 0.9


def test_mutual_information_gap_by_hand():
    """z_1 is v, z_2 is v for half of its values: I = log 4 and ¾ log … worked out from the table of four classes."""
    factors = torch.arange(4).repeat(50)[:, None]
    latents = torch.cat([factors, factors.clamp(max=1)], 1).double()
    information = -(0.25 * math.log(0.25) + 0.75 * math.log(0.75))
    got = mutual_information_gap(latents, factors)
    assert math.isclose(got.value, 1 - information / math.log(4))


def test_squared_correlation_by_hand():
    generator = torch.Generator().manual_seed(0)
    factors = torch.randint(5, (400, 2), generator=generator)
    latents = torch.randn(400, 3, generator=generator, dtype=torch.float64) + factors[:, :1]
    table = torch.corrcoef(torch.cat([latents, factors], 1).mT)[:3, 3:].square().sort(0).values
    assert math.isclose(
        separated_attribute_predictability(latents, factors).value, (table[-1] - table[-2]).mean().item()
    )


@pytest.mark.parametrize("outlier", [1e3, -1e9, 1e300])
@pytest.mark.parametrize("count", [1, 5])
def test_outlying_rows_do_not_share_all_others_among_few_bins(outlier, count):
    """Bins of equal width over the whole range would put all other rows into one: MIG 0."""
    latents, factors = planted(1000)
    latents[:count] = outlier
    assert mutual_information_gap(latents, factors).value > 0.95


def test_without_outliers_the_bins_are_those_of_equal_width_over_the_whole_range():
    z = torch.cat([useless(500), torch.arange(500.0).double()[:, None].square(), torch.zeros(500, 1).double()], 1)
    low, high = z.amin(0), z.amax(0)
    expected = ((z - low) / (high - low).where(high > low, 1.0) * 20).long().clamp(max=19)
    assert torch.equal(_bins(z), expected)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_latents_that_are_not_numbers_are_refused_with_their_place(bad):
    latents, factors = planted(100)
    latents[7, 2] = bad
    for score in (*GAPS, *ACCURACIES, dci_scores):
        with pytest.raises(ValueError, match=f"a latent that is {bad} at row 7, latent 2; leave out such rows"):
            score(latents, factors)


def test_a_latent_that_is_constant_knows_nothing():
    latents, factors = planted(400)
    dead = torch.cat([latents, torch.full((400, 1), 3.0).double()], 1)
    for score in (*GAPS, *ACCURACIES):
        assert score(dead, factors).value == pytest.approx(score(latents, factors).value, abs=0.01)


def test_of_unordered_factors_the_numbers_of_classes_do_not_matter():
    """z_1 is the first factor in another order of its classes, which a line cannot follow and thresholds can."""
    latents, factors = planted(600)
    latents[:, 2] = torch.tensor([2.0, 0, 3, 1, 4])[factors[:, 2]]
    assert separated_attribute_predictability(latents, factors).value < 0.8
    assert separated_attribute_predictability(latents, factors, unordered=[2]).value > 0.95
    renamed = factors.clone()
    renamed[:, 2] = torch.tensor([30, 10, 0, 20, 40])[factors[:, 2]]
    one, other = (separated_attribute_predictability(latents, v, unordered=[0, 1, 2]) for v in (factors, renamed))
    assert one == other
    nothing = separated_attribute_predictability(useless(600), factors, unordered=[0, 1, 2])
    assert abs(nothing.value) < 0.1
    with pytest.raises(ValueError, match="unordered names column 3 and factors have the columns 0 to 2"):
        separated_attribute_predictability(latents, factors, unordered=[3])


def test_thresholds_by_hand():
    """One threshold between two classes: 1 of 4 on the wrong side in one class and none in the other."""
    z = torch.tensor([0.0, 1, 2, 9, 5, 6, 7, 8]).double()[:, None]
    assert float(_thresholded(z, torch.tensor([0, 0, 0, 0, 1, 1, 1, 1]))) == pytest.approx((0.875 - 0.5) / 0.5)


def test_the_variance_of_a_latent_is_relative_to_its_own_spread():
    """Latents of spreads 1, 10 and 0.5: without the division the last one has the least variance at every vote."""
    generator = torch.Generator().manual_seed(2)
    factors = torch.stack([torch.randint(size, (2000,), generator=generator) for size in SIZES], 1)
    noise = 0.4 * torch.randn(2000, 3, generator=generator, dtype=torch.float64)
    latents = factors / factors.double().std(0) + noise
    scaled = latents / latents.std(0) * torch.tensor([1.0, 10.0, 0.51])
    assert factor_vae_score(scaled, factors).value == factor_vae_score(latents, factors).value == 1


@pytest.mark.parametrize("score", GAPS)
def test_the_stated_error_is_the_spread_over_data_sets(score):
    generator = torch.Generator().manual_seed(0)
    got = []
    for _ in range(60):
        factors = torch.stack([torch.randint(size, (300,), generator=generator) for size in SIZES], 1)
        noise = torch.randn(300, 3, generator=generator, dtype=torch.float64)
        got.append(score(factors + noise, factors))
    spread = torch.tensor([one.value for one in got]).std()
    assert 0.7 < torch.tensor([one.standard_error for one in got]).mean() / spread < 1.5


@pytest.mark.parametrize("score", [*GAPS, *ACCURACIES])
def test_units_signs_and_names_do_not_matter(score):
    latents, factors = planted(400)
    latents = rotated(latents)
    other = score(latents * torch.tensor([-3.0, -3, -3, -3]) + 7, factors * torch.tensor([2, 1, 1]) + 5)
    assert abs(other.value - score(latents, factors).value) < 0.01


@pytest.mark.slow
def test_generated_shapes():
    """The factors themselves as latents: perfect on the real set, less so once turned."""
    factors = torch.from_numpy(shapes().factors)
    latents = factors.double() + 0.01 * torch.randn(factors.shape, generator=torch.Generator().manual_seed(0))
    turned = (latents / latents.std(0)) @ torch.linalg.qr(
        torch.randn(5, 5, generator=torch.Generator().manual_seed(0))
    )[0].double()
    for score in (*GAPS, *ACCURACIES):
        assert score(latents, factors).value > 0.98
        assert score(turned, factors).value < score(latents, factors).value - 0.02


def test_refusals():
    latents, factors = planted(100)
    for score in (*GAPS, *ACCURACIES, dci_scores):
        with pytest.raises(
            ValueError, match="100 rows of latents and 99 rows of factors; give one row of factors for each"
        ):
            score(latents, factors[1:])
        with pytest.raises(ValueError, match="at least 20"):
            score(latents[:5], factors[:5])
        with pytest.raises(ValueError, match="a factor with a single value; leave it out"):
            score(latents, factors * 0)
        with pytest.raises(ValueError, match="latents that are all the same"):
            score(latents * 0, factors)
    for score in GAPS:
        with pytest.raises(ValueError, match="each row has 1; use dci_scores"):
            score(latents[:, :1], factors)


@pytest.mark.parametrize("score", [separated_attribute_predictability, beta_vae_score, mutual_information_gap])
def test_one_row_far_out_decides_nothing(score: Any) -> None:
    generator = torch.Generator().manual_seed(0)
    factors = torch.randint(4, (1000, 2), generator=generator)
    latents = factors + 0.1 * torch.randn(1000, 2, generator=generator)
    spoilt = latents.clone()
    spoilt[7] = torch.tensor([1e6, -1e6])
    assert abs(score(spoilt, factors).value - score(latents, factors).value) < 0.02
    assert score(latents, factors).value > 0.9
