"""Molecules: what is read, taken apart, put together again, left out, counted and refused."""

import gzip
import itertools
import os
import sys
from pathlib import Path

import numpy as np
import pandas
import pytest
from some_molecules import SMILES

import lowerbound as lb
from lowerbound.data import DataError, kept, read_file, smiles
from lowerbound.data.atoms import alphabet
from lowerbound.data.chemistry import rdkit_chem
from lowerbound.data.derivations import all_derivations, assemble, derivation, parts_of_rings, point_orders
from lowerbound.data.given import dataset_of, rows_under
from lowerbound.data.overrides import Overrides
from lowerbound.data.points import points_of
from lowerbound.data.remarks import DataWarning
from lowerbound.data.schema import Schema
from lowerbound.data.smiles import read_molecules
from lowerbound.sklearn import VAE
from lowerbound.sklearn.bridge import to_dataset

LINES = [*SMILES, "C/C=C/C", "CC(=O)O.Cl"]


def moses(count):
    folder = os.environ.get("LOWERBOUND_DATA")
    path = Path(folder or "") / "moses_zinc_test.smi.txt.gz"
    if not folder or not path.exists():
        pytest.skip("the file of MOSES is not here")
    with gzip.open(path, "rt") as lines:
        return read_molecules([line.strip() for line in itertools.islice(lines, count)]).smiles


AROMATIC = {"*c1ccccc1[1*]", "*c1ccccc1*", "*c1ccc(*)cc1[1*]"}


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    path = tmp_path_factory.mktemp("molecules") / "some.smi"
    path.write_text("\n".join(LINES * 4) + "\n")
    return path


@pytest.mark.parametrize("known", [None, ()], ids=["fragments", "atoms"])
@pytest.mark.parametrize("one", SMILES)
def test_what_is_taken_apart_is_put_together_again(one, known):
    (canonical,) = read_molecules([one]).smiles
    symbols = derivation(canonical, known)
    assert assemble(symbols) == canonical
    if known == ():
        assert {s for s in symbols if s[0] != "&"} <= set(alphabet())


@pytest.mark.parametrize(
    "one, symbols",
    [
        ("c1ccc2c(c1)CCC2", ["*c1ccccc1*", "*C[1*]", "*C[1*]", "*C[1*]", "&1"]),
        ("O=C1NCCc2ccccc21", ["*C(*)=O", "*N[1*]", "*C[1*]", "*C[1*]", "*c1ccccc1[1*]", "&1"]),
        ("c1ccc2c(c1)Cc1ccccc1-2", ["*c1ccccc1*", "*c1ccccc1[1*]", "*C[1*]", "&1"]),  # two of these rings
        ("C1CCC2(CC1)OCCO2", derivation("C1CCC2(CC1)OCCO2", ())),  # nothing but atoms
    ],
)
def test_an_unknown_ring_system_is_taken_apart_at_its_single_bonds(one, symbols):
    assert derivation(one, set(symbols), rings=True) == symbols
    assert assemble(symbols) == one
    assert parts_of_rings(one, ()) == [symbol for symbol in symbols if symbol[0] != "&"]
    by_atoms = derivation(one, (), rings=True)  # what is still unknown is written by atoms
    assert assemble(by_atoms) == one
    assert {symbol for symbol in by_atoms if symbol[0] != "&"} <= set(alphabet())


def test_rows_with_rings_taken_apart_are_shorter_and_come_back():
    fused = ["c1ccc2c(c1)CCC2", "O=C1NCCc2ccccc21", "c1ccc2c(c1)CCCC2", "c1ccc2c(c1)COC2", "c1ccc2c(c1)CCO2"]
    lines = fused + ["Cc1ccccc1C", "CCc1ccccc1C"] * 10
    apart, by_atoms = (
        dataset_of(lines, overrides=Overrides.said(kind)) for kind in ("molecules:rings=true", "molecules")
    )
    assert apart.schema.molecules.rings
    assert Schema.from_json(apart.schema.to_json()) == apart.schema
    kind = apart.kind_of_data
    assert sorted([*kind.render(apart.x_train, apart.schema), *kind.render(apart.x_test, apart.schema)]) == sorted(
        read_molecules(lines).smiles
    )
    assert (apart.x_train > 0).sum() < (by_atoms.x_train > 0).sum()


