"""Mathematics as MathML, which browsers draw by themselves: no script, no font and no address is needed."""

from __future__ import annotations

import re

from docutils import nodes
from docutils.utils.math.latex2mathml import tex2mathml
from sphinx.application import Sphinx
from sphinx.writers.html5 import HTML5Translator

__all__ = ["add_to"]

_NAME_BEFORE_LETTER = re.compile(r"(<mo>&ApplyFunction;</mo>)(?=\s*<m(?:i|n|frac|sub|sup|over)\b)")


def add_to(app: Sphinx) -> None:
    """Make "mathml" a name for `html_math_renderer`."""
    app.add_html_math_renderer("mathml", inline_renderers=(_inline, None), block_renderers=(_block, None))


def _inline(translator: HTML5Translator, node: nodes.math) -> None:
    translator.body.append(f'<span class="math">{_mathml(node.astext())}</span>')
    raise nodes.SkipNode


def _block(translator: HTML5Translator, node: nodes.math_block) -> None:
    translator.body.append(f'<div class="math">{_mathml(node.astext(), as_block=True)}</div>\n')
    raise nodes.SkipNode


def _mathml(tex: str, *, as_block: bool = False) -> str:
    """With a thin space between the name of a function and a letter, log p for logp, which browsers leave out."""
    return _NAME_BEFORE_LETTER.sub(r'\1<mspace width="0.1667em"></mspace>', tex2mathml(tex, as_block=as_block))
