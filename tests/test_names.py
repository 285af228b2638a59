"""Public names: none hides a module, and none means two things in two packages."""

from __future__ import annotations

import importlib
import pkgutil
from collections import defaultdict
from types import ModuleType

import lowerbound

AXES = {"lowerbound.priors", "lowerbound.likelihoods", "lowerbound.posteriors"}
"""p(z), p(x | z) and q(z | x) name a family of distributions by its name, as in `lb.priors.Bernoulli`."""

CONSTANT = {"lowerbound.baselines", "lowerbound.schedules"}
"""A constant baseline and a constant schedule: each is spelled with its package, as `lb.schedules.Constant`."""


def packages() -> list[ModuleType]:
    found = [m.name for m in pkgutil.walk_packages(lowerbound.__path__, "lowerbound.") if m.ispkg]
    return [lowerbound, *map(importlib.import_module, found)]


def test_no_attribute_hides_a_module() -> None:
    for package in packages():
        for module in pkgutil.iter_modules(package.__path__):
            if module.name != "__main__":
                imported = importlib.import_module(f"{package.__name__}.{module.name}")
                assert getattr(package, module.name) is imported, f"{package.__name__}.{module.name} hides its module"


def test_a_name_means_one_thing() -> None:
    homes: dict[str, dict[int, set[str]]] = defaultdict(lambda: defaultdict(set))
    for package in packages():
        for name in getattr(package, "__all__", ()):
            homes[name][id(getattr(package, name))].add(package.__name__)
    twice = {name: set().union(*things.values()) for name, things in homes.items() if len(things) > 1}
    assert {name: where for name, where in twice.items() if not where <= AXES} == {"Constant": CONSTANT}
