"""The latent space of a fitted model, to be looked at in a browser.

`Explorer` answers what a page asks of a model and some rows; `Explorer.serve` shows the page on this machine, and
`Explorer.write` puts it into one file that needs no server.

    explorer = fitted.explore()
    explorer.write("latents.html")
    with explorer.serve() as server:
        print(server.address)
        server.wait()
"""

from lowerbound.explorer.explorer import MOST_ROWS, NUM_ROWS, Explorer, explore
from lowerbound.explorer.server import ExplorerServer

__all__ = ["MOST_ROWS", "NUM_ROWS", "Explorer", "ExplorerServer", "explore"]
