"""`lowerbound fit some.smi` with no other word, and what every command says of its run."""

import json

import numpy as np
import pandas as pd
import pytest
from some_molecules import SMILES

import lowerbound as lb
from lowerbound.cli import main
from lowerbound.data.chemistry import rdkit_chem
from lowerbound.data.smiles import read_molecules

SMALL = "latent_dim=2,embedding_dim=8,width=16"


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    path = tmp_path_factory.mktemp("molecules") / "some.smi"
    path.write_text("\n".join([*SMILES * 5, "aspirin", "[Pt]"]) + "\n")
    return path


@pytest.fixture(scope="module")
def run(path):
    out = path.parent / "run"
    recipe = f"molecule-vae:{SMALL}"
    words = ["fit", str(path), "--recipe", recipe, "--steps", "40", "--out", str(out), "--no-evaluate", "--seed", "3"]
    assert main(words) == 0
    return out


def are_molecules(lines):
    return all(read_molecules(lines).smiles)


def test_molecules_are_fitted_with_no_other_word(path):
    plan = lb.plan(lb.data.read_file(path))
    assert plan.recipe == "molecule-vae"
    assert plan.reasons["recipe"] == "the data are molecules"
    assert "points=" in plan.model["likelihood"]


def test_the_fit_says_what_the_molecules_are(cli, path, tmp_path):
    words = ["--recipe", f"molecule-vae:{SMALL}", "--steps", 1, "--no-evaluate", "--out", tmp_path / "run"]
    answer = cli("fit", path, *words)
    assert "80 molecules to train on (8 of them to choose the weights) and 20 to test on" in answer.out
    assert "Molecules of at most" in answer.out
    said = "Left out: 2 of the 102 lines of some.smi (1 no molecule, 1 with Pt): rows 100 ('aspirin'), 101 ('[Pt]')."
    assert answer.out.count(said) == 1
    assert said not in answer.err


def test_draws_are_smiles_pictures_and_tables(cli, run, tmp_path):
    lines = cli("sample", run, "--count", 6).out.split()
    assert len(lines) == 6
    assert are_molecules(lines)
    for name in ("draws.smi", "draws.csv", "draws.png"):
        assert cli("sample", run, "--count", 6, "--out", tmp_path / name).code == 0
    assert (tmp_path / "draws.smi").read_text().split() == lines
    assert pd.read_csv(tmp_path / "draws.csv").smiles.tolist() == lines
    assert (tmp_path / "draws.png").read_bytes().startswith(b"\x89PNG")
    fitted = lb.Fitted.open(run)
    assert fitted.sample(6, decoding="sample", seed=0) == lines
    assert are_molecules(fitted.sample(5, decoding="greedy"))


def test_draws_around_a_scaffold(cli, refused, run, tmp_path):
    Chem = rdkit_chem()
    wanted = Chem.MolFromSmiles("c1ccccc1")
    lines = cli("sample", run, "--scaffold", "c1ccccc1", "--count", 12, "--seed", 2).out.split()
    assert len(lines) == 12
    assert all(Chem.MolFromSmiles(line).HasSubstructMatch(wanted) for line in lines)
    assert lb.Fitted.open(run).sample(12, scaffold="c1ccccc1", seed=2) == lines
    assert (
        cli("sample", run, "--scaffold", "c1ccccc1", "--decoding", "greedy", "--out", tmp_path / "some.npz").code == 0
    )
    assert "which no fragment of the model has there" in refused("sample", run, "--scaffold", "C1CCCCCCC1")
    assert "is no molecule; give SMILES" in refused("sample", run, "--scaffold", "benzene")
    with pytest.raises(ValueError, match="a scaffold is for molecules"):
        lb.fit(["a b", "b a"] * 10, "language-model", embedding_dim=4, width=4, steps=1).sample(scaffold="C")