@pytest.mark.parametrize("known", [None, ()], ids=["fragments", "atoms"])
def test_three_hundred_of_moses_come_back(known):
    assert all(assemble(derivation(one, known)) == one for one in moses(300))


@pytest.mark.slow
@pytest.mark.parametrize("known", [None, (), AROMATIC], ids=["fragments", "atoms", "rings"])
def test_ten_thousand_of_moses_come_back(known):
    found = moses(10_000)
    assert all(found)
    assert [one for one in found if assemble(derivation(one, known, rings=known is AROMATIC)) != one] == []


def test_the_order_of_a_smiles_does_not_matter():
    Chem = rdkit_chem()
    mol = Chem.MolFromSmiles("CC(=O)Nc1ccc(O)cc1")
    written = [Chem.MolToSmiles(mol, doRandom=True) for _ in range(10)]
    assert len(set(written)) > 1
    assert len({tuple(derivation(one)) for one in read_molecules(written).smiles}) == 1


def test_a_derivation_by_hand():
    assert derivation("Cc1ccc(C(=O)O)cc1") == ["*c1ccc(*)cc1", "[1*]C", "*C([1*])=O", "[1*]O"]
    assert derivation("C1CCC1", ()) == ["*C*", "*C[1*]", "*C[1*]", "*C[1*]", "&1"]


def test_points_that_symmetry_cannot_tell_apart_are_filled_in_any_order():
    assert point_orders("*c1ccc(*)cc1") == ((0, 1), (1, 0))
    assert point_orders("*C(*)[1*]") == ((0, 1), (1, 0))
    assert point_orders("*c1cc(*)[nH]n1") == ((0, 1),)  # the hydrogen tells them apart
    assert point_orders("*C(=*)[1*]") == ((0, 1),)
    assert len(point_orders("*C(*)(*)*")) == 24


@pytest.mark.parametrize(
    "one, count",
    [
        ("Cc1ccc(O)cc1", 2),
        ("Cc1ccc(C)cc1", 1),  # two equal parts: both orders are one list
        ("CC(O)c1ccccc1", 2),
        ("FC(Cl)(Br)c1ccc(C(O)N)cc1", 6 * 2 * 2),
        ("CCO", 1),
    ],
)
def test_all_derivations_say_the_same_molecule(one, count):
    (canonical,) = read_molecules([one]).smiles
    found = all_derivations(canonical)
    assert len(found) == len(set(map(tuple, found))) == count
    assert found[0] == derivation(canonical)
    assert {assemble(symbols) for symbols in found} == {canonical}
    assert found[: min(2, count)] == all_derivations(canonical, most=min(2, count))


@pytest.mark.parametrize("known", [None, ()], ids=["fragments", "atoms"])
def test_all_derivations_of_moses_say_the_same_molecule(known):
    lists = {one: all_derivations(one, known, most=8) for one in moses(60)}
    assert sum(len(found) > 1 for found in lists.values()) > 15
    assert all(assemble(symbols) == one for one, found in lists.items() for symbols in found)


def test_every_symbol_of_the_alphabet_is_one_atom_within_valence():
    Chem = rdkit_chem()
    assert len(alphabet()) == len(set(alphabet())) == 293
    assert all(points_of(symbol).is_atom and Chem.MolFromSmiles(symbol) is not None for symbol in alphabet())
    assert {points_of(s).parent for s in alphabet() if not points_of(s).children} == {0, 1, 2, 3}  # a leaf of each


