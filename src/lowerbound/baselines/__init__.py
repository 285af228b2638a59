"""Baselines of the score function: one idea per file, each a `baselines.Baseline`.

A baseline that does not depend on z_s leaves the gradient unbiased; the nearer it is to the signal of the sample, the
lower the variance of the gradient.
"""

from lowerbound.baselines.baseline import Baseline
from lowerbound.baselines.constant import Constant
from lowerbound.baselines.learned import Learned
from lowerbound.baselines.leave_one_out import LeaveOneOut
from lowerbound.baselines.moving_average import MovingAverage

__all__ = ["Baseline", "Constant", "Learned", "LeaveOneOut", "MovingAverage"]
