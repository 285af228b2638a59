"""Texts that stay on disk are the texts in memory: the same schema, rows, checksum, batches and losses."""

import gzip
import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import lowerbound as lb
from lowerbound.data import DataError, read_file, read_rows, token_files
from lowerbound.data.formats.text import texts_in
from lowerbound.data.lines import Lines
from lowerbound.data.on_disk import OnDisk
from lowerbound.data.passes import telling
from lowerbound.data.remarks import DataWarning
from lowerbound.one_call import fit_dataset

RNG = np.random.default_rng(0)
WORDS = ["the", "a", "cat", "dog", "sat", "ran", "on", "mat", "<unk>", "über", "once"]
LINES = [" ".join(RNG.choice(WORDS[:-1], RNG.integers(1, 9))) for _ in range(120)]
LINES[3:3] = ["", "once upon", "   "]
LINES += ["\r", "the " * 30, "a cat"]


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "lowerbound"


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "pets.txt"
    path.write_bytes("\n".join(LINES).encode("utf-8-sig") + b"\n")
    return path


def both(path, **said):
    return read_file(path, **said), read_file(path, stream_above=0, **said)


KINDS = ["", ":tokens=word,longest=6", ":tokens=word,vocabulary=4", ":tokens=character", ":tokens=bpe,vocabulary=300"]


@pytest.mark.parametrize("kind", KINDS)
def test_they_are_those_in_memory(path, kind):
    if "bpe" in kind and importlib.util.find_spec("tokenizers") is None:
        pytest.skip("byte pairs need tokenizers")
    here, there = both(path, kind=f"text{kind}")
    assert isinstance(there.x_train, OnDisk)
    assert there.schema == here.schema
    assert there.checksum == here.checksum
    assert there.notes[1:] == here.notes  # after that on the disk
    assert "stay on disk" in there.notes[0]
    np.testing.assert_array_equal(there.x_train[there.train_rows], here.x_train)
    np.testing.assert_array_equal(there.x_test, here.x_test)
    for name in ("usable_rows", "test_rows", "train_numbers"):
        np.testing.assert_array_equal(getattr(there, name), getattr(here, name))


def test_rows_are_read_in_any_order(path):
    here, there = both(path)
    every = there.x_train
    whole = np.asarray(every)
    assert whole.dtype == here.x_train.dtype == np.int32
    for rows in ([5], [7, 2, 90, 2], np.arange(40, 60), [0, len(every) - 1]):
        np.testing.assert_array_equal(every[np.array(rows)], whole[rows])


def test_batches_losses_and_scores_are_those_in_memory(path, tmp_path):
    options = {"latent_dim": 2, "embedding_dim": 8, "width": 8, "steps": 12, "batch_size": 16, "seed": 3}
    here, there = (fit_dataset(data, "sentence-vae", **options) for data in both(path))
    losses = [[(record["terms"], record["held_out"]) for record in fitted.records] for fitted in (here, there)]
    assert losses[0] == losses[1]
    scores = [fitted.evaluate(num_samples=2) for fitted in (here, there)]
    assert scores[0]["log_evidence"] == scores[1]["log_evidence"]
    assert scores[0]["baselines"] == scores[1]["baselines"]
    there.save(tmp_path / "run")
    with pytest.warns(DataWarning, match="3 empty of the 126 texts of pets.txt"):
        assert lb.Fitted.open(tmp_path / "run", data=path).dataset.checksum == here.dataset.checksum
    assert here.score(["the cat sat"], seed=1) == there.score(["the cat sat"], seed=1)


def test_tokens_are_made_once_and_anew_where_the_file_or_the_vocabulary_changes(path, monkeypatch, cache):
    made = []
    real = token_files._made
    monkeypatch.setattr(token_files, "_made", lambda stamp, *rest: made.append(stamp.path.name) or real(stamp, *rest))
    first = read_file(path, stream_above=0)
    again = read_file(path, stream_above=0)
    assert again.checksum == first.checksum
    assert made == ["pets.txt"]
    read_file(path, stream_above=0, kind="text:tokens=character")
    assert len(made) == 2
    for folder in (cache / "tokens").iterdir():
        (folder / "facts.json").write_text("{")
    assert read_file(path, stream_above=0).checksum == first.checksum
    assert len(made) == 3
    kept = {one: one.stat().st_ino for one in (cache / "tokens").iterdir()}
    with monkeypatch.context() as two:  # another process was faster
        answers = iter([None])
        two.setattr(token_files, "_known", lambda folder, known=token_files._known: next(answers, known(folder)))
        read_file(path, stream_above=0)
    assert {one: one.stat().st_ino for one in (cache / "tokens").iterdir()} == kept
    path.write_text("another cat\n" * 9)
    with pytest.raises(DataError, match=r"'pets.txt' has changed or gone since it was opened"):
        first.x_train[:2]
    assert len(read_file(path, stream_above=0).x_train) == 9
    left = list((cache / "tokens").iterdir())
    assert len(left) == 1  # nothing half made, and nothing of the former file
    assert not kept.keys() & set(left)


