"""`lowerbound pull`: take a shared run from a model hub, or from a folder."""

from __future__ import annotations

import click

from lowerbound.cli.text import say

__all__ = ["pull"]


@click.command(short_help="Take a shared run from a hub or a folder.")
@click.argument("place")
@click.option("--out", metavar="RUN", required=True, help="The run folder to make.")
@click.option("--endpoint", metavar="URL", help="Address of the hub. [default: HF_ENDPOINT, or the usual one]")
def pull(place: str, out: str, endpoint: str | None) -> None:
    """Take the run that was shared as PLACE: ORG/NAME of a hub, or a folder such as ./shared/digits.

    It is opened and checked before it gets its place; nothing of it is executed.
    """
    from lowerbound.verbs.hub import pull as pull_run

    say(f"Run: {pull_run(place, out, endpoint=endpoint)}")
