"""Rows of every kind of data come back from their file to the last bit; any other file is refused in one sentence."""

from __future__ import annotations

import dataclasses
import functools
import os
import random
from typing import Any

import numpy as np
import pandas as pd
import pytest

import lowerbound as lb
from lowerbound.cli.compress import lines_of
from lowerbound.data import DataError
from lowerbound.training.checkpoint import CheckpointError
from lowerbound.verbs.lossless import decompressed_text
from lowerbound.verbs.lossless_file import Content, pack, unpack

SMALL: dict[str, Any] = {"latent_dim": 2, "hidden": [4], "steps": 3, "num_samples": 2, "device": "cpu"}
G = np.random.default_rng(0)
N = 120
BYTES = G.integers(0, 256, (N, 4, 4), dtype=np.uint8)
COLOUR = BYTES.reshape(N // 4, 4, 4, 4)[..., :3]
BITS = (255 * G.integers(0, 2, (N, 4, 4))).astype(np.uint8)
BITS[0, 0, 0] = 255


def people() -> pd.DataFrame:
    frame = pd.DataFrame({
        "sex": np.array(["female", "male", "x, \"y\""], dtype=object)[G.integers(3, size=N)],
        "height": G.normal(170, 9, N).round(1),
        "visits": G.poisson(4, N),
        "born": pd.to_datetime(G.integers(0, 9000, N), unit="D"),
        "well": G.random(N) < 0.5,
    })  # fmt: skip
    frame.loc[::9, "sex"] = None
    frame.loc[::7, "height"] = np.nan
    return frame


DATA: dict[str, tuple[Any, dict[str, Any]]] = {
    "levels": (BYTES, {"likelihood": "discretized-logistic"}),
    "bits": (BITS, {}),
    "colour": (
        BYTES.reshape(N // 4, 4, 4, 4)[..., :3],
        {"likelihood": "discretized-logistic-mixture:num_components=2"},
    ),
    "counts": (G.poisson([2, 0.5, 40], (N, 3)), {}),
    "decimals": (G.normal(size=(N, 3)).round(2), {}),
    "all decimals": (np.random.default_rng(1).normal(size=(N, 3)), {}),
    "people": (people(), {}),
    "zeros and ones": (G.integers(0, 2, (N, 5)), {}),
}


@functools.cache
def model_of(name):
    data, options = DATA[name]
    return lb.fit(data, **{**SMALL, **options})


@pytest.mark.parametrize("name", DATA)
def test_rows_come_back_in_the_users_form(name, tmp_path):
    data, fitted = DATA[name][0], model_of(name)
    found = fitted.compress(data, tmp_path / "rows.lb")
    back = fitted.decompress(tmp_path / "rows.lb")
    if isinstance(data, pd.DataFrame):
        pd.testing.assert_frame_equal(back, data, check_dtype=False)
    else:
        assert back.dtype == data.dtype
        assert np.array_equal(back, data)
    assert found.num_bytes == (tmp_path / "rows.lb").stat().st_size
    assert found.bits == pytest.approx(found.elbo_bits, rel=2e-3, abs=4 * found.standard_error)
    assert set(found.others) >= {"gzip", "bz2", "lzma"}


@pytest.mark.parametrize("kind", ["table", "bits"])
def test_rows_given_their_label_come_back(kind, tmp_path):
    labels = np.array(["x", "y", "z"])[np.arange(N) % 3]
    if kind == "table":
        data, path = people().drop(columns=["sex", "born"]).assign(label=labels), tmp_path / "rows.csv"
        data.to_csv(path, index=False)
    else:
        data, path = None, tmp_path / "rows.npz"
        np.savez(path, x=BITS, y=np.arange(N) % 3)
    dataset = lb.data.read_file(path, label="label" if kind == "table" else "y")
    fitted = lb.fit(dataset, "cvae", likelihood="mixed" if kind == "table" else "bernoulli", **SMALL)
    found = fitted.compress(path, tmp_path / "rows.lb")
    back = fitted.decompress(tmp_path / "rows.lb")
    if data is not None:
        pd.testing.assert_frame_equal(back, data.drop(columns="label"), check_dtype=False)
    else:
        assert np.array_equal(back, BITS)
    assert found.bits == pytest.approx(found.elbo_bits, rel=2e-3, abs=4 * found.standard_error)


def test_what_would_never_end_or_has_no_name_is_refused(written, tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", "/dev/zero"):
        with pytest.raises(DataError, match="neither a file nor a folder"):
            model_of("people").decompress(path)
    with pytest.raises(CheckpointError, match="too long"):
        model_of("people").compress(people(), tmp_path / ("n" * 300 + ".lb"))


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """A file of the table, and its bytes."""
    path = tmp_path_factory.mktemp("files") / "people.lb"
    model_of("people").compress(DATA["people"][0], path)
    return path, path.read_bytes()


def refusal(fitted, path, content):
    path.write_bytes(content)
    with pytest.raises(DataError) as caught:
        fitted.decompress(path)
    sentence = str(caught.value)
    assert len(sentence) < 300
    assert "\n" not in sentence
    return sentence


def altered(content, seed):
    """A byte changed, some left out, some repeated, or cut off."""
    g = random.Random(seed)
    at = g.randrange(len(content))
    match g.randrange(4):
        case 0:
            return content[:at] + bytes([content[at] ^ g.randrange(1, 256)]) + content[at + 1 :]
        case 1:
            return content[:at] + content[at + g.randrange(1, 9) :]
        case 2:
            return content[:at] + bytes(g.randrange(256) for _ in range(g.randrange(1, 9))) + content[at:]
    return content[:at]


@pytest.mark.parametrize("count", [300, pytest.param(10_000, marks=pytest.mark.slow)])
def test_altered_files_are_refused(written, tmp_path, count):
    for seed in range(count):
        refusal(model_of("people"), tmp_path / "x.lb", altered(written[1], seed))


def with_header(content, **changes):
    found = unpack(content)
    return pack(Content(header={**found.header, **changes}, seen=found.seen, stack=found.stack))


@pytest.mark.parametrize(
    "changes",
    [
        {"rows": 10**12}, {"rows": -1}, {"rows": 119}, {"elements": 4}, {"lanes": 10**8}, {"words": 10**12},
        {"rows": 10**8, "batch": 1}, {"rows": 10**8}, {"batch": 128}, {"lent": 0},
        {"lent": 10**10}, {"batch": 0}, {"batch": 10**9}, {"batch": 8}, {"grid": {}}, {"grid": None},
        {"dtype": "object"}, {"dtype": "float32"}, {"minus": [10**9]}, {"minus": [5]}, {"labels": 3}, {"checksum": "0"},
    ],
    ids=str,
)  # fmt: skip
def test_a_header_that_lies_is_refused(written, tmp_path, changes):
    """Its hash is right, so that only what it says is wrong."""
    if changes == {"labels": 3}:
        changes = {"labels": 3, "rows": 1}
    refusal(model_of("people"), tmp_path / "x.lb", with_header(written[1], **changes))


def test_a_stack_that_was_altered_is_refused(written, tmp_path):
    found = unpack(written[1])
    for seed in range(30):
        content = pack(Content(header=found.header, seen=found.seen, stack=altered(found.stack, seed)))
        refusal(model_of("people"), tmp_path / "x.lb", content)


def test_other_weights_foreign_files_and_no_file_are_refused(written, tmp_path):
    path, content = written
    assert "other weights" in refusal(model_of("counts"), tmp_path / "x.lb", content)
    assert "no file that compress wrote" in refusal(model_of("people"), tmp_path / "x.lb", b"PK\x03\x04")
    with pytest.raises(DataError, match="there is no file"):
        model_of("people").decompress(tmp_path / "none.lb")
    with pytest.raises(DataError, match="there already"):
        model_of("people").compress(DATA["people"][0], path)
    assert path.read_bytes() == content


def test_a_newer_format_is_named(written, monkeypatch, tmp_path):
    found = unpack(written[1])
    monkeypatch.setattr("lowerbound.verbs.lossless_file.FORMAT", 4)
    newer = pack(dataclasses.replace(found, rests=b"0"))
    monkeypatch.undo()
    assert "format 4" in refusal(model_of("people"), tmp_path / "x.lb", newer)


def test_what_is_on_no_grid_is_refused_and_nothing_is_written(tmp_path):
    path = tmp_path / "x.lb"
    grey = BITS.copy()
    grey[3, 1, 1] = 100
    with pytest.raises(DataError, match="grey values"):
        model_of("bits").compress(grey, path)
    assert not path.exists()


@pytest.mark.parametrize("name", ["positive", "people", "series"])
def test_models_that_need_no_training_take_the_evidence(name, tmp_path):
    """Their posterior is exact, so that every draw of z takes −log p(x) and the bound has no error."""
    data, recipe, options = {
        "positive": ((1 + np.exp(G.normal(size=(N, 3)))).round(2), "mixture-of-factor-analysers", {"latent_dim": 1}),
        "people": (people(), "latent-classes", {"latent_dim": 0}),
        "series": (G.normal(size=(N, 4, 2)).round(1), "hidden-markov", {}),
    }[name]
    sizes = {"states": 2} if name == "series" else {"components": 2}
    fitted = lb.fit(data, recipe, device="cpu", **sizes, **options)
    found = fitted.compress(data, tmp_path / "rows.lb")
    back = fitted.decompress(tmp_path / "rows.lb")
    if isinstance(data, pd.DataFrame):
        pd.testing.assert_frame_equal(back, data, check_dtype=False)
    else:
        assert np.array_equal(back, data)
    assert found.standard_error < 1e-4 * found.elbo_bits
    assert found.bits == pytest.approx(found.elbo_bits, rel=2e-3)


@pytest.fixture(scope="module")
def of_texts():
    texts = ["a b c", "b c", "a c b", "c"] * 20
    return texts, lb.fit(texts, "language-model", embedding_dim=4, width=4, steps=1, device="cpu")


def test_lines_come_back_as_they_were_written(of_texts, tmp_path):
    _, fitted = of_texts
    written = "a b c\n  b   c\nnever seen\n\nc\na a a a a a a a a\n"
    (tmp_path / "lines.txt").write_text(written)
    found = fitted.compress(tmp_path / "lines.txt", tmp_path / "x.lb")
    assert fitted.decompress(tmp_path / "x.lb") == written.splitlines()
    fitted.compress(["a  b", "never seen"], tmp_path / "list.lb")
    assert fitted.decompress(tmp_path / "list.lb") == ["a  b", "never seen"]
    assert found.num_rows == 6
    assert found.num_held == 3  # other spaces, no words, too many; unknown words stand beside their row


def test_what_follows_the_end_of_a_text_takes_no_bits(of_texts, tmp_path):
    texts, fitted = of_texts
    found = fitted.compress(texts, tmp_path / "x.lb")
    assert fitted.decompress(tmp_path / "x.lb") == texts
    assert found.num_held == 0
    assert found.standard_error == pytest.approx(0, abs=1e-9)
    assert found.bits == pytest.approx(found.elbo_bits, rel=2e-3)


@pytest.mark.parametrize("written", ["a b c\nb c", "\ufeffa b c\r\nb c\r\n", "c\n\n", "c", "\n\nc\n"], ids=repr)
def test_a_file_of_lines_comes_back_to_the_byte(of_texts, tmp_path, written):
    """The mark of UTF-8, and an end of the last line or none."""
    _, fitted = of_texts
    (tmp_path / "lines.txt").write_bytes(written.encode())
    fitted.compress(tmp_path / "lines.txt", tmp_path / "x.lb")
    lines, text = decompressed_text(fitted, tmp_path / "x.lb")
    assert text == written
    assert lines == fitted.decompress(tmp_path / "x.lb")


def test_files_of_lines_that_say_nothing_of_their_ends_are_read(of_texts, tmp_path):
    texts, fitted = of_texts
    fitted.compress(texts, tmp_path / "x.lb")
    content = (tmp_path / "x.lb").read_bytes()
    older = {key: value for key, value in unpack(content).header["lines"].items() if key != "around"}
    (tmp_path / "x.lb").write_bytes(with_header(content, lines=older))
    assert decompressed_text(fitted, tmp_path / "x.lb") == (texts, "".join(f"{text}\n" for text in texts))


@pytest.mark.parametrize(
    "lines", [{}, {"number": 3}, {"held": {"0": 5}}, {"words": 3}, {"around": ["", 5]}, {"around": 1}, 7], ids=str
)
def test_lines_of_other_rows_are_refused(of_texts, tmp_path, lines):
    texts, fitted = of_texts
    fitted.compress(texts, tmp_path / "x.lb")
    content = (tmp_path / "x.lb").read_bytes()
    whole = {**unpack(content).header["lines"], **lines} if lines and lines != 7 else lines
    refusal(fitted, tmp_path / "x.lb", with_header(content, lines=whole))


def test_refining_shortens_the_file_and_the_decoder_takes_the_same_steps(tmp_path):
    """A model of one step of training: its encoder knows little, and steps on each q(z | x) gain bits."""
    fitted = model_of("levels")
    plain = fitted.compress(BYTES, tmp_path / "plain.lb")
    found = fitted.compress(BYTES, tmp_path / "refined.lb", refine=20)
    assert np.array_equal(fitted.decompress(tmp_path / "refined.lb"), BYTES)
    assert found.encoder_bits == pytest.approx(plain.elbo_bits)
    assert found.elbo_bits < found.encoder_bits - 3 * found.standard_error / 4  # of 16 draws
    assert found.bits == pytest.approx(found.drawn_bits, rel=2e-3)
    content = (tmp_path / "refined.lb").read_bytes()
    for steps in (19, -1, 10**9, "20"):
        refusal(fitted, tmp_path / "x.lb", with_header(content, refine=steps))


def test_several_latents_shorten_the_file_and_the_header_says_how_many(tmp_path):
    """A model of one step of training, whose q is far from p(z | x): L_8 is above the ELBO by more than its noise."""
    fitted = model_of("levels")
    found = fitted.compress(BYTES, tmp_path / "x.lb", samples=8)
    assert np.array_equal(fitted.decompress(tmp_path / "x.lb"), BYTES)
    assert found.bits == pytest.approx(found.drawn_bits, rel=2e-3)
    assert found.elbo_bits < found.encoder_bits
    assert "-L_8 at the latents of the file" in "\n".join(lines_of(found))
    content = (tmp_path / "x.lb").read_bytes()
    for samples in (7, 0, 10**6, "8", None):
        refusal(fitted, tmp_path / "x.lb", with_header(content, samples=samples))


def test_numbers_of_steps_and_latents_that_are_none_are_refused(tmp_path):
    with pytest.raises(DataError, match="takes 0 to 10,000 steps"):
        model_of("bits").compress(BITS, tmp_path / "x.lb", refine=-1)
    with pytest.raises(DataError, match="takes 1 to 1,000 latents"):
        model_of("bits").compress(BITS, tmp_path / "x.lb", samples=0)
    assert not (tmp_path / "x.lb").exists()


def test_a_state_space_model_takes_its_negative_elbo(tmp_path):
    data = np.cumsum(G.normal(size=(N, 5, 2)), 1).round(1)
    fitted = lb.fit(data, "state-space", latent_dim=2, hidden=[8], recurrent_dim=8, steps=100, device="cpu")
    found = fitted.compress(data, tmp_path / "x.lb")
    assert np.array_equal(fitted.decompress(tmp_path / "x.lb"), data)
    assert found.bits == pytest.approx(found.drawn_bits, rel=2e-3)
    assert found.drawn_bits == pytest.approx(found.elbo_bits, abs=4 * found.standard_error)
