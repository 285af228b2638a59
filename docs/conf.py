"""How Sphinx builds the site: `make docs`.

Every build writes the reference anew, from `__all__` and docstrings. The code of the pages in `tutorials` and `course`
is executed, and what it gave is kept until the page or the library changes.
"""

from __future__ import annotations

import sys
from pathlib import Path

from sphinx.application import Sphinx

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE / "_site"), str(HERE.parent / "src")]

import docstrings
import elsewhere
import executed
import mathematics
import reference

project = "lowerbound"
author = copyright = "The lowerbound authors"
extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.intersphinx", "sphinx.ext.napoleon"]
root_doc = "index"
exclude_patterns = ["_site", "adr/0000-template.md"]
suppress_warnings = ["ref.python"]  # an attribute called x is no link to every other x

html_theme = "pydata_sphinx_theme"
html_title = "lowerbound"
html_copy_source = False
html_show_sourcelink = False
html_static_path = ["_site/static"]
html_css_files = ["site.css"]
html_sidebars = {"index": [], "gallery": []}
html_context = {"default_mode": "auto"}
html_math_renderer = "mathml"
html_theme_options = {
    "navbar_align": "left",
    "header_links_before_dropdown": 7,
    "show_prev_next": True,
    "footer_start": ["copyright"],
    "footer_end": [],
    "secondary_sidebar_items": ["page-toc"],
    "pygments_light_style": "a11y-high-contrast-light",
    "pygments_dark_style": "a11y-high-contrast-dark",
}

myst_heading_anchors = 3
myst_enable_extensions = ["colon_fence", "dollarmath", "attrs_block"]

nb_execution_mode = "cache"
nb_execution_cache_path = str(executed.folder(HERE.parent / "build" / "executed", HERE.parent / "src" / "lowerbound"))
nb_execution_timeout = 300  # seconds a cell, on a busy machine; a page takes less than a minute on a quiet one
nb_execution_raise_on_error = True
nb_merge_streams = True  # what a cell prints is one block
nb_output_stderr = "remove-warn"  # a warning in a page is a warning of the build, and so an error

intersphinx_mapping = elsewhere.write(HERE.parent / "build" / "inventories")
intersphinx_disabled_reftypes = ["std:*"]

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
    mathematics.add_to(app)
    names = reference.write(HERE.parent / "src" / "lowerbound", HERE / "api")
    app.connect("autodoc-process-docstring", docstrings.Reader(names), priority=400)
    app.connect("missing-reference", elsewhere.OwnNames(names))
