"""The works in `references.bib`, as BibTeX and in words.

The file is plain BibTeX of one field a line, so that other programs can read it. A field may hold braces that keep
capital letters; in words they are left out.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

__all__ = ["Work", "parsed", "references", "work_of"]

_ENTRY = re.compile(r"@(\w+)\{([^,\s]+),\n(.*?)\n\}", re.DOTALL)
_FIELD = re.compile(r"^\s*(\w+)\s*=\s*\{(.*)\},?$")
_IN = ("journal", "booktitle", "publisher", "institution", "howpublished")


@dataclass(frozen=True, kw_only=True)
class Work:
    """One work.

    Attributes:
        key: by which choices name it.
        kind: of BibTeX: article, inproceedings, …
        fields: of BibTeX, by name.
    """

    key: str
    kind: str
    fields: Mapping[str, str]

    @property
    def surnames(self) -> list[str]:
        """Of its authors; "others" at the end for those that it does not name."""
        names = self.fields.get("author", "").split(" and ")
        return [_plain(name.partition(",")[0]).strip() for name in names]

    @property
    def label(self) -> str:
        """Who and when, as in a text: "Kingma & Welling, 2014"."""
        first, *others = self.surnames
        named = first if not others else f"{first} & {others[0]}" if len(self.surnames) == 2 else f"{first} et al."
        named = f"{first} et al." if "others" in others else named
        return f"{named}, {self.fields.get('year', 'no year')}"

    @property
    def address(self) -> str:
        """Its DOI or arXiv identifier; empty if it has neither."""
        if "doi" in self.fields:
            return f"doi:{self.fields['doi']}"
        return f"arXiv:{self.fields['eprint']}" if "eprint" in self.fields else ""

    @property
    def text(self) -> str:
        """In one line: authors, year, title, where it appeared, and its address."""
        authors = ", ".join(self.surnames[:-1]) + (" & " if self.surnames[1:] else "") + self.surnames[-1]
        authors = authors.replace(" & others", " et al.")
        where = next((self.fields[name] for name in _IN if name in self.fields), "")
        volume, number, pages = (self.fields.get(name, "") for name in ("volume", "number", "pages"))
        where += (f" {volume}" if volume else "") + (f"({number})" if number else "") + (f", {pages}" if pages else "")
        parts = [f"{authors} ({self.fields.get('year', 'no year')})", self.fields.get("title", ""), where, self.address]
        return ". ".join(_plain(part).rstrip(".") for part in parts if part) + "."

    @property
    def bibtex(self) -> str:
        """The entry."""
        lines = "".join(f"  {name} = {{{value}}},\n" for name, value in self.fields.items())
        return f"@{self.kind}{{{self.key},\n{lines}}}"


def parsed(text: str) -> dict[str, Work]:
    r"""The works of a text in BibTeX, by key.

    Raises:
        ValueError: a key that is there twice, or a line that is no field.

    >>> parsed("@misc{kim2018,\n  author = {Kim, Yoon},\n  year = {2018},\n}")["kim2018"].label
    'Kim, 2018'
    """
    works: dict[str, Work] = {}
    for kind, key, body in _ENTRY.findall(text.strip() + "\n"):
        matches = [(line, _FIELD.match(line)) for line in body.splitlines() if line.strip()]
        strange = [line for line, match in matches if match is None]
        if strange or key in works:
            what = f"the line {strange[0].strip()!r}, which is no field" if strange else "a second entry of this key"
            raise ValueError(
                f"The entry {key!r} has {what}; write each field as name = {{value}} on a line of its own."
            )
        works[key] = Work(key=key, kind=kind, fields={m[1]: m[2] for _, m in matches if m is not None})
    return works


@cache
def references() -> dict[str, Work]:
    """The works of the library, by key."""
    return parsed((files("lowerbound") / "references.bib").read_text(encoding="utf-8"))


def work_of(key: str) -> Work:
    """The work of a key, or of a whole BibTeX entry that is given in its place.

    Raises:
        ValueError: an unknown key, or a text that is no entry.
    """
    if key.lstrip().startswith("@"):
        own = parsed(key)
        if len(own) == 1:
            return next(iter(own.values()))
        raise ValueError(f"A choice cites {key[:60]!r}, which is not one entry of BibTeX; give one, or a key.")
    if key not in references():
        raise ValueError(f"A choice cites {key[:60]!r}, which is not in references.bib; give the whole entry instead.")
    return references()[key]


def _plain(text: str) -> str:
    return text.replace("{", "").replace("}", "").replace("---", "—").replace("--", "–")