def test_tokens_of_a_disk_that_is_elsewhere_stay_and_those_of_files_that_are_gone_do_not(path, tmp_path, cache):
    other = tmp_path / "other" / "pets.txt"
    other.parent.mkdir()
    other.write_text("a red dog\n" * 9)
    read_file(other, stream_above=0)
    elsewhere = other.parent.rename(tmp_path / "unplugged")
    read_file(path, stream_above=0)
    assert len(list((cache / "tokens").iterdir())) == 2
    elsewhere.rename(other.parent)
    other.unlink()
    for name in ("half.made", "half.long-ago"):
        (cache / "tokens" / name).mkdir()
    os.utime(cache / "tokens" / "half.long-ago", (0, 0))
    read_file(path, stream_above=0, kind="text:tokens=character")
    assert len(list((cache / "tokens").glob("*[!.]*"))) == 3  # both of the first file, and what is being made
    assert (cache / "tokens" / "half.made").is_dir()


def test_a_listener_is_told_how_far_a_pass_over_a_file_is(tmp_path):
    path, told = tmp_path / "pets.txt.gz", []
    path.write_bytes(gzip.compress(b"a red dog\n" * 5000 + b"a black cat\n" * 5000))
    with telling(lambda *each: told.append(each)):
        read_file(path, stream_above=0)
    assert {(name, total) for name, _, total in told if name != "rows"} == {("pets.txt.gz", path.stat().st_size)}
    assert all(0 < done <= total for _, done, total in told)
    count = len(told)
    read_file(path, stream_above=0)
    assert len(told) == count


def test_files_of_a_folder_or_a_pattern_are_one_text(path, tmp_path):
    whole, parts = read_file(path), tmp_path / "parts"
    parts.mkdir()
    (parts / "0.txt").write_text("\n".join(LINES[:50]) + "\n")
    (parts / "1.txt.gz").write_bytes(gzip.compress(("\n".join(LINES[50:]) + "\n").encode()))
    found = [read_file(where, stream_above=above) for where in (parts, parts / "*.txt*") for above in (0, 2**30)]
    assert {data.checksum for data in found} == {whole.checksum}
    assert {isinstance(data.x_train, OnDisk) for data in found} == {True, False}
    np.testing.assert_array_equal(found[0].usable_rows, whole.usable_rows)
    assert (
        found[0].remarks[0].partition(": rows")[0].replace("parts", "pets.txt")
        == whole.remarks[0].partition(": rows")[0]
    )
    for said in ({"array": "x"}, {"covariates": ["a"]}, {"label": "a"}):
        with pytest.raises(DataError, match=r"array was given|covariates was given|label='a' was given"):
            read_file(parts, **said)


@pytest.mark.parametrize("above", [0, 2**30])
def test_an_empty_file_among_others_adds_no_line_unless_all_are(tmp_path, above):
    folder = tmp_path / "texts"
    folder.mkdir()
    (folder / "0.txt").write_text("a cat\na dog\na cat\n")
    (folder / "1.txt").write_text("")
    (folder / "2.txt").write_text("a cat sat")
    (tmp_path / "whole.txt").write_text("a cat\na dog\na cat\na cat sat")
    assert read_file(folder, stream_above=above).checksum == read_file(tmp_path / "whole.txt").checksum
    for name in ("0.txt", "2.txt"):
        (folder / name).write_text("\n")
    with pytest.raises(DataError, match=r"is empty; expected one text a line"):
        read_file(folder, stream_above=above)


@pytest.mark.parametrize("other", ["classes", "molecules.smi.txt", "picture.png"])
def test_a_folder_of_something_else_too_is_not_one_of_texts(tmp_path, other):
    folder = tmp_path / "texts"
    folder.mkdir()
    (folder / "README.txt").write_text("pictures of cats\nand of dogs\n")
    (folder / other).mkdir() if other == "classes" else (folder / other).write_text("CCO\n")
    assert texts_in(folder) == []
    assert [one.name for one in texts_in(folder / "*E.txt")] == ["README.txt"]


@pytest.mark.parametrize("name", ["tokens", "places", "lines"])
@pytest.mark.parametrize("content", [None, b"", b"12345678"])
def test_tokens_that_were_damaged_in_the_cache_are_made_again(path, cache, name, content):
    first = read_file(path, stream_above=0)
    for folder in (cache / "tokens").iterdir():
        (folder / name).unlink() if content is None else (folder / name).write_bytes(content)
    again = read_file(path, stream_above=0)
    assert again.checksum == first.checksum
    np.testing.assert_array_equal(again.usable_rows, first.usable_rows)