def test_pairs_and_what_lies_between(cli, run, tmp_path):
    out = cli("reconstruct", run, "--count", 3).out
    pairs = [line.removeprefix("→").strip() for line in out.splitlines() if line.strip()]
    assert len(pairs) == 6
    assert are_molecules(pairs)
    assert cli("reconstruct", run, "--count", 3, "--out", tmp_path / "pairs.png").code == 0
    between = cli("interpolate", run, "OCC", "c1ccccc1", "--steps", 3).out.split()
    assert len(between) == 3
    assert are_molecules(between)


def test_codes_and_scores_of_other_molecules(cli, run, tmp_path):
    other = tmp_path / "other.smi"
    other.write_text("OCC ethanol\nC1CCCCCCCCC1\nno\n")
    answer = cli("encode", run, "--data", other, "--out", tmp_path / "codes.csv")
    assert answer.code == 0, answer.err
    assert "Warning: Left out: 1 of the 3 lines of other.smi (1 no molecule): row 2 ('no').\n" in answer.err
    assert pd.read_csv(tmp_path / "codes.csv").row.tolist() == [0, 1]
    fitted = lb.Fitted.open(run)
    same = fitted.score(["CCO", "OCC"], num_samples=10)
    assert same[0] == pytest.approx(same[1], abs=1.5)  # one molecule, scored by other latents
    with pytest.raises(ValueError, match="1 no molecule"):
        fitted.score(["CCO", "no"])


def test_samples_are_compared_with_test_molecules(cli, run):
    answer = cli("evaluate", run, "--num-samples", 5, "--quality")
    assert answer.code == 0, answer.err
    assert "in parentheses molecules of random fragments" in " ".join(answer.out.split())
    found = json.loads((run / "evaluation.json").read_text())["quality"]
    assert found["valid"] == found["random_fragments"]["valid"] == 1.0
    assert 0 < found["snn"] <= 1
    with pytest.raises(ValueError, match="has its own"):
        lb.Fitted.open(run).sample_quality(features=lambda x: x)


def test_the_report_draws_molecules(cli, run):
    assert cli("report", run).code == 0
    page = (run / "report.html").read_text()
    assert page.count("<svg") >= 2
    assert "Samples: unique@20" in page
    assert "bond-0" in page


def test_a_language_model_of_molecules():
    alone = lb.fit(SMILES * 5, "language-model", kind="molecules", embedding_dim=8, width=16, steps=5)
    assert are_molecules(alone.sample(4))


def test_text_has_no_pictures(refused, tmp_path):
    text = tmp_path / "a.txt"
    text.write_text("a b\nb a\n" * 20)
    words = ["--recipe", "language-model:embedding_dim=4,width=4", "--steps", "1", "--no-evaluate"]
    assert main(["fit", str(text), *words, "--out", str(tmp_path / "run")]) == 0
    assert ".png" in refused("sample", tmp_path / "run", "--out", tmp_path / "a.png")


@pytest.mark.slow
def test_a_search_moves_the_property_that_the_latent_holds(cli, tmp_path):
    path, out = tmp_path / "chains.smi", tmp_path / "run"
    path.write_text("\n".join(["CCO", "CCCCCCCCCCCO"] * 40) + "\n")  # a latent that tells weight or nothing
    recipe = "molecule-vae:latent_dim=1,embedding_dim=8,width=16,dropout=0.0"
    words = ["--steps", "150", "--objective", "free-bits:nats=0.7,per=group", "--lr", "0.01", "--seed", "1"]
    assert main(["fit", str(path), "--recipe", recipe, *words, "--no-evaluate", "--out", str(out)]) == 0
    answer = cli("search", out, "--property", "weight", "--draws", 60, "--out", tmp_path / "best.csv")
    assert answer.code == 0, answer.err
    assert "of the variance of weight" in answer.out
    fitted = lb.Fitted.open(out)
    up, down = (fitted.search("weight", minimize=minimize, num_draws=60, seed=0) for minimize in (False, True))
    assert up.r_squared > 0.5
    assert up.means[-1] > up.means[0] + 3 * up.standard_errors[0] > down.means[-1]
    best = pd.read_csv(tmp_path / "best.csv")
    assert best.weight.tolist() == sorted(best.weight, reverse=True) == up.best.weight.tolist()


