"""The pages of the reference: one for each package and module of `lowerbound`, from what its files export.

A package's page has a section for every module in it: its docstring, then what it exports, by the shortest public path.
Sources are read, not imported.
"""

from __future__ import annotations

import ast
import importlib
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Module", "modules", "write"]

_NO_PYTHON = ("cli", "__main__")
"""What is used from the command line; its page holds the help of each command."""


@dataclass(frozen=True)
class Module:
    """A module: its dotted name, and what it exports: "class", "function" or "data", by name."""

    name: str
    exported: dict[str, str]
    defined: frozenset[str]

    @property
    def parent(self) -> str:
        """The package that it is in."""
        return self.name.rpartition(".")[0]


def modules(root: Path) -> list[Module]:
    """Every public module of a package, the package first."""
    found = []
    for path in sorted(root.rglob("*.py")):
        parts = path.relative_to(root.parent).with_suffix("").parts
        parts = parts[:-1] if parts[-1] == "__init__" else parts
        if not any(part.startswith("_") for part in parts):
            found.append(_read(".".join(parts), path))
    return sorted(found, key=lambda module: module.name)


def write(root: Path, folder: Path) -> dict[str, list[str]]:
    """Write the pages into a folder.

    Returns:
        The public paths of every exported name, such as "IWAE" → ["lowerbound.objectives.IWAE"].
    """
    folder.mkdir(exist_ok=True)
    known = [module for module in modules(root) if module.name.split(".")[1:2] != ["cli"]]
    paths = _public_paths(known)
    pages = {"index": _index(known), "cli": _commands()}
    for top in (module for module in known if module.name.count(".") == 1):
        inside = [module for module in known if module.name.startswith(f"{top.name}.")]
        pages[top.name] = _page(top, inside, paths)
    for old in set(folder.glob("*.rst")) - {folder / f"{name}.rst" for name in pages}:
        old.unlink()
    for name, text in pages.items():
        _write_if_changed(folder / f"{name}.rst", text)
    names: dict[str, list[str]] = {}
    for path in sorted(set(paths.values())):
        names.setdefault(path.rpartition(".")[2], []).append(path)
    return names


def _read(name: str, path: Path) -> Module:
    exported: list[str] = []
    kinds: dict[str, str] = {}
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.ClassDef):
            kinds[node.name] = "class"
        elif isinstance(node, ast.FunctionDef):
            kinds[node.name] = "function"
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            target = node.targets[0] if isinstance(node, ast.Assign) else node.target
            if isinstance(target, ast.Name) and target.id == "__all__" and node.value is not None:
                exported = ast.literal_eval(node.value)
            elif isinstance(target, ast.Name):
                kinds[target.id] = "data"
    return Module(name, {word: kinds.get(word, "data") for word in exported}, frozenset(kinds))


def _public_paths(known: list[Module]) -> dict[tuple[str, str], str]:
    """By module and name, for every exported name where it is defined: the shortest path under which it is exported."""
    packages = {module.name: module for module in known}
    paths = {}
    for module in known:
        for name in module.exported:
            if name in module.defined:
                package = packages.get(module.parent)
                facade = package is not None and package.name != "lowerbound" and name in package.exported
                paths[module.name, name] = f"{module.parent if facade else module.name}.{name}"
    return paths


def _page(top: Module, inside: list[Module], paths: dict[tuple[str, str], str]) -> str:
    lines = [*_heading(top.name, "="), f".. automodule:: {top.name}", "", *_members(top, paths)]
    for module in inside:
        own_name = module.name in paths.values()  # a function that is called as its module
        lines += [*_heading(module.name.removeprefix(f"{top.name}."), "-"), f".. automodule:: {module.name}"]
        lines += [*(["   :no-index:"] if own_name else []), "", *_members(module, paths)]
    return "\n".join(lines)


def _members(module: Module, paths: dict[tuple[str, str], str]) -> list[str]:
    lines = []
    for name in (name for name in module.exported if name in module.defined):
        kind = module.exported[name]
        options = {"class": ["   :members:"], "data": ["   :no-value:"]}.get(kind, [])
        lines += [f".. auto{kind}:: {paths[module.name, name]}", *options, ""]
    return lines


def _index(known: list[Module]) -> str:
    tops = [module.name for module in known if module.name.count(".") == 1]
    packages = {module.parent for module in known}
    both = ([name for name in tops if name in packages], [name for name in tops if name not in packages])
    lines = [*_heading("Reference", "="), "Every name that a module exports, with its docstring.", ""]
    for caption, names in zip(("The choices and what is made of them", "Single modules"), both, strict=True):
        lines += [".. toctree::", f"   :caption: {caption}", "   :maxdepth: 1", "", *(f"   {n}" for n in names), ""]
    return "\n".join(lines)


def _commands() -> str:
    """The help of every command."""
    import click

    group = importlib.import_module("lowerbound.cli").cli
    context = click.Context(group, info_name="lowerbound", max_content_width=100)
    lines = [*_heading("Command line", "="), *_literal(group.get_help(context))]
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        own = click.Context(command, info_name=name, parent=context, terminal_width=100)
        lines += [*_heading(f"lowerbound {name}", "-"), *_literal(command.get_help(own))]
    return "\n".join(lines)


def _heading(text: str, underline: str) -> list[str]:
    return [text, underline * len(text), ""]


def _literal(text: str) -> list[str]:
    return [".. code-block:: text", "", *(f"   {line}" for line in text.splitlines()), ""]


def _write_if_changed(path: Path, text: str) -> None:
    """Sphinx reads a page again only if its file is newer."""
    if not path.exists() or path.read_text() != text:
        path.write_text(text)
