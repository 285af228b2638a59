"""A click group that imports the module of a command when the command is needed."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any

import click

from lowerbound.cli.failures import Interrupted

__all__ = ["LazyGroup"]


class LazyGroup(click.Group):
    """A group of commands that are imported by their addresses.

    Arguments:
        commands_at: "package.module:attribute" of each command, in the order of the help.
        settings: click's own.
    """

    def __init__(self, *, commands_at: Mapping[str, str], **settings: Any):  # click hands its own settings on
        super().__init__(**settings)
        self._commands_at = commands_at

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The names, without importing anything."""
        return list(self._commands_at)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import one command, or None if there is none of that name."""
        if cmd_name not in self._commands_at:
            return None
        module, _, attribute = self._commands_at[cmd_name].partition(":")
        return getattr(importlib.import_module(module), attribute)

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command, with lines on how far long reading is and warnings as sentences.

        click would print an empty line at an interruption.
        """
        from lowerbound.cli.reading import PassProgress
        from lowerbound.cli.warned import own_warnings_said
        from lowerbound.data.passes import telling

        try:
            with telling(PassProgress()), own_warnings_said():
                return super().invoke(ctx)
        except KeyboardInterrupt:
            raise Interrupted("Interrupted.") from None
