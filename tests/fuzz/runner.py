"""Give a case to the command, in this process or in one of its own, and see what comes of it."""

from __future__ import annotations

import contextlib
import io
import os
import signal
import subprocess
import sys
import time
import traceback
import warnings
from collections.abc import Iterator
from unittest import mock

from lowerbound.cli import main

from .case import Answer, Case

__all__ = ["run"]

MOST_SECONDS = 30
_WALL = 10  # times as much by the clock on the wall, where others share the machine


class Hang(BaseException):
    """The time is up; not an `Exception`, which somebody could explain."""


def run(case: Case) -> Answer:
    """The answer to a case."""
    started = time.monotonic()
    code, err, trace = _apart(case) if case.apart else _here(case)
    return Answer(code=code, err=err, traceback=trace, seconds=time.monotonic() - started)


def _here(case: Case) -> tuple[int | None, str, str]:
    out, err = io.TextIOWrapper(io.BytesIO(), encoding="utf-8"), io.TextIOWrapper(io.BytesIO(), encoding="utf-8")
    code, trace = None, ""
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    with mock.patch.dict(os.environ, case.environment), warnings.catch_warnings(), _limited():
        warnings.simplefilter("ignore")
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            try:
                code = main(case.words)
            except Hang:
                pass
            except SystemExit as leaving:
                code = leaving.code if isinstance(leaving.code, int) else 1
            except BaseException:
                trace = traceback.format_exc()
    for number, handler in handlers.items():
        signal.signal(number, handler)
    err.seek(0)
    return code, err.read(), trace


@contextlib.contextmanager
def _limited() -> Iterator[None]:
    """Raise `Hang` here after so much time of the processor, or ten times as much by the clock."""

    def stop(number: int, frame: object) -> None:
        raise Hang

    numbers = {signal.ITIMER_PROF: signal.SIGPROF, signal.ITIMER_REAL: signal.SIGALRM}
    before = {number: signal.signal(number, stop) for number in numbers.values()}
    signal.setitimer(signal.ITIMER_PROF, MOST_SECONDS)
    signal.setitimer(signal.ITIMER_REAL, MOST_SECONDS * _WALL)
    try:
        yield
    finally:
        for timer in numbers:
            signal.setitimer(timer, 0)
        for number, handler in before.items():
            signal.signal(number, handler)


def _apart(case: Case) -> tuple[int | None, str, str]:
    words = [sys.executable, "-W", "ignore", "-m", "lowerbound", *(word.replace("\0", "") for word in case.words)]
    with contextlib.ExitStack() as stack:
        stdout = stack.enter_context(open("/dev/full" if case.stdout == "full" else os.devnull, "w"))
        process = subprocess.Popen(
            words,
            stdout=stdout,
            stderr=subprocess.PIPE,
            stdin=subprocess.DEVNULL,
            env={**os.environ, "OMP_NUM_THREADS": "1", **case.environment},
            preexec_fn=(lambda: os.close(1)) if case.stdout == "closed" else None,
        )
        try:
            _, err = process.communicate(timeout=MOST_SECONDS * _WALL)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
            return None, "", ""
    return process.returncode, err.decode(errors="replace"), ""
