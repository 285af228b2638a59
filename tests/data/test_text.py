"""Text: what is read, numbered, left out, counted and refused, by every road."""

import gzip
import json

import numpy as np
import pandas
import pytest

from lowerbound.data import DataError, Dataset, read_file, read_rows
from lowerbound.data.given import dataset_of, rows_under
from lowerbound.data.overrides import Overrides
from lowerbound.data.remarks import DataWarning
from lowerbound.data.schema import Schema

LINES = ["the cat sat", "the dog  sat", "a cat ran", "the dog ran", "a dog sat", "the cat", "a bird sat", "dog"]
LINES += ["a cat"]


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "pets.txt"
    path.write_text("\n".join(LINES) + "\n")
    return path


def text_of(dataset):
    schema = dataset.schema
    return dataset.kind_of_data.render(dataset.x_train, schema), dataset.kind_of_data.render(dataset.x_test, schema)


def test_lines_are_rows_of_words_with_an_end(path):
    data = read_file(path)
    assert (data.kind, data.schema.container, data.event_shape) == ("text", "txt", (4,))
    symbols = data.schema.text.symbols
    assert symbols[:2] == ("", "<unk>")
    train, test = text_of(data)
    assert len(train) == 7
    assert len(test) == 2
    known, words = set(symbols[2:]), ("the", "a", "cat", "dog", "sat", "ran", "bird")
    every = [line for i, line in enumerate(LINES) if i not in set(data.test_rows.tolist())]
    counts = {word: sum(line.split().count(word) for line in every) for word in words}
    assert known == {word for word, count in counts.items() if count >= 2}  # of the training part alone
    assert data.schema.text.num_tokens == sum(len(line.split()) for line in every)
    assert data.schema.text.num_unknown == sum(count for count in counts.values() if count < 2)
    length = (data.x_train != 0).sum(1)
    assert all((row[n:] == 0).all() and (row[:n] > 0).all() for row, n in zip(data.x_train, length, strict=True))


def test_every_road_gives_the_same_data(path, tmp_path):
    zipped = tmp_path / "pets.txt.gz"
    zipped.write_bytes(gzip.compress(path.read_bytes().replace(b"\n", b"\r\n")))
    frame = pandas.DataFrame({"id": range(len(LINES)), "sentence": LINES})
    table = tmp_path / "pets.csv"
    frame.to_csv(table, index=False)
    said = Overrides.said("text", {"sentence": "text"})
    found = [
        read_file(path),
        read_file(zipped),
        dataset_of(LINES),
        dataset_of(pandas.Series(LINES)),
        dataset_of(np.array(LINES)),
        dataset_of(frame, overrides=Overrides.said("text")),
        read_file(table, columns={"sentence": "text"}),
        dataset_of(frame, overrides=said),
    ]
    assert len({data.checksum for data in found}) == 1
    assert text_of(found[2]) == text_of(found[0])
    assert text_of(found[5])[1]["sentence"].tolist() == text_of(found[0])[1]
    assert [item.name for item in found[6].schema.left_out] == ["id"]


def test_the_schema_is_plain_and_decides_how_other_texts_are_read(path):
    data = read_file(path)
    again = Schema.from_json(json.loads(json.dumps(data.schema.to_json())))
    assert again == data.schema
    rows = rows_under(["the zebra sat"], again)
    assert data.kind_of_data.render(rows.x, again) == ["the <unk> sat"]
    assert rows.notes == ("1 of the 3 words of X are unknown to the model.",)
    with pytest.raises(ValueError, match="not readable"):
        Schema.from_json({**data.schema.to_json(), "text": None})


def test_what_is_empty_or_too_long_is_left_out_and_counted(tmp_path):
    path = tmp_path / "long.txt"
    path.write_text("\n".join(["a b", "", "b a b a b a", "  ", "b a", "a a", "b b", "a b"]))
    data = read_file(path, kind="text:longest=3")
    first = "rows 1, 2 ('b a b a b a'), 3"
    assert data.remarks == (f"Left out: 2 empty and 1 beyond 3 words of the 8 texts of long.txt: {first}.",)
    assert data.num_train + data.num_test == 5
    assert set(data.test_rows.tolist()) <= {0, 4, 5, 6, 7}
    with pytest.warns(DataWarning, match="1 beyond 3 words"):
        rows = rows_under(path, data.schema)
    assert rows.numbers.tolist() == [0, 4, 5, 6, 7]
    with pytest.raises(DataError, match="1 beyond 3 words of the 2 texts of X, row 1 first"):  # row by row
        rows_under(["a b", "a a a a"], data.schema)


