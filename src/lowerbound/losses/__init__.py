"""From a batch to a scalar to minimise and the terms to log: one idea per file.

A loss is any module that maps the tensors of a batch to a `LossOutput`. `VariationalLoss` consists of a model, an
objective and a gradient estimator; `WakeSleep` trains p and q by different objectives; the others have the same
interface, which is all that the loop knows.
"""

from lowerbound.losses.aggressive import Aggressive
from lowerbound.losses.autoencoding import Autoencoding
from lowerbound.losses.auxiliary import Auxiliary
from lowerbound.losses.loss import Loss, LossOutput
from lowerbound.losses.monte_carlo_em import MonteCarloEM
from lowerbound.losses.prior_alone import PriorAlone
from lowerbound.losses.semi_supervised import SemiSupervised
from lowerbound.losses.subsets import Subsets
from lowerbound.losses.vae_gan import VAEGAN
from lowerbound.losses.variational import VariationalLoss
from lowerbound.losses.wake_sleep import WakeSleep

__all__ = [
    "VAEGAN",
    "Aggressive",
    "Autoencoding",
    "Auxiliary",
    "Loss",
    "LossOutput",
    "MonteCarloEM",
    "PriorAlone",
    "SemiSupervised",
    "Subsets",
    "VariationalLoss",
    "WakeSleep",
]
