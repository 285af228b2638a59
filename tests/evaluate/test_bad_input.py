"""What a user gets wrong around an evaluation is one sentence."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch.distributions import Distribution, Independent, Normal

from lowerbound import evaluate, infer
from lowerbound.cli import main
from lowerbound.exact import LinearGaussian
from lowerbound.models import vae


def test_data_that_are_gone_are_one_sentence(tmp_path, capsys):
    rows, run = tmp_path / "rows.npy", tmp_path / "run"
    np.save(rows, np.random.default_rng(0).normal(size=(30, 3)).astype(np.float32))
    small = ["--steps", "2", "--hidden", "4", "--latent-dim", "1", "--device", "cpu", "--no-compile", "--no-evaluate"]
    assert main(["fit", str(rows), "--out", str(run), *small]) == 0
    rows.unlink()
    capsys.readouterr()
    assert main(["evaluate", str(run)]) == 2
    said = capsys.readouterr().err
    assert "there is no file" in said
    assert said.count("\n") == 1


class Sampler(Independent):
    """Draws and no density."""

    def log_prob(self, value: torch.Tensor) -> torch.Tensor:
        raise NotImplementedError


class Implicit(torch.nn.Module):
    def forward(self, context: torch.Tensor) -> Distribution:
        loc = context.new_zeros(len(context), 2)
        return Sampler(Normal(loc, torch.ones_like(loc)), 1)


@pytest.mark.parametrize("ask", [evaluate.log_evidence, evaluate.summary, infer])
def test_a_posterior_without_density_is_one_sentence(ask):
    model = LinearGaussian.random(3, 2).model(Implicit())
    with pytest.raises(ValueError, match="Sampler has no density, so that there is no bound; evaluate"):
        ask(model, torch.zeros(4, 3, dtype=torch.float64))


@pytest.mark.parametrize("evaluation", [evaluate.log_evidence, evaluate.summary, infer])
def test_values_outside_the_support_are_refused(evaluation: Any) -> None:
    made = vae((4,), latent_dim=2, hidden=(3,), likelihood="poisson")
    with pytest.raises(ValueError, match=r"x holds 2\.5 at row 1, column 0; Poisson takes counts"):
        evaluation(made, torch.tensor([[1.0, 2, 3, 4], [2.5, 0, 0, 0]]))