def test_characters_where_there_are_no_spaces():
    data = dataset_of(["CCO", "CCN", "CCCO", "OCC", "NCC"])
    assert data.schema.text.tokens == "character"
    assert set(data.schema.text.symbols[2:]) <= {"C", "O", "N"}
    assert "".join(text_of(data)[0]).replace("\ufffd", "").strip("CON") == ""
    words = dataset_of(LINES, overrides=Overrides.said("text:tokens=character"))
    assert " " in words.schema.text.symbols
    assert set(text_of(words)[1]) <= set(LINES)


def test_a_smaller_vocabulary_keeps_the_most_frequent():
    data = dataset_of(["a a a b"] * 5 + ["b c"] * 3, overrides=Overrides.said("text:vocabulary=2"))
    assert data.schema.text.symbols == ("", "<unk>", "a", "b")
    assert data.default_likelihood == "tokens:num_symbols=4"


REFUSED = [
    (b"", "is empty"),
    (b"\n \n\n", "is empty"),
    (b"one\n", "has 1 usable text"),
    ("caf\xe9 au lait\n".encode("latin-1") * 3, "line 1 of 'bad.txt' is not in UTF-8"),
    (b"\x89PNG\r\n\x1a\n\x00\x00\x00", "is no text"),
    (b"1 2.5\n3 4e3\n" * 3, "holds numbers in columns"),
    (b"one two\nthree four\nfive six\n", "no word occurs twice"),
]


@pytest.mark.parametrize("content, message", REFUSED)
def test_files_that_are_refused_in_a_sentence(tmp_path, content, message):
    path = tmp_path / "bad.txt"
    path.write_bytes(content)
    with pytest.raises(DataError, match=message) as caught:
        read_file(path)
    assert len(str(caught.value)) < 300
    assert str(caught.value).endswith(".")


@pytest.mark.parametrize(
    "kind, columns, message",
    [
        ("text:vocabulary=50", None, "vocabulary=50 and the training part of X has . different"),
        ("text:longest=0", None, "at least 1"),
        ("text:tokens=syllable", None, "tokens="),
        ("text:size=3", None, "no option 'size'"),
        ("table", {"a": "text"}, "kind='text'"),
    ],
)
def test_words_that_are_refused(kind, columns, message):
    with pytest.raises(DataError, match=message):
        dataset_of(LINES, overrides=Overrides.said(kind, columns))


def test_a_damaged_archive_and_a_label_are_refused(tmp_path, path):
    broken = tmp_path / "broken.txt.gz"
    broken.write_bytes(gzip.compress(path.read_bytes())[:-9])
    with pytest.raises(DataError, match="cannot be read"):
        read_file(broken)
    with pytest.raises(DataError, match="has no columns"):
        read_file(path, label="y")
    with pytest.raises(DataError, match="holds no text"):
        dataset_of(np.zeros((4, 3)), overrides=Overrides.said("text"))
    with pytest.raises(DataError, match="none of the"):
        rows_under(np.full((2, 4), 99), read_file(path).schema)


def test_a_single_value_is_no_text(tmp_path):
    schema = dataset_of(["a b", "b a", "a a b"] * 10).schema
    np.save(tmp_path / "x.npy", np.array("a b"))
    with pytest.raises(DataError, match="holds a single value; expected rows"):
        read_rows(tmp_path / "x.npy", schema)


def test_rows_keep_their_numbers_where_some_are_left_out(tmp_path):
    lines = [f"a {'b ' * (k % 3)}c{k}" if k % 4 else "one of these many words" for k in range(40)]
    path = tmp_path / "some.txt"
    path.write_text("\n".join(lines) + "\n")
    data = read_file(path, overrides=Overrides.said("text:longest=4,vocabulary=20"))
    first = ", ".join(f"{row} ('one of these many words')" for row in (0, 4, 8))
    assert data.remarks == (f"Left out: 10 beyond 4 words of the 40 texts of some.txt: rows {first} and others.",)
    lengths = [len(line.split()) for line in lines]
    for x, numbers in ((data.x_train, data.train_numbers), (data.x_test, data.test_rows)):
        assert (x != 0).sum(1).tolist() == [lengths[k] for k in numbers]
    assert sorted([*data.train_numbers, *data.test_rows]) == [k for k in range(40) if k % 4]


def test_texts_that_say_what_they_hold_out_take_the_options_of_their_kind():
    x = np.array(["a b a", "c b a", "d"], dtype=object)
    made = Dataset.from_arrays(name="t", kind="text:vocabulary=2", x_train=x, x_test=x[1:], source="here")
    assert made.schema.text.symbols == ("", "<unk>", "a", "b")
    assert made.x_test.tolist() == [[1, 3, 2, 0], [1, 0, 0, 0]]
