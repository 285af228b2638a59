"""Of which numbers of a row the ranks over rows are farthest from uniform.

The ranks of one number over rows are independent of each other; those of several numbers in one row are not. Hence each
number is tested by itself, and its p-value is multiplied by how many were tested (Bonferroni).
"""

from __future__ import annotations

from dataclasses import dataclass

from jaxtyping import Float64
from torch import Tensor

from lowerbound.evaluate.rank_bands import uniformity_p_values
from lowerbound.evaluate.ranks import largest_difference

__all__ = ["ColumnRanks", "least_uniform"]

_FEWEST = 20


@dataclass(frozen=True, kw_only=True, eq=False)
class ColumnRanks:
    """The ranks of one number over the rows that have one.

    Attributes:
        column: its place in a row, flattened.
        ranks: u of these rows.
        difference: D = sup_t |F(t) − t|.
        p_value: that they are uniform, adjusted for the numbers of a row that were tested.
        num_tested: how many those are.
    """

    column: int
    ranks: Float64[Tensor, "row"]
    difference: float
    p_value: float
    num_tested: int

    @property
    def words(self) -> str:
        """What is wrong with the predictive distribution, if p is small."""
        middle = float(self.ranks.mean()) - 0.5
        if abs(middle) > 0.4 * self.difference:  # of a mean that is off it is 0.7, and 0 of a width
            return "too low" if middle > 0 else "too high"
        return "too narrow" if float((self.ranks - 0.5).square().mean()) > 1 / 12 else "too wide"


def least_uniform(ranks: Float64[Tensor, "row *event"], most: int = 6) -> list[ColumnRanks]:
    """Those with the largest √n D of n ranks, the largest first; with fewer than 20 ranks a number is not tested.

    Arguments:
        ranks: u of each number of each row; NaN where there is none.
        most: how many are wanted, at most.
    """
    flat = ranks.flatten(1).cpu()
    known = [(column, u[~u.isnan()]) for column, u in enumerate(flat.unbind(1))]
    tested = [(column, u, float(largest_difference(u)[0])) for column, u in known if len(u) >= _FEWEST]
    tested.sort(key=lambda item: -item[2] * len(item[1]) ** 0.5)
    return [
        ColumnRanks(
            column=column,
            ranks=u,
            difference=difference,
            p_value=min(1.0, len(tested) * float(uniformity_p_values(u[:, None].numpy())[0])),
            num_tested=len(tested),
        )
        for column, u, difference in tested[:most]
    ]