def test_a_search_is_refused_where_there_is_nothing_to_search(run, refused, tmp_path):
    alone = lb.fit(SMILES, "language-model", kind="molecules", embedding_dim=4, width=4, steps=1)
    with pytest.raises(ValueError, match="no single vector of latents"):
        alone.search()
    with pytest.raises(ValueError, match="choose one of logp"):
        lb.Fitted.open(run).search("taste")
    with pytest.raises(ValueError, match="is for molecules"):
        lb.fit(["a b", "b a"] * 10, "language-model", embedding_dim=4, width=4, steps=1).search()


@pytest.fixture(scope="module")
def by_carbons(tmp_path_factory):
    """A run of chains of 1 to 5 carbons, given half their number."""
    path = tmp_path_factory.mktemp("given") / "chains.csv"
    rows = [("C" * n + "O", n / 2) for n in range(1, 6) for _ in range(30)]
    pd.DataFrame(rows, columns=["smiles", "half=c"]).assign(activity=["low", "high"] * 75).to_csv(path, index=False)
    recipe = "molecule-vae:latent_dim=2,embedding_dim=8,width=16,dropout=0.0"
    words = ["--columns", "smiles=molecule", "--covariates", "half=c,activity", "--recipe", recipe, "--seed", "0"]
    training = ["--objective", "elbo", "--steps", "60", "--lr", "0.05", "--batch-size", "32", "--no-evaluate"]
    assert main(["fit", str(path), *words, *training, "--out", str(path.parent / "run")]) == 0
    return path.parent / "run", path


def carbons(text):
    return sum(line.count("C") for line in text.split()) / len(text.split())


def test_the_property_of_draws_follows_what_is_asked(cli, by_carbons):
    run, _ = by_carbons
    asked = {n: cli("sample", run, "--given", f"half=c={n}", "--count", 50) for n in (0.5, 1.5, 2.5)}
    for n, answer in asked.items():
        assert carbons(answer.out) == pytest.approx(2 * n, abs=0.5), answer.err
    answer = cli("sample", run, "--count", 2, "--decoding", "greedy", "--given", "activity=low")
    assert answer.err == "half=c is at its mean, 1.5; --given half=c=VALUE says another.\n"
    fitted = lb.Fitted.open(run)
    drawn = fitted.sample(50, given={"half=c": 2.5}, seed=0)["smiles"]
    assert "\n".join(drawn) == asked[2.5].out.strip()


def test_every_verb_takes_molecules_with_a_property(cli, refused, by_carbons, tmp_path):
    run, path = by_carbons
    for words in (
        ["reconstruct", run, "--count", 2],
        ["evaluate", run, "--num-samples", 3, "--quality"],
        ["encode", run, "--data", path, "--out", tmp_path / "codes.csv"],
        ["report", run],
    ):
        answer = cli(*words)
        assert answer.code == 0, answer.err
    assert "the fit had numbers; give them" in refused("sample", run, "--given", "half=c=x")
    assert "has not seen (it knows" in refused("sample", run, "--given", "activity=none")
    assert "has no 'mass'" in refused("sample", run, "--given", "mass=3")
    assert "between which there is none" in refused("interpolate", run, "CO", "CCO")
    assert "a search is for models of molecules alone" in refused("search", run)
    frame = pd.read_csv(path)
    frame.loc[3, "half=c"] = float("nan")
    frame.to_csv(tmp_path / "gap.csv", index=False)
    words = ["--columns", "smiles=molecule", "--covariates", "half=c", "--out", tmp_path / "none"]
    assert "is missing at row 3; the model needs it" in refused("fit", tmp_path / "gap.csv", *words)


