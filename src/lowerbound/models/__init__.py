"""Named models: functions that pick a point on the axes, and families with a structure of their own."""

from lowerbound.models.choices import build, choices, construct, find, parse
from lowerbound.models.cvae import ConditionalModel, cvae
from lowerbound.models.directed import DirectedModel
from lowerbound.models.directed_graph import DirectedPosterior, Node
from lowerbound.models.ladder import ladder
from lowerbound.models.layered import deep_latent_gaussian
from lowerbound.models.linear import factor_analysis, linear_ica, probabilistic_pca
from lowerbound.models.semi_supervised import semi_supervised
from lowerbound.models.sequence import rows, state_space
from lowerbound.models.vae import vae

__all__ = [
    "ConditionalModel",
    "DirectedModel",
    "DirectedPosterior",
    "Node",
    "build",
    "choices",
    "construct",
    "cvae",
    "deep_latent_gaussian",
    "factor_analysis",
    "find",
    "ladder",
    "linear_ica",
    "parse",
    "probabilistic_pca",
    "rows",
    "semi_supervised",
    "state_space",
    "vae",
]
