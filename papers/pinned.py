"""The plan of a script: what it leaves out is fixed here, so that no later default of the library changes its results.

These are the defaults of the library when the results were made.
"""

from __future__ import annotations

from typing import Any

from lowerbound.data import Dataset
from lowerbound.fitting.planning import Plan, plan

__all__ = ["pinned"]

FIT: dict[str, Any] = {
    "objective": "elbo",
    "gradient": "pathwise",
    "loss": "variational",
    "num_samples": 1,
    "batch_size": 128,
    "lr": 1e-3,
    "lr_schedule": "cosine",
    "optimizer": "adam",
    "accumulate": 1,
    "seed": 0,
}
MODEL: dict[str, Any] = {
    "prior": "standard-normal",
    "likelihood": "bernoulli",
    "posterior": "diagonal-normal",
    "network": "mlp",
    "activation": "relu",
}
NONE = ("penalty", "inference", "clip_norm", "skip_above", "patience", "ema")  # settings of which None is a value


def pinned(dataset: Dataset, model: dict[str, Any], **given: Any) -> Plan:
    """The plan of a variational autoencoder.

    Arguments:
        dataset: the data.
        model: options of the recipe: at least latent_dim and hidden.
        given: settings by the names of `Plan`; epochs or steps among them.
    """
    chosen = {**FIT, **given}
    planned = plan(dataset, "vae", **{**MODEL, **model, **chosen})
    as_given = {"objective": chosen["objective"]}  # elbo is the sampled one, whatever has a closed form
    return planned.replace(**as_given, **{name: None for name in NONE if name not in given})
