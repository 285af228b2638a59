"""q(z | x) down a path of the prior (Child 2021, arXiv:2011.10650; Vahdat & Kautz 2020, arXiv:2007.03898, §3.2).

    z_l ~ q(z_l | h_l, a_l(x))        h_l the state of the prior, a_l(x) features of the datum for this group

The states are those of p, which advances them; q adds only its groups and the net of the datum. There are three
families, which differ in their use of q̂ = q̂(z_l | h_l, a_l):

    free        q = q̂                                                          (Child 2021)
    merged      q ∝ p(z_l | h_l) q̂: `MergedNormal`                             (the ladder)
    residual    q = N(μ_p + σ_p μ̂, (σ_p σ̂)²) of p = N(μ_p, σ_p²): `residual`   (after Vahdat & Kautz 2020)
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, ClassVar, TypeAlias, cast

from torch import Tensor, nn
from torch.distributions import Distribution, Independent, Normal

from lowerbound.chain import StateChain
from lowerbound.hooks import EndsInState
from lowerbound.posteriors.top_down import TopDownChain, normal_of, without_data
from lowerbound.protocols import Conditional, Context
from lowerbound.walk import State

__all__ = ["Merge", "TopDownPath", "residual"]

Merge: TypeAlias = Callable[[Distribution, Distribution], Distribution]
"""Combine p(z_l | h_l) and q̂(z_l | h_l, a_l) to q(z_l | h_l, x)."""


class TopDownPath(nn.Module):
    """The posterior of a `priors.Path`.

    Arguments:
        prior: the prior of the model. The posterior refers to it and does not own it: the model lists, saves, moves and
            freezes its parameters.
        encoder: from x, or (x, c), to the a_l: one tensor (B, *features) that all groups read, or a tuple of one for
            each group in the order of drawing (a pyramid).
        groups: q̂ of each group in the order of drawing, conditionals that are called with (h_l, a_l), such as a
            `DiagonalNormal` whose net takes two inputs; where the state is a tuple, with (*h_l, a_l).
        merge: how q combines p(z_l | h_l) and q̂; None takes q̂ alone.

    Returns (when called with a context of B rows):
        A `TopDownChain` over (z_1, …, z_L) with batch shape (B,), z_1 nearest to the data, drawn last.

    Raises:
        ValueError: (when called) a prior that is no path, or with another number of groups, or another number of a_l.
    """

    cites: ClassVar[tuple[str, ...]] = ("child2021very", "vahdat2020nvae")

    by_name: ClassVar[bool] = False  # made of other parts, in Python

    def __init__(
        self, prior: Conditional, encoder: nn.Module, groups: Sequence[Conditional], merge: Merge | None = None
    ):
        super().__init__()
        # Into __dict__, or nn.Module would register it and list its parameters a second time.
        self.__dict__["_prior"] = prior
        self.encoder, self.merge = encoder, merge
        self.groups = nn.ModuleList(cast(Sequence[nn.Module], groups))

    @property
    def works(self) -> tuple[str, ...]:
        """The residual posterior only where it is chosen."""
        return self.cites if self.merge is residual else self.cites[:1]

    def forward(self, context: Context) -> TopDownChain:
        """q(z | context)."""
        inputs = context if isinstance(context, tuple) else (context,)
        prior = self.__dict__["_prior"](without_data(context))
        if not (isinstance(prior, StateChain) and isinstance(prior, EndsInState)):
            raise ValueError(f"TopDownPath needs a priors.Path and got a prior of {type(prior).__name__}.")
        said = self.encoder(*inputs)
        every = said if isinstance(said, tuple) else (said,) * len(self.groups)
        if not len(prior.steps) == len(self.groups) == len(every):
            raise ValueError(
                f"TopDownPath has {len(self.groups)} groups, its prior {len(prior.steps)}, and its encoder gave "
                f"{len(every)} tensors; give one of each for every group."
            )
        steps = [_Seen(cast(Conditional, group), a, self.merge) for group, a in zip(self.groups, every, strict=True)]
        return TopDownChain(prior, steps, batch_shape=inputs[0].shape[:1])


def residual(prior: Distribution, evidence: Distribution) -> Independent:
    """N(μ_p + σ_p μ̂, (σ_p σ̂)²): mean and scale relative to the prior of the group.

    KL(q ‖ p) = ½ Σ (μ̂² + σ̂² − 2 log σ̂ − 1) then depends on p only through the state: when the prior moves, q moves
    with it.

    Raises:
        ValueError: one of them is not a diagonal Gaussian.
    """
    p, e = normal_of(prior), normal_of(evidence)
    q = Normal(p.loc + p.scale * e.loc, p.scale * e.scale, validate_args=False)
    return Independent(q, len(prior.event_shape), validate_args=False)


class _Seen:
    """q(z_l | h_l, a_l) of one datum. See `top_down.PosteriorStep`."""

    def __init__(self, conditional: Conditional, said: Tensor, merge: Merge | None):
        self.conditional, self.said, self.merge = conditional, said, merge

    def at(self, p: Distribution, state: State, own: State) -> tuple[Distribution, None]:
        parts = state if isinstance(state, tuple) else (state,)
        q = self.conditional((*parts, self.said))
        return (q if self.merge is None else self.merge(p, q)), None

    def advance(self, own: State, carry: Any, z: Tensor) -> State:
        return own
