"""SELFIES as tokens: molecules come back, every list of symbols is one, and what is left out."""

import sys

import pytest
from rdkit.Chem import MolFromSmiles
from some_molecules import SMILES

from lowerbound.data import DataError, read_file, selfies
from lowerbound.data.overrides import Overrides
from lowerbound.data.smiles import read_molecules


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    pytest.importorskip("selfies", reason="selfies is in the extra 'molecules'")
    path = tmp_path_factory.mktemp("selfies") / "some.smi"
    path.write_text("\n".join(f"{one} name" for one in [*SMILES, "no"] * 3) + "\n")
    return read_file(path, overrides=Overrides.said("text:tokens=selfies"))


def test_molecules_come_back_as_canonical_smiles(data):
    known = set(read_molecules(SMILES).smiles)
    assert set(data.kind_of_data.render(data.x_train, data.schema)) <= known
    first = "rows 20 ('no name'), 41 ('no name'), 62 ('no name')"
    assert data.remarks == (f"Left out: 3 no molecules of the 63 texts of some.smi: {first}.",)


def test_every_list_of_symbols_is_a_molecule(data):
    symbols = data.schema.text.symbols
    for start in range(len(symbols)):
        made = selfies.smiles_of(symbols[(start + 3 * step) % len(symbols)] for step in range(20))
        assert MolFromSmiles(made) is not None


def test_without_the_library_it_is_refused(monkeypatch):
    monkeypatch.setitem(sys.modules, "selfies", None)
    selfies._library.cache_clear()
    with pytest.raises(DataError, match=r"which is not installed; run pip install 'lowerbound\[molecules\]'"):
        selfies.selfies_of("CCO")
