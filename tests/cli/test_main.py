from __future__ import annotations

import subprocess
import sys

import click
import pytest
import torch

from lowerbound import cli as command_line
from lowerbound.cli import failures, main
from lowerbound.data import entry

COMMANDS = [
    "fit",
    "evaluate",
    "score",
    "sample",
    "impute",
    "compress",
    "decompress",
    "encode",
    "expression",
    "differential-expression",
    "cross-generate",
    "coherence",
    "interpolate",
    "traverse",
    "neighbours",
    "attribute",
    "search",
    "reconstruct",
    "predict",
    "gradients",
    "diagnose",
    "check",
    "compare",
    "sweep",
    "export",
    "report",
    "cite",
    "push",
    "pull",
    "explore",
    "datasets",
    "choices",
]


def test_help_lists_exactly_the_commands(cli):
    answer = cli("--help")
    assert answer.code == 0
    listed = answer.out.partition("Commands:\n")[2].splitlines()
    assert [line.split()[0] for line in listed if line] == COMMANDS


def test_no_command_prints_the_help(cli):
    assert cli() == cli("--help")


def test_help_imports_neither_torch_nor_numpy():
    program = (
        "import sys; from lowerbound.cli import main\n"
        f"for words in [['--help'], ['--version'], *([c, '--help'] for c in {COMMANDS!r})]: assert main(words) == 0\n"
        "heavy = {'torch', 'numpy', 'scipy', 'sklearn', 'matplotlib', 'rich', 'pandas'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_listing_the_data_sets_imports_neither_torch_nor_numpy():
    program = (
        "import sys; from lowerbound.cli import main; main(['datasets'])\n"
        "assert not {'torch', 'numpy'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert "digits" in done.stdout


@pytest.mark.parametrize(
    "words, part",
    [
        (["fut"], "No such command 'fut'"),
        (["fit"], "Missing argument DATA"),
        (["fit", "digits", "--epoch", "3"], "No such option '--epoch'"),
        (["fit", "digits", "--steps", "many"], "'--steps'"),
        (["fit", "digits", "--lr", "0"], "'--lr'"),
        (["fit", "digits", "--hidden", "8,x"], "'8,x' is not a list"),
        (["fit", "digits", "--network", "transformer"], "'--network'"),
        (["fit", "digits", "--epochs", "1", "--steps", "1"], "give one of them"),
        (["fit", "digits", "--label", "y"], "--label is for files, and digits is known by name"),
        (["sample"], "Missing argument 'RUN'"),
    ],
)
def test_a_misused_option_is_one_sentence(refused, words, part):
    assert part in refused(*words)


def test_a_value_error_of_ours_is_the_users_and_others_are_defects():
    def theirs():
        return int("one")

    with pytest.raises(ValueError, match="dgits") as ours:
        entry("dgits")
    assert failures.explain(ours.value) == (f"T{str(ours.value)[1:]}", 2)
    with pytest.raises(ValueError, match="invalid literal") as other:
        theirs()
    assert failures.explain(other.value) is None


def test_a_value_error_below_a_function_of_ours_is_a_defect():
    from lowerbound.data.transform import Pixels

    with pytest.raises(TypeError) as other:
        Pixels(scale="x")  # type: ignore[arg-type]
    assert failures.explain(other.value) is None


def test_a_defect_keeps_its_traceback(monkeypatch):
    def broken(context: click.Context, name: str) -> click.Command:
        raise RuntimeError("a defect")

    monkeypatch.setattr(command_line.cli, "get_command", broken)
    with pytest.raises(RuntimeError, match="a defect"):
        main(["fit", "digits"])


def test_an_interruption_anywhere_is_130(cli, monkeypatch):
    def interrupted(context: click.Context, name: str) -> click.Command:
        raise KeyboardInterrupt

    monkeypatch.setattr(command_line.cli, "get_command", interrupted)
    assert cli("datasets")[::2] == (130, "Interrupted.\n")


def test_an_interruption_is_one_printable_sentence():
    error = failures.Interrupted(f"Stopped; go on with `fit \x1b[2J{'x' * 400} --resume`.")
    said, code = failures.explain(error) or ("", 0)
    assert (code, len(said)) == (130, 299)
    assert "\x1b" not in said
    assert said.endswith("--resume`.")


def test_numbers_from_which_nothing_can_be_drawn_are_a_sentence():
    for draw in (torch.multinomial, torch.normal, torch.bernoulli, torch.poisson):
        bad = torch.tensor([float("nan"), -1.0])
        given = (bad, 1) if draw is torch.multinomial else (bad, bad) if draw is torch.normal else (bad,)
        with pytest.raises(RuntimeError) as caught:
            draw(*given)
        sentence, code = failures.explain(caught.value) or ("", 0)
        assert (code, sentence[:46]) == (2, "The model gives parameters that are not finite")


def test_only_the_first_process_explains(cli, monkeypatch):
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert cli("fit", "no-such-data") == (2, "", "")


def test_messages_of_many_lines_become_one():
    assert failures.explain(click.UsageError("two\n  lines")) == ("two lines.", 2)


def test_a_long_message_is_cut_between_words():
    words = [f"word-{i:03}" for i in range(60)]
    found = failures.explain(click.UsageError(" ".join(words)))
    assert found is not None
    start, end = found[0].removesuffix(".").split(" ... ")
    assert {*start.split(), *end.split()} < set(words)
    assert 280 < len(found[0]) <= 300
    path = failures.explain(click.UsageError(f"reading {'x' * 400} failed; choose another"))
    assert path is not None
    assert path[0].startswith("Reading xxxx")
    assert path[0].endswith("xxxx failed; choose another.")


@pytest.mark.parametrize(
    "message, sentence",
    [
        ("no", "no."),
        ("the file is bad", "The file is bad."),
        ("Why?", "Why?"),
        ("--lr is wrong", "--lr is wrong."),
        ("runs/x holds one", "runs/x holds one."),
    ],
)
def test_a_message_becomes_a_sentence_but_names_stay(message, sentence):
    assert failures.explain(click.UsageError(message)) == (sentence, 2)


def test_a_process_that_lost_the_first_one_is_silent(cli, monkeypatch):
    def lost(context: click.Context, name: str) -> click.Command:
        raise RuntimeError("Connection closed by peer [127.0.0.1]:1")

    monkeypatch.setattr(command_line.cli, "get_command", lost)
    with pytest.raises(RuntimeError):
        main(["datasets"])
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert cli("datasets") == (1, "", "")
