"""One input of the fuzzer, and what the command made of it."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Any, Literal

__all__ = ["Answer", "Case", "faults"]

LONGEST = 300
CODES = (0, 1, 2, 130)

Stdout = Literal["kept", "closed", "full"]


@dataclass(frozen=True, kw_only=True)
class Case:
    """What is given to the command.

    Attributes:
        kind: which generator made it.
        words: after `lowerbound`.
        environment: variables that are set for it.
        stdout: where the output goes; other than "kept" needs a process of its own.
        apart: whether it runs in a process of its own.
        must_fail: whether exit code 0 would be wrong.
    """

    kind: str
    words: list[str]
    environment: dict[str, str] = field(default_factory=dict)
    stdout: Stdout = "kept"
    apart: bool = False
    must_fail: bool = False

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return dataclasses.asdict(self)


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What came of it.

    Attributes:
        code: the exit code; None if it never ended by itself.
        err: what was written on stderr.
        traceback: of an exception that nobody explained, or "".
        seconds: wall clock.
    """

    code: int | None
    err: str
    traceback: str = ""
    seconds: float = 0.0


def faults(case: Case, answer: Answer) -> list[str]:
    """What is wrong with an answer, in the words that are counted."""
    if answer.traceback or "Traceback (most recent call last)" in answer.err:
        return ["traceback"]
    if answer.code is None:
        return ["hang"]
    found = []
    if answer.code not in CODES or (answer.code == 0 and case.must_fail):
        found.append("exit code")
    lines = answer.err.strip().splitlines()
    if answer.code and any(len(line) > LONGEST for line in lines):
        found.append("long message")
    if answer.code in (1, 2) and sum(not line.startswith("Warning: ") for line in lines) != 1:
        found.append("not one line")
    return found
