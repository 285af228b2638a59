"""`lowerbound push`: share a run as a repository of a model hub, or as a folder."""

from __future__ import annotations

import click

from lowerbound.cli.text import say

__all__ = ["push"]


@click.command(short_help="Share a run on a hub, or as a folder.")
@click.argument("run")
@click.argument("place")
@click.option("--private", is_flag=True, help="Make a private repository.")
@click.option("--force", is_flag=True, help="Replace files that are there already.")
@click.option("--endpoint", metavar="URL", help="Address of the hub. [default: HF_ENDPOINT, or the usual one]")
def push(run: str, place: str, private: bool, force: bool, endpoint: str | None) -> None:
    """Share RUN as PLACE: ORG/NAME of a hub, or a folder such as ./shared/digits.

    The weights, the plan, the schema, the records and the scores are shared with a card (README.md); the data,
    checkpoints and paths of this machine are not. Categories, words and names of columns are part of the schema.
    """
    from lowerbound.verbs.hub import push as push_run

    say(f"Shared: {push_run(run, place, private=private, force=force, endpoint=endpoint)}")
