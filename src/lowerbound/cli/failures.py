"""Which exceptions are messages to the user, with their sentence and exit code.

The library raises a `ValueError`, or a subclass, of one sentence for every mistake of the user's. A `ValueError` raised
by torch or numpy is a defect of the library; the raising statement distinguishes the two.
"""

from __future__ import annotations

import dis
import shlex

import click

from lowerbound.cli.text import printable
from lowerbound.cli.words import in_words_of_command

__all__ = ["LONGEST", "TRAINING_FAILED", "USER_ERROR", "Interrupted", "command", "explain"]

TRAINING_FAILED, USER_ERROR, _INTERRUPTED = 1, 2, 130
LONGEST, _KEPT_OF_THE_END, _PART_OF_A_WORD = 299, 140, 40
_NO_MEMORY = ("can't allocate memory", "out of memory")  # what torch says on a CPU and on a GPU
_NOT_FINITE = (  # what torch says where it draws
    "normal expects all elements of std >= 0",
    "probability tensor contains either `inf`, `nan` or element < 0",
    "invalid multinomial distribution",
    "Expected p_in >= 0 && p_in <= 1",
    "invalid Poisson rate",
)
_FIRST_WORDS = ("a", "an", "array", "column", "label", "labels", "reading", "row", "rows", "the", "there")


class Interrupted(Exception):
    """A run was stopped on request and saved; the message says how to go on."""


def command(*words: object) -> str:
    """A command to copy into a shell: "lowerbound" and its words, quoted where they need it.

    >>> command("evaluate", "runs/my data")
    "lowerbound evaluate 'runs/my data'"
    """
    return shlex.join(["lowerbound", *map(str, words)])


def explain(error: Exception) -> tuple[str, int] | None:
    """The sentence and the exit code for an exception, or None if it is a defect and must keep its traceback."""
    if isinstance(error, click.ClickException):
        return _sentence(error.format_message()), USER_ERROR
    if isinstance(error, Interrupted):
        return _sentence(str(error)), _INTERRUPTED
    if isinstance(error, ValueError) and _raised_here(error):
        return _sentence(in_words_of_command(str(error))), USER_ERROR
    if isinstance(error, MemoryError) or (isinstance(error, RuntimeError) and _is_for_memory(error)):
        return _sentence(
            "There is not enough memory for a model or a batch of this size; make --latent-dim, --hidden, "
            "--num-samples or --batch-size smaller."
        ), USER_ERROR
    if isinstance(error, RuntimeError) and any(words in str(error) for words in _NOT_FINITE):
        return _sentence(
            "The model gives parameters that are not finite, from which nothing can be drawn: its weights or the data "
            "are too large; fit it again with a smaller learning rate."
        ), USER_ERROR
    if isinstance(error, ArithmeticError) and _raised_here(error):
        return _sentence(in_words_of_command(str(error))), TRAINING_FAILED
    return None


def _is_for_memory(error: RuntimeError) -> bool:
    return any(words in str(error).lower() for words in _NO_MEMORY)


def _raised_here(error: Exception) -> bool:
    """Whether a `raise` statement of the library raised it, and not an `int("x")` or a torch function."""
    trace = error.__traceback__
    assert trace is not None
    while trace.tb_next is not None:
        trace = trace.tb_next
    code, package = trace.tb_frame.f_code, str(trace.tb_frame.f_globals.get("__name__", "")).split(".")[0]
    return package == "lowerbound" and dis.opname[code.co_code[trace.tb_lasti]] == "RAISE_VARARGS"


def _sentence(message: str) -> str:
    """One printable line of at most 300 characters, in whose middle words are left out, with a full stop; names keep
    their case.
    """
    line = printable(" ".join(message.split()))
    if len(line) > LONGEST:  # what to do stands at the end
        start, end = line[: LONGEST - _KEPT_OF_THE_END - 5], line[-_KEPT_OF_THE_END:]
        words, _, part = start.rpartition(" ")
        start = words if words and len(part) < _PART_OF_A_WORD else start
        part, _, words = end.partition(" ")
        line = f"{start} ... {words if words and len(part) < _PART_OF_A_WORD else end}"
    if line.split(" ")[0] in _FIRST_WORDS:
        line = line[:1].upper() + line[1:]
    return line if line.endswith((".", "?", "!")) else f"{line}."
