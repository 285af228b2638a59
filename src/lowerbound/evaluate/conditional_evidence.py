"""log p(x | c) by plain Monte Carlo from the prior network (Sohn, Lee & Yan 2015, NeurIPS 28, eq. 7).

    log p̂(x | c) = log (1/S) Σ_s p(x | z_s, c),      z_s ~ p(z | c)

It needs no q(z | x, c), so that it scores the prediction from c alone, which is what a user gets. It is importance
sampling with the prior as proposal: the weight p(x, z | c) / p(z | c) is p(x | z, c). The prior seldom draws a z that
explains x well, so that it needs about e^KL(q ‖ p) samples where `log_evidence` needs a few hundred; with fewer samples
it is below log p(x | c) by nats, and k̂ is large. The mean of the log weights is E_p(z | c)[log p(x | z, c)], the
objective of their Gaussian stochastic network.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor
from torch.distributions import Distribution
from torch.types import _size

from lowerbound.cited import cited
from lowerbound.evaluate.batches import check_rows
from lowerbound.evaluate.evidence import Evidence, log_evidence
from lowerbound.model import Joint, LatentVariableModel
from lowerbound.protocols import Context, Latents

__all__ = ["prior_evidence"]


@cited("sohn2015learning")
def prior_evidence(
    model: LatentVariableModel,
    x: Float[Tensor, "batch *event"],
    *,
    num_samples: int = 1000,
    context: Context | None = None,
    seed: int = 0,
    max_elements: int = 2**20,
    progress: Callable[[int, int], None] | None = None,
) -> Evidence:
    """Estimate log p(x | c), or log p(x), of each datum from num_samples draws from the prior.

    Arguments:
        model: of which the prior and the likelihood are used.
        x: data in the form the model was trained on, on the device of the model.
        num_samples: S, exactly as many as are drawn for each datum.
        context: of the model, one row for each datum.
        seed: of the samples; the caller's random state is untouched.
        max_elements: numbers in one slice of decoder output (see `log_evidence`).
        progress: called after each block of data with the rows done and their total.

    Returns:
        Like `log_evidence`, nats: in expectation a lower bound of log p(x | c). Its `elbo` is the mean of log p(x | z,
        c) over the samples.

    Raises:
        ValueError: no data, no samples, or a context of another length.
    """
    check_rows(model, x, context, num_samples, owner="prior_evidence")
    return log_evidence(
        _FromPrior(model),
        x,
        num_samples=num_samples,
        context=context,
        seed=seed,
        max_elements=max_elements,
        progress=progress,
    )


class _FromPrior(LatentVariableModel):
    """The same model with p(z | c) as its q(z | x, c)."""

    def __init__(self, model: LatentVariableModel):
        super().__init__(prior=model.prior, likelihood=model.likelihood, posterior=model.posterior)
        self._model = model

    def infer(self, x: Tensor, context: Context | None = None) -> Distribution:
        """p(z | c), with a row for each datum."""
        prior = self._model.joint(x, context).prior
        return prior if prior.batch_shape else _ForEachRow(prior, len(x))

    def joint(self, x: Tensor, context: Context | None = None) -> Joint:
        """That of the model."""
        return self._model.joint(x, context)


class _ForEachRow(Distribution):
    """A prior without batch axes, drawn anew for each of B data: not every prior can be expanded."""

    arg_constraints: ClassVar[dict[str, Any]] = {}
    has_rsample = False

    def __init__(self, prior: Distribution, num_rows: int):
        self._prior = prior
        super().__init__(torch.Size((num_rows,)), prior.event_shape, validate_args=False)

    def sample(self, sample_shape: _size = torch.Size()) -> Any:  # noqa: B008
        """(*sample_shape, B, *event)."""
        return self._prior.sample(torch.Size(sample_shape) + self.batch_shape)

    def log_prob(self, value: Latents) -> Tensor:
        """Nats, for any leading axes."""
        return self._prior.log_prob(value)  # type: ignore[arg-type]  # a hierarchy takes its tuple of latents
