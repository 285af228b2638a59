"""The plan of a script: what it leaves out is fixed here, so that no later default of the library changes its results.

These are the defaults of the library when the results were made.
"""

from __future__ import annotations

from typing import Any

from lowerbound.data import Dataset
from lowerbound.planning import Plan, plan

__all__ = ["pinned"]

FIT: dict[str, Any] = {
    "objective": "elbo",
    "gradient": "pathwise",
    "loss": "variational",
    "num_samples": 1,
    "batch_size": 128,
    "lr": 1e-3,
    "lr_schedule": "cosine",
    "seed": 0,
}
MODEL: dict[str, Any] = {
    "prior": "standard-normal",
    "likelihood": "bernoulli",
    "posterior": "diagonal-normal",
    "network": "mlp",
    "activation": "relu",
}
NONE = ("penalty", "inference", "clip_norm", "patience")  # settings of which None is a value


def pinned(dataset: Dataset, model: dict[str, Any], **given: Any) -> Plan:
    """The plan of a variational autoencoder.

    Arguments:
        dataset: the data.
        model: options of the recipe: at least latent_dim and hidden.
        given: settings by the names of `Plan`; epochs or steps among them.
    """
    planned = plan(dataset, "vae", **{**FIT, **MODEL, **model, **given})
    return planned.replace(**{name: None for name in NONE if name not in given})
