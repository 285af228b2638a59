"""The pages say what is so: links lead somewhere, commands parse, imports exist, and exports are described."""

from __future__ import annotations

import ast
import re
import shlex
from pathlib import Path

import click
import pytest

ROOT = Path(__file__).parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *(page for page in (ROOT / "docs").rglob("*.md") if page.parent.name != "adr")])
ADRS = sorted((ROOT / "docs" / "adr").glob("*.md"))
OF_COMMANDS = [page for page in PAGES if page.name != "CHANGELOG.md"]
OF_FIT = ("data", "resume", "label", "kind", "columns", "array", "out", "evaluate", "recipe", "logger")


def name_of(page: Path) -> str:
    return str(page.relative_to(ROOT))


def text_of(page: Path) -> str:
    return page.read_text(encoding="utf-8")


def commands(page: Path) -> list[str]:
    """Whole lines of blocks, and words in backticks, that begin with `lowerbound` and a command; comments left out."""
    text = text_of(page)
    lines = re.findall(r"^lowerbound (?!--).*$", text, flags=re.MULTILINE)
    inline = re.findall(r"(?<!`)`(lowerbound [a-z][^`]*)`(?!`)", text)
    return [" ".join(command.split()) for command in (*lines, *inline)]


def parsed(words: list[str]) -> click.Context:
    """What click makes of the words after `lowerbound`, nothing being run."""
    from lowerbound.cli import cli

    context = click.Context(cli, info_name="lowerbound")
    command = cli.get_command(context, words[0])
    assert command is not None, f"there is no command {words[0]!r}"
    return command.make_context(words[0], words[1:], parent=context)


@pytest.mark.parametrize("page", [*PAGES, *ADRS], ids=name_of)
def test_relative_links_lead_to_files(page):
    links = re.findall(r"\]\(<?([^)#>\s]+)[^)]*\)", text_of(page))
    missing = [link for link in links if "://" not in link and not (page.parent / link).exists()]
    assert not missing


@pytest.mark.parametrize("page", OF_COMMANDS, ids=name_of)
def test_commands_parse(page):
    for command in commands(page):
        words = shlex.split(command, comments=True)[1:]
        if len(words) == 1 and words[0] not in ("choices", "datasets"):
            continue  # the name of a command, not a call
        try:
            parsed(words)
        except click.exceptions.Exit:
            continue  # --help
        except click.ClickException as error:
            pytest.fail(f"{command}: {error.format_message()}")


def fits() -> list[str]:
    """Every fit of data known by name."""
    found = [command for page in OF_COMMANDS for command in commands(page)]
    return sorted({command for command in found if re.match(r"lowerbound fit (digits|mnist) ", command)})


@pytest.mark.parametrize("command", fits())
def test_settings_of_fits_are_known(command):
    from lowerbound.data import load
    from lowerbound.fitting.planning import plan

    given = parsed(shlex.split(command, comments=True)[1:]).params
    assert plan(load("digits"), given["recipe"], **{name: value for name, value in given.items() if name not in OF_FIT})


def imported(page: Path) -> list[tuple[str, str]]:
    """(module, name) of each `from lowerbound… import …` in the page's Python."""
    blocks = re.findall(r"```python\n(.*?)```", text_of(page), flags=re.DOTALL)
    nodes = [node for block in blocks for node in ast.walk(ast.parse(block)) if isinstance(node, ast.ImportFrom)]
    return [(str(node.module), alias.name) for node in nodes for alias in node.names]


@pytest.mark.parametrize("page", [page for page in PAGES if page.name != "CONTRIBUTING.md"], ids=name_of)
def test_what_their_python_imports_exists(page):
    import importlib

    for module, name in imported(page):
        if module.partition(".")[0] == "lowerbound":
            assert hasattr(importlib.import_module(module), name), f"{module} has no {name}"


def undescribed(path: Path) -> list[str]:
    """Classes and functions that a module exports without a docstring."""
    body = ast.parse(path.read_text(encoding="utf-8")).body
    exported: list[str] = []
    for node in body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name) and node.targets[0].id == "__all__":
            exported = ast.literal_eval(node.value)
    defined = [node for node in body if isinstance(node, ast.ClassDef | ast.FunctionDef)]
    return [node.name for node in defined if node.name in exported and not ast.get_docstring(node)]


def test_exports_are_described():
    modules = sorted((ROOT / "src" / "lowerbound").rglob("*.py"))
    assert modules
    assert all(ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) for path in modules)
    assert {name_of(path): names for path in modules if (names := undescribed(path))} == {}