def test_every_road_gives_the_same_rows(path, tmp_path):
    data = read_file(path)
    assert (data.kind, data.schema.container) == ("molecules", "smi")
    zipped, text, table = tmp_path / "some.smi.gz", tmp_path / "some.txt", tmp_path / "some.csv"
    zipped.write_bytes(gzip.compress(path.read_bytes()))
    text.write_bytes(path.read_bytes())
    frame = pandas.DataFrame({"smiles": LINES * 4, "weight": range(4 * len(LINES))})
    frame.to_csv(table, index=False)
    roads = [
        read_file(zipped),
        read_file(text, kind="molecules"),
        read_file(table, columns={"smiles": "molecule"}),
        read_file(table, kind="molecules"),
        dataset_of(LINES * 4, overrides=Overrides.said("molecules")),
        dataset_of(frame, overrides=Overrides.said("molecules")),
    ]
    assert {other.checksum for other in roads} == {data.checksum}
    assert [item.name for item in roads[2].schema.left_out] == ["weight"]


def test_rows_are_rendered_as_canonical_smiles(path):
    data = read_file(path)
    kind = data.kind_of_data
    shown = [*kind.render(data.x_train, data.schema), *kind.render(data.x_test, data.schema)]
    assert sorted(shown) == sorted(read_molecules(LINES * 4).smiles)
    assert Schema.from_json(data.schema.to_json()) == data.schema


def test_the_vocabulary_is_that_of_the_training_part(path):
    data = read_file(path, kind="molecules:vocabulary=3")
    symbols = data.schema.molecules.symbols
    several = {s for s in symbols[2:] if s[0] != "&" and not points_of(s).is_atom}
    assert len(several) == 3
    rare = [s for one in read_molecules(LINES).smiles for s in derivation(one) if not points_of(s).is_atom]
    assert len(set(rare)) > 3
    assert data.schema.molecules.num_by_atoms > 0
    assert len(data.x_train) + len(data.x_test) == 4 * len(LINES)  # by atoms, nothing is left out


def test_what_is_left_out_is_told_on_every_road_in_python(tmp_path):
    lines = [*SMILES, "no", "[Pt]"]
    told = r"Left out: 2 of the 22 lines of X \(1 no molecule, 1 with Pt\): rows 20 \('no'\), 21 \('\[Pt\]'\)\.$"
    with pytest.warns(DataWarning, match=told) as found:
        fitted = lb.fit(lines, "language-model", kind="molecules", embedding_dim=4, width=4, steps=1)
    assert len(found) == 1
    with pytest.warns(DataWarning, match=told):
        lb.fit(fitted.dataset, "language-model", embedding_dim=4, width=4, steps=1)
    with pytest.warns(DataWarning, match=told):
        to_dataset(VAE(), lines, kind="molecules")
    path = tmp_path / "other.smi"
    path.write_text("CCO\nno\n")
    with pytest.warns(DataWarning, match=r"1 of the 2 lines of other.smi .*: row 1 \('no'\)\.$"):
        assert len(fitted.score(path, num_samples=1)) == 1


def test_molecules_in_both_parts_are_counted(tmp_path):
    again = [*SMILES, "OCC", "C(O)C", "CCO"]  # one molecule in other words
    assert not [note for note in dataset_of(SMILES, overrides=Overrides.said("molecules")).notes if "train on" in note]
    found = [read_file(_saved(tmp_path / f"{k}.smi", again * k), kind="molecules") for k in (2, 5)]
    for data in found:
        train, test = (data.kind_of_data.render(x, data.schema) for x in (data.x_train, data.x_test))
        count = sum(one in set(train) for one in test)
        assert count > 0
        assert any(note.startswith(f"{count} of the {len(test)} molecules to test on") for note in data.notes)
        assert any(note.endswith("give each molecule once.") for note in data.notes)


def _saved(path, lines):
    path.write_text("\n".join(lines))
    return path


