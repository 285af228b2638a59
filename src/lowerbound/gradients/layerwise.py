"""Estimators of one discrete layer on chains of them, level by level.

With layers b_1, …, b_L numbered here in the order in which q draws them, and a linear objective E[f(b_1, …, b_L)],

    ∇_φ E_q[f] = Σ_l E_{b_<l}[ ∂a_l/∂φ · ∇_{a_l} E_{b_l ~ Bernoulli(a_l)} E_{b_>l}[f] ],        a_l = a_l(b_<l, x)

so that each level is a problem of one layer (Dong, Mnih & Tucker 2020, arXiv:2006.10680, §5.3; Tucker et al. 2017,
arXiv:1703.07370, §3.3): the layers before it are held fixed, those after it are drawn again for each value that the
estimator tries. The estimator of one layer is used as it is. It is asked for its gradient along the logits alone,
which is then attached to a_l. Value and θ's gradient are those of one draw of the whole chain. A step costs the
evaluations of one layer for each level, and one more.

For a relaxed control variate (REBAR, RELAX) the layers after the level are relaxed too, at the same temperature and
with noise of their own: then it is a smooth function of the relaxed layer, whose bits it never sees, and the estimator
stays unbiased.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias, cast

import torch
from jaxtyping import Float
from torch import Tensor
from torch.distributions import Distribution, Independent

from lowerbound.chain import StateChain
from lowerbound.gradients.discrete import Discrete, along_logits, discrete_of
from lowerbound.gradients.surrogate import attached
from lowerbound.protocols import Estimate, JointDensity, Latents, Objective
from lowerbound.walk import Walk
from lowerbound.weights import weigh

__all__ = [
    "LayerJoint",
    "OneLayer",
    "check_layers",
    "check_sampled",
    "layers_of",
    "layerwise_estimate",
    "log_q_without_score",
    "values_from_noise",
    "with_fixed_logits",
]

OneLayer: TypeAlias = Callable[[Distribution, "LayerJoint"], Estimate]
"""From q(b_l | b_<l, x) of all draws, as rows, and the joint of its values, to an estimate with a value per row."""


@dataclass(frozen=True)
class LayerJoint:
    """b_l ↦ log p(x, b) − Σ_{k ≠ l} log q(b_k | b_<k, x), the layers b_>l drawn from q given b_l.

    Rows are the draws of b_<l for every datum, S · B of them.

    Attributes:
        chain: q.
        whole: z ↦ log p(x, z).
        before: the layers that are drawn before, (S, B, *event) each.
        temperature: at which later layers are relaxed; None draws their values.
    """

    chain: StateChain
    whole: JointDensity
    before: tuple[Tensor, ...]
    temperature: Tensor | None = None

    @property
    def prior(self) -> Distribution:
        """That of the chain, which no closed form of one layer can use."""
        return self.whole.prior

    @property
    def x(self) -> Tensor:
        """The batch."""
        return self.whole.x

    def rows_of_x(self, rows: int) -> Tensor:
        """The datum of each of S · B rows, (rows, *event_shape)."""
        return self.x.expand(rows // len(self.x), *self.x.shape).flatten(0, 1)

    def layers_before(self) -> list[Tensor]:
        """The layers that are drawn before, as rows (S · B, *event)."""
        return [b.flatten(0, 1) for b in self.before]

    def relaxed(self, temperature: Tensor) -> LayerJoint:
        """The same for relaxed values, with relaxed later layers."""
        return LayerJoint(self.chain, self.whole, self.before, temperature)

    def __call__(self, z: Latents) -> tuple[Tensor, Tensor]:
        """Of values (n, S · B, *event) the terms log p(x | z) and the rest, each (n, S · B) in nats."""
        assert isinstance(z, Tensor)
        level, draws, event = len(self.before), len(z), z.shape[2:]
        batch = self.chain.batch_shape[0]
        own = z.reshape(-1, batch, *event)
        copies = [b.expand(draws, *b.shape).reshape(-1, *b.shape[1:]) for b in self.before]

        def value_of(layer: int, q: Distribution) -> Tensor:
            if layer <= level:
                return own if layer == level else copies[layer]
            if self.temperature is None:
                return q.sample()
            family, logits = discrete_of(q, "A relaxed control variate")
            return family.soften(family.draw(logits, 1)[0], self.temperature)

        walk = self.chain.walk_by(value_of)
        log_likelihood, log_prior = self.whole(walk.z)
        order = self.chain.drawing_order()
        rest = log_prior
        for number, i in enumerate(order):
            if number != level:
                rest = rest - walk.given[i].log_prob(walk.z[i])
        return log_likelihood.reshape(draws, -1), rest.reshape(draws, -1)


def layerwise_estimate(
    one_layer: OneLayer,
    objective: Objective,
    chain: StateChain,
    joint: JointDensity,
    num_draws: int,
    parameters: Sequence[Tensor] = (),
    *,
    owner: str,
) -> Estimate:
    """The surrogate of a chain of discrete layers.

    Arguments:
        one_layer: the estimator of one layer.
        objective: linear, with a sampled rate.
        chain: q(z | x).
        joint: z ↦ log p(x, z).
        num_draws: S, draws of the chain.
        parameters: those of the estimator, which learn from every level.
        owner: the estimator, for messages.
    """
    z = chain.sample((num_draws,))
    layers = chain.layers_at(z)
    log_q = cast(Tensor, sum(layer.log_prob(b) for layer, b in zip(layers, z, strict=True)))
    w = weigh(chain, joint, z, rate=objective.rate, log_q=log_q.detach())
    value = objective.reduce(objective.signal(w))
    if not torch.is_grad_enabled():
        return Estimate(surrogate=value, weights=w)
    drawn = [(z[i], layers[i]) for i in chain.drawing_order()]
    free = [p for p in parameters if p.requires_grad]
    zeros: list[Tensor] = []
    for level, (b, q) in enumerate(drawn):
        before = tuple(earlier for earlier, _ in drawn[:level])
        zeros.append(_of_level(one_layer, LayerJoint(chain, joint, before), q, b, free, owner))
    return Estimate(surrogate=value + torch.stack(zeros).sum(0), weights=w)


def _of_level(
    one_layer: OneLayer, joint: LayerJoint, q: Distribution, b: Tensor, parameters: Sequence[Tensor], owner: str
) -> Float[Tensor, "batch"]:
    """Zero, whose gradient is that of the level for its logits and for the parameters of the estimator."""
    family, own = discrete_of(q, owner)
    lead = b.shape[:2]
    logits = own.expand(*lead, *own.shape[-(b.ndim - 2) :]).flatten(0, 1)
    a = logits.detach().requires_grad_()
    total = one_layer(family.distribution(a), joint).surrogate.mean()
    along_a, *along_own = torch.autograd.grad(total, [a, *parameters], retain_graph=True, materialize_grads=True)
    zero = along_logits(logits, len(logits) * along_a).unflatten(0, lead).mean(0)
    return zero + attached(parameters, along_own) if parameters else zero


def layers_of(posterior: Distribution, owner: str, *, bits_only: bool = False) -> list[tuple[Discrete, Tensor]]:
    """The family and the logits of each layer of a chain, at one draw.

    Raises:
        ValueError: a layer is not a product of Bernoulli or (unless bits_only) categorical latents.
    """
    assert isinstance(posterior, StateChain)
    return [discrete_of(layer, owner, bits_only=bits_only) for layer in posterior.layers_at(posterior.sample())]


def check_layers(objective: Objective, posterior: Distribution, owner: str, *, bits_only: bool = False) -> None:
    """Refuse what cannot be taken level by level.

    Raises:
        ValueError: an objective that is no mean of sampled log w, or a layer that is not discrete.
    """
    layers_of(posterior, owner, bits_only=bits_only)
    if not objective.linear or objective.rate != "sampled":
        raise ValueError(
            f"{owner} takes several layers level by level, for objectives that are linear in a sampled log w, and got "
            f"{objective}; use ELBO() or BetaELBO() with rate='sampled', or ScoreFunction()."
        )


def check_sampled(objective: Objective, posterior: Distribution, owner: str) -> None:
    """Refuse layers that are not discrete, and closed forms of the rate, which a walk along values does not have.

    Raises:
        ValueError: there is such a layer, or such a rate.
    """
    layers_of(posterior, owner)
    if objective.rate != "sampled":
        raise ValueError(f"{owner} scores several layers at their values and got {objective}; use rate='sampled'.")


def values_from_noise(
    num_draws: int, choose: Callable[[Discrete, Tensor, Tensor], Tensor], owner: str
) -> Callable[[int, Distribution], Tensor]:
    """What gives each layer of a walk its value from noise, which is drawn once and used again in later walks.

    Arguments:
        num_draws: S.
        choose: from the family of a layer, its logits and its continuous variable (S, B, *event) to its value.
        owner: the estimator, for messages.
    """
    noise: list[Tensor] = []

    def value_of(layer: int, q: Distribution) -> Tensor:
        family, logits = discrete_of(q, owner)
        if layer == len(noise):
            still = torch.zeros_like(logits)
            noise.append(family.draw(still, num_draws) if layer == 0 else family.draw(still, 1)[0])
        return choose(family, logits, logits + noise[layer])

    return value_of


def log_q_without_score(objective: Objective, walk: Walk, owner: str) -> Float[Tensor, "sample batch"]:
    """log q of the values of a walk, Σ_l log q(b_l | b_<l, x), as a function of the values alone where the gradient
    along the logits would be noise of expectation zero.
    """
    layers = walk.given
    if objective.linear and objective.rate == "sampled":  # as `discrete.q_without_score`
        layers = tuple(with_fixed_logits(layer, owner) for layer in layers)
    terms = [layer.log_prob(b) for b, layer in zip(walk.z, layers, strict=True)]
    return cast(Tensor, sum(terms[1:], terms[0]))


def with_fixed_logits(layer: Distribution, owner: str) -> Distribution:
    """A layer whose log-probability is a function of its value alone, also of a relaxed value."""
    family, logits = discrete_of(layer, owner)
    factors = cast(Independent, family.distribution(logits.detach())).base_dist
    return Independent(factors, cast(Independent, layer).reinterpreted_batch_ndims, validate_args=False)
