"""`lowerbound fit sentences.txt` with no other word, and what every command says of its run."""

import json
import random
import re
import shutil

import click
import pandas as pd
import pytest
import torch

import lowerbound as lb
from lowerbound.cli import main
from lowerbound.data.given import dataset_of
from lowerbound.data.remarks import DataWarning
from lowerbound.diagnosis.dispersion import dispersion
from lowerbound.diagnosis.of_fitted import case_of
from lowerbound.evaluate import nearest_tokens
from lowerbound.fitting.defaults import next_to_try
from lowerbound.runs import Run
from lowerbound.verbs import effort

SUBJECTS, VERBS, ENDS = ["the cat", "a dog", "the bird"], ["sees it", "runs", "sings a song"], ["today", "now", "again"]


@pytest.fixture(scope="module")
def sentences(tmp_path_factory):
    rng = random.Random(0)
    lines = [" ".join(map(rng.choice, (SUBJECTS, VERBS, ENDS))) for _ in range(150)]
    path = tmp_path_factory.mktemp("text") / "sentences.txt"
    path.write_text("\n".join([*lines[:70], "", *lines[70:]]) + "\n")
    return path


@pytest.fixture(scope="module")
def run(sentences):
    out = sentences.parent / "run"
    recipe = "sentence-vae:latent_dim=3,embedding_dim=8,width=16"
    assert main(["fit", str(sentences), "--recipe", recipe, "--steps", "60", "--out", str(out), "--seed", "3"]) == 0
    return out


def test_no_other_recipe_is_advised_for_text():
    data = dataset_of(["a b c", "b c a", "c a"] * 10)
    assert [next_to_try(data, recipe) for recipe in ("sentence-vae", "language-model")] == [None, None]


def test_fewer_samples_are_drawn_where_they_take_long_and_it_is_said(run, cli, tmp_path, monkeypatch):
    copy = tmp_path / "run"
    shutil.copytree(run, copy)
    monkeypatch.setattr(effort, "_OPERATIONS", 0)
    answer = cli("evaluate", copy)
    saved = json.loads((copy / "evaluation.json").read_text())
    count = saved["num_samples"]
    assert 10 <= count < 1000  # a fifth of the time of 60 steps
    assert f"L is of {count} samples a row, as many as take half a minute" in " ".join(answer.out.split())
    assert saved["fewer_samples"].startswith(f"{count} samples a row")
    answer = cli("score", copy, "--out", tmp_path / "scores.csv")
    assert f"They are of {count} samples a row" in " ".join(answer.out.split())
    opened = lb.Fitted.open(copy)
    asked = []
    monkeypatch.setattr("lowerbound.verbs.of_rows.samples_for", lambda *a, **k: asked.append(k) or effort.Samples(7))
    assert len(opened.score(["the cat runs now"] * 3)) == 3
    assert asked == [{"num_rows": 3, "num_trained": effort.rows_trained(opened)}]
    answer = cli("evaluate", copy, "--num-samples", 20)
    assert "samples a row" not in answer.out
    assert "fewer_samples" not in json.loads((copy / "evaluation.json").read_text())


def test_text_is_fitted_with_no_other_word(sentences):
    plan = lb.plan(lb.data.read_file(sentences))
    assert plan.recipe == "sentence-vae"
    assert plan.reasons["recipe"] == "the data are text"
    assert plan.model["likelihood"] == "tokens:num_symbols=15"
    assert not plan.compile


def test_the_fit_says_what_the_text_is(cli, sentences, tmp_path):
    words = ["--recipe", "sentence-vae:latent_dim=2,embedding_dim=4,width=4", "--steps", 1, "--no-evaluate"]
    answer = cli("fit", sentences, *words, "--out", tmp_path / "run")
    assert "120 texts to train on (12 of them to choose the weights) and 30 to test on" in answer.out
    assert "Text of at most 6 words; 13 are known." in answer.out
    assert "0.0% are unknown (<unk>)" in answer.out
    assert "Left out: 1 empty of the 151 texts of sentences.txt: row 70." in answer.out


