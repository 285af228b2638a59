"""The compiled step with the library's own losses, in a process without the run-time type checks of this suite."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch
from torch.torch_version import TorchVersion

from lowerbound.training.graphs import is_called_from_cpp

SCRIPT = """
import torch
from lowerbound import VariationalLoss
from lowerbound.data import InMemory
from lowerbound.training.engine import Engine
from lowerbound.gradients import DensityRatio, DReG, Pathwise, ScoreFunction
from lowerbound.models import vae
from lowerbound.objectives import ELBO, IWAE
from lowerbound.optimizers import Adam
from lowerbound.training.steps import CannotCompile, CompiledStep, EagerStep

torch.manual_seed(0)
x = torch.rand(20, 3).round()
pairs = [(IWAE(), DReG()), (IWAE(), Pathwise()), (ELBO("kl"), Pathwise()), (IWAE(), ScoreFunction())]
for objective, gradient in pairs:
    def make():
        torch.manual_seed(1)
        return VariationalLoss(vae((3,), latent_dim=2, hidden=(4,)), objective, gradient, 5)
    compiled = CompiledStep(make(), InMemory(x).transform, None)
    eager = EagerStep(make(), InMemory(x).transform, Engine(device="cpu"), Adam(), None)
    compiled.prepare((x,))
    rows = []
    for step in (compiled, eager):
        torch.manual_seed(0)
        rows.append(torch.stack([step((x,), 0.1) for _ in range(3)]))
    torch.testing.assert_close(*rows, rtol=1e-4, atol=1e-5)
def players():
    torch.manual_seed(1)
    model = vae((3,), latent_dim=2, hidden=(4,), posterior="implicit:noise_dim=2")
    return VariationalLoss(model, ELBO(), DensityRatio(2, 3, contrast=4, hidden=8), 1)
compiled = CompiledStep(players(), InMemory(x).transform, None)
eager = EagerStep(players(), InMemory(x).transform, Engine(device="cpu"), Adam(), None)
compiled.prepare((x,))
rows = []
for step in (compiled, eager):
    torch.manual_seed(0)
    rows.append(torch.stack([step((x,), 0.1) for _ in range(3)]))
torch.testing.assert_close(*rows, rtol=1e-4, atol=1e-5)
from lowerbound.data import load
from lowerbound.fitting.planning import plan
from lowerbound.fitting.preparing import prepare
from lowerbound.losses.guards import to_training
def drawing():  # pixels, noise and latents of the prior, one after another
    planned = plan(load("digits"), "aae", batch_size=64, device="cpu", steps=10, precision="fp32")
    training = prepare(load("digits"), planned, planned.engine())
    to_training(training.loss, ())
    return training
several = drawing()
raw = several.source.gather(torch.arange(64))
compiled = CompiledStep(several.loss, several.source.transform, None)
several = drawing()
eager = EagerStep(several.loss, several.source.transform, Engine(device="cpu"), Adam(), None)
compiled.prepare(raw)
rows = []
for step in (compiled, eager):
    torch.manual_seed(0)
    rows.append(torch.stack([step(raw, 1e-3) for _ in range(3)]))
torch.testing.assert_close(*rows, rtol=1e-3, atol=1e-4)
class Looks(VariationalLoss):
    def forward(self, x, context=None):
        return super().forward(x if x.sum() > 0 else x + 1, context)
looks = Looks(vae((3,), latent_dim=2, hidden=(4,)), ELBO(), Pathwise())
try:
    CompiledStep(looks, InMemory(x).transform, None).prepare((x,))
except CannotCompile as error:
    print("refused:", error)
"""


@pytest.mark.slow
def test_the_compiled_step_is_the_eager_one_for_every_kind_of_gradient_and_refuses_what_looks_at_numbers():
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    assert "refused: This loss cannot be compiled as one graph" in done.stdout


CHAINS = """
import torch
from lowerbound import LatentVariableModel, VariationalLoss, likelihoods, posteriors, priors
from lowerbound.gradients import Pathwise
from lowerbound.models.ladder_autoencoder import ladder
from lowerbound.models.layered import deep_latent_gaussian
from lowerbound.nets import MLP
from lowerbound.objectives import ELBO, FreeBits, IWAE

torch.manual_seed(0)
x = torch.rand(5, 3).round()
small = {"latent_dims": [2, 1], "hidden": [[4], [4]]}

def path():
    prior = priors.Path([priors.residual_group(4, 2, 3, depth=3) for _ in range(3)], start=4)
    groups = [posteriors.DiagonalNormal(MLP([4, 6], [], (2, 2))) for _ in range(3)]
    q = posteriors.TopDownPath(prior, MLP(3, [], 6), groups)
    return LatentVariableModel(prior=prior, likelihood=likelihoods.Bernoulli(MLP(4, [], 3)), posterior=q)

