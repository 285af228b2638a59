"""Byte pairs: any text comes back, pairs are learned from training rows alone, and what is refused."""

import json
import sys

import pytest

import lowerbound as lb
from lowerbound.data import DataError, byte_pairs
from lowerbound.data.given import dataset_of, rows_under
from lowerbound.data.overrides import Overrides
from lowerbound.data.schema import Schema

TEXTS = ["the cat sat on the mat", "a dog  ran after the cats", "naïve café 😀", "the dog sat, quietly"] * 20


@pytest.fixture(scope="module")
def data():
    pytest.importorskip("tokenizers", reason="tokenizers is in the extra 'text'")
    return dataset_of(TEXTS, overrides=Overrides.said("text:tokens=bpe,vocabulary=300"))


def test_texts_come_back_and_no_token_is_unknown(data):
    schema, kind = data.schema, data.kind_of_data
    for new in ("totally new ζ", "  cats\tand  dogs ", "🙂"):
        rows = rows_under([new], schema)
        assert kind.render(rows.x, schema) == [new.strip()]
        assert rows.notes == ()
    assert set(kind.render(data.x_train, schema)) <= set(TEXTS)
    assert not (data.x_train == 1).any()


def test_a_frequent_word_is_one_piece_and_a_new_one_several(data):
    text = data.schema.text
    assert byte_pairs.byte_pairs("the", text.symbols[2:], text.merges) == ["the"]
    assert len(byte_pairs.byte_pairs("hte", text.symbols[2:], text.merges)) == 3
    assert len(text.symbols) == 2 + 256 + len(text.merges) <= 302


def test_pairs_are_of_training_rows_alone():
    pytest.importorskip("tokenizers", reason="tokenizers is in the extra 'text'")
    texts = [f"xy{k}" for k in range(40)]
    held_out = dataset_of(texts, overrides=Overrides.said("text:tokens=character")).test_rows
    texts[held_out[0]] = "zq zq zq"
    found = dataset_of(texts, overrides=Overrides.said("text:tokens=bpe")).schema.text
    assert "z q" not in found.merges
    assert "x y" in found.merges


def test_the_schema_holds_them_as_json(data):
    assert Schema.from_json(json.loads(json.dumps(data.schema.to_json()))) == data.schema


def test_a_fit_writes_text(tmp_path):
    pytest.importorskip("tokenizers", reason="tokenizers is in the extra 'text'")
    path = tmp_path / "pets.txt"
    path.write_text("\n".join(TEXTS) + "\n")
    sizes = {"latent_dim": 2, "embedding_dim": 4, "width": 4, "steps": 2}
    made = lb.fit(path, kind="text:tokens=bpe,vocabulary=260", **sizes)
    assert made.save(tmp_path / "run")
    drawn = lb.Fitted.open(tmp_path / "run").sample(2, seed=0)
    assert drawn == made.sample(2, seed=0)
    assert all(isinstance(one, str) for one in drawn)


def test_refusals(monkeypatch):
    with pytest.raises(DataError, match="expected word, character, bpe or selfies"):
        Overrides.said("text:tokens=syllable")
    monkeypatch.setitem(sys.modules, "tokenizers", None)
    byte_pairs._library.cache_clear()
    with pytest.raises(DataError, match=r"which is not installed; run pip install 'lowerbound\[text\]'"):
        dataset_of(TEXTS, overrides=Overrides.said("text:tokens=bpe"))


def test_too_few_pieces_are_refused(data):
    with pytest.raises(DataError, match="vocabulary=256 and the 256 bytes are known"):
        dataset_of(TEXTS, overrides=Overrides.said("text:tokens=bpe,vocabulary=256"))
