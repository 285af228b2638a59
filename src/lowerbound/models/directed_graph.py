"""Any directed acyclic graph of variables, as conditionals and their distributions.

    p(v_1, …, v_n) = Π_i p(v_i | parents of v_i)          (Kingma & Welling 2019, arXiv:1906.02691, eq. 1.13)

where each conditional is a neural network of the parents. For any set A of the variables, with the others fixed,

    p_A(v_A) = Π_{i ∈ A} p(v_i | parents of v_i)

is normalised over v_A and sampled in topological order, with the parents outside A as constants. If A is the set of
latent variables this is the prior, if A is the set of observed variables it is the likelihood, and the posterior q(z |
x) is a graph over the latent variables with x outside. One class therefore serves all three.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from graphlib import CycleError, TopologicalSorter
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.distributions import Distribution, constraints

from lowerbound.protocols import Conditional, Context, Latents
from lowerbound.randomness import forked
from lowerbound.shown import shown

__all__ = ["Directed", "DirectedDistribution", "DirectedPosterior", "Node", "draw_from", "ordered", "require_event"]

SampleShape = torch.Size | tuple[int, ...] | list[int]


class Node:
    """One variable of a graph.

    Arguments:
        name: of the variable.
        conditional: p(variable | parents). It is called with None if there are no parents, with the value of the one
            parent, or with the tuple of the values of several, in the order given here.
        parents: their names. "context" is what a model is given as `context=`.

    Raises:
        ValueError: a name that cannot be used, or no conditional.
    """

    def __init__(self, name: str, conditional: Conditional, *parents: str):
        if not name.isidentifier() or name == "context" or hasattr(nn.ModuleDict, name):
            raise ValueError(f"A variable is named {name!r}, which cannot be used; choose a plain word such as 'z1'.")
        if not callable(conditional):
            raise ValueError(
                f"The variable {name!r} has no conditional (got {conditional!r}); give it a module that returns a "
                "distribution, such as priors.StandardNormal(2)."
            )
        self.name, self.conditional, self.parents = name, conditional, parents

    def given(self, values: Mapping[str, Tensor]) -> Distribution:
        """p(variable | parents) at the values of the parents."""
        missing = [parent for parent in self.parents if parent not in values]
        if missing:
            raise ValueError(f"{self} needs a value of {', '.join(missing)} and got none; pass it.")
        context = tuple(values[parent] for parent in self.parents)
        if len(context) > 1:
            return self.conditional(context)
        return self.conditional(context[0] if context else None)

    def __str__(self) -> str:
        return f"p({self.name} | {', '.join(self.parents)})" if self.parents else f"p({self.name})"


def ordered(nodes: Sequence[Node], outside: Iterable[str] = ()) -> list[Node]:
    """The nodes with every parent before its children.

    Arguments:
        nodes: in any order.
        outside: names of parents that are no variables of the graph.

    Raises:
        ValueError: a name that is used twice, an unknown parent, or a cycle.

    >>> sampler = lambda context: None
    >>> [node.name for node in ordered([Node("x", sampler, "z"), Node("z", sampler)])]
    ['z', 'x']
    """
    by_name = {node.name: node for node in nodes}
    outside = set(outside)
    if len(by_name) < len(nodes) or outside & by_name.keys():
        names = sorted([*(node.name for node in nodes), *outside])
        twice = next(name for i, name in enumerate(names) if name in names[:i])
        raise ValueError(f"The variable {twice!r} is there twice; give every variable a name of its own.")
    for node in nodes:
        for parent in node.parents:
            if parent not in by_name and parent not in outside:
                known = ", ".join([*by_name, *sorted(outside)])
                raise ValueError(f"{node} has the unknown parent {parent!r}; known are {known}: add a Node for it.")
    inside = {node.name: [parent for parent in node.parents if parent in by_name] for node in nodes}
    try:
        return [by_name[name] for name in TopologicalSorter(inside).static_order()]
    except CycleError as error:
        cycle = " → ".join(error.args[1])
        raise ValueError(f"The graph has the cycle {cycle}; take one of its arrows out.") from None


def draw_from(p: Distribution, shape: SampleShape, *, reparameterised: bool = False) -> Tensor:
    """A draw (*shape, *event) of a distribution whose batch shape is the end of `shape`."""
    extra = torch.Size(shape[: len(shape) - len(p.batch_shape)])
    return p.rsample(extra) if reparameterised else p.sample(extra)


class Directed(nn.Module):
    """Some variables of a graph, given those outside.

    Arguments:
        nodes: the variables, every parent before its children (see `ordered`).
        names: of the same variables, in the order in which their values form a tuple.
        arguments: the names of the tensors that this module is called with, one after another.

    Returns (when called with values of the arguments):
        A distribution over the tuple of values; over the value itself if there is one variable.
    """

    def __init__(self, nodes: Sequence[Node], names: Sequence[str], arguments: Sequence[str]):
        super().__init__()
        self.nodes, self.names, self.arguments = list(nodes), tuple(names), tuple(arguments)
        modules = {node.name: node.conditional for node in nodes if isinstance(node.conditional, nn.Module)}
        self.conditionals = nn.ModuleDict(modules)
        self.tried: _Facts | None = None

    def forward(self, context: Context | None = None) -> Distribution:
        """The distribution given the values of the arguments; the last ones may be left out."""
        return self.given(self.named(context))

    def named(self, context: Context | None) -> dict[str, Tensor]:
        """The tensors that a conditional is called with, by their names."""
        parts = () if context is None else context if isinstance(context, tuple) else (context,)
        if len(parts) > len(self.arguments):
            raise ValueError(
                f"The graph of {', '.join(self.names)} got {len(parts)} tensors and takes {len(self.arguments)} "
                f"({', '.join(self.arguments)}); leave the others out."
            )
        return dict(zip(self.arguments, parts, strict=False))

    def given(self, values: Mapping[str, Tensor], batch_shape: SampleShape = ()) -> Distribution:
        """The distribution given values of variables outside, each (..., *event).

        Arguments:
            values: by name; values that are no parents are ignored.
            batch_shape: the least batch shape, for graphs in which no variable depends on the values.

        Raises:
            ValueError: a value that is needed is missing.
        """
        if len(self.nodes) == 1:
            p = self.nodes[0].given(values)
            return p if len(p.batch_shape) >= len(batch_shape) else p.expand(torch.Size(batch_shape))
        return DirectedDistribution(self, values, batch_shape)


class DirectedPosterior(Directed):
    """q(z | x) = Π_i q(z_i | parents of z_i), where parents are other latents, "x" or "context".

    Arguments:
        nodes: one for each latent variable of a `DirectedModel`, in the order of that model.

    Returns (when called with x of B rows):
        A distribution over the tuple of latents, of batch shape (B,); over the latent itself if there is one. It has
        `rsample` if every conditional has.

    Raises:
        ValueError: what `ordered` refuses.
    """

    def __init__(self, nodes: Sequence[Node]):
        super().__init__(ordered(nodes, ("x", "context")), [node.name for node in nodes], ("x", "context"))

    def forward(self, context: Context | None = None) -> Distribution:
        """q(z | x), or q(z | x, c)."""
        values = self.named(context)
        return self.given(values, values["x"].shape[:1] if "x" in values else ())


class _Facts(NamedTuple):
    """What is the same for all values of the parents."""

    reparameterised: bool
    discrete: tuple[bool | None, ...]
    size: int


class DirectedDistribution(Distribution):
    """Π_i p(v_i | parents of v_i) over a tuple of values; made by `Directed`.

    Conditionals whose parents are all outside are computed once, the others when their parents are known.

    Arguments:
        graph: the variables.
        values: of the variables outside.
        batch_shape: the least batch shape.
    """

    arg_constraints = {}  # noqa: RUF012  # pyright: ignore[reportAssignmentType]

    def __init__(self, graph: Directed, values: Mapping[str, Tensor], batch_shape: SampleShape = ()):
        self.graph, self.values, inside = graph, dict(values), set(graph.names)
        self._ready = {node.name: node.given(values) for node in graph.nodes if not inside & set(node.parents)}
        shapes = [p.batch_shape for p in self._ready.values()]
        super().__init__(torch.broadcast_shapes(tuple(batch_shape), *shapes), validate_args=False)

    @property
    def has_rsample(self) -> bool:  # pyright: ignore[reportIncompatibleVariableOverride]
        """Whether every conditional has."""
        return self._facts.reparameterised

    @property
    def event_shape(self) -> torch.Size:
        """(numbers in all values together,)."""
        return torch.Size((self._facts.size,))

    @property
    def support(self) -> constraints.Constraint:
        """The support: tuples of discrete values or of continuous ones; for a mixture of both it is not stated."""
        kinds = set(self._facts.discrete)
        if len(kinds) != 1 or None in kinds:
            raise NotImplementedError("The support of a graph is stated if all of its variables are of one kind.")
        return _Tuples(discrete=True in kinds)

    @property
    def mean(self) -> tuple[Tensor, ...]:  # pyright: ignore[reportIncompatibleMethodOverride]
        """The mean of every variable, where none depends on another."""
        return self._each(lambda p: p.mean)

    def shown_parts(self) -> tuple[Tensor, ...]:
        """What is shown of every variable (`shown`), if none depends on another."""
        return self._each(lambda p: shown(p).values)

    def _each(self, value: Callable[[Distribution], Tensor]) -> tuple[Tensor, ...]:
        if len(self._ready) < len(self.graph.nodes):
            raise NotImplementedError("Variables that depend on one another have no mean in closed form; draw samples.")
        ready = [self._ready[name] for name in self.graph.names]
        return tuple(value(p).expand(self.batch_shape + p.event_shape) for p in ready)

    def log_prob(self, value: Latents) -> Tensor:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Σ_i log p(v_i | parents of v_i) of a tuple of values (..., *event): (...), nats."""
        parts = value if isinstance(value, tuple) else (value,)
        if len(parts) != len(self.graph.names):
            names = ", ".join(self.graph.names)
            raise ValueError(f"The graph of {names} got {len(parts)} values and expected {len(self.graph.names)}.")
        values = {**self.values, **dict(zip(self.graph.names, parts, strict=True))}
        total = torch.zeros((), dtype=parts[0].dtype if parts[0].is_floating_point() else None, device=parts[0].device)
        for node in self.graph.nodes:
            p = self._conditional(node, values)
            require_event(p, node.name, values[node.name])
            total = total + p.log_prob(values[node.name])
        return total

    def sample(self, sample_shape: SampleShape = ()) -> tuple[Tensor, ...]:  # pyright: ignore[reportIncompatibleMethodOverride]
        """A tuple of values (*sample_shape, *batch, *event), as constants."""
        with torch.no_grad():
            return self._draw(sample_shape, reparameterised=False)

    def rsample(self, sample_shape: SampleShape = ()) -> tuple[Tensor, ...]:  # pyright: ignore[reportIncompatibleMethodOverride]
        """A tuple of values, differentiable along every arrow."""
        if not self.has_rsample:
            raise NotImplementedError("One of the variables has no rsample; use sample.")
        return self._draw(sample_shape, reparameterised=True)

    def _draw(self, sample_shape: SampleShape, *, reparameterised: bool) -> tuple[Tensor, ...]:
        shape, values = torch.Size(sample_shape) + self.batch_shape, dict(self.values)
        for node in self.graph.nodes:
            values[node.name] = draw_from(self._conditional(node, values), shape, reparameterised=reparameterised)
        return tuple(values[name] for name in self.graph.names)

    def _conditional(self, node: Node, values: Mapping[str, Tensor]) -> Distribution:
        return self._ready[node.name] if node.name in self._ready else node.given(values)

    @property
    def _facts(self) -> _Facts:
        """Found by one draw, once for a graph."""
        if self.graph.tried is None:
            device = next((value.device for value in self.values.values()), torch.device("cpu"))
            with torch.no_grad(), forked(device, 0):
                self.graph.tried = self._trial()
        return self.graph.tried

    def _trial(self) -> _Facts:
        values, reparameterised, discrete, size = dict(self.values), [], [], 0
        for node in self.graph.nodes:
            p = self._conditional(node, values)
            values[node.name] = draw_from(p, self.batch_shape)
            reparameterised.append(p.has_rsample)
            discrete.append(_is_discrete(p))
            size += p.event_shape.numel()
        return _Facts(all(reparameterised), tuple(discrete), size)


class _Tuples(constraints.Constraint):
    """Tuples of values of one kind."""

    def __init__(self, *, discrete: bool):
        self.is_discrete = discrete  # pyright: ignore[reportAttributeAccessIssue]


def _is_discrete(p: Distribution) -> bool | None:
    try:
        support = p.support
    except NotImplementedError:
        return None
    return None if support is None else bool(support.is_discrete)


def require_event(p: Distribution, name: str, value: Tensor) -> None:
    """Raise a `ValueError` unless the value has the form of one variable, or of the several variables, of p."""
    event = tuple(p.event_shape)
    if tuple(value.shape[value.ndim - len(event) :]) != event:
        raise ValueError(
            f"{name} has shape {tuple(value.shape)} and its conditional is over (..., {', '.join(map(str, event))}); "
            "give values of that shape."
        )
