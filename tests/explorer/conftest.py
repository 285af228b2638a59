"""Small models with rows on a map."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch
from small_pictures import PICTURES, of_pictures

import lowerbound as lb
from lowerbound.explorer import Explorer


@pytest.fixture(scope="package")
def pictures() -> lb.Fitted:
    """Of binary pictures of 4 x 5 pixels."""
    return of_pictures()


@pytest.fixture(scope="package")
def explorer(pictures) -> Explorer:
    return pictures.explore()


@pytest.fixture(scope="package")
def in_turn() -> Explorer:
    """Of a model whose pixels are drawn one after another."""
    torch.manual_seed(0)
    net = lb.nets.MLP(2, [6], (3, 4, 5))
    model = lb.LatentVariableModel(
        prior=lb.priors.StandardNormal(2),
        likelihood=lb.likelihoods.Autoregressive(net, (4, 5), channels=4, layers=2),
        posterior=lb.posteriors.DiagonalNormal(lb.nets.MLP((4, 5), [6], (2, 2))),
    )
    with torch.no_grad():
        for parameter in model.likelihood.parameters():
            parameter.mul_(3.0)  # so that pixels depend on each other
    return lb.Fitted(model, data=PICTURES).explore()


@pytest.fixture(scope="package")
def people() -> pd.DataFrame:
    """A mixed table with gaps and a name that would be markup."""
    rng = np.random.default_rng(1)
    frame = pd.DataFrame(
        {
            "age": rng.integers(20, 60, 80),
            "height": rng.normal(170, 8, 80).round(1),
            "</script><b>city": rng.choice(["Oslo", "Rome <i>"], 80),
            "children": rng.poisson(2, 80),
        }
    )
    frame.loc[3, "height"] = np.nan
    return frame


@pytest.fixture(scope="package")
def of_people(people) -> Explorer:
    return lb.fit(people, "vae", steps=3, latent_dim=2, hidden=[6], compile=False, device="cpu").explore(people)


@pytest.fixture(scope="package")
def server(explorer):
    with explorer.serve() as running:
        yield running
