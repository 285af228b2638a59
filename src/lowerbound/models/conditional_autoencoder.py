"""The conditional variational autoencoder (Sohn, Lee & Yan 2015, NeurIPS 28, eqs. 4–5).

    p(x, z | c) = p(z | c) p(x | z, c)                                q(z | x, c)
    log p(x | c) ≥ E_q[log p(x | z, c)] − KL(q(z | x, c) ‖ p(z | c))

Three nets: the prior network p(z | c) = N(z; μ(c), diag σ(c)²), the generation network p(x | z, c) and the recognition
network q(z | x, c). (The paper calls the condition x and the output y.) With z independent of c the prior is N(0, I),
which is enough where c says little about the variation of x, as a class label does. The condition is one tensor for
each
datum: a one-hot label, covariates, or the observed part of an image whose missing part is x.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

from torch import Tensor
from torch.distributions import Distribution

from lowerbound import likelihoods, posteriors
from lowerbound.model import Joint, LatentVariableModel
from lowerbound.models.parts import Activation, nonlinearity, outputs_of, seen_by, view_of
from lowerbound.models.real_vectors import require_real_vectors
from lowerbound.models.recipe import Recipe
from lowerbound.nets import MLP
from lowerbound.posteriors import DiagonalNormal
from lowerbound.priors import StandardNormal
from lowerbound.protocols import Conditional, Context, Latents
from lowerbound.spelling import construct

__all__ = ["RECIPE", "ConditionalModel", "cvae"]


class ConditionalModel(LatentVariableModel):
    """A model that needs its condition, and refuses a missing one or one of another shape.

    Arguments:
        prior: p(z | c), or p(z).
        likelihood: p(x | z, c).
        posterior: q(z | x, c).
        context_shape: shape of the condition of one datum.

    Raises:
        ValueError: (when used) a context that is not one tensor (B, *context_shape).
    """

    def __init__(
        self, *, prior: Conditional, likelihood: Conditional, posterior: Conditional, context_shape: Sequence[int]
    ):
        super().__init__(prior=prior, likelihood=likelihood, posterior=posterior)
        self.context_shape = tuple(context_shape)

    def infer(self, x: Tensor, context: Context | None = None) -> Distribution:
        """q(z | x, c) for a batch x (B, *event) and c (B, *context_shape)."""
        return super().infer(x, self._condition(context, len(x)))

    def joint(self, x: Tensor, context: Context | None = None) -> Joint:
        """z ↦ (log p(x | z, c), log p(z | c)) for a batch x (B, *event) and c (B, *context_shape)."""
        return super().joint(x, self._condition(context, len(x)))

    def decode(self, z: Latents, context: Context | None = None) -> Distribution:
        """p(x | z, c) for latents z (..., B, latent_dim) and c (B, *context_shape)."""
        return super().decode(z, self._condition(context))

    def _generated(self, num_samples: int, context: Context | None) -> Distribution:
        return super()._generated(num_samples, self._condition(context))

    def _condition(self, context: Context | None, num_rows: int | None = None) -> Tensor:
        expected = f"(B, {', '.join(map(str, self.context_shape))})"
        remedy = f"give context= as one tensor of shape {expected}, a row for each datum (labels one-hot, as floats)."
        if not isinstance(context, Tensor):
            got = "no context" if context is None else f"a context of {len(context)} tensors"
            raise ValueError(f"This model is conditional and got {got}; {remedy}")
        if context.shape[1:] != self.context_shape or not context.is_floating_point():
            raise ValueError(f"This model got a context of shape {tuple(context.shape)}, {context.dtype}; {remedy}")
        if num_rows is not None and len(context) != num_rows:
            raise ValueError(f"This model got {num_rows} rows of data and {len(context)} of context; {remedy}")
        return context


def cvae(
    event_shape: Sequence[int],
    *,
    num_classes: int | None = None,
    context_shape: Sequence[int] | None = None,
    latent_dim: int = 16,
    hidden: Sequence[int] = (256, 256),
    likelihood: str = "bernoulli",
    posterior: str = "diagonal-normal",
    prior_network: bool = True,
    activation: Activation = "relu",
) -> ConditionalModel:
    """A model of data given a condition. All nets have the same widths (mirrored in the generation network).

    Arguments:
        event_shape: shape of one datum x; where part of an image is observed, that of its missing part.
        num_classes: length of a one-hot label, if that is the condition; else give `context_shape`.
        context_shape: shape of the condition of one datum.
        latent_dim: length of z.
        hidden: widths of the hidden layers, from the data to z.
        likelihood: of `likelihoods` (see `spelling`).
        posterior: of `posteriors`, over real vectors.
        prior_network: whether p(z | c) is computed from c, or p(z) = N(0, I).
        activation: nonlinearity.

    Raises:
        ValueError: an unknown name or option, both conditions or neither, or latents that are not real vectors.

    >>> import torch
    >>> cvae((8, 8), num_classes=10, latent_dim=2, hidden=[32]).sample(5, torch.eye(10)).shape
    torch.Size([5, 10, 8, 8])
    """
    shape, given, widths = tuple(event_shape), _context_shape(num_classes, context_shape), tuple(hidden)
    if latent_dim < 1:
        raise ValueError(f"latent_dim is {latent_dim} and must be at least 1.")
    nonlinear = nonlinearity(activation)
    outputs = outputs_of(posteriors, posterior, latent_dim)
    recognition = seen_by(
        view_of(likelihood, shape), lambda seen: MLP([seen, given], widths, outputs, nonlinear), shape
    )
    q = construct(posteriors, posterior, net=recognition, latent_dim=latent_dim, latent_shape=latent_dim)
    require_real_vectors(q, shape, given, latent_dim, posterior)
    generation = MLP([(latent_dim,), given], widths[::-1], outputs_of(likelihoods, likelihood, shape), nonlinear)
    p = StandardNormal(latent_dim)
    if prior_network:
        p = DiagonalNormal(MLP(given, widths, DiagonalNormal.parameter_shape(latent_dim), nonlinear))
    return ConditionalModel(
        prior=p,
        likelihood=construct(likelihoods, likelihood, net=generation, event_shape=shape),
        posterior=q,
        context_shape=given,
    )


def _context_shape(num_classes: int | None, context_shape: Sequence[int] | None) -> tuple[int, ...]:
    if (num_classes is None) == (context_shape is None):
        raise ValueError(
            f"cvae got num_classes={num_classes} and context_shape={context_shape}; give exactly one: num_classes for "
            "one-hot labels, context_shape for any other condition."
        )
    given = (cast(int, num_classes),) if context_shape is None else tuple(context_shape)
    if not given or min(given) < 1:
        raise ValueError(f"The condition has shape {given}; expected at least one axis, each of length 1 or more.")
    return given


RECIPE = Recipe(name="cvae", cites=("sohn2015learning",), make=cvae, labels="context")
