"""Named models: functions that choose one part for each axis, and families with a structure of their own."""

from lowerbound.models.bidirectional_autoencoder import biva
from lowerbound.models.conditional_autoencoder import ConditionalModel, cvae
from lowerbound.models.directed import DirectedModel
from lowerbound.models.directed_graph import DirectedPosterior, Node
from lowerbound.models.discrete_autoencoder import dvae
from lowerbound.models.discrete_counterpart import discretised
from lowerbound.models.draw_autoencoder import draw
from lowerbound.models.feature_autoencoder import vae_gan
from lowerbound.models.implicit_autoencoder import aae, avb
from lowerbound.models.ladder_autoencoder import ladder
from lowerbound.models.layered import deep_latent_gaussian
from lowerbound.models.layers_of_bits import binary_layers, concrete_layers
from lowerbound.models.linear import factor_analysis, linear_ica, probabilistic_pca
from lowerbound.models.pixel_autoencoder import pixel_vae
from lowerbound.models.quantized_autoencoder import fsq, vq
from lowerbound.models.sequence import autoregressive_rows, state_space
from lowerbound.models.skip_autoencoder import skip_vae
from lowerbound.models.two_stage_autoencoder import two_stage
from lowerbound.models.variational_autoencoder import vae
from lowerbound.models.very_deep_autoencoder import very_deep
from lowerbound.models.with_few_labels import semi_supervised

__all__ = [
    "ConditionalModel",
    "DirectedModel",
    "DirectedPosterior",
    "Node",
    "aae",
    "autoregressive_rows",
    "avb",
    "binary_layers",
    "biva",
    "concrete_layers",
    "cvae",
    "deep_latent_gaussian",
    "discretised",
    "draw",
    "dvae",
    "factor_analysis",
    "fsq",
    "ladder",
    "linear_ica",
    "pixel_vae",
    "probabilistic_pca",
    "semi_supervised",
    "skip_vae",
    "state_space",
    "two_stage",
    "vae",
    "vae_gan",
    "very_deep",
    "vq",
]
