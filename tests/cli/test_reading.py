"""What is said while large files are read."""

import warnings
from types import SimpleNamespace

import click
import numpy as np
import pytest
from click.testing import CliRunner

from lowerbound.cli import reading
from lowerbound.cli.group import LazyGroup
from lowerbound.data.blocks import row_blocks
from lowerbound.data.passes import telling
from lowerbound.data.remarks import DataWarning


@pytest.fixture
def clock(monkeypatch):
    clock = SimpleNamespace(now=0.0, monotonic=lambda: clock.now)
    monkeypatch.setattr(reading, "time", clock)
    return clock


def test_a_pass_is_told_after_five_seconds_and_then_each_twenty(clock, capsys):
    told = reading.PassProgress()
    for second in range(0, 60):
        clock.now = float(second)
        told("pets.txt", second, 59)
    assert capsys.readouterr().err.splitlines() == [f"Reading pets.txt: {s / 59:.0%}" for s in (5, 25, 45)]


def test_a_pass_after_a_pause_begins_anew(clock, capsys):
    """A shorter one was over long ago, and nobody has waited for this one yet."""
    told = reading.PassProgress()
    told("rows", 2, 2)
    for second in range(0, 6):
        clock.now = 100.0 + second
        told("rows", 3 + second, 9)
    assert capsys.readouterr().err.splitlines() == [f"Reading rows: {8 / 9:.0%}"]


def test_many_short_passes_one_after_another_are_told_as_one(clock, capsys):
    told = reading.PassProgress()
    for second in range(0, 40):
        clock.now = float(second)
        told(f"pets-{second}.txt", 1, 2)
        told(f"pets-{second}.txt", 2, 2)
    assert capsys.readouterr().err.splitlines() == [f"Reading pets-{s}.txt: 50%" for s in (5, 25)]


def test_every_block_of_rows_is_told(capsys):
    told = []
    with telling(lambda *each: told.append(each)):
        assert sum(len(block) for _, block in row_blocks(np.zeros((10, 4), np.float32), block_bytes=48)) == 10
    assert told == [("rows", 3, 10), ("rows", 6, 10), ("rows", 9, 10), ("rows", 10, 10)]


@click.command()
def warning():
    """A command that warns of each of three blocks that it reads, and goes on."""
    for _ in range(3):
        warnings.warn("One process reads the rest.", DataWarning, stacklevel=1)
    click.echo("read")


def test_a_warning_of_each_block_is_one_sentence_in_every_command():
    group = LazyGroup(commands_at={"read": f"{__name__}:warning"})
    for _ in range(2):  # a sentence of a former command is said again
        done = CliRunner().invoke(group, ["read"])
        assert (done.stderr, done.stdout) == ("Warning: One process reads the rest.\n", "read\n")
    with pytest.raises(DataWarning):  # what is shown in a command is as it was outside
        warnings.warn("Of another call.", DataWarning, stacklevel=1)
