"""Which rows are held out if the data does not say.

The permutation is `numpy.random.RandomState(0)`: that generator's stream is frozen by numpy's
compatibility policy (NEP 19), so the split is the same for every reader, machine and version, and a
score on the held-out rows always means the same rows.
"""

import numpy as np

__all__ = ["MOST_HELD_OUT", "num_for_selection", "num_held_out", "split_rows"]

MOST_HELD_OUT = 10_000
_MOST_FOR_SELECTION = 5_000


def num_held_out(num_rows: int) -> int:
    """One row in five, at least one and at most 10,000.

    The limit keeps the test rows of a file far larger than memory in memory, and the mean of a
    score over 10,000 rows already has a hundredth of the score's spread.

    >>> num_held_out(100), num_held_out(10**9)
    (20, 10000)
    """
    return min(max(1, round(num_rows / 5)), MOST_HELD_OUT)


def num_for_selection(num_train: int) -> int:
    """A tenth of the training rows, at least one and at most 5,000: those that choose the weights, never trained on."""
    return min(max(1, num_train // 10), _MOST_FOR_SELECTION)


def split_rows(num_rows: int, num_test: int) -> tuple[np.ndarray, np.ndarray]:
    """A fixed random split.

    Arguments:
        num_rows: how many rows there are.
        num_test: how many of them to hold out.

    Returns:
        The training rows and the test rows, int64, each in random order; together every row once.
    """
    order = np.random.RandomState(0).permutation(num_rows)
    return order[: num_rows - num_test], order[num_rows - num_test :]