def test_what_cannot_be_written_is_counted_and_said():
    lines = [*SMILES, "[Na+].[Cl-]", "", "aspirin", "CC>>CO", "*CC*", "[13CH4]", "[Pt]", "C[CH]C", "C/C=C/C", "CO.Cl"]
    with pytest.warns(DataWarning, match="Left out: 8 of the 30 lines of X"):
        data = dataset_of(lines, overrides=Overrides.said("molecules"))
    said = " ".join([*data.notes, *data.remarks])
    assert "Left out: 8 of the 30 lines of X (" in said
    for reason in ("1 empty", "1 a reaction", "rows 20 ('[Na+].[Cl-]'), 21, 22 ('aspirin') and others."):
        assert reason in said
    assert "Of 1 lines of X with several components the largest was kept." in said
    assert "Stereo marks of 1 molecules of X were dropped." in said
    assert len(data.x_train) + len(data.x_test) == 22


def test_a_name_after_the_smiles_and_a_heading_are_no_molecules(tmp_path):
    path = tmp_path / "named.smi"
    path.write_text("smiles name\n" + "".join(f"{one} molecule {i}\n" for i, one in enumerate(SMILES)))
    data = read_file(path)
    assert data.notes == ()
    assert len(data.x_train) + len(data.x_test) == len(SMILES)


def test_a_file_of_names_is_refused(tmp_path):
    path = tmp_path / "names.smi"
    path.write_text("aspirin\nibuprofen\n")
    with pytest.raises(DataError, match=r"0 usable molecules in 2 lines \('aspirin' is no molecule\)"):
        read_file(path)


@pytest.mark.parametrize(
    "bad, said",
    [("no", "1 no molecule"), ("C" * 200, "1 of more than"), ("[Fe]", "1 with Fe"), ("[2H]C", "1 with an isotope")],
)
def test_other_molecules_are_as_many_as_were_given(path, bad, said):
    schema = read_file(path).schema
    with pytest.raises(DataError, match=said):
        rows_under(["CCO", bad], schema)
    assert rows_under(["OCC", "C1CCCCCCC1"], schema).x.shape[0] == 2  # a ring that no training molecule has
    with pytest.raises(DataError, match="none of the"):
        rows_under(np.full((1, *schema.event_shape), 10**6), schema)


@pytest.mark.parametrize(
    "said, message",
    [
        ("molecules:vocabulary=999", "has 999 .* fragments|vocabulary=999"),
        ("molecules:longest=0", "longest=0 and needs at least 1"),
        ("molecules:size=3", "size"),
    ],
)
def test_options_are_checked(path, said, message):
    with pytest.raises(DataError, match=message):
        read_file(path, kind=said)


def test_symbols_that_do_not_fit_are_refused():
    for symbols in ([], ["*C"], ["C", "[1*]C"], ["*C", "[1*]C", "[1*]C"], ["*C*", "&1", "&1"], ["*C*", "*C[1*]", "&1"]):
        with pytest.raises(ValueError, match=r"Symbol|molecule|points"):
            assemble(symbols)


def test_long_files_are_read_once_and_go_on_where_they_stopped(tmp_path, monkeypatch):
    monkeypatch.setattr(kept, "cache_folder", lambda: tmp_path)
    monkeypatch.setattr(smiles, "_PART", 10)
    lines = [*SMILES, "no", "CC(=O)O.Cl"]
    first = read_molecules(lines)
    files = sorted((tmp_path / "lines").iterdir())
    assert len(files) == 3
    made = []
    one = smiles._one
    monkeypatch.setattr(smiles, "_one", lambda line: made.append(line) or one(line))
    files[0].write_bytes(b"damaged")
    files[1].unlink()
    smiles._read.cache_clear()
    assert read_molecules(lines) == first
    assert 10 < len(made) < len(lines)  # one part is read as it was
    smiles._read.cache_clear()
    assert read_molecules(lines) == first
    assert len(made) < len(lines)


def test_what_is_missing_is_said(monkeypatch):
    monkeypatch.setitem(sys.modules, "rdkit", None)
    with pytest.raises(DataError, match="RDKit, which is not installed; run pip install"):
        rdkit_chem.__wrapped__()
