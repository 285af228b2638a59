"""From a batch to a scalar to minimise and the terms to log: one idea per file.

A loss is any module that maps the tensors of a batch to a `LossOutput`. `VariationalLoss` is the one that closes over a
model, an objective and a gradient estimator; others have the same shape. The loop knows nothing else.
"""

from lowerbound.losses.loss import Loss, LossOutput
from lowerbound.losses.variational import VariationalLoss

__all__ = ["Loss", "LossOutput", "VariationalLoss"]
