"""The commands, in `_COMMANDS`: fit, evaluate, score, sample, impute, and others.

Nothing here, and nothing that is imported to print a `--help`, imports torch or numpy: the module of a command is
imported when the command or its help is needed, and imports its dependencies inside its functions.

====  ===============================================================================================
exit  meaning
====  ===============================================================================================
0     done
1     training failed: a number was not finite
2     the user's mistake, in one sentence on stderr: an option, the data, a folder, a full disk
130   interrupted; if it was training, the run is saved and the message says how to go on
====  ===============================================================================================

An unforeseen exception is a defect and keeps its traceback.
"""

from __future__ import annotations

import errno
import io
import os
import sys
from collections.abc import Sequence
from typing import TextIO

import click

from lowerbound import __version__
from lowerbound.cli.failures import TRAINING_FAILED, USER_ERROR, explain
from lowerbound.cli.group import LazyGroup
from lowerbound.cli.processes import is_first, lost_another

__all__ = ["cli", "main"]

_NO_OUTPUT = (errno.ENOSPC, errno.EBADF, errno.EIO)
_COMMANDS = {
    "fit": "lowerbound.cli.fit:fit",
    "evaluate": "lowerbound.cli.evaluate:evaluate",
    "score": "lowerbound.cli.score:score",
    "sample": "lowerbound.cli.sample:sample",
    "impute": "lowerbound.cli.impute:impute",
    "compress": "lowerbound.cli.compress:compress",
    "decompress": "lowerbound.cli.decompress:decompress",
    "encode": "lowerbound.cli.encode:encode",
    "expression": "lowerbound.cli.expression:expression",
    "differential-expression": "lowerbound.cli.differential_expression:differential_expression",
    "cross-generate": "lowerbound.cli.cross_generate:cross_generate",
    "coherence": "lowerbound.cli.coherence:coherence",
    "interpolate": "lowerbound.cli.interpolate:interpolate",
    "traverse": "lowerbound.cli.traverse:traverse",
    "neighbours": "lowerbound.cli.neighbours:neighbours",
    "attribute": "lowerbound.cli.attribute:attribute",
    "search": "lowerbound.cli.search:search",
    "reconstruct": "lowerbound.cli.reconstruct:reconstruct",
    "predict": "lowerbound.cli.predict:predict",
    "gradients": "lowerbound.cli.gradients:gradients",
    "diagnose": "lowerbound.cli.diagnose:diagnose",
    "check": "lowerbound.cli.check:check",
    "compare": "lowerbound.cli.compare:compare",
    "sweep": "lowerbound.cli.sweep:sweep",
    "export": "lowerbound.cli.export:export",
    "report": "lowerbound.cli.report:report",
    "cite": "lowerbound.cli.cite:cite",
    "push": "lowerbound.cli.push:push",
    "pull": "lowerbound.cli.pull:pull",
    "explore": "lowerbound.cli.explore:explore",
    "datasets": "lowerbound.cli.datasets:datasets",
    "choices": "lowerbound.cli.choices:choices",
}


@click.group(
    cls=LazyGroup,
    commands_at=_COMMANDS,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@click.version_option(__version__, message="%(prog)s %(version)s")
@click.pass_context
def cli(context: click.Context) -> None:
    """Latent variable models of data, trained by variational bounds."""
    if context.invoked_subcommand is None:
        click.echo(context.get_help())


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code.

    Arguments:
        arguments: the words after `lowerbound`; those of the process if None.

    >>> main(["datasets", "--nonsense"])  # and one sentence on stderr
    2
    """
    sys.stdout, sys.stderr = sys.stdout or _nowhere(), sys.stderr or _nowhere()  # None where it was closed
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # of a terminal that has no letter for ≤
    try:
        result = cli.main(arguments, prog_name="lowerbound", standalone_mode=False)
        sys.stdout.flush()
        return result if isinstance(result, int) else 0
    except BrokenPipeError:  # whoever read our output has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        if error.errno not in _NO_OUTPUT or error.filename is not None:
            raise
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # what is left in the buffer goes nowhere
        return _fail(
            f"Could not write the output ({error.strerror}); free some space, or send it elsewhere.", USER_ERROR
        )
    except Exception as error:
        if lost_another(error):
            return _fail(
                "Another process of this run ended, so this one had to; if it did not say why, it was killed, perhaps "
                "for memory: go on from the last checkpoint with `lowerbound fit --resume RUN`, on as many processes "
                "as you like (--devices).",
                TRAINING_FAILED,
            )
        explained = explain(error)
        if explained is None:
            raise
        return _fail(*explained)


def _nowhere() -> TextIO:
    return open(os.devnull, "w")


def _fail(sentence: str, code: int) -> int:
    """Print the sentence once: of several processes only the first prints."""
    if is_first():
        print(sentence, file=sys.stderr)
    return code
