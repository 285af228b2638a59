"""Scores of a fitted model by annealed importance sampling, which reads p(x, z) alone: the bound for every q(z | x).

    E[log (1/C) Σ_c w_c] ≤ log p(x)          C chains of T distributions from p(z) to p(x, z)      (`evaluate.annealed`)

A posterior without a density has no ELBO and no L_K. This is what its model is compared by, with others of any kind.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from lowerbound.evaluate import annealed_importance
from lowerbound.evaluate.evidence import require_finite
from lowerbound.fitting.defaults import facts_of
from lowerbound.model import LatentVariableModel
from lowerbound.protocols import Context
from lowerbound.verbs.score_parts import against, baselines_left_out, baselines_of, defined, is_discrete, mean_and_error

__all__ = ["NUM_CHAINS", "annealed_scores"]

NUM_CHAINS = 16


def annealed_scores(
    model: LatentVariableModel,
    x_test: Tensor,
    *,
    num_distributions: int,
    num_chains: int = NUM_CHAINS,
    x_train: Tensor | None = None,
    log_scale: Tensor | float = 0.0,
    context: Context | None = None,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, Any]:
    """Score a model on rows it was not trained on, without its posterior.

    Arguments:
        model: p and q, on the device of `x_test`; its latents are one real vector.
        x_test: test rows as the likelihood scores them.
        num_distributions: T; the bound rises with it towards log p(x).
        num_chains: C for each row.
        x_train: as for `scoring.score`, as are the others.
        log_scale: log p(x) − log p of the data in the user's units.
        context: of the model, one row for each of x_test.
        seed: of the chains and the baselines.
        progress: called with the rows done and their total.

    Returns:
        Means over the rows in nats per datum: `log_evidence`, with its standard error from the spread over the rows and
        its `sampling_error` from the chains; `num_samples` (C) and `num_distributions`; `acceptance` of the transitions
        and the median `effective_sample_size` of the chains; `bits_per_dim`, `log_scale`, the counts and `baselines` as
        of `scoring.score`. `elbo`, `rate` and `distortion`, which need q, are null.

    Raises:
        ValueError: no rows, a count below one, or latents that are discrete, bounded or of several layers.
    """
    model.eval()
    found = annealed_importance(
        model,
        x_test,
        num_distributions=num_distributions,
        num_chains=num_chains,
        context=context,
        seed=seed,
        progress=progress,
    )
    require_finite(found.log_evidence)
    baselines = {} if x_train is None else baselines_of(model.likelihood, x_train, x_test, seed)
    left_out = {} if x_train is None else baselines_left_out(model.likelihood, x_train)
    scale = torch.as_tensor(log_scale, dtype=torch.float64, device=x_test.device)
    log_p = found.log_evidence.double() - scale
    scores = {
        "by": "annealed importance sampling",
        "elbo": None,
        **dict(zip(("log_evidence", "log_evidence_standard_error"), mean_and_error(log_p), strict=True)),
        "sampling_error": found.sampling_error_of_mean,
        "log_scale": scale.mean().item(),
        "num_samples": num_chains,
        "num_distributions": num_distributions,
        "num_data": len(x_test),
        "num_dimensions": found.num_dimensions,
        "bits_per_dim": found.bits_per_dim if is_discrete(facts_of(model.likelihood), x_test) else None,
        "effective_sample_size": found.effective_sample_size.median().item(),
        "acceptance": found.acceptance.mean().item(),
        "rate": None,
        "distortion": None,
        "baselines": {name: against(value.double() - scale, log_p) for name, value in baselines.items()},
        **({"baselines_left_out": left_out} if left_out else {}),
    }
    return {name: defined(value) for name, value in scores.items()}
