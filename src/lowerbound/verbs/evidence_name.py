"""What scores bound: log p(x), or log p(x_obs, s) of a model that says which entries are missing (`missingness`)."""

from __future__ import annotations

__all__ = ["OF_GAPS", "evidence_name"]

OF_GAPS = "x_obs are the values that are there and s says which are missing."


def evidence_name(of_gaps: bool = False) -> str:
    """The name of what is scored by a model; of scores, `of_gaps` is an entry of them where it is true.

    >>> evidence_name(), evidence_name(of_gaps=True)
    ('log p(x)', 'log p(x_obs, s)')
    """
    return "log p(x_obs, s)" if of_gaps else "log p(x)"
