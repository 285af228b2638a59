"""From the docstrings of this library to reStructuredText, before `sphinx.ext.napoleon` reads their sections.

Formulas stand indented: they become literal blocks. Names in single backticks become links where it is clear what they
name, and code otherwise. Stars, bars and underscores of formulas are letters, not markup.
"""

from __future__ import annotations

import re
from inspect import getdoc

__all__ = ["Reader"]

_SECTION = re.compile(r"(Arguments|Attributes|Gradient|Notes|Raises|References|Returns|Yields)( \(.*\))?:$")
_ITEM = re.compile(r"\s*([-*•]|\d+\.)\s")
_CODE = re.compile(r"``.+?``|`[^`]+`")
_NAME = re.compile(r"[\w.]+$")
_FIELD = re.compile(r"(\s*[*\w, ]+: )(.*)", re.DOTALL)


class Reader:
    """Rewrites the docstring of an object, in the manner of the event "autodoc-process-docstring".

    Arguments:
        names: public paths by name.
    """

    def __init__(self, names: dict[str, list[str]]):
        self.names = names

    def __call__(self, app: object, what: str, name: str, obj: object, options: object, lines: list[str]) -> None:
        """Rewrite `lines` in place."""
        if (
            what == "data" and lines == (getdoc(type(obj)) or "").splitlines()
        ):  # of its class, which has a place of its own
            lines[:] = [f"A `{type(obj).__name__}`."]
        comment = [] if what not in ("attribute", "data", "property") else ["..", ""]  # no "type: text" for napoleon
        lines[:] = [*comment, *self._read(lines, name)]

    def _read(self, lines: list[str], owner: str) -> list[str]:
        read: list[str] = []
        for block in _blocks(lines):
            heading = _SECTION.match(block[0])
            if heading is not None and heading[2]:  # "Returns (when called):" is none that napoleon knows
                block[:1] = [f"{heading[1]}:", f"    {heading[2].strip()[1:-1].capitalize()}:", ""]
            if block[0].startswith(">>>") or _is_table(block):
                text = block
            elif heading is not None:
                text = [block[0], *(self._field(line, owner) for line in block[1:])]
            elif block[0].startswith(" "):
                text = ["::", "", *block]
            elif _ITEM.match(block[0]):
                text = [self._text(line, owner) for line in block]
            else:
                text = [self._text(line.strip(), owner) for line in block]
            read += [*text, ""]
        return read

    def _field(self, line: str, owner: str) -> str:
        """A line of a section: a name with what it is, of which napoleon reads the name, or text."""
        field = _FIELD.match(line)
        return self._text(line, owner) if field is None else field[1] + self._text(field[2], owner)

    def _text(self, text: str, owner: str) -> str:
        parts, end = [], 0
        for code in _CODE.finditer(text):
            parts += [_escaped(text[end : code.start()]), self._code(code[0].strip("`"), owner)]
            end = code.end()
            if text[end : end + 1].isalnum():
                parts.append("\\ ")
        return "".join([*parts, _escaped(text[end:])])

    def _code(self, code: str, owner: str) -> str:
        path = self._path(code, owner) if _NAME.match(code) else None
        return f"``{code}``" if path is None else f":py:obj:`{code} <{path}>`"

    def _path(self, code: str, owner: str) -> str | None:
        """The public path of a name, if there is one only or one only in the package of its owner."""
        found = [path for path in self.names.get(code.rpartition(".")[2], ()) if path.endswith(f".{code}")]
        if len(found) > 1:
            package = ".".join(owner.split(".")[:2])
            found = [path for path in found if path.startswith(f"{package}.")]
        return found[0] if len(found) == 1 and found[0] != owner else None


def _blocks(lines: list[str]) -> list[list[str]]:
    """Paragraphs; a section, or an indented block, with the blank lines in it, is one."""
    blocks: list[list[str]] = []
    open_until_dedent = blank = False
    for line in lines:
        if not line.strip():
            blank = True
            continue
        indented = line.startswith(" ")
        if blocks and indented and (open_until_dedent or not blank):
            blocks[-1] += ["", line] if blank else [line]
        elif blocks and not blank and not indented and not _SECTION.match(line) and not open_until_dedent:
            blocks[-1].append(line)
        else:
            blocks.append([line])
            open_until_dedent = indented or bool(_SECTION.match(line)) or bool(_ITEM.match(line))
        blank = False
    return blocks


def _is_table(block: list[str]) -> bool:
    return any(set(line.split()[0]) == {"="} for line in block if line.strip())


def _escaped(text: str) -> str:
    """Letters that reStructuredText would take for markup."""
    return re.sub(r"([*|`\\])|(?<=\w)_(?!\w)", lambda found: "\\" + found[0], text)
