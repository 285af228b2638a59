"""`lowerbound cite`: what to cite for a run, and a paragraph for the methods section."""

from __future__ import annotations

import click

from lowerbound.cli.text import say

__all__ = ["cite"]


@click.command(short_help="Say what to cite for a run.")
@click.argument("run")
@click.option("--bibtex", "form", flag_value="bibtex", help="Print entries for a .bib file.")
@click.option("--sentence", "form", flag_value="sentence", help="Print a paragraph for a methods section.")
def cite(run: str, form: str | None) -> None:
    """Print the works that RUN is made of: model, training, data, scores and software, each under what it is cited for.

    Nothing is looked up: every choice states its works. Redirect --bibtex to a file to use it.
    """
    from lowerbound.cli.opened import fitted_of
    from lowerbound.runs import Run
    from lowerbound.verbs.citing import cite as cite_fitted
    from lowerbound.verbs.methods_paragraph import methods_paragraph

    fitted = fitted_of(Run.open(run))
    if form == "sentence":
        say(methods_paragraph(fitted))
        return
    found = cite_fitted(fitted)
    say(found.bibtex if form == "bibtex" else str(found))
