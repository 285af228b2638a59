"""Baselines b_s of the score function: one idea per file, each a `baselines.Baseline`.

Anything that does not depend on z_s leaves the gradient unbiased; the nearer b_s is to the value of the objective, the
less the gradient varies.
"""

from lowerbound.baselines.baseline import Baseline
from lowerbound.baselines.leave_one_out import LeaveOneOut

__all__ = ["Baseline", "LeaveOneOut"]