def test_a_file_that_changes_while_it_is_gone_through_is_refused(path):
    lines = Lines([path], "pets")
    going = iter(lines)
    next(going)
    path.write_text("a cat\n" * 3)
    with pytest.raises(DataError, match=r"'pets.txt' has changed or gone since it was opened"):
        list(going)


def test_other_texts_and_rows_of_numbers_are_read_under_the_schema(path, tmp_path):
    schema = read_file(path).schema
    other = tmp_path / "other.txt"
    other.write_text("the cat sat\n\na zebra ran\n")
    with pytest.warns(DataWarning, match=r"1 empty of the 3 texts of other.txt: row 1\.$"):
        here, there = read_rows(other, schema), read_rows(other, schema, stream_above=0)
    assert isinstance(there.x, OnDisk)
    np.testing.assert_array_equal(np.asarray(there.x), here.x)
    np.testing.assert_array_equal(there.numbers, [0, 2])
    assert there.notes[1:] == here.notes
    assert here.notes[-1] == "1 of the 6 words of other.txt are unknown to the model."
    for i, part in enumerate(np.array_split(here.x, 2)):
        np.save(tmp_path / f"shard-{i}.npy", part)
    rows = read_rows(tmp_path / "shard-*.npy", schema, stream_above=0)
    assert isinstance(rows.x, OnDisk)
    np.testing.assert_array_equal(np.asarray(rows.x), here.x)
    np.save(tmp_path / "shard-2.npy", here.x + 100)
    with pytest.raises(DataError, match=r"holds numbers that are none of the \d+ symbols"):
        read_rows(tmp_path / "shard-*.npy", schema, stream_above=0)


@pytest.mark.parametrize(
    "content, message",
    [
        (b"a cat\n\xff\xfe dog\n", r"line 2 of 'odd.txt' is not in UTF-8"),
        (b"a cat\nno\0text\n", r"'odd.txt' is no text \(it holds control characters\)"),
        (b"\x01\x02\x03\x04\n" * 9, r"'odd.txt' is no text"),
        (b"\n \n", r"'odd.txt' is empty; expected one text a line"),
        (b"a cat\n", r"has 1 usable text"),
        (b"1 2 3\n4 5 6\n", r"holds numbers in columns"),
    ],
)
def test_what_is_no_text_is_refused(tmp_path, content, message):
    (tmp_path / "odd.txt").write_bytes(content)
    with pytest.raises(DataError, match=message):
        read_file(tmp_path / "odd.txt", stream_above=0)


def test_damage_and_a_cache_that_cannot_be_written_are_named(path, tmp_path, monkeypatch):
    cut = tmp_path / "cut.txt.gz"
    cut.write_bytes(gzip.compress(RNG.bytes(4000).hex().encode())[:3000])
    with pytest.raises(DataError, match=r"'cut.txt.gz' cannot be read \(it is damaged\); save it again"):
        read_file(cut, stream_above=0)
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    with pytest.raises(DataError, match=r"kept in .*file.*, which cannot be written"):
        read_file(path, stream_above=0)
    monkeypatch.setattr("lowerbound.data.lines._LONGEST", 8)
    with pytest.raises(DataError, match="give one text a line"):
        len(Lines([path], "pets"))


_READ = """
import json, resource, sys
import lowerbound as lb, torch
from lowerbound.one_call import fit_dataset
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
data = lb.data.read_file(sys.argv[1], stream_above=2**20)
reading = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
fit_dataset(data, "language-model", embedding_dim=4, width=4, steps=5, batch_size=64)
after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(json.dumps([before, reading, after, data.num_train]))
"""


@pytest.mark.slow
def test_a_large_file_takes_less_memory_than_it_is_large(tmp_path: Path) -> None:
    path, lines = tmp_path / "large.txt", [" ".join(RNG.choice(WORDS, 150)) for _ in range(500)]
    some = "\n".join(lines) + "\n"
    with path.open("w") as file:
        for _ in range(160 * 2**20 // len(some.encode())):
            file.write(some)
    done = subprocess.run(
        [sys.executable, "-c", _READ, str(path)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "XDG_CACHE_HOME": str(tmp_path / "cache")},
    )
    assert done.returncode == 0, done.stderr[-2000:]
    before, reading, after, num_train = json.loads(done.stdout.splitlines()[-1])
    as_rows = 151 * 4 * num_train / 1024
    assert as_rows > 140 * 1024
    assert reading - before < as_rows, (before, reading, after)
    assert after - before < as_rows, (before, reading, after)
