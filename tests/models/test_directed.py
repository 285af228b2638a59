"""Graphs of observed and latent variables against one big Gaussian, and against enumeration, in float64."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.distributions import Distribution, MultivariateNormal

from lowerbound import data, evaluate, gradients, likelihoods, losses, objectives, posteriors, priors
from lowerbound.losses import VariationalLoss
from lowerbound.models.directed import DirectedModel
from lowerbound.models.directed_graph import DirectedDistribution, DirectedPosterior, Node, ordered
from lowerbound.nets import MLP
from lowerbound.protocols import Context
from lowerbound.training.loop import train

SIZES = {"z1": 2, "x1": 2, "z2": 1, "z3": 2, "x2": 3}
PARENTS = {"z1": (), "x1": ("z1",), "z2": ("z1", "x1"), "z3": ("z2",), "x2": ("z3", "x1")}
LATENT, OBSERVED = ("z1", "z2", "z3"), ("x1", "x2")


class Affine(nn.Module):
    """N(v; A [parents] + b, C)."""

    def __init__(self, weight: Tensor, offset: Tensor, covariance: Tensor):
        super().__init__()
        self.weight, self.offset, self.covariance = map(nn.Parameter, (weight, offset, covariance))

    def forward(self, context: Context | None = None) -> Distribution:
        if context is None:
            return MultivariateNormal(self.offset, self.covariance)
        parts = context if isinstance(context, tuple) else (context,)
        lead = torch.broadcast_shapes(*(part.shape[:-1] for part in parts))
        joined = torch.cat([part.expand(*lead, part.shape[-1]) for part in parts], -1)
        return MultivariateNormal(joined @ self.weight.mT + self.offset, self.covariance)


class Gaussian:
    """The graph above with random affine conditionals, and its joint N(mean, covariance) over all ten numbers."""

    def __init__(self) -> None:
        generator = torch.Generator().manual_seed(3)
        self.at, start = {}, 0
        for name, size in SIZES.items():
            self.at[name], start = range(start, start + size), start + size
        structure, offset, noise = torch.zeros(start, start).double(), torch.zeros(start).double(), []
        self.nodes = []
        for name, size in SIZES.items():
            columns = self.columns(PARENTS[name])
            weight = torch.randn(size, len(columns), generator=generator, dtype=torch.float64)
            root = 0.3 * torch.randn(size, size, generator=generator, dtype=torch.float64)
            covariance = root @ root.mT + 0.5 * torch.eye(size, dtype=torch.float64)
            structure[self.at[name].start : self.at[name].stop, columns] = weight
            offset[list(self.at[name])] = torch.randn(size, generator=generator, dtype=torch.float64)
            noise.append(covariance)
            self.nodes.append(Node(name, Affine(weight, offset[list(self.at[name])], covariance), *PARENTS[name]))
        solve = torch.linalg.inv(torch.eye(start, dtype=torch.float64) - structure)
        self.mean, self.covariance = solve @ offset, solve @ torch.block_diag(*noise) @ solve.mT

    def columns(self, names: tuple[str, ...]) -> list[int]:
        return [i for name in names for i in self.at[name]]

    def given(self, name: str, parents: tuple[str, ...]) -> Affine:
        """p(name | parents), by conditioning of the big Gaussian."""
        a, b = self.columns((name,)), self.columns(parents)
        weight = self.covariance[a][:, b] @ torch.linalg.inv(self.covariance[b][:, b])
        covariance = self.covariance[a][:, a] - weight @ self.covariance[b][:, a]
        return Affine(weight, self.mean[a] - weight @ self.mean[b], (covariance + covariance.mT) / 2)

    @property
    def evidence(self) -> MultivariateNormal:
        a = self.columns(OBSERVED)
        return MultivariateNormal(self.mean[a], self.covariance[a][:, a])

    def exact_posterior(self, order: tuple[str, ...] = LATENT) -> DirectedPosterior:
        """q(z3 | x) q(z1 | z3, x) q(z2 | z1, z3, x), whose arrows run otherwise than those of p."""
        x = OBSERVED
        nodes = {
            "z1": Node("z1", self.given("z1", ("z3", *x)), "z3", "x"),
            "z2": Node("z2", self.given("z2", ("z1", "z3", *x)), "z1", "z3", "x"),
            "z3": Node("z3", self.given("z3", x), "x"),
        }
        return DirectedPosterior([nodes[name] for name in order])

    def model(self, posterior: nn.Module, *, reverse: bool = False) -> DirectedModel:
        nodes = self.nodes[::-1] if reverse else self.nodes
        return DirectedModel(nodes, observed={name: SIZES[name] for name in OBSERVED}, posterior=posterior)


def wide() -> DirectedPosterior:
    """q(z1 | x) q(z2 | z1, x) q(z3 | z2, x), factorised Gaussians with affine means."""
    shapes: dict[str, list[Any]] = {"z1": [5], "z2": [2, 5], "z3": [1, 5]}
    parents = {"z1": ("x",), "z2": ("z1", "x"), "z3": ("z2", "x")}
    nets = {name: MLP(list(shape), [], (2, SIZES[name])).double() for name, shape in shapes.items()}
    return DirectedPosterior([Node(name, posteriors.DiagonalNormal(nets[name]), *parents[name]) for name in LATENT])


@pytest.fixture
def gaussian() -> Gaussian:
    return Gaussian()


@pytest.fixture
def x(gaussian: Gaussian) -> Tensor:
    return gaussian.evidence.sample((6,))


def test_with_the_exact_posterior_every_weight_is_log_p_of_x(gaussian: Gaussian, x: Tensor) -> None:
    model = gaussian.model(gaussian.exact_posterior())
    log_w = model.log_weights(x, 4).log_w
    exact = gaussian.evidence.log_prob(x)
    torch.testing.assert_close(log_w.detach(), exact.expand(4, 6), rtol=0, atol=1e-9)


def test_the_two_terms_are_those_of_the_variables(gaussian: Gaussian, x: Tensor) -> None:
    model = gaussian.model(gaussian.exact_posterior())
    z = tuple(torch.randn(3, 6, SIZES[name], dtype=torch.float64) for name in LATENT)
    likelihood, prior = model.joint(x)(z)
    values = dict(zip(LATENT, z, strict=True)) | {"x1": x[:, :2], "x2": x[:, 2:]}
    terms = {node.name: node.given(values).log_prob(values[node.name]) for node in gaussian.nodes}
    torch.testing.assert_close(likelihood, terms["x1"] + terms["x2"])
    torch.testing.assert_close(prior, terms["z1"] + terms["z2"] + terms["z3"])
    everything = torch.cat([value.expand(3, 6, -1) for value in (z[0], x[:, :2], z[1], z[2], x[:, 2:])], -1)
    joint = MultivariateNormal(gaussian.mean, gaussian.covariance).log_prob(everything)
    torch.testing.assert_close(likelihood + prior, joint)


def test_bounds_rise_to_the_evidence_and_stay_below(gaussian: Gaussian, x: Tensor) -> None:
    """q is the exact posterior with every variance doubled."""
    exact, posterior = gaussian.evidence.log_prob(x[:1]).item(), gaussian.exact_posterior()
    with torch.no_grad():
        for node in posterior.nodes:
            node.conditional.covariance.mul_(2)  # type: ignore[attr-defined]
    model, bounds = gaussian.model(posterior), []
    for size in (1, 16, 400):
        with torch.no_grad():
            log_w = model.log_weights(x[:1].expand(500, -1), size).log_w
        value = torch.logsumexp(log_w, 0) - math.log(size)
        bounds.append(value.mean().item())
        assert bounds[-1] < exact + 6 * value.std().item() / 500**0.5
    assert bounds[0] < exact - 0.3
    assert bounds[0] < bounds[1] < bounds[2]
    assert bounds[-1] == pytest.approx(exact, abs=0.02)


def test_the_elbo_differentiates_along_every_arrow(gaussian: Gaussian, x: Tensor) -> None:
    """Against finite differences at common random numbers, for every parameter of p and q."""
    model = gaussian.model(wide())
    loss = VariationalLoss(model, objectives.ELBO(), gradients.Pathwise(), num_samples=3)

    def value() -> Tensor:
        torch.manual_seed(1)
        return loss(x).loss

    names, parameters = zip(*((n, p) for n, p in model.named_parameters() if p.numel()), strict=True)
    exact = torch.autograd.grad(value(), parameters)
    for name, parameter, gradient in zip(names, parameters, exact, strict=True):
        direction = torch.randn_like(parameter)
        if name.endswith("covariance"):
            direction = direction + direction.mT
        ends = []
        for sign in (1, -1):
            with torch.no_grad():
                parameter.add_(direction, alpha=sign * 1e-5)
                ends.append(value())
                parameter.sub_(direction, alpha=sign * 1e-5)
        difference = (ends[0] - ends[1]) / 2e-5
        torch.testing.assert_close((gradient * direction).sum(), difference, rtol=1e-5, atol=1e-6, msg=name)


def test_samples_have_the_moments_of_the_joint(gaussian: Gaussian) -> None:
    model = gaussian.model(gaussian.exact_posterior())
    size = 100_000
    x = model.sample(size)
    exact = gaussian.evidence
    error = (exact.covariance_matrix.diagonal() / size).sqrt()
    assert bool(((x.mean(0) - exact.mean).abs() < 6 * error).all())
    scale = exact.covariance_matrix.diagonal().sqrt()
    correlation_error = (torch.cov(x.mT) - exact.covariance_matrix) / torch.outer(scale, scale)
    assert correlation_error.abs().max() < 6 * (2 / size) ** 0.5
    assert model.sample_mean(size).var(0)[2] < 0.95 * x.var(0)[2]


def test_the_order_of_the_nodes_changes_nothing_but_the_order_of_the_latents(gaussian: Gaussian, x: Tensor) -> None:
    model = gaussian.model(gaussian.exact_posterior(("z3", "z2", "z1")), reverse=True)
    assert model.latent_names == ("z3", "z2", "z1")
    w = model.log_weights(x, 2)
    assert [part.shape[-1] for part in w.z] == [2, 1, 2]
    torch.testing.assert_close(w.log_w.detach(), gaussian.evidence.log_prob(x).expand(2, 6), rtol=0, atol=1e-9)


def test_conditionals_computed_once_give_what_recomputing_gives(gaussian: Gaussian, x: Tensor) -> None:
    q = wide()(x)
    assert isinstance(q, DirectedDistribution)
    z = q.rsample((3,))
    again = dict(zip(LATENT, z, strict=True)) | {"x": x}
    terms = [node.given(again).log_prob(again[node.name]) for node in q.graph.nodes]
    torch.testing.assert_close(q.log_prob(z), sum(terms))
    assert q.has_rsample
    assert q.event_shape == (5,)
    with pytest.raises(NotImplementedError, match="no mean in closed form"):
        _ = q.mean


def test_reconstructions_are_means_given_the_latents_and_the_other_parts(gaussian: Gaussian, x: Tensor) -> None:
    model = gaussian.model(gaussian.exact_posterior())
    torch.manual_seed(2)
    z = model.infer(x).sample()
    torch.manual_seed(2)
    made = model.reconstruct(x)
    values = dict(zip(LATENT, z, strict=True)) | {"x1": x[:, :2]}
    by_name = {node.name: node for node in gaussian.nodes}
    torch.testing.assert_close(made, torch.cat([by_name[name].given(values).mean for name in OBSERVED], -1))


def test_log_evidence_and_summary_take_a_graph(gaussian: Gaussian, x: Tensor) -> None:
    model = gaussian.model(gaussian.exact_posterior())
    exact = gaussian.evidence.log_prob(x)
    estimate = evaluate.log_evidence(model, x, num_samples=30, max_elements=40)
    torch.testing.assert_close(estimate.log_evidence, exact, rtol=0, atol=1e-9)
    found = evaluate.summary(model, x)
    assert found.elbo == pytest.approx(exact.mean().item(), abs=1e-9)
    assert found.activity.shape == (5,)


@pytest.mark.parametrize("gradient", [gradients.StickTheLanding(), gradients.ScoreFunction()])
def test_estimators_without_variance_have_none_at_the_exact_posterior(
    gradient: Any, gaussian: Gaussian, x: Tensor
) -> None:
    model = gaussian.model(gaussian.exact_posterior())
    loss = VariationalLoss(model, objectives.ELBO(), gradient, num_samples=3)
    loss.check(x)
    value = loss(x).loss
    assert value.item() == pytest.approx(-gaussian.evidence.log_prob(x).mean().item(), abs=1e-9)
    for gradient_of in torch.autograd.grad(value, list(model.posterior.parameters())):
        assert gradient_of.abs().max() < 1e-8


# Discrete latents.


def discrete() -> DirectedModel:
    """z1 (2 bits) → z2 (1 bit) → x (3 bits) ← z1."""
    bernoulli = likelihoods.Bernoulli
    return DirectedModel(
        [
            Node("z1", priors.Bernoulli(2)),
            Node("z2", bernoulli(MLP(2, [4], 1)), "z1"),
            Node("x", bernoulli(MLP([2, 1], [4], 3)), "z1", "z2"),
        ],
        observed="x",
        posterior=DirectedPosterior(
            [
                Node("z2", bernoulli(MLP(3, [4], 1)), "x"),
                Node("z1", bernoulli(MLP([3, 1], [4], 2)), "x", "z2"),
            ][::-1]
        ),
    ).double()


def test_bits_are_those_of_the_enumeration() -> None:
    model = discrete()
    bits = torch.tensor(list(itertools.product([0.0, 1.0], repeat=3)), dtype=torch.float64)
    z = tuple(part[:, None].expand(8, 8, -1) for part in (bits[:, :2], bits[:, 2:]))
    likelihood, prior = model.joint(bits)(z)
    evidence = torch.logsumexp(likelihood + prior, 0)
    assert evidence.exp().sum().item() == pytest.approx(1, abs=1e-12)
    q = model.infer(bits)
    torch.testing.assert_close(q.log_prob(z).exp().sum(0), torch.ones(8).double())  # type: ignore[arg-type]
    assert not q.has_rsample
    many = evaluate.log_evidence(model, bits, num_samples=20_000)
    torch.testing.assert_close(many.log_evidence, evidence.detach(), rtol=0, atol=0.05)
    drawn = model.sample(20_000)
    mean = (evidence.exp()[:, None] * bits).sum(0)
    assert bool(((drawn.mean(0) - mean).abs() < 6 * 0.5 / 20_000**0.5).all())


def test_discrete_graphs_train_and_refuse_continuous_posteriors() -> None:
    model = discrete()
    bits = (torch.rand(50, 3) > 0.5).double()
    loss = VariationalLoss(model, objectives.IWAE(), gradients.ScoreFunction(), num_samples=4)
    loss.check(bits)
    before = [p.detach().clone() for p in model.parameters()]
    list(train(loss, data.InMemory(bits), num_steps=2, log_every=2, batch_size=10, compile=False))
    assert all(bool((p != old).any()) for p, old in zip(model.parameters(), before, strict=True))
    with pytest.raises(ValueError, match=r"Pathwise needs .* use ScoreFunction"):
        VariationalLoss(model, objectives.ELBO(), gradients.Pathwise()).check(bits)
    model.posterior = DirectedPosterior(
        [
            Node("z1", posteriors.DiagonalNormal(MLP(3, [], (2, 2))), "x"),
            Node("z2", posteriors.DiagonalNormal(MLP(3, [], (2, 1))), "x"),
        ]
    ).double()
    with pytest.raises(ValueError, match=r"q.* is a density and p.* is a probability"):
        VariationalLoss(model, objectives.ELBO(), gradients.Pathwise()).check(bits)


# Nothing latent.


def observed_only() -> DirectedModel:
    """p(a) p(b | a), two parts of x."""
    nodes = [
        Node("a", likelihoods.Bernoulli(MLP(3, [4], 2)), "b"),
        Node("b", priors.Bernoulli(3)),
    ]
    return DirectedModel(nodes, observed={"a": 2, "b": 3}).double()


def test_without_latents_log_p_is_exact_for_every_objective() -> None:
    model = observed_only()
    x = torch.tensor(list(itertools.product([0.0, 1.0], repeat=5)), dtype=torch.float64)
    exact = model.log_prob(x)
    assert exact.exp().sum().item() == pytest.approx(1, abs=1e-12)
    for objective in (objectives.ELBO(), objectives.ELBO(rate="kl"), objectives.IWAE()):
        loss = VariationalLoss(model, objective, gradients.Pathwise(), num_samples=3)
        loss.check(x)
        output = loss(x)
        assert output.loss.item() == pytest.approx(-exact.mean().item(), abs=1e-12)
        assert output.terms["prior"].item() == output.terms["posterior"].item() == 0
    estimate = evaluate.log_evidence(model, x, num_samples=50)
    torch.testing.assert_close(estimate.log_evidence, exact.detach())
    assert estimate.unreliable_fraction == 0
    decoded = model.decode(model.prior(None).sample(torch.Size((7,))))
    assert decoded.sample().shape == (7, 5)
    torch.testing.assert_close(decoded.log_prob(x[:7]), exact[:7])


def test_without_latents_it_trains_in_the_loop_to_the_frequencies() -> None:
    model = observed_only()
    torch.manual_seed(5)
    a = (torch.rand(400, 2) > 0.3).double()
    x = torch.cat([a, torch.cat([a, 1 - a[:, :1]], -1)], -1)
    loss = losses.VariationalLoss(model, objectives.ELBO(), gradients.Pathwise())
    records = list(train(loss, data.InMemory(x), num_steps=100, lr=0.1, batch_size=400, log_every=100, compile=False))
    probability = a.mean(0)
    entropy = -(probability * probability.log() + (1 - probability) * (1 - probability).log()).sum().item()
    assert records[-1].terms["bound"] < -entropy
    assert model.log_prob(x).mean().item() > -3 * entropy
    assert model.sample(7).shape == (7, 5)


# Context, errors.


def test_a_context_is_a_parent_like_any_other() -> None:
    model = DirectedModel(
        [
            Node("z", posteriors.DiagonalNormal(MLP(4, [], (2, 2))), "context"),
            Node("x", likelihoods.Bernoulli(MLP([2, 4], [], 5)), "z", "context"),
        ],
        observed="x",
        posterior=DirectedPosterior([Node("z", posteriors.DiagonalNormal(MLP([5, 4], [], (2, 2))), "x", "context")]),
    )
    x, c = torch.ones(3, 5), torch.eye(4)[:3]
    w = model.log_weights(x, 7, c)
    z = w.z
    parts = model.prior(c).log_prob(z) + model.decode(z, c).log_prob(x) - model.infer(x, c).log_prob(z)
    torch.testing.assert_close(w.log_w, parts)
    assert model.sample(6, c).shape == model.sample_mean(6, c).shape == (6, 3, 5)
    assert model.reconstruct(x, c).shape == (3, 5)
    loss = VariationalLoss(model, objectives.ELBO(rate="kl"), gradients.Pathwise())
    loss.check(x, c)
    with pytest.raises(ValueError, match="needs a value of context"):
        model.log_weights(x, 7)


def test_a_graph_of_one_latent_is_an_ordinary_model() -> None:
    net, decoder = MLP(5, [3], (2, 2)), MLP(2, [3], 5)
    x = (torch.rand(4, 5) > 0.5).float()
    model = DirectedModel(
        [Node("z", priors.StandardNormal(2)), Node("x", likelihoods.Normal(decoder), "z")],
        observed="x",
        posterior=posteriors.DiagonalNormal(net),
    )
    model.initialize(x)
    torch.testing.assert_close(decoder.output_bias.detach(), x.mean(0))
    loss = VariationalLoss(model, objectives.ELBO(rate="kl"), gradients.Pathwise())
    loss.check(x)
    assert evaluate.summary(model, x).rate_per_dimension is not None
    assert model.sample(3).shape == (3, 5)


def normal(*sizes: int, out: int = 1) -> nn.Module:
    return likelihoods.Normal(MLP(list(sizes), [], out))


ERRORS: list[tuple[Callable[[], Any], str]] = [
    (
        lambda: ordered([Node("a", normal(1), "c"), Node("b", normal(1), "a"), Node("c", normal(1), "b")]),
        "The graph has the cycle (a → b → c → a|b → c → a → b|c → a → b → c); take one of its arrows out.",
    ),
    (lambda: ordered([Node("a", normal(1), "y")]), r"p\(a \| y\) has the unknown parent 'y'; known are a: add a Node"),
    (lambda: ordered([Node("a", normal(1)), Node("a", normal(1))]), "The variable 'a' is there twice"),
    (lambda: Node("a", None), "The variable 'a' has no conditional"),  # type: ignore[arg-type]
    (lambda: Node("a.b", normal(1)), "A variable is named 'a.b', which cannot be used"),
    (lambda: Node("keys", normal(1)), "A variable is named 'keys', which cannot be used"),
    (
        lambda: DirectedModel([Node("z", normal(1))], observed="x"),
        "The observed variable 'x' has no conditional; add a Node for it.",
    ),
    (lambda: DirectedModel([Node("z", normal(1))], observed={}), "got no observed variable"),
    (
        lambda: DirectedModel([Node("z", priors.StandardNormal(1)), Node("x", normal(1), "z")], observed="x"),
        "The variables z are latent and nothing infers them; give posterior=.",
    ),
    (
        lambda: DirectedModel([Node("z", normal(1), "x"), Node("x", normal(1), "z")], observed="x"),
        r"The graph has the cycle (z → x → z|x → z → x); take one of its arrows out\.",
    ),
    (
        lambda: DirectedModel([Node("x", priors.StandardNormal(1))], observed="x", posterior=normal(1)),
        "Every variable is observed",
    ),
    (
        lambda: DirectedModel(
            [Node("z", priors.StandardNormal(1)), Node("x", normal(1), "z")],
            observed="x",
            posterior=DirectedPosterior([Node("y", normal(1), "x")]),
        ),
        "The posterior infers y and the latents are z",
    ),
]


@pytest.mark.parametrize("make, sentence", ERRORS, ids=[f"{i}" for i in range(len(ERRORS))])
@pytest.mark.usefixtures("as_users_run")
def test_mistakes_are_named_in_one_sentence(make: Callable[[], Any], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        make()


def test_x_of_another_shape_is_refused(gaussian: Gaussian) -> None:
    model = gaussian.model(wide())
    with pytest.raises(ValueError, match=r"x has shape \(2, 4\) .*\(x1: 2, x2: 3\) need a last axis of 5"):
        model.log_weights(torch.zeros(2, 4).double(), 1)
    with pytest.raises(ValueError, match=r"integral over z1, z2, z3; estimate it by evaluate.log_evidence"):
        model.log_prob(torch.zeros(2, 5).double())
    with pytest.raises(ValueError, match=r"x has shape \(2, 4\) and p\(x\) is over \(batch, 3\)"):
        DirectedModel([Node("x", priors.Bernoulli(3))], observed="x").log_prob(torch.zeros(2, 4))
    with pytest.raises(ValueError, match="got 2 values and expected 3"):
        model.joint(torch.zeros(2, 5).double()).prior.log_prob((torch.zeros(1), torch.zeros(1)))  # type: ignore[arg-type]
