"""Statistics against NumPy and SciPy; a right model passes, and each fault shows in the statistic that names it."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.stats
import torch

from lowerbound.data import read_file
from lowerbound.data.kinds import kind_named
from lowerbound.evaluate import Check, predictive_checks
from lowerbound.evaluate.predictive_statistics import (
    count_statistics,
    image_statistics,
    molecule_statistics,
    number_statistics,
    series_statistics,
    table_statistics,
)
from lowerbound.exact import LinearGaussian

EXACT = LinearGaussian.random(3, 2, seed=1, dtype=torch.float32)
NAMES = ("a", "b", "c")


def of_table(x):
    return table_statistics(x, NAMES, (None, None, None))


def test_statistics_of_a_table_are_those_of_scipy():
    x = torch.randn(2, 50, 3, dtype=torch.float64) ** 2
    x[0, :7, 1] = math.nan
    x[:, 3, 2] = 0
    found = of_table(x)
    known = x[0, :, 1][~x[0, :, 1].isnan()].numpy()
    assert found["b: mean"][0].item() == pytest.approx(known.mean())
    assert found["b: sd"][0].item() == pytest.approx(known.std())
    assert found["b: skewness"][0].item() == pytest.approx(scipy.stats.skew(known))
    assert (found["b: min"][0].item(), found["b: max"][0].item()) == (known.min(), known.max())
    assert found["c: share of zeros"].tolist() == [0.02, 0.02]
    assert found["a and c: correlation"][1].item() == pytest.approx(np.corrcoef(x[1].numpy().T)[0, 2])


def test_categories_have_shares_and_no_means():
    x = torch.tensor([[[0.0], [1.0], [1.0], [math.nan]]], dtype=torch.float64)
    found = table_statistics(x, ("sex",), (("f", "m"),))
    shares = {name: round(value.item(), 3) for name, value in found.items()}
    assert shares == {"sex = f: share": 0.333, "sex = m: share": 0.667}


def test_statistics_of_counts_and_of_images():
    counts = torch.tensor([[[0.0], [0.0], [2.0], [6.0]]], dtype=torch.float64)
    found = {name: value.item() for name, value in count_statistics(counts, ("n",)).items()}
    assert found == {"n: mean": 2, "n: dispersion index": 3, "n: max": 6, "n: share of zeros": 0.5}
    image = torch.tensor([[[[0.0, 1.0], [1.0, 1.0]]]], dtype=torch.float64)
    found = {name: value.item() for name, value in image_statistics(image).items()}
    assert found == {"mean intensity": 0.75, "total variation": 0.5, "share of ink": 0.75}


def test_statistics_of_series_are_those_of_numpy():
    x = torch.randn(2, 30, 12, 2, dtype=torch.float64).cumsum(2)
    found = series_statistics(x)
    channel = x[1, ..., 1].numpy()
    pairs = np.corrcoef(channel[:, :-1].ravel(), channel[:, 1:].ravel())[0, 1]
    assert found["1: correlation of neighbouring steps"][1].item() == pytest.approx(pairs)
    assert found["1: mean absolute step"][1].item() == pytest.approx(np.abs(np.diff(channel)).mean())
    assert found["1: sd"][1].item() == pytest.approx(channel.std())
    assert "correlation of neighbouring steps" in series_statistics(x[..., :1])


def test_statistics_of_molecules_are_those_of_rdkit(tmp_path):
    chem = pytest.importorskip("rdkit.Chem")
    smiles = ["CCO", "c1ccncc1CC(=O)Cl", "C[N+](C)(C)C", "FC(F)(F)c1ccccc1S", "C1CC2CCC1CC2"]
    (tmp_path / "some.smi").write_text("\n".join(smiles * 4))
    schema = read_file(tmp_path / "some.smi").schema
    assert schema.molecules is not None
    rows = kind_named("molecules").rows(np.array(smiles, dtype=object), schema, "them")
    found = molecule_statistics(torch.from_numpy(rows).double()[None], schema.molecules.symbols)
    mols = [chem.MolFromSmiles(one) for one in smiles]
    sizes, atoms = [m.GetNumAtoms() for m in mols], [a for m in mols for a in m.GetAtoms()]
    assert found["heavy atoms: mean"].item() == pytest.approx(np.mean(sizes))
    assert found["heavy atoms: max"].item() == max(sizes)
    for name, symbols in {"nitrogen": "N", "oxygen": "O", "halogens": ("F", "Cl"), "other elements": "S"}.items():
        share = sum(a.GetSymbol() in symbols for a in atoms) / len(atoms)
        assert found[f"share of {name}"].item() == pytest.approx(share), name
    assert found["share of aromatic atoms"].item() == pytest.approx(sum(a.GetIsAromatic() for a in atoms) / len(atoms))


def test_p_values_by_hand():
    check = Check(observed=0.5, replicated=torch.arange(19).double())
    assert check.p_value == pytest.approx(2 * 2 / 20)
    assert check.distance == pytest.approx((0.5 - 9) / check.replicated.std().item())
    assert check.interval == pytest.approx((0.45, 17.55))
    assert Check(observed=1.0, replicated=torch.zeros(19).double()).distance == math.inf


def test_a_right_model_raises_false_alarms_as_often_as_stated():
    """One p-value of each of 200 data sets; they take 40 values, of which 5 % of the mass lies at or below 0.05."""
    model = EXACT.model()
    p = [
        predictive_checks(model, EXACT.sample(10), lambda x: {"mean": x[..., 0].mean(1)}, num_replicates=39, seed=i)
        .checks["mean"]
        .p_value
        for i in range(200)
    ]
    low, high = scipy.stats.binom.ppf([5e-7, 1 - 5e-7], 200, 0.05)
    assert low <= sum(value <= 0.05 for value in p) <= high


def test_intervals_of_a_right_model_hold_what_they_say():
    found = predictive_checks(EXACT.model(), EXACT.sample(1000), of_table, num_replicates=99)
    coverage = found.coverage()
    assert bool(((coverage.values - coverage.levels).abs() < 5 * coverage.standard_error).all())
    torch.testing.assert_close(found.dispersion, torch.ones(3).double(), atol=0.15, rtol=0)
    assert found.ranks.shape == (1000, 3)


@pytest.mark.parametrize("factor, side", [(0.5, 1), (2.0, -1)])
def test_a_wrong_spread_shows_in_intervals_and_in_the_sd(factor, side):
    wrong = LinearGaussian(EXACT.weight * factor, EXACT.offset, EXACT.scale * factor)
    found = predictive_checks(wrong.model(), EXACT.sample(300), of_table)
    known = 2 * scipy.stats.norm.cdf(factor * scipy.stats.norm.ppf(0.9)) - 1  # of the 80 % interval
    coverage = found.coverage_of(1)
    assert abs(coverage.values[1].item() - known) < 5 * coverage.standard_error[1].item() + 0.02
    assert all(side * (value - 1) > 0.2 for value in found.dispersion.tolist())
    assert all(side * found.checks[f"{name}: sd"].distance > 4 for name in NAMES)
    assert abs(found.checks["a: mean"].distance) < 5
    assert found.outside >= 3
    assert found.farthest[0][0].endswith(("sd", "max", "min"))


def test_gaps_are_made_in_the_replicated_rows_too():
    x = EXACT.sample(40)
    x[::2, 1] = math.nan
    seen = []

    def statistics(values):
        seen.append(values.isnan())
        return number_statistics(values)

    found = predictive_checks(EXACT.model(), x, statistics, num_replicates=20, max_elements=240)
    assert len(seen) == 11  # ten slices of two data sets, and the data
    assert all(torch.equal(part, x.isnan().expand_as(part)) for part in seen)
    assert torch.equal(found.ranks.isnan(), x.isnan())
    assert bool(found.coverage().values.isfinite().all())


@pytest.mark.parametrize("rows, replicates", [(1, 50), (5, 19)])
def test_too_few(rows, replicates):
    with pytest.raises(ValueError, match="it needs 2 and 20"):
        predictive_checks(EXACT.model(), EXACT.sample(rows), number_statistics, num_replicates=replicates)


def test_more_replicates_than_end():
    with pytest.raises(ValueError, match="got num_replicates=1,000,000 and takes at most 100,000"):
        predictive_checks(EXACT.model(), EXACT.sample(5), number_statistics, num_replicates=10**6)