def test_scores_count_tokens_and_have_two_baselines(cli, run, sentences):
    saved = json.loads((run / "evaluation.json").read_text())
    assert set(saved["baselines"]) == {"unigram"}
    answer = cli("evaluate", run, "--language-model")
    assert "tokens, the ends of texts among them" in answer.out
    scores = json.loads((run / "evaluation.json").read_text())
    assert set(scores["baselines"]) == {"unigram", "language model"}
    fitted = Run.open(run).fitted()
    texts = fitted.render(fitted.events(fitted.test_rows().x))
    count = sum(len(text.split()) + 1 for text in texts)
    assert scores["num_tokens"] == count
    mean = torch.tensor(scores["log_evidence"]) * len(texts) / count
    assert scores["perplexity"] == pytest.approx((-mean).exp().item(), rel=1e-5)
    assert (scores["bits_per_dim"], scores["num_samples"]) == (None, 1000)
    alone = lb.Fitted.open(run / "language-model")
    assert alone.plan.recipe == "language-model"
    assert alone.plan.steps == 60
    exact = alone.score(texts, num_samples=1).mean()
    assert scores["baselines"]["language model"]["log_likelihood"] == pytest.approx(exact, abs=1e-4)
    assert cli("evaluate", run, "--json").out == cli("evaluate", run, "--json", "--language-model").out  # it is kept


def test_samples_are_printed_or_written(cli, run, tmp_path):
    printed = cli("sample", run, "--count", 5, "--seed", 1).out
    out = tmp_path / "texts.txt"
    assert cli("sample", run, "--count", 5, "--seed", 1, "--out", out).code == 0
    assert out.read_text() == printed
    assert printed.splitlines() == Run.open(run).fitted().sample(5, decoding="sample", seed=1)
    assert cli("sample", run, "--count", 2, "--decoding", "nucleus=0.5", "--out", tmp_path / "t.csv").code == 0
    assert list(pd.read_csv(tmp_path / "t.csv").columns) == ["text"]
    known = set(" ".join(SUBJECTS + VERBS + ENDS).split())
    assert set(printed.split()) <= known


def test_reconstructions_are_pairs(cli, run, sentences):
    lines = cli("reconstruct", run, "--data", sentences, "--count", 3).out.split("\n")
    assert [line[2:] for line in lines[::3]][:3] == sentences.read_text().split("\n")[:3]
    assert all(line.startswith("→ ") for line in lines[1::3][:3])


def test_a_way_between_two_texts(cli, run):
    fitted = Run.open(run).fitted()
    pair = ["the cat runs now", "a dog sings a song again"]
    found = fitted.interpolate(pair, 4, way="circle")
    assert cli("interpolate", run, *pair, "--steps", 4, "--way", "circle").out.splitlines() == found
    z = torch.from_numpy(fitted.encode(pair).mean)
    ends = fitted.render(fitted.model.decode(z).greedy())
    assert [found[0], found[-1]] == ends


def test_others_are_read_by_the_vocabulary_of_the_fit(cli, run, tmp_path):
    other = tmp_path / "other.txt"
    other.write_text("the cat runs now\n" + "a dog " * 10 + "\nthe zebra runs\n")
    answer = cli("score", run, "--data", other, "--num-samples", 5, "--out", tmp_path / "s.csv")
    assert "1 beyond 6 words of the 3 texts of other.txt: row 1 ('a dog a dog" in answer.err
    assert "1 of the 7 words of other.txt are unknown to the model." in answer.err
    assert pd.read_csv(tmp_path / "s.csv")["row"].tolist() == [0, 2]


def test_the_report_shows_texts(run):
    page = (run / "report.html").read_text()
    assert page.count("<h2>Reconstructions</h2>") == page.count("<h2>Samples</h2>") == 1
    assert "Use of the latent dimensions" in page
    assert "length: mean" in page or "Predictive checks" in page
    nearest = dict(re.findall(r"<tr><td>(\w+)</td><td>([\w, ]+)</td></tr>", page.partition("Nearest words</h2>")[2]))
    assert len(nearest) == len({word for part in (SUBJECTS, VERBS, ENDS) for words in part for word in words.split()})
    fitted = lb.Fitted.open(run)
    symbols = fitted.schema.text.symbols
    (expected,) = nearest_tokens(fitted.model.likelihood.causal.embedding, [symbols.index("now")], first=2)
    assert nearest["now"] == ", ".join(symbols[k] for k in expected)


