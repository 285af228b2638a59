"""The table of `integration_scores`, and what it says of batches."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from rich.table import Table

from lowerbound.cli.text import printable

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["print_integration"]

_WORDS = {
    "mixing": "mixing",
    "silhouette": "silhouette",
    "normalized_mutual_information": "NMI of clusters",
    "adjusted_rand_index": "ARI of clusters",
}


def print_integration(console: Console, found: Mapping[str, Any]) -> None:
    """Mixing and silhouette of batch and types, in the latents and in principal components."""
    title = f"Integration of {found['num_cells']:,} cells, {found['num_neighbours']} neighbours of each"
    table = Table(title=title, title_justify="left", pad_edge=False)
    for heading in ("", "", "latents", "principal components"):
        table.add_column(heading, justify="right" if heading else "left")
    for role, own in found["latents"].items():
        other = found["principal components"][role]
        for name, words in _WORDS.items():
            if name in own:
                cells = (f"{part[name]:.2f} ± {part[f'{name}_error']:.2f}" for part in (own, other))
                table.add_row(printable(own["column"]), words, *cells)
    console.print(table)
    console.print(
        "Mixing is 1 where neighbours are of another group as often as by chance and 0 where groups are apart; a "
        "silhouette is 0 where groups overlap and 1 where they are apart. Batches should be mixed, and types apart."
    )
