"""Latent variable models trained by variational bounds.

A joint model p(x, z) and an inference model q(z | x) meet in one tensor,

    log w = log p(x | z) + log p(z) − log q(z | x),    shaped (sample, batch), in nats.

An *objective* is a function of log w; a *gradient estimator* decides how its value differentiates. Priors, likelihoods,
posteriors, objectives, estimators and schedules are independent choices. Names are imported when first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lowerbound import (
        baselines,
        data,
        diagnosis,
        evaluate,
        exact,
        gradients,
        inference,
        likelihoods,
        loggers,
        losses,
        missingness,
        models,
        nets,
        objectives,
        optimizers,
        penalties,
        plots,
        posteriors,
        priors,
        protocols,
        report,
        schedules,
        sklearn,
        spelling,
        testing,
    )
    from lowerbound.diagnosis import diagnose
    from lowerbound.fitted import Fitted
    from lowerbound.fitting.planning import plan
    from lowerbound.inference import infer
    from lowerbound.losses import VariationalLoss
    from lowerbound.model import LatentVariableModel
    from lowerbound.one_call import fit
    from lowerbound.runs import run as runs
    from lowerbound.sklearn import VAE
    from lowerbound.training.loop import train
    from lowerbound.training.record import Record
    from lowerbound.verbs.citing import cite
    from lowerbound.verbs.comparison import compare
    from lowerbound.weights import LogWeights

__version__ = "0.2.0"

_MODULES = (
    "baselines",
    "data",
    "diagnosis",
    "evaluate",
    "exact",
    "gradients",
    "inference",
    "likelihoods",
    "loggers",
    "losses",
    "missingness",
    "models",
    "nets",
    "objectives",
    "optimizers",
    "penalties",
    "plots",
    "posteriors",
    "priors",
    "protocols",
    "report",
    "runs",
    "schedules",
    "sklearn",
    "spelling",
    "testing",
)
_NAMES = {
    "Fitted": "lowerbound.fitted",
    "LatentVariableModel": "lowerbound.model",
    "LogWeights": "lowerbound.weights",
    "Record": "lowerbound.training.record",
    "VAE": "lowerbound.sklearn",
    "VariationalLoss": "lowerbound.losses",
    "cite": "lowerbound.verbs.citing",
    "compare": "lowerbound.verbs.comparison",
    "diagnose": "lowerbound.diagnosis",
    "fit": "lowerbound.one_call",
    "infer": "lowerbound.inference",
    "plan": "lowerbound.fitting.planning",
    "train": "lowerbound.training.loop",
}

__all__ = [
    "VAE",
    "Fitted",
    "LatentVariableModel",
    "LogWeights",
    "Record",
    "VariationalLoss",
    "baselines",
    "cite",
    "compare",
    "data",
    "diagnose",
    "diagnosis",
    "evaluate",
    "exact",
    "fit",
    "gradients",
    "infer",
    "inference",
    "likelihoods",
    "loggers",
    "losses",
    "missingness",
    "models",
    "nets",
    "objectives",
    "optimizers",
    "penalties",
    "plan",
    "plots",
    "posteriors",
    "priors",
    "protocols",
    "report",
    "runs",
    "schedules",
    "sklearn",
    "spelling",
    "testing",
    "train",
]


def __getattr__(name: str) -> object:
    if name in _NAMES:
        return getattr(importlib.import_module(_NAMES[name]), name)
    if name in _MODULES:
        return importlib.import_module(f"lowerbound.{name}")
    raise AttributeError(f"module 'lowerbound' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