def test_the_report_of_a_language_model_has_no_reconstructions(sentences, tmp_path):
    with pytest.warns(DataWarning, match="row 70"):
        alone = lb.fit(sentences, "language-model", embedding_dim=4, width=4, steps=1)
    page = alone.report(tmp_path / "alone.html").read_text()
    assert "<h2>Samples</h2>" in page
    assert "<h2>Reconstructions</h2>" not in page


def test_refusals(refused, run, digits_run, tmp_path):
    assert refused("sample", run, "--decoding", "beam").startswith("decoding is 'beam'; expected sample")
    assert "for models of text" in refused("sample", digits_run, "--decoding", "greedy", "--out", tmp_path / "x.npz")
    assert "and 'a' is none" in refused("interpolate", digits_run, "a", "b", "--out", tmp_path / "x.png")
    assert "row 1 first" in refused("interpolate", run, "the cat", "")
    assert "language model" in refused("evaluate", digits_run, "--language-model")
    empty = tmp_path / "empty.txt"
    empty.write_text("\n")
    assert refused("fit", empty) == "'empty.txt' is empty; expected one text a line."


def altered(run, to, change):
    copy = shutil.copytree(run, to, ignore=shutil.ignore_patterns("language-model", "report.html"))
    content = json.loads((copy / "run.json").read_text())
    change(content["schema"]["text"]["symbols"])
    (copy / "run.json").write_text(json.dumps(content))
    return copy


def test_a_terminal_gets_no_escapes_of_a_vocabulary(run, sentences, tmp_path, monkeypatch):
    texts: list[str] = []
    monkeypatch.setattr(click, "echo", lambda text, **_: texts.append(text))
    copy = altered(run, tmp_path / "run", lambda symbols: symbols.__setitem__(slice(2, None), ["\x1b[2J"] * 13))
    assert main(["sample", str(copy), "--count", "3"]) == 0
    assert main(["reconstruct", str(copy), "--data", str(sentences), "--count", "2"]) == 0
    assert main(["interpolate", str(copy), "a", "b", "--steps", "2"]) == 0
    out = tmp_path / "\x1b[2J.txt"
    assert main(["sample", str(copy), "--count", "3", "--out", str(out)]) == 0
    assert texts[-1].startswith("Wrote 3 samples to ")
    assert "\x1b" not in "".join(texts)
    assert "".join(texts).count("\\x1b[2J") > 3


def test_another_vocabulary_than_that_of_the_model_is_refused(refused, run, tmp_path):
    copy = altered(run, tmp_path / "run", list.pop)
    assert "has 14 symbols and the model 15; one was altered" in refused("sample", copy)


def test_a_column_of_control_characters_is_no_text(refused, tmp_path):
    (tmp_path / "x.csv").write_text("text\n" + "a\x1b[2J b\x07\n" * 30)
    assert "it holds control characters" in refused("fit", tmp_path / "x.csv", "--columns", "text=text")


def test_a_language_model_that_is_half_written_or_another_run(cli, refused, run, digits_run, tmp_path):
    few = ("--limit", 3, "--num-samples", 2)
    copy = altered(run, tmp_path / "run", lambda symbols: None)
    kept = copy / "language-model"
    kept.mkdir()
    shutil.copy(digits_run / "run.json", kept)
    answer = cli("evaluate", copy, *few)
    assert answer.code == 0
    assert answer.err.startswith(f"Warning: {kept} was not written to its end, and the baseline is left out")
    (kept / "state.safetensors").touch()
    assert f"{kept} holds a run that is not finished" in refused("evaluate", copy, *few, "--language-model")
    (kept / "state.safetensors").unlink()
    answer = cli("evaluate", copy, *few, "--language-model")
    assert (answer.code, "language model" in answer.out) == (0, True)
    assert "has no latents" in refused("gradients", kept)
    shutil.rmtree(kept)
    shutil.copytree(digits_run, kept)
    assert f"{kept} holds another run" in refused("evaluate", copy, *few)