for model in (path(), ladder((3,), **small), deep_latent_gaussian((3,), **small)):
    for objective in (IWAE(), FreeBits(per="group"), ELBO("kl")):
        if objective != IWAE() and not isinstance(model.infer(x), posteriors.top_down.TopDownChain):
            continue  # a bottom-up posterior has no closed rate
        loss = VariationalLoss(model, objective, Pathwise(), 2)
        loss(x)  # torch finds the formula of a KL once, before it can be traced
        named = dict(loss.named_parameters())
        def value(values):
            return torch.func.functional_call(loss, dict(zip(named, values)), (x,))
        def run(values):
            return torch.func.grad_and_value(value, has_aux=True)(values)
        found = []
        for f in (torch.compile(run, backend="eager", fullgraph=True, dynamic=False), run):
            torch.manual_seed(1)
            gradients, (bound, _) = f([p.detach() for p in named.values()])
            found.append(torch.cat([bound[None], *(g.flatten() for g in gradients)]))
        torch.testing.assert_close(*found)
print("traced")
"""


@pytest.mark.slow
def test_losses_on_chains_are_one_graph():
    done = subprocess.run([sys.executable, "-c", CHAINS], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    assert "traced" in done.stdout


PIXELS = """
import torch
from lowerbound import VariationalLoss
from lowerbound.gradients import DReG, Pathwise
from lowerbound.losses import Auxiliary
from lowerbound.models import pixel_vae
from lowerbound.objectives import ELBO, IWAE

torch.manual_seed(0)
x = torch.rand(5, 3, 2).round()
for causal in ("convolution", "transformer"):
    def model(likelihood="bernoulli"):
        options = {"latent_dim": 2, "hidden": [4], "channels": 4, "layers": 2, "position_dropout": 0.2}
        return pixel_vae((3, 2), likelihood=likelihood, causal=causal, **options)
    losses = [
        VariationalLoss(model(), ELBO("kl"), Pathwise()),
        VariationalLoss(model("discretized-logistic-mixture:num_levels=2"), IWAE(), DReG(), 3),
        Auxiliary(model(), ELBO("kl"), Pathwise(), hidden=[4]),
    ]
    for loss in losses:
        loss(x)
        named = dict(loss.named_parameters())
        def value(values):
            return torch.func.functional_call(loss, dict(zip(named, values)), (x,))
        def run(values):
            return torch.func.grad_and_value(value, has_aux=True)(values)
        found = []
        for f in (torch.compile(run, backend="eager", fullgraph=True, dynamic=False), run):
            torch.manual_seed(1)
            gradients, (bound, _) = f([p.detach() for p in named.values()])
            found.append(torch.cat([bound[None], *(g.flatten() for g in gradients)]))
        torch.testing.assert_close(*found)
print("traced")
"""


@pytest.mark.slow
def test_losses_of_pixels_are_one_graph():
    done = subprocess.run([sys.executable, "-c", PIXELS], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    assert "traced" in done.stdout


FOLLOWED = """
import torch
real = torch.compile
torch.compile = lambda f, **others: real(f, dynamic=False, fullgraph=True, backend="aot_eager")  # without C++
from lowerbound.data import load
from lowerbound.fitting.preparing import prepare
from lowerbound.losses.guards import to_training
from lowerbound.optimizers import Adam
from lowerbound.fitting.planning import plan
from lowerbound.training.steps import CompiledStep, EagerStep

bits = {"prior": "bernoulli", "posterior": "bernoulli", "objective": "elbo", "num_samples": 2}
small = {"latent_dim": 3, "hidden": [4], "batch_size": 16}
CASES = {
    "learned baseline": {**small, **bits, "gradient": "score-function:baseline=learned"},
    "rebar": {**small, **bits, "gradient": "rebar"},
    "relax": {**small, **bits, "gradient": "relax"},
    "layers of bits": {"recipe": "binary-layers", "batch_size": 16},
    "masked flow": {**small, "posterior": "maf:transforms=1,hidden=8"},
    "spline prior": {**small, "prior": "flow-prior:transforms=1,hidden=8", "objective": "elbo"},
    "codes": {"recipe": "vq", "batch_size": 16},
}
dataset = load("digits")
for name, choices in CASES.items():
    rows = []
    for kind in ("compiled", "eager"):
        chosen = dict(choices)
        planned = plan(dataset, chosen.pop("recipe", "vae"), **chosen, device="cpu", steps=10, precision="fp32")
        engine = planned.engine()
        training = prepare(dataset, planned, engine)
        to_training(training.loss, ())
        raw = training.source.gather(torch.arange(16))
        if kind == "compiled":
            step = CompiledStep(training.loss, training.source.transform, planned.clip_norm)
            step.prepare(raw)
        else:
            step = EagerStep(training.loss, training.source.transform, engine, Adam(), planned.clip_norm)
        torch.manual_seed(0)
        rows.append(torch.stack([step(raw, 1e-3) for _ in range(4)]))
    torch.testing.assert_close(*rows, rtol=1e-3, atol=1e-4, msg=lambda said: name + ": " + said)
    print(name, "followed", flush=True)
    torch._dynamo.reset()
