"""The short form of `make fuzz`: some inputs of a fixed seed, of which none may have a fault."""

from __future__ import annotations

import json

import pytest

from .case import Answer, Case, faults
from .commands import case
from .material import make_material
from .runner import run

COUNT, SEED = 50, 0


@pytest.fixture(scope="module")
def material(tmp_path_factory):
    return make_material(tmp_path_factory.mktemp("fuzz"))


def test_no_input_has_a_fault(material, monkeypatch, as_users_run):
    monkeypatch.chdir(material.folder)
    found = []
    for index in range(COUNT):
        made = case(SEED, index, material)
        if made.apart and index % 4:  # some seconds each
            continue
        answer = run(made)
        if wrong := faults(made, answer):
            found.append((index, wrong, made.words, answer.code, answer.err[:200], answer.traceback[-400:]))
    assert not found, json.dumps(found, indent=1)


def test_faults_are_seen():
    made = Case(kind="x", words=[], must_fail=True)
    assert faults(made, Answer(code=0, err="")) == ["exit code"]
    assert faults(made, Answer(code=None, err="")) == ["hang"]
    assert faults(made, Answer(code=1, err="", traceback="ValueError")) == ["traceback"]
    assert faults(made, Answer(code=2, err="x" * 301)) == ["long message"]
    assert faults(made, Answer(code=2, err="one\ntwo\n")) == ["not one line"]
    assert faults(made, Answer(code=2, err="A sentence.\n")) == []


def test_the_same_seed_gives_the_same_inputs(material):
    words = [[case(3, i, material).words for i in range(10) if i != 7] for _ in range(2)]
    assert words[0] == words[1]
