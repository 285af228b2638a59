"""Steps of texts and molecules ask no device how much there is to compute, in any form and from any source."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from some_molecules import SMILES
from torch.utils.data import DataLoader, TensorDataset

import lowerbound as lb
from lowerbound.data.transform import Identity
from lowerbound.models.sentence_autoencoder import language_model, sentence_vae

RNG = np.random.default_rng(0)
TEXTS = [" ".join(RNG.choice(["the", "a", "cat", "dog", "ran"], RNG.integers(1, 8))) for _ in range(60)]
SMALL: dict[str, Any] = {"steps": 2, "batch_size": 20, "device": "cpu", "compile": False, "latent_dim": 2}
SMALL |= {"embedding_dim": 4, "width": 8}
WIDE = SMALL | {"embedding_dim": 16}


@pytest.mark.parametrize(
    "given",
    [
        SMALL | {"accumulate": 3, "ema": 0.9, "clip_norm": 1.0, "skip_above": 5.0},
        SMALL | {"objective": "iwae", "num_samples": 3, "encoder": "bag-of-words"},
        SMALL | {"decoder": "hybrid", "loss": "auxiliary", "encoder": "convolution"},
        SMALL | {"decoder": "transformer", "encoder": "transformer"},
        WIDE | {"softmax": "adaptive"},
        SMALL | {"inference": "semi-amortised", "penalty": "mmd"},
    ],
    ids=["accumulate", "iwae", "hybrid", "transformer", "adaptive", "semi-amortised"],
)
def test_texts(given: dict[str, Any], waits: list[str]) -> None:
    lb.fit(TEXTS, "sentence-vae", **given)
    assert not waits


@pytest.mark.parametrize(
    "given",
    [
        {"encoder": "message-passing", "accumulate": 2},
        {"graph_latent_dim": 2, "objective": "iwae", "num_samples": 2},
        {"graph_latent_dim": 2, "encoder": "message-passing"},
    ],
    ids=["atoms", "tree and graph", "tree and graph of atoms"],
)
def test_molecules(given: dict[str, Any], waits: list[str]) -> None:
    pytest.importorskip("rdkit")
    lb.fit(SMILES * 3, "molecule-vae", kind="molecules", **SMALL, **given)
    assert not waits


def test_batches_of_a_loader(waits: list[str]) -> None:
    x = torch.where(torch.arange(6) < torch.randint(1, 6, (60, 1)), torch.randint(1, 5, (60, 6)), 0)
    model = sentence_vae((6,), likelihood="tokens:num_symbols=5", latent_dim=2, embedding_dim=4, width=8)
    loss = lb.VariationalLoss(model, lb.objectives.ELBO("kl"), lb.gradients.Pathwise())
    for data in (DataLoader(TensorDataset(x), 20), TensorDataset(x), x.float()):
        list(lb.train(loss, data, num_steps=4, log_every=2))
        assert not waits, data


@pytest.mark.parametrize("softmax", ["full", "adaptive"])
def test_gradients_by_torch_func_are_those_of_autograd(softmax: Any) -> None:
    """Tensors that `torch.func` wraps have no memory by which anything could be known of them."""
    x = torch.tensor([[1.0, 2, 0, 0], [3, 0, 0, 0], [1, 2, 3, 0]])
    words: dict[str, Any] = {"likelihood": "tokens:num_symbols=20", "embedding_dim": 16, "width": 8}
    model = language_model((4,), decoder="convolution", softmax=softmax, dropout=0.0, **words)
    loss = lb.VariationalLoss(model, lb.objectives.ELBO(), lb.gradients.Pathwise())
    named: dict[str, torch.Tensor] = dict(loss.named_parameters())

    def value(parameters: dict[str, torch.Tensor]) -> torch.Tensor:
        return torch.func.functional_call(loss, parameters, (x,)).loss

    value(named).backward()
    found = torch.func.grad(value)({name: p.detach() for name, p in named.items()})
    for name, p in named.items():
        torch.testing.assert_close(found[name], torch.zeros_like(p) if p.grad is None else p.grad)


def test_a_batch_of_which_nothing_is_known_is_read(waits: list[str]) -> None:
    """The check itself: with rows that a transform has made anew, the device is asked."""

    class Anew(Identity):
        def forward(self, raw: torch.Tensor) -> torch.Tensor:
            return raw.clone()

    x = torch.tensor([[1.0, 2, 0, 0], [1, 0, 0, 0]] * 10)
    model = sentence_vae((4,), likelihood="tokens:num_symbols=5", latent_dim=2, embedding_dim=4, width=8)
    loss = lb.VariationalLoss(model, lb.objectives.ELBO("kl"), lb.gradients.Pathwise())
    list(lb.train(loss, lb.data.InMemory(x, Anew()), num_steps=4, log_every=2, batch_size=10))
    assert any("on_host.py" in wait for wait in waits)