"""


@pytest.mark.slow
def test_derivatives_within_a_loss_and_buffers_that_learn_and_flows_are_followed():
    done = subprocess.run([sys.executable, "-c", FOLLOWED], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.count("followed") == 7


LOOKED = """
import torch
import lowerbound.training.graphs as graphs
from lowerbound.training.graphs import Graph

calls = []
graphs._compiler = lambda **_: lambda graph, inputs: lambda *given: calls.append(graph) or graph.forward(*given)

class Doubles:
    factor, calls, shift, last = 2, 0, torch.ones(()), None
    def plain(self, x):
        return x * self.factor
    def counts(self, x):
        self.calls += 1
        return x * self.calls
    def shifts(self, x):
        return x + self.shift
    def remembers(self, x):
        self.last = x * 2
        return x + 1
    def keeps(self, x):
        self.last = x
        return x + 1
    def adds(self, x, y):
        return x + 10 * y
    def learns(self, values, x):
        values[0].add_(x.sum())
        self.shift.add_(1)
        return x * values[0] + self.shift

class Told(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.factor, self.part = 2, torch.nn.Module()
        self.register_buffer("weight", torch.ones(()))
        self.part.register_buffer("shift", torch.zeros(()))
    def plain(self, x):
        return x * self.factor * self.weight + self.part.shift
    def counted(self, x):
        self.seen = self.seen + 1
        return x * self.weight

def graph_of(method, told=()):
    return Graph(method, told=told, on_cpu=True)

torch.manual_seed(0)
one = Doubles()
x = torch.ones(3)
with torch.no_grad():
    graph = graph_of(one.plain)
    assert [graph(x)[0].item() for _ in range(4)] == [2, 2, 2, 2]
    one.factor = 5
    assert graph(x)[0].item() == 2  # between two intervals nothing may change
    assert graph(torch.ones(4)).tolist() == [5] * 4 and graph(x.double()).dtype == torch.float64  # but the shape
    assert graph(torch.ones(6)[::2]).shape == (3,)
    graph.begin()
    assert [graph(x)[0].item() for _ in range(4)] == [5, 5, 5, 5]
    part = Told()
    told = graph_of(part.plain, told=[part])
    for value in (1.0, 3.0, 4.0, 5.0):
        part.weight.fill_(value)
        assert told(x)[0].item() == 2 * value
    assert told._direct is not None  # what it is told changes the numbers of a tensor alone
    part.factor = 7
    assert told(x)[0].item() == 35
    assert [told(x)[0].item() for _ in range(3)] == [35] * 3
    part.part.shift = torch.ones(())
    assert told(x)[0].item() == 36
    part.part = torch.nn.Module()
    part.part.shift = torch.zeros(())
    assert [told(x)[0].item() for _ in range(4)] == [35] * 4
    counted, part.seen = graph_of(part.counted, told=[part]), 0
    for _ in range(5):
        counted(x)
        assert part.seen == 1  # what the loss notes for `at_step`, which takes it back
        part.seen = 0
    counting = graph_of(Doubles().counts)
    assert [counting(x)[0].item() for _ in range(5)] == [1, 2, 3, 4, 5]
    shifting = graph_of(one.shifts)
    for value in range(5):
        one.shift = torch.full((), float(value))
        assert shifting(x)[0].item() == 1 + value
    remembering = graph_of(one.remembers)
    for value in range(5):
        remembering(x + value)
        assert one.last[0].item() == 2 + 2 * value
    keeping = graph_of(one.keeps)
    for value in range(5):
        keeping(x + value)
        assert one.last[0].item() == 1 + value
    adding = graph_of(one.adds)
    assert [adding(x, x)[0].item() for _ in range(3)] == [11, 11, 11]
    assert adding(x, 2 * x)[0].item() == 21  # one tensor given twice, and then two
    expected, other = Doubles(), Doubles()
    expected.shift, other.shift = torch.ones(()), torch.ones(())
    learning, sums, same = graph_of(other.learns), [torch.zeros(())], [torch.zeros(())]
    calls.clear()
    for value in range(5):
        row = torch.rand(3)
        torch.testing.assert_close(learning(sums, row), expected.learns(same, row), rtol=0, atol=0)
    assert len(calls) == 5 and learning._direct is not None
    learning.begin()
    other.shift = torch.zeros(())
    assert learning(sums, x)[0].item() == sums[0].item() + 1
print("looked")
"""


def test_a_graph_looks_again_at_what_is_no_tensor_when_an_interval_begins():
    done = subprocess.run([sys.executable, "-c", LOOKED], capture_output=True, text=True, check=False)
    assert "looked" in done.stdout, done.stderr[-2000:]


CHANGED = """
import warnings
import torch
from lowerbound.training.graphs import Graph

class Scaled:
    factor = 0.0

    def of(self, x):
        return self.factor * x

scaled = Scaled()
graph = Graph(scaled.of, told=[], on_cpu=True)
x = torch.arange(3.0)
with warnings.catch_warnings(record=True) as told:
    warnings.simplefilter("always")
    for interval in range(11):
        scaled.factor = interval / 8
        graph.begin()
        for _ in range(4):
            torch.testing.assert_close(graph(x), scaled.factor * x)
said = [str(w.message) for w in told if "not compiled" in str(w.message)]
assert len(said) == 1 and "8 graphs" in said[0], said
"""


@pytest.mark.slow
def test_a_number_that_changes_more_often_than_torch_makes_graphs_ends_compiling_with_a_warning():
    done = subprocess.run([sys.executable, "-c", CHANGED], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]


CALLED = """
import torch
from lowerbound.training.graphs import Graph
from lowerbound.nets.products import by_onednn

class Mixed:
    def of(self, x, weight):
        factor = torch.linalg.cholesky(x.mT @ x)  # C++ calls it by its name
        return by_onednn(x, weight, None).tanh().sum(0) + factor.sum()

torch.manual_seed(0)
x, weight = torch.randn(20, 3), torch.randn(3, 5)
found = []
for on_cpu in (True, False):
    graph = Graph(Mixed().of, told=[], on_cpu=on_cpu)
    found.append(graph(x, weight))
    try:
        graph(torch.full_like(x, float("nan")), weight)
    except RuntimeError as error:
        assert "positive-definite" in str(error), error
    else:
        raise AssertionError("nothing was said of the matrix that is not positive-definite")
assert torch.equal(*found), found
print("called")
"""


def test_small_graphs_alone_are_called_from_cpp_and_by_a_torch_that_reaches_every_operation(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(torch, "__version__", TorchVersion("2.13.1+cpu"))
    assert is_called_from_cpp(360)
    assert not is_called_from_cpp(3000)
    monkeypatch.setattr(torch, "__version__", TorchVersion("2.9.0"))
    assert not is_called_from_cpp(360)


@pytest.mark.slow
def test_what_is_called_from_cpp_has_the_bits_of_what_is_called_from_python_and_logs_nothing():
    done = subprocess.run([sys.executable, "-c", CALLED], capture_output=True, text=True, check=False)
    assert "called" in done.stdout, done.stderr[-2000:]
    assert "c-shim" not in done.stderr


COUNTED = """
import numpy as np
import torch
import lowerbound as lb
import lowerbound.training.compiling as compiling
import lowerbound.training.graphs as graphs
from lowerbound.data import InMemory
from lowerbound.training.engine import Engine
from lowerbound.training.held_out import HeldOut

made = []
graphs._compiler = lambda **_: lambda graph, inputs: made.append(graph) or graph.forward
compiling.WORTH = 0.0
compiling.CompiledStep.seconds = lambda step, raw: step._rehearse(raw, 5) * 0  # the faster one

x = (torch.rand(768, 784, generator=torch.Generator().manual_seed(0)) < 0.1).float()
held_out = HeldOut(source=InMemory(x[:100]), every=6)
several = [
    {"compile": True},
    {"compile": True, "precision": "bf16", "held_out": held_out, "ema": 0.99},
    {"compile": True, "held_out": held_out, "skip_above": 5.0, "clip_norm": 1.0},
    {"compile": "auto", "held_out": held_out},
]
for given in several:
    made.clear()
    engine = Engine(device="cpu", precision=given.pop("precision", "fp32"))
    model = lb.models.vae((784,), latent_dim=20, hidden=(512,))
    loss = lb.VariationalLoss(model, lb.objectives.ELBO("kl"), lb.gradients.Pathwise())
    records = list(lb.train(loss, InMemory(x), num_steps=24, batch_size=128, log_every=6, engine=engine, **given))
    assert len(records) == 4
    assert len(made) == 1, (given, len(made))
made.clear()
grey = np.random.default_rng(0).integers(0, 256, (300, 8, 8)).astype(np.uint8)
assert len(lb.fit(grey, "vae", steps=60, hidden=[16], latent_dim=2, compile=True).records) == 20
assert len(made) == 1, len(made)
print("counted")
"""


@pytest.mark.slow
def test_a_run_of_several_intervals_makes_one_graph():
    done = subprocess.run([sys.executable, "-c", COUNTED], capture_output=True, text=True, check=False)
    assert "counted" in done.stdout, done.stderr[-2000:]
