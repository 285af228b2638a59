"""Code collapse: the data use few of the codes (van den Oord et al. 2017; Mentzer et al. 2023, arXiv:2309.15505, §1).

    share = exp(H) / K,      H = −Σ_k p̂(k) log p̂(k)

over all positions of training rows, with K codes. A codebook of which few codes are used costs what it has and says
what a small one would say. Usage is counted over many rows, because a batch cannot show a large codebook.
"""

from __future__ import annotations

from lowerbound.diagnosis.case import Case
from lowerbound.diagnosis.finding import Bars, Finding, Measurement, found, undefined
from lowerbound.evaluate import code_usage
from lowerbound.hooks import PointMass

__all__ = ["LEAST_SHARE", "code_collapse"]

NAME = "code collapse"
LEAST_SHARE = 0.1
"""Effective codes over all codes; healthy fits to images have a third or more."""
_FEWEST_PER_CODE, _MOST_BARS = 2, 32


def code_collapse(case: Case) -> Finding:
    """Whether the effective number of codes is below a tenth of all."""
    if not isinstance(case.posterior, PointMass):
        return undefined(NAME, "Not defined for latents that are no codes.")
    usage = code_usage(case.model, case.x_train, case.context_train)
    if usage.num_positions < _FEWEST_PER_CODE * usage.num_codes:
        return undefined(
            NAME,
            f"The rows have {usage.num_positions:,} positions, which cannot show {usage.num_codes:,} codes; examine "
            "more rows.",
        )
    evidence = Measurement(
        value=usage.effective_share, standard_error=usage.share_error, low=LEAST_SHARE, unit="of all codes"
    )
    own = case.refit.options.get("recipe", "")
    words = f"{usage.effective.mean():.0f} of {usage.num_codes:,} codes, if all were used alike"
    return found(
        NAME,
        evidence,
        ill=f"The data use {words}: a codebook of that size would say as much.",
        well=f"The data use {words}.",
        remedy=case.refit(recipe="vq" if own.startswith("fsq") else "vq:num_codes=32"),
        picture=Bars(
            values={
                str(i + 1): (count / usage.num_positions, 0.0)
                for i, count in enumerate(usage.counts[:_MOST_BARS].tolist())
            },
            label="share of the positions, of the most frequent codes",
        ),
    )
