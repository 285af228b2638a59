"""Every choice states its works; the works, the docstrings and references.bib agree."""

from __future__ import annotations

import importlib
import inspect
import re
import sys
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import lowerbound
from lowerbound.data.catalog import CATALOG
from lowerbound.recipes import recipes
from lowerbound.references import references, work_of
from lowerbound.spelling import choices

AXES = (
    "priors", "likelihoods", "missingness", "posteriors", "objectives", "gradients", "baselines", "penalties", "losses",
    "inference", "optimizers", "schedules",
)  # fmt: skip
MAY_STATE_NONE = {"constant", "exponential", "linear", "warmup"}  # schedules that no paper defines
ARXIV = re.compile(r"arXiv:((?:\d{4}\.\d{4,5})|(?:[a-z-]+/\d{7}))")
DOI = re.compile(r"10\.\d{4,9}/\S+")


def named(axis: str) -> dict[str, type]:
    own = choices(importlib.import_module(f"lowerbound.{axis}"))
    return {name: item for name, item in own.items() if item.__module__.startswith("lowerbound.")}


@cache
def stating() -> list[Any]:
    """Every class and function of the library that states works."""
    root = Path(lowerbound.__file__).parent
    found = []
    for file in sorted(root.rglob("*.py")):
        if "cites: ClassVar" in (source := file.read_text()) or "\n@cited(" in source:
            name = ".".join(("lowerbound", *file.relative_to(root).with_suffix("").parts))
            items = vars(importlib.import_module(name)).values()
            found += [
                i for i in items if getattr(i, "__module__", None) == name and "cites" in getattr(i, "__dict__", {})
            ]
    return found


def own_docs(item: Any) -> str:
    return inspect.getdoc(item) or ""


def module_docs(module: ModuleType) -> str:
    return " ".join((module.__doc__ or "").split())


@pytest.mark.parametrize("axis", AXES)
def test_every_choice_states_works_of_its_own(axis: str) -> None:
    for name, item in named(axis).items():
        assert isinstance(vars(item).get("cites"), tuple), f"{axis} {name} states no cites; add the works that it is of"
        assert item.cites or name in MAY_STATE_NONE, f"{axis} {name}"  # type: ignore[attr-defined]


def test_recipes_and_data_sets_state_works() -> None:
    own = [recipe for recipe in recipes().values() if recipe.make.__module__.startswith("lowerbound.")]
    for stated in (*own, *CATALOG):
        assert stated.cites, stated.name
        assert all(key in references() for key in stated.cites), stated.name


def test_every_entry_is_well_formed_and_has_an_address_or_says_that_it_has_none() -> None:
    for key, work in references().items():
        assert {"author", "title", "year"} <= set(work.fields), key
        assert re.fullmatch(r"[a-z]+\d{4}[a-z]+", key), key
        addresses = [name for name in ("doi", "eprint") if name in work.fields]
        if addresses == ["doi"]:
            assert DOI.fullmatch(work.fields["doi"]), key
        elif addresses == ["eprint"]:
            assert ARXIV.fullmatch(f"arXiv:{work.fields['eprint']}"), key
            assert work.fields["archivePrefix"] == "arXiv"
        else:
            assert not addresses, key
            assert "neither a DOI nor an arXiv identifier" in work.fields["note"], key


def test_no_two_entries_have_one_address() -> None:
    addresses = [work.address for work in references().values() if work.address]
    assert len(addresses) == len(set(addresses))


def test_no_entry_is_unused() -> None:
    used = {key for item in stating() for key in item.cites}
    used |= {key for item in (*recipes().values(), *CATALOG) for key in item.cites}
    used |= {"paszke2019pytorch", "rozet2022zuko"}  # what computes
    assert set(references()) == used


def test_keys_are_named_where_they_are_stated() -> None:
    """By the arXiv identifier, or by author and year of a work without one."""
    for item in stating():
        text = " ".join(own_docs(item).split()) + " " + module_docs(sys.modules[item.__module__])
        for key in item.cites:
            assert_named(key, text, f"{item.__module__}.{item.__name__}")


def assert_named(key: str, text: str, where: str) -> None:
    work = work_of(key)
    if "eprint" in work.fields:
        assert work.fields["eprint"] in text, f"{where} cites {key}, and its docstring does not"
    else:
        assert work.surnames[0] in text, f"{where} cites {key}, and its docstring does not"
        assert work.fields["year"] in text, f"{where} cites {key}, and its docstring has another year"


def test_recipes_name_their_works() -> None:
    for recipe in recipes().values():
        module = sys.modules[recipe.make.__module__]
        if module.__name__.startswith("lowerbound."):
            text = " ".join(own_docs(recipe.make).split()) + " " + module_docs(module)
            for key in recipe.cites:
                assert_named(key, text, recipe.name)


def test_identifiers_in_docstrings_are_of_stated_works() -> None:
    """In the docstring of a choice: of its own. In that of its module: of one of the choices there."""
    by_module: dict[str, set[str]] = {}
    for item in stating():
        own = {work_of(key).fields.get("eprint", "") for key in item.cites}
        by_module[item.__module__] = by_module.get(item.__module__, set()) | own
        assert set(ARXIV.findall(own_docs(item))) <= own, f"{item.__module__}.{item.__name__}"
    for name, stated in by_module.items():
        assert set(ARXIV.findall(module_docs(sys.modules[name]))) <= stated, name


def test_recipes_name_works_that_have_an_entry() -> None:
    """Those of their parts are stated by these."""
    known = {work.fields.get("eprint") for work in references().values()}
    for recipe in recipes().values():
        assert set(ARXIV.findall(module_docs(sys.modules[recipe.make.__module__]))) <= known, recipe.name
