"""Latent classes of tables with gaps and columns of any kind, as a latent variable model whose q(z | x) is exact.

    c ~ π                                                                                     z = (ζ, c), c one-hot
    real columns          x_r | ζ, c ~ N(b_c + W_c ζ, diag ψ_c),   ζ ~ N(0, I)                (log x_r if positive)
    classes               x_j | c ~ Cat(p_cj)                                                 ordered ones too
    counts                x_j | c ~ NB(mean m_cj, inverse dispersion r_cj), small ones a table p_cj

Latent class analysis (Lazarsfeld & Henry 1968) and its extension to mixed columns (Everitt 1988; Hunt & Jorgensen 1999,
2003) with a factor analyser for the real columns of each class. Given c the three lines are independent, so that
columns of classes and counts only add to log p(c, x_obs), and ζ has the posterior of a mixture of factor analysers
(`exact_mixture`). Missing entries (NaN) of any kind are integrated out. log w = log p(x_obs) for every draw: the ELBO,
every importance-weighted bound and log p(x) are one number. Without real columns z is c alone.

The likelihood is `likelihoods.Mixed`, whose net looks up the parameters of c. The start fits it by EM
(`linear.fit_stack`, in the units of the likelihood) and it needs no training.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import cast

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.distributions import Distribution, Normal

from lowerbound.data.transform import Standardize, Transform
from lowerbound.distributions.long_categorical import categorical_over, every_code, number_of
from lowerbound.likelihoods import Mixed
from lowerbound.likelihoods.columns import (
    CategoricalColumns,
    Columns,
    ContinuousColumns,
    HeteroscedasticCountColumns,
    PositiveColumns,
    SmallCountColumns,
)
from lowerbound.likelihoods.mixed import MixedDistribution, classes_by_column, kinds_of_columns, observed_log_prob
from lowerbound.likelihoods.negative_binomial import NegativeBinomialDistribution
from lowerbound.linear import (
    Candidate,
    FactorAnalysers,
    MixedRows,
    OtherColumns,
    OtherParameters,
    Resolution,
    fit_stack,
)
from lowerbound.linear.portfolio import joined
from lowerbound.losses import Loss
from lowerbound.model import LatentVariableModel
from lowerbound.models.exact_mixture import (
    ClustersAndFactors,
    Components,
    FactorsAt,
    SizedByFit,
    chain_of,
    inferred,
    matrix_of_each,
)
from lowerbound.models.recipe import Recipe
from lowerbound.protocols import Context

__all__ = ["RECIPE", "ClassPosterior", "ParametersOfClass", "latent_classes", "rows_of", "start_latent_classes"]

_STARTS = 10
_BLOCK = 2**22  # numbers of rows, components and columns at a time
_AS_GIVEN_CLASS = {"ordinal": "categorical", "count": "heteroscedastic-count"}


def latent_classes(
    event_shape: Sequence[int],
    *,
    columns: str | None = None,
    components: int | None = None,
    latent_dim: int | None = None,
) -> LatentVariableModel:
    """A model of tables that is filled by its start.

    Arguments:
        event_shape: (columns,).
        columns: their kinds, as `likelihoods.Mixed` takes them; None for real ones.
        components: how many values c takes; None leaves sizes to the start, which chooses by rows held out.
        latent_dim: L, the length of ζ, 0 for real columns that are independent given c; None leaves it to the start,
            and is 0 where `components` are given.

    Raises:
        ValueError: data that are not a table, no class, or factors for as many real columns or fewer.

    >>> model = latent_classes((4,), columns="2*continuous+categorical-3+count", components=2, latent_dim=1)
    >>> zeta, c = model.infer(torch.tensor([[0.5, float("nan"), 2.0, 1.0]])).sample((7,))
    >>> zeta.shape, c.shape
    (torch.Size([7, 1, 1]), torch.Size([7, 1, 2]))
    """
    shape = tuple(event_shape)
    if len(shape) != 1:
        raise ValueError(f"Latent classes are of tables and got rows of shape {shape}; flatten them.")
    kinds = kinds_of_columns([f"{shape[0]}*continuous"] if columns is None else columns)
    num_real = sum(name in ("continuous", "positive") for name, _ in kinds)
    left_open = components is None and latent_dim is None
    components, latent_dim = 1 if components is None else components, latent_dim or 0
    if components < 1 or not 0 <= latent_dim < max(1, num_real):
        raise ValueError(
            f"components is {components} and latent_dim {latent_dim}; components must be at least 1 and latent_dim "
            f"between 0 and {max(0, num_real - 1)} for {num_real} real columns."
        )
    length = max(1, latent_dim) if num_real else 0
    spelled = [_spelled(_AS_GIVEN_CLASS.get(name, name), k) for name, k in kinds]
    net = ParametersOfClass(components, length, num_real, Mixed.parameter_shape(len(kinds), spelled)[0])
    likelihood = Mixed(net, spelled, shape)
    net.places = _places_of_real(likelihood)
    return LatentVariableModel(
        prior=ClustersAndFactors(components, length),
        likelihood=likelihood,
        posterior=ClassPosterior(copy.deepcopy(likelihood), components, latent_dim, left_open),
    )


@torch.no_grad()
def start_latent_classes(
    loss: Loss | LatentVariableModel, x: Tensor, *, seed: int = 0, transform: Transform | None = None
) -> str | None:
    """Fit the model of a loss to rows x, in the units that its likelihood has taken from data, and say what was chosen.

    With the sizes left open, rows that are held out in turn choose and weigh candidates of many sizes
    (`linear.fit_stack`). With sizes given it is one fit by EM, the best of ten starts. No component is narrower than
    the steps of its columns (`linear.Resolution`).
    """
    model = loss.model if isinstance(loss, Loss) else loss
    p, likelihood, q = model.prior, model.likelihood, model.posterior
    if not (isinstance(p, ClustersAndFactors) and isinstance(likelihood, Mixed) and isinstance(q, ClassPosterior)):
        raise ValueError(f"latent_classes was expected to make the model and it has a {type(q).__name__} for q.")
    rows = rows_of(likelihood, x.double())
    rate = transform.log_rates.expand(x.shape[1]) if isinstance(transform, Standardize) else x.new_zeros(x.shape[1])
    resolution = Resolution.of(rows.real, _rates(likelihood, rate))
    if q.left_open:
        stack = fit_stack(rows, resolution=resolution, seed=seed)
        mixture, others, cluster, said = stack.mixture, stack.others, stack.cluster, stack.sentence
    else:
        one = Candidate(
            num_clusters=len(p.logits),
            latent_dim=q.latent_dim,
            shrinkage=1.0,
            starts=_STARTS,
            tabled=rows.has_tables,
        )
        (mixture, others, cluster), said = joined([one.fit_alike(rows, resolution=resolution, seed=seed)], [1.0]), None
    weight, table = _weights(mixture), _table(likelihood, mixture, others)
    p.take({"logits": mixture.weights.log(), "length": torch.tensor(weight.shape[2])})
    q.take({"logits": mixture.weights.log(), "cluster": cluster})
    for net in (likelihood.net, q.own.net):
        assert isinstance(net, ParametersOfClass)
        net.take({"table": table, "weight": weight})
    return said


def rows_of(likelihood: Mixed, x: Float[Tensor, "row column"]) -> MixedRows:
    """Rows of a table by the kinds of their columns, real ones in the units of the likelihood."""
    real, classes, counts, sizes, tables = [x[:, :0]], [x[:, :0]], [x[:, :0]], [], []
    parts = x[:, likelihood.order].split(likelihood.sizes, 1)
    for group, part in zip(likelihood.groups, parts, strict=True):
        if isinstance(group, ContinuousColumns):
            real.append(group.standard(part))
        elif isinstance(group, CategoricalColumns):
            classes.append(part)
            sizes += [group.num_outputs] * part.shape[1]
        else:
            counts.append(part)
            tables += [group.num_outputs - 1 if isinstance(group, SmallCountColumns) else 0] * part.shape[1]
    others = OtherColumns(torch.cat(classes, 1), tuple(sizes), torch.cat(counts, 1), tuple(tables))
    return MixedRows(torch.cat(real, 1), others if len(classes) + len(counts) > 2 else None)


def _rates(likelihood: Mixed, rate: Float[Tensor, "column"]) -> Float[Tensor, "real_column"]:
    """a of real columns in the units of the likelihood: of positive ones, and of those that the transform has made
    logarithms of, whose rate (D,) is given.
    """
    rates, parts = [rate[:0].double()], rate.double()[likelihood.order].split(likelihood.sizes)
    for group, part in zip(likelihood.groups, parts, strict=True):
        if isinstance(group, ContinuousColumns):
            own = torch.ones_like(part) if isinstance(group, PositiveColumns) else part
            rates.append(own * group.units.to(part))
    return torch.cat(rates)


class ParametersOfClass(SizedByFit):
    """From (ζ, c), or c alone, to the parameters of `Mixed`: those of c, the means of real columns moved by W_c ζ.

    Arguments:
        components: how many values c takes.
        latent_dim: L; 0 if there is no ζ.
        num_real: real columns.
        num_outputs: numbers that `Mixed` asks for.
    """

    takes_leading_axes: bool = True
    table: Tensor
    weight: Tensor
    places: Tensor  # of the means of real columns among the outputs

    def __init__(self, components: int, latent_dim: int, num_real: int, num_outputs: int):
        super().__init__()
        self.table = nn.Parameter(torch.zeros(components, num_outputs))
        self.weight = nn.Parameter(torch.zeros(components, num_real, latent_dim))
        self.register_buffer("places", torch.zeros(num_real, dtype=torch.long), persistent=False)
        self.out_shape = (num_outputs,)

    def forward(self, *z: Tensor) -> Float[Tensor, "*batch output"]:
        """The parameters given z."""
        return self.at(number_of(z[-1], len(self.table)), z[0] if len(z) > 1 else None)

    def at(self, k: Tensor, zeta: Tensor | None) -> Float[Tensor, "*batch output"]:
        """The parameters of the values k of c, and ζ if there is one."""
        found = self.table[k]
        return found if zeta is None else found.index_add(-1, self.places, matrix_of_each(self.weight, k, zeta))


class ClassPosterior(SizedByFit):
    """q(ζ, c | x_obs) = p(c | x_obs) p(ζ | c, x_obs) for a likelihood and π of its own; q(c | x_obs) if there is no ζ.

    Arguments:
        own: the likelihood of which it is the posterior, a copy.
        components: how many values c takes.
        latent_dim: that was asked for.
        left_open: whether sizes are for the start to choose.

    Returns (when called with x (B, D)):
        A `Chain` over (ζ, c), or a distribution over c, batch shape (B,).
    """

    logits: Tensor
    cluster: Tensor  # of each component, −1 for those of candidates whose clusters have no names

    def __init__(self, own: Mixed, components: int, latent_dim: int, left_open: bool):
        super().__init__()
        self.own, self.latent_dim, self.left_open = own, latent_dim, left_open
        self.logits = nn.Parameter(torch.zeros(components))
        self.register_buffer("cluster", torch.arange(components))

    def forward(self, context: Context | None = None) -> Distribution:
        """q(z | context)."""
        assert isinstance(context, Tensor)
        logits, factors = self._inferred(context)
        return categorical_over(logits) if factors is None else chain_of(logits, factors)

    def _inferred(self, context: Tensor) -> tuple[Float[Tensor, "batch component"], FactorsAt | None]:
        """log p(c, x_obs) up to a constant for each row, and p(ζ | c, x_obs)."""
        net, given = self.own.net, self._of_each()
        assert isinstance(net, ParametersOfClass)
        real, loc, scale, log_others = [], [], [], context.new_zeros(len(context), len(self.logits))
        for group, part, x in given.by_group(context):
            if isinstance(group, ContinuousColumns):
                real.append(group.standard(x))
                normal = cast(Normal, part)
                loc.append(normal.loc)
                scale.append(normal.scale)
            elif isinstance(part, NegativeBinomialDistribution) and not part.mean.requires_grad:
                log_others = log_others + _log_counts(x, part)
            else:
                log_others = log_others + _log_classes(x, group, part)
        if not real:
            return self.logits.log_softmax(0) + log_others, None
        components = Components(self.logits, torch.cat(loc, -1), net.weight, torch.cat(scale, -1).log())
        return inferred(torch.cat(real, -1), components, log_others)

    def is_exact_for(self, model: LatentVariableModel) -> bool:
        """Whether it is p(z | x_obs) of this model: its π and its likelihood are those of the model."""
        p, likelihood = model.prior, model.likelihood
        if (
            not (isinstance(p, ClustersAndFactors) and isinstance(likelihood, Mixed))
            or likelihood.missingness is not None
        ):
            return False
        theirs, own = likelihood.state_dict(), self.own.state_dict()
        return torch.equal(p.logits, self.logits) and all(torch.equal(own[name], theirs[name]) for name in own)

    @torch.no_grad()
    def class_probabilities(self, x: Float[Tensor, "batch column"]) -> Float[Tensor, "batch column class"] | None:
        """p(x_j = v | x_obs) of columns of classes, summed over c. See `hooks.CompletesRows`."""
        given, p = self._of_each(), self._inferred(x)[0].softmax(1)
        groups = [(columns, torch.einsum("bk,kdv->bdv", p, each)) for columns, each in given.classes()]
        return classes_by_column(groups, len(given.order))

    @torch.no_grad()
    def decoded(self, x: Float[Tensor, "batch column"], num_samples: int) -> MixedDistribution:
        """p(x | z_s) of draws z_s ~ q(z | x_obs), in which c is a number: one-hot vectors of thousands of classes would
        fill the memory. See `hooks.CompletesRows`.
        """
        net = self.own.net
        assert isinstance(net, ParametersOfClass)
        logits, factors = self._inferred(x)
        k = logits.softmax(1).multinomial(num_samples, replacement=True).mT
        return self.own.given(net.at(k, None if factors is None else factors(k).sample()))

    def _of_each(self) -> MixedDistribution:
        """p(x | c) of every c, ζ at 0."""
        net = self.own.net
        assert isinstance(net, ParametersOfClass)
        return self.own(every_code(len(self.logits), net.table))

    @torch.no_grad()
    def cluster_probabilities(self, x: Float[Tensor, "batch column"]) -> Float[Tensor, "batch cluster"]:
        """p(cluster | x_obs) under the candidate that names them (`Stack.cluster`), levels of a cluster summed."""
        own = self.cluster >= 0
        of_cluster = nn.functional.one_hot(self.cluster[own]).double()
        return (self._inferred(x)[0][:, own].double().softmax(1) @ of_cluster).to(x)


def _spelled(name: str, num_classes: int) -> str:
    return f"{name}-{num_classes}" if num_classes else name


def _log_counts(x: Tensor, given: NegativeBinomialDistribution) -> Float[Tensor, "row component"]:
    """log p of the counts of each row given each component, by matrix products, in double precision."""
    m, r, counts = given.mean.double(), given.inverse_dispersion.double(), x.double()
    parameters = OtherParameters(m[:, :0], m, r)
    return parameters.log_prob(OtherColumns(counts[:, :0], (), counts)).to(x)


def _log_classes(x: Tensor, group: Columns, given: Distribution) -> Float[Tensor, "row component"]:
    """Σ log p of the columns of a group given each component, of some rows at a time."""
    parts = x.split(max(1, _BLOCK // given.batch_shape.numel()))
    return torch.cat([observed_log_prob(group, given, part[:, None]).sum(-1) for part in parts])


def _places_of_real(likelihood: Mixed) -> Tensor:
    places, at = [], 0
    for group, n in zip(likelihood.groups, likelihood.sizes, strict=True):
        width = int(group.num_outputs)  # pyright: ignore[reportArgumentType]
        if isinstance(group, ContinuousColumns):
            places += range(at, at + n * width, width)
        at += n * width
    return torch.tensor(places, dtype=torch.long)


def _weights(mixture: FactorAnalysers) -> Float[Tensor, "component data latent"]:
    """W of every component, of one length: at least 1 where there are real columns."""
    columns = mixture.components[0].offset.shape[0]
    length = max(1, *(c.weight.shape[1] for c in mixture.components)) if columns else 0
    return torch.stack([nn.functional.pad(c.weight, (0, length - c.weight.shape[1])) for c in mixture.components])


def _table(
    likelihood: Mixed, mixture: FactorAnalysers, others: OtherParameters | None
) -> Float[Tensor, "component output"]:
    """The parameters of `Mixed` in each component at ζ = 0."""
    loc, scale = (torch.stack([getattr(c, name) for c in mixture.components]) for name in ("offset", "scale"))
    real = class_at = count = 0
    kinds = list(zip(likelihood.groups, likelihood.sizes, strict=True))
    table_at = sum(n * int(g.num_outputs) for g, n in kinds if isinstance(g, CategoricalColumns))  # pyright: ignore[reportArgumentType]
    parts = []
    for group, n in zip(likelihood.groups, likelihood.sizes, strict=True):
        if isinstance(group, ContinuousColumns):
            parts.append(group.parameters_at(loc[:, real : real + n], scale[:, real : real + n]).flatten(1))
            real += n
            continue
        assert others is not None
        if isinstance(group, HeteroscedasticCountColumns):
            of_group = slice(count, count + n)
            found = group.parameters_at(others.mean[:, of_group], others.inverse_dispersion[:, of_group])
            parts.append(found.flatten(1))
            count += n
        elif isinstance(group, SmallCountColumns):
            width = n * group.num_outputs
            parts.append(others.log_p[:, table_at : table_at + width])
            table_at += width
        else:
            width = n * int(group.num_outputs)  # pyright: ignore[reportArgumentType]
            parts.append(others.log_p[:, class_at : class_at + width])
            class_at += width
    return torch.cat(parts, 1)


RECIPE = Recipe(
    name="latent-classes",
    cites=("lazarsfeld1968latent", "hunt1999mixture", "hunt2003mixture"),
    make=latent_classes,
    defaults={"objective": "elbo", "gradient": "score-function", "num_samples": 2, "steps": 0},
    start=start_latent_classes,
    likelihood="mixed",
    assigns=True,
    tables_counts=True,
)
