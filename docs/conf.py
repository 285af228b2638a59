"""How Sphinx builds the site: `make docs`. Every build writes the reference anew, from `__all__` and docstrings."""

from __future__ import annotations

import sys
from pathlib import Path

from sphinx.application import Sphinx

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE / "_site"), str(HERE.parent / "src")]

import docstrings
import reference

project = "lowerbound"
author = copyright = "The lowerbound authors"
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
root_doc = "index"
exclude_patterns = ["_site", "adr/0000-template.md"]
suppress_warnings = ["ref.python"]  # an attribute called x is no link to every other x

html_theme = "furo"
html_title = "lowerbound"
html_copy_source = False

myst_heading_anchors = 3
myst_enable_extensions = ["colon_fence"]

autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
autodoc_inherit_docstrings = False
python_use_unqualified_type_names = True
python_maximum_signature_line_length = 100
napoleon_numpy_docstring = False
napoleon_use_rtype = False
napoleon_use_ivar = True
napoleon_attr_annotations = False
napoleon_custom_sections = ["Gradient"]


def setup(app: Sphinx) -> None:
    """Write the pages of the reference, and read docstrings as this library writes them."""
    names = reference.write(HERE.parent / "src" / "lowerbound", HERE / "api")
    app.connect("autodoc-process-docstring", docstrings.Reader(names), priority=400)