def test_the_estimator_takes_a_list_of_text(sentences):
    texts = sentences.read_text().split("\n")[:40]
    vae = lb.VAE(latent_dim=2, epochs=1, random_state=0, num_evidence_samples=3).fit(texts)
    assert vae.plan_.recipe == "sentence-vae"
    assert vae.transform(texts[:4]).shape == (4, 2)
    assert vae.score_samples(texts[:4]).shape == (4,)
    assert len(vae.sample(3)) == 3
    assert all(isinstance(text, str) for text in vae.reconstruct(texts[:2]))


def test_what_means_nothing_for_text_is_refused(refused, run, sentences, tmp_path):
    assert "leave out --class and --given" in refused("sample", run, "--given", "sex=female")
    wrong = refused("fit", sentences, "--recipe", "factor-analysis", "--out", tmp_path / "a")
    assert wrong.startswith("sentences.txt is text and the model is of reals; take the recipe sentence-vae")


def test_a_diagnosis_of_text_names_the_width_of_its_recipe(run):
    case = case_of(Run.open(run).fitted(), num_rows=10)
    assert "width=8 " in case.refit.widened(0.5) + " "
    assert "which have no mean" in dispersion(case).sentence


def test_empty_texts_are_told(cli, sentences, tmp_path):
    texts = sentences.read_text().split("\n")
    fitted = lb.fit([one for one in texts if one], "language-model", embedding_dim=4, width=4, steps=1, device="cpu")
    for name, bias in fitted.model.likelihood.named_parameters():
        if name.endswith("bias") and len(bias) == 15:
            bias.data[0] = 50.0
    fitted.save(tmp_path / "run")
    answer = cli("sample", tmp_path / "run", "--count", 3, "--decoding", "beam=2")
    assert answer.out == "\n\n\n"
    assert "3 of 3 texts are empty" in answer.err
    assert "decoding 'sample'" in answer.err
    with pytest.warns(lb.inference.InferenceWarning, match="3 of 3 texts are empty"):
        fitted.sample(3, decoding="greedy")


def test_fewer_rows_than_asked_for_are_told(cli, run):
    assert (
        "There are 30 rows, fewer than --count asks for; all of them are taken."
        in cli("reconstruct", run, "--count", 31).err
    )
    assert cli("reconstruct", run, "--count", 30).err == ""


@pytest.mark.parametrize(
    "decoder, loss",
    [
        ("decoder=hybrid", "auxiliary:weight=0.2"),
        ("decoder=transformer,context_at=prefix,layers=2", "variational"),
        ("context_at=first-state,softmax=adaptive", "variational"),
    ],
)
def test_nets_and_places_of_z_are_fitted_saved_and_opened(cli, sentences, tmp_path, decoder, loss):
    recipe = f"sentence-vae:latent_dim=2,embedding_dim=16,width=8,{decoder}"
    answer = cli(
        "fit", sentences, "--recipe", recipe, "--loss", loss, "--steps", 8, "--out", tmp_path / "run", "--no-evaluate"
    )
    assert ("auxiliary" in (tmp_path / "run" / "metrics.jsonl").read_text()) == (loss != "variational")
    fitted = lb.Fitted.open(tmp_path / "run")
    texts = ["the cat sings a song today", "a dog runs again"]
    assert fitted.score(texts, seed=0) == pytest.approx(Run.open(tmp_path / "run").fitted().score(texts, seed=0))
    assert decoder.split("=")[1].split(",")[0] in answer.out
    assert not any("auxiliary" in name for name, _ in fitted.model.named_parameters())
    assert len(cli("sample", tmp_path / "run", "--count", 3).out.splitlines()) == 3


def test_a_place_for_z_that_the_net_does_not_have_is_refused(refused, sentences, tmp_path):
    recipe = "sentence-vae:decoder=convolution,context_at=prefix"
    error = refused("fit", sentences, "--recipe", recipe, "--out", tmp_path / "run")
    assert "The net convolution got context_at=prefix and takes its context at every-step; say that." in error
