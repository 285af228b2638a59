"""The pages that `make docs` executes: their code parses, and every name that they use or link exists."""

from __future__ import annotations

import ast
import importlib
import re
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
PAGES = sorted(page for part in ("tutorials", "course") for page in (ROOT / "docs" / part).glob("*.md"))
HEADER = "---\nfile_format: mystnb\nkernelspec:\n  name: python3\n---\n"
EXECUTED = [page for page in PAGES if page.name != "index.md"]


def name_of(page: Path) -> str:
    return f"{page.parent.name}/{page.stem}"


CELL = re.compile(r"^```\{code-cell\} python\n(?::tags: \[hide-cell\]\n\n)?(.*?)^```$", re.MULTILINE | re.DOTALL)


def code_of(page: Path) -> ast.Module:
    cells = CELL.findall(page.read_text())
    assert len(cells) >= 3
    return ast.parse("\n".join(cells))


def dotted(node: ast.AST) -> str | None:
    """lb.priors.StandardNormal of nested attributes; None for attributes of other things."""
    if isinstance(node, ast.Name):
        return node.id
    owner = dotted(node.value) if isinstance(node, ast.Attribute) else None
    return None if owner is None else f"{owner}.{node.attr}"  # type: ignore[attr-defined]


def resolves(path: str) -> bool:
    """Whether a path below lowerbound leads to something; what an instance holds is not followed."""
    found: object = importlib.import_module("lowerbound")
    for name in path.split(".")[1:]:
        if not hasattr(found, name):
            return False
        found = getattr(found, name)
    return True


@pytest.mark.parametrize("page", EXECUTED, ids=name_of)
def test_names_of_the_library_exist(page: Path) -> None:
    assert page.read_text().startswith(HEADER), "without this header the page would not be executed"
    tree = code_of(page)
    paths = {dotted(node) for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    used = {path for path in paths if path is not None and path.startswith("lb.")}
    assert used
    assert {path for path in used if not resolves(path)} == set()
    imported = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    for node in imported:  # what comes from elsewhere, `make docs` finds
        if str(node.module).partition(".")[0] == "lowerbound":
            module = importlib.import_module(str(node.module))
            assert all(hasattr(module, alias.name) for alias in node.names), ast.unparse(node)


@pytest.mark.parametrize("part", ["tutorials", "course"])
def test_the_list_names_every_page(part: str) -> None:
    listed = re.search(r"```\{toctree\}\n:hidden:\n\n(.*?)```", (ROOT / "docs" / part / "index.md").read_text(), re.S)
    assert listed is not None
    assert sorted(listed[1].split()) == sorted(page.stem for page in EXECUTED if page.parent.name == part)


def test_names_of_other_libraries_exist() -> None:
    """Those that link to the references of their libraries; short names stand for long ones beside them."""
    source = ast.parse((ROOT / "docs" / "_site" / "elsewhere.py").read_text())
    names: dict[str, Any] = {}
    exec(compile(ast.Module([node for node in source.body if is_a_constant(node)], []), "elsewhere.py", "exec"), names)
    for library, (address, places) in names["PLACES"].items():
        assert address.startswith("https://")
        assert address.endswith("/")
        for place, (first, *_) in places.items():
            assert find(first) is not None, first
            assert place.partition("#")[2] in ("", first) or find(place.partition("#")[2]) is find(first), place
            assert first.startswith(library) or library == "python"


def is_a_constant(node: ast.stmt) -> bool:
    return isinstance(node, ast.Assign | ast.AnnAssign) and "__all__" not in ast.unparse(node)


def find(path: str) -> object | None:
    """What a dotted path leads to."""
    module, _, name = path.rpartition(".")
    return getattr(importlib.import_module(module), name, None)
