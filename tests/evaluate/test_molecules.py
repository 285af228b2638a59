"""The scores of samples of molecules, where they can be said beforehand."""

import numpy as np
import pytest
from rdkit import Chem
from rdkit.Chem import rdFingerprintGenerator
from rdkit.DataStructs import BulkTanimotoSimilarity
from some_molecules import SMILES

from lowerbound.evaluate import molecules
from lowerbound.evaluate.molecule_properties import properties_of
from lowerbound.evaluate.molecules import TestMolecules, molecule_scores

TEST = ["CCO", "c1ccc(-c2ccccc2)cc1", "CC(=O)Nc1ccccc1", "c1ccc2ccccc2c1"]


def test_the_test_molecules_themselves_are_perfect():
    found = molecule_scores(TEST, set(), TEST)
    for name in ("valid", "unique@4", "novelty", "frag", "scaf", "snn"):
        assert found[name] == pytest.approx(1.0)
    for name in ("logp_distance", "qed_distance", "sa_distance", "weight_distance"):
        assert found[name] == pytest.approx(0.0, abs=1e-12)


def test_what_is_no_molecule_twice_there_or_known():
    found = molecule_scores(["CCO", "OCC", "CCC", "C(", ""], {"CCO"}, TEST)
    assert found["valid"] == pytest.approx(3 / 5)
    assert found["unique@3"] == pytest.approx(2 / 3)
    assert found["novelty"] == pytest.approx(1 / 2)
    assert found["scaf"] == 0.0


def test_test_molecules_are_looked_at_once_for_many_samples():
    samples = ["CCO", "Cc1ccccc1", "C("]
    assert molecule_scores(samples, set(), TestMolecules(TEST)) == molecule_scores(samples, set(), TEST)
    with pytest.raises(ValueError, match="0 molecules"):
        TestMolecules([])


def test_one_molecule_has_no_diversity():
    assert molecule_scores(["CCO"] * 3, set(), TEST)["int_div"] == pytest.approx(0.0)
    assert molecule_scores(["C("], set(), TEST) == {"valid": 0.0}
    with pytest.raises(ValueError, match="0 samples"):
        molecule_scores([], set(), TEST)


@pytest.mark.parametrize("in_bf16", [False, True])
def test_similarities_are_those_of_rdkit(monkeypatch, in_bf16):
    monkeypatch.setattr(molecules, "multiplies_bf16", lambda: in_bf16)
    monkeypatch.setattr(molecules, "_BLOCK", 6)
    generator = rdFingerprintGenerator.GetMorganGenerator(radius=2, fpSize=1024)
    ours, theirs = ([generator.GetFingerprint(Chem.MolFromSmiles(one)) for one in some] for some in (TEST, SMILES))
    exact = np.array([BulkTanimotoSimilarity(one, theirs) for one in ours])
    found = molecule_scores(TEST, set(), SMILES)
    assert found["snn"] == pytest.approx(exact.max(1).mean(), abs=1e-6)
    assert found["int_div"] == pytest.approx(1 - np.mean([BulkTanimotoSimilarity(one, ours) for one in ours]), abs=1e-6)


def test_similarities_of_large_molecules_are_exact(monkeypatch):
    monkeypatch.setattr(molecules, "multiplies_bf16", lambda: True)
    bits = (np.arange(1024) < np.array([[309], [515]])).astype(np.uint8)
    largest, mean = molecules._similarities(bits, bits)
    assert largest.tolist() == [1, 1]
    assert mean == pytest.approx([(1 + 309 / 515) / 2] * 2, abs=1e-6)


@pytest.mark.parametrize("other", ["no", ""])
def test_what_is_no_molecule_is_refused_among_test_molecules(other):
    with pytest.raises(ValueError, match=f"'{other}' among the test molecules is no molecule"):
        molecule_scores(["CCO"], set(), ["CCO", other])


def test_distances_of_many_molecules_are_those_of_some_at_equal_distances(monkeypatch):
    monkeypatch.setattr(molecules, "_MOST_OF_PROPERTIES", 9)
    assert TestMolecules(SMILES).properties["logp"] == pytest.approx(properties_of(SMILES[::3], "logp"))
    assert len(TestMolecules(SMILES).smiles) == len(SMILES)
