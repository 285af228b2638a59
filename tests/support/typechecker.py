"""The type checker of the tests: beartype, with an int accepted where a float is annotated, as PEP 484 has it."""

from beartype import BeartypeConf, beartype

__all__ = ["typechecked"]

typechecked = beartype(conf=BeartypeConf(is_pep484_tower=True))
