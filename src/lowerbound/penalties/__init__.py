"""Penalties on the codes of a whole batch: one idea per file, each a `protocols.Penalty`."""

__all__: list[str] = []
