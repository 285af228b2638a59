from __future__ import annotations

import io

import pytest
from rich.console import Console

from lowerbound.cli.progress import CountProgress, TrainingProgress
from lowerbound.training.record import Record


def _record(step: int, seconds: float, **given: object) -> Record:
    terms = {"bound": -50.0 - step}
    return Record(step=step, epoch=1.0, seconds=seconds, learning_rate=1e-3, terms=terms, gradient_norm=1.0, **given)  # type: ignore[arg-type]


def _shown(*records: Record, terminal: bool) -> str:
    stream = io.StringIO()
    console = Console(file=stream, force_terminal=terminal, width=120, highlight=False, soft_wrap=True)
    with TrainingProgress(console, 100) as progress:
        for record in records:
            progress.update(record)
    return stream.getvalue()


RECORDS = (_record(10, 1.0), _record(20, 1.5, held_out={"bound": -66.125}), _record(30, 2.5))


@pytest.mark.parametrize("terminal", [True, False])
def test_bound_held_out_bound_and_speed_are_shown(terminal):
    shown = _shown(*RECORDS, terminal=terminal)
    assert "30/100" in shown
    stays = "  held-out -66.12" if terminal else ""  # on a bar; a line repeats no old value
    assert f"bound -80.00{stays}  13 steps/s" in shown  # 20 steps in 1.5 s


def test_plain_lines_tell_the_time_left():
    last = _shown(*RECORDS, terminal=False).splitlines()[-1]
    assert last.endswith("  6 s left")  # 70 steps at 30 in 2.5 seconds


def test_nothing_is_shown_twice_or_too_often():
    lines = _shown(*(_record(i, i / 10) for i in range(1, 101)), terminal=False).splitlines()
    assert len(lines) == 21
    assert lines[-1].startswith("step 100/100")


@pytest.mark.parametrize("terminal", [True, False])
@pytest.mark.parametrize("step", [20, 21], ids=["with a line", "between lines"])
def test_what_was_decided_is_shown_when_it_was(terminal: bool, step: int) -> None:
    note = "The steps are compiled from here on: 2 ms in place of 4."
    shown = _shown(_record(10, 1.0), _record(20, 1.5), _record(step, 1.6, note=note), _record(30, 2), terminal=terminal)
    assert shown.count(note) == 1
    assert _shown(_record(10, 1.0), _record(12, 1.1, stage=2, note=note), terminal=terminal).count(note) == 1


def test_processes_without_a_console_show_nothing(capsys):
    with TrainingProgress(None, 100) as progress:
        progress.update(_record(10, 1.0, stopped="enough"))
    with CountProgress(None, "Scoring") as count:
        count(1, 2)
    assert capsys.readouterr() == ("", "")


def test_counting_is_shown_on_a_terminal_only():
    for terminal in (True, False):
        stream = io.StringIO()
        with CountProgress(Console(file=stream, force_terminal=terminal, width=80), "Scoring") as count:
            count(1, 2)
        assert ("Scoring" in stream.getvalue()) is terminal


def test_long_counts_print_a_line_now_and_then_elsewhere_than_on_a_terminal(monkeypatch):
    stream, now = io.StringIO(), iter([0.0, 5.0, 21.0, 21.0, 30.0, 60.0])
    monkeypatch.setattr("lowerbound.cli.progress.time.monotonic", lambda: next(now))
    with CountProgress(Console(file=stream, width=80), "Scoring rows") as count:
        for done in (100, 200, 300, 1000):
            count(done, 1000)
    assert stream.getvalue() == "Scoring rows: 200 of 1,000\n"
