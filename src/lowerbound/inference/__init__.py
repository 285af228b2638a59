"""How q(z | x) is computed, from one pass of an encoder to exact draws: one scheme per file, each an `InferenceScheme`.

`infer` applies a scheme to a batch; `with_inference` replaces `model.infer` by a scheme.
"""

from lowerbound.inference.draws import Draws, InferenceWarning
from lowerbound.inference.hamiltonian import hamiltonian_transition
from lowerbound.inference.hmc import HMC
from lowerbound.inference.inferred import Inferred, infer
from lowerbound.inference.iterative import IterativeAmortised
from lowerbound.inference.local import Local
from lowerbound.inference.non_amortised import NonAmortised
from lowerbound.inference.path import Ascent, elbo_surface
from lowerbound.inference.scheme import Amortised, InferenceScheme, with_inference
from lowerbound.inference.semi_amortised import SemiAmortised
from lowerbound.inference.stochastic import StochasticOffset

__all__ = [
    "HMC",
    "Amortised",
    "Ascent",
    "Draws",
    "InferenceScheme",
    "InferenceWarning",
    "Inferred",
    "IterativeAmortised",
    "Local",
    "NonAmortised",
    "SemiAmortised",
    "StochasticOffset",
    "elbo_surface",
    "hamiltonian_transition",
    "infer",
    "with_inference",
]