def test_molecules_are_decompressed_to_lines_of_smiles(cli, run, path, refused, tmp_path):
    answer = cli("compress", run, path, "--out", tmp_path / "x.lb")
    assert "of the 102 lines stand in the file as they were given" in answer.out
    assert answer.out.endswith(f"Wrote 102 rows to {tmp_path / 'x.lb'}\n")
    assert cli("decompress", run, tmp_path / "x.lb", "--out", tmp_path / "back.smi").code == 0
    assert (tmp_path / "back.smi").read_text() == path.read_text()
    (tmp_path / "headed.smi").write_bytes(b"smiles name\r\nCCO one\r\nOCC two")
    assert cli("compress", run, tmp_path / "headed.smi", "--out", tmp_path / "headed.lb").code == 0
    assert cli("decompress", run, tmp_path / "headed.lb", "--out", tmp_path / "headed-again.smi").code == 0
    assert (tmp_path / "headed-again.smi").read_bytes() == (tmp_path / "headed.smi").read_bytes()
    assert ".smi, .txt." in refused("decompress", run, tmp_path / "x.lb", "--out", tmp_path / "back.png")


def test_places_of_rows_are_no_molecules(run, refused):
    assert "and SMILES in one of molecules" in refused("interpolate", run, "0", "3")


@pytest.fixture(scope="module")
def tree_and_graph(path):
    out = path.parent / "tree-and-graph"
    recipe = f"molecule-vae:{SMALL},graph-latent-dim=3,encoder=message-passing"
    words = ["fit", str(path), "--recipe", recipe, "--steps", "8", "--out", str(out), "--no-evaluate", "--seed", "3"]
    assert main(words) == 0
    return out


def test_latents_of_tree_and_graph_have_names_and_rates(cli, tree_and_graph, tmp_path):
    answer = cli("evaluate", tree_and_graph, "--num-samples", 3)
    assert [line.split("│")[1].strip() for line in answer.out.splitlines() if "of the " in line and "│" in line] == [
        "of the tree",
        "of the graph",
    ]
    found = json.loads((tree_and_graph / "evaluation.json").read_text())
    kl = found["kl_per_dimension"]
    assert found["rate_of_parts"] == pytest.approx({"tree": sum(kl[:2]), "graph": sum(kl[2:])})
    assert cli("encode", tree_and_graph, "--out", tmp_path / "codes.csv").code == 0
    columns = pd.read_csv(tmp_path / "codes.csv").columns
    assert [name for name in columns if "mean" in name] == [
        *("mean_tree_0", "mean_tree_1"),
        *("mean_graph_0", "mean_graph_1", "mean_graph_2"),
    ]
    assert cli("encode", tree_and_graph, "--out", tmp_path / "codes.npz").code == 0
    assert np.load(tmp_path / "codes.npz")["latent_names"].tolist() == [name[5:] for name in columns if "mean" in name]


def test_every_verb_takes_a_net_of_atoms(cli, refused, path, tree_and_graph, tmp_path):
    assert are_molecules(cli("sample", tree_and_graph, "--count", 3).out.split())
    assert are_molecules(cli("interpolate", tree_and_graph, "OCC", "c1ccccc1", "--steps", 3).out.split())
    pairs = cli("reconstruct", tree_and_graph, "--count", 2).out.splitlines()
    assert are_molecules([one.removeprefix("→").strip() for one in pairs if one.strip()])
    assert cli("fit", "--resume", tree_and_graph, "--steps", 9, "--no-evaluate", "--out", tmp_path / "more").code == 0
    fitted = lb.Fitted.open(tree_and_graph)
    assert fitted.plan.model["encoder"] == "message-passing"
    assert fitted.score(["CCO", "OCC"], num_samples=3).shape == (2,)
    saved = tmp_path / "saved"
    fitted.save(saved)
    assert lb.Fitted.open(saved).sample(3, seed=5) == fitted.sample(3, seed=5)
    small, packed = tmp_path / "few.smi", tmp_path / "few.lb"
    small.write_text("CCO\nc1ccccc1\n")
    assert cli("compress", tree_and_graph, small, "--out", packed).code == 0
    assert cli("decompress", tree_and_graph, packed, "--out", tmp_path / "again.smi").code == 0
    assert (tmp_path / "again.smi").read_text().split() == ["CCO", "c1ccccc1"]
    words = refused("fit", path, "--kind", "text", "--recipe", f"molecule-vae:{SMALL},encoder=message-passing")
    assert "A net of atoms is asked for and some.smi is of kind text" in words
