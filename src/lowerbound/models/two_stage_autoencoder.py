"""Two stages: a variational autoencoder under a standard normal, then a prior fitted to its codes (Dai & Wipf 2019,
arXiv:1903.05789).

    first stage     x → q(z | x) → p(x | z),  with p(z) = N(z; 0, I)
    second stage    p(z) of an affine flow, of flow matching (Lipman et al. 2022, arXiv:2210.02747) or another, fitted
                    to draws of q

Encoder and decoder rest in the second stage. The bound of held-out rows rises by what the fitted prior
gains in log p(z) over the standard normal, and fewer draws fall into holes between the codes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn

from lowerbound import priors
from lowerbound.losses import Loss, PriorAlone
from lowerbound.model import LatentVariableModel
from lowerbound.models.parts import Activation
from lowerbound.models.recipe import Finish, Recipe, Stage, check_passes
from lowerbound.models.variational_autoencoder import Network, vae
from lowerbound.priors import AfterTraining, StandardNormal
from lowerbound.priors.two_stage import InitializedFromLatents
from lowerbound.spelling import construct

__all__ = ["RECIPE", "two_stage"]

_ROWS_TO_SCORE = 1000


def two_stage(
    event_shape: Sequence[int],
    *,
    latent_dim: int = 16,
    prior: str = "flow-prior:kind=affine",
    likelihood: str | nn.Module = "bernoulli",
    posterior: str | nn.Module = "diagonal-normal",
    network: Network = "mlp",
    hidden: Sequence[int] | None = None,
    activation: Activation = "relu",
    prior_epochs: int = 100,
    prior_patience: int = 10,
) -> LatentVariableModel:
    """The model of `vae`, whose prior is a standard normal until its own is fitted.

    Arguments:
        event_shape: shape of one datum.
        latent_dim: length of z.
        prior: of the second stage, by name: "flow-prior", "flow-matching" (at a learning rate of its own),
            "mixture-normal".
        likelihood: as for `vae`.
        posterior: as for `vae`.
        network: as for `vae`.
        hidden: as for `vae`.
        activation: nonlinearity.
        prior_epochs: passes of the second stage, at most; 0 leaves it out.
        prior_patience: evaluations, one an epoch, without a better held-out bound before it stops.

    Raises:
        ValueError: an unknown name or option, or a prior that does not learn from latents alone.

    >>> two_stage((8, 8), latent_dim=2, hidden=[32]).sample(5).shape
    torch.Size([5, 8, 8])
    """
    check_passes(prior_epochs, prior_patience)
    second = construct(priors, prior, latent_dim=latent_dim, latent_shape=latent_dim)
    if not any(parameter.requires_grad for parameter in second.parameters()):
        raise ValueError(f"two-stage got prior={prior!r}, which learns nothing; take flow-prior, or the recipe vae.")
    return vae(
        event_shape,
        latent_dim=latent_dim,
        prior=AfterTraining(second, before=StandardNormal(latent_dim)),
        likelihood=likelihood,
        posterior=posterior,
        network=network,
        hidden=hidden,
        activation=activation,
    )


def _finish(loss: Loss, x: Tensor, options: Mapping[str, Any]) -> Stage:
    """The second stage: the prior starts at the codes of some rows, or as another fit left it."""
    prior = cast(AfterTraining, loss.model.prior)
    if not prior.is_fitted and isinstance(prior.prior, InitializedFromLatents):
        with torch.no_grad():
            prior.prior.initialize_from_latents(loss.model.infer(x).sample())
    second = PriorAlone(loss.model, x[:_ROWS_TO_SCORE])
    return Stage(
        loss=second,
        patience=options["prior_patience"],
        conclude=prior.conclude,
        course=second.of_length,
    )


RECIPE = Recipe(
    name="two-stage",
    cites=("dai2019diagnosing",),
    make=two_stage,
    defaults={"objective": "elbo"},  # whose one draw of q is that of the second stage
    finish=Finish(make=_finish, epochs="prior_epochs", part="prior"),
)
