"""Options that several commands have."""

from __future__ import annotations

import click

__all__ = ["force_option"]

force_option = click.option("--force", is_flag=True, help="Overwrite a file that is there already.")
