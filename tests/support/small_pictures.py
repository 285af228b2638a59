"""A model of pictures that nobody trained: what is said of it has exact values all the same."""

from __future__ import annotations

import numpy as np
import torch

import lowerbound as lb

PICTURES = np.random.default_rng(0).integers(0, 2, (40, 4, 5))
"""Binary, 4 x 5 pixels."""


def of_pictures(latent: int = 3) -> lb.Fitted:
    torch.manual_seed(0)
    model = lb.LatentVariableModel(
        prior=lb.priors.StandardNormal(latent),
        likelihood=lb.likelihoods.Bernoulli(lb.nets.MLP(latent, [6], (4, 5))),
        posterior=lb.posteriors.DiagonalNormal(lb.nets.MLP((4, 5), [6], (2, latent))),
    )
    return lb.Fitted(model, data=PICTURES)
