"""Steps recorded and launched as one have the bits of steps that are not, on a stand-in for a GPU and on a GPU."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor

from lowerbound.training.recorded import CannotRecord, CudaGraphs, recorder_on

SUPPORT = Path(__file__).parent / "support"

STEPS = """
import sys
import torch
from torch import nn
from lowerbound import LatentVariableModel, VariationalLoss, likelihoods, posteriors, priors
from lowerbound.data import InMemory, load
from lowerbound.fitting.planning import plan
from lowerbound.fitting.preparing import prepare
from lowerbound.losses.guards import to_training
from lowerbound.protocols import FollowsSteps
from lowerbound.training import graphs, steps
from lowerbound.training.recorded import CudaGraphs
from lowerbound.training.skipping import Skipping

device = torch.device(sys.argv[1])
if device.type == "cpu":
    from repeated_on_cpu import OnCpu as made
    graphs._compiler = lambda **_: lambda graph, inputs: graph  # compiling takes a minute, and changes nothing here
    graphs._on_host = lambda graph: None  # the stand-in is the host itself
else:
    class Counted(CudaGraphs):
        recorded = repeated = 0
        def record(self, call):
            self.recorded += 1
            repeat, result = super().record(call)
            def counted():
                self.repeated += 1
                repeat()
            return counted, result
    made = lambda: Counted(device)

DISCRETE = {"prior": "bernoulli", "posterior": "bernoulli", "objective": "elbo", "num_samples": 2}
CASES = {
    "warm-up, skipping": {"objective": "beta-elbo:warmup=9", "skip": 1.05},
    "iwae": {"num_samples": 3},
    "convolution": {"network": "convolution", "hidden": [4, 4], "objective": "elbo"},
    "learned baseline": {**DISCRETE, "gradient": "score-function:baseline=learned"},
    "rebar": {**DISCRETE, "gradient": "rebar"},
    "codes": {"recipe": "vq", "hidden": [4, 4]},
    "whitened codes": {"recipe": "fsq", "hidden": [4, 4]},
    "players": {"recipe": "aae"},
}

def trained(given, recorder):
    given = dict(given)
    skip = given.pop("skip", None)
    steps.recorder_on = lambda device: recorder
    torch.manual_seed(0)
    small = {"latent_dim": 2, "hidden": [4]} if "recipe" not in given else {}
    planned = plan(load("digits"), given.pop("recipe", "vae"), **{**small, **given}, device=device.type, steps=99,
                   precision="fp32", batch_size=16)
    training = prepare(load("digits"), planned, planned.engine())
    loss = training.loss
    to_training(loss, ())
    skipping = None if skip is None else Skipping(skip, device)
    step = steps.CompiledStep(loss, training.source.transform, 5.0, skipping)
    told = [part for part in loss.modules() if isinstance(part, FollowsSteps)]
    step.prepare(training.source.gather(torch.arange(16)))
    rows = []
    for interval in range(5):
        torch.manual_seed(interval)
        step.begin()
        for i in range(7 * interval, 7 * interval + 7):
            for part in told:
                part.at_step(i)
            rows.append(step(training.source.gather(torch.arange(i, i + 16)), 1e-2 / (1 + i)).clone())
    if skipping is not None:
        assert 0 < skipping.count < 20
    return torch.stack(rows), {name: value.clone() for name, value in loss.state_dict().items()}

for name in sys.argv[2:] or CASES:
    given, recorder = CASES[name], made()
    rows, weights = trained(given, recorder)
    assert recorder.recorded == 1, (name, recorder.recorded)
    assert recorder.repeated == 4 + 4 * 5, (name, recorder.repeated)  # two looked at in each interval, one rehearsed
    expected, same = trained(given, None)
    torch.testing.assert_close(rows, expected, rtol=0, atol=0)
    torch.testing.assert_close(weights, same, rtol=0, atol=0)
    print(name, "is the same")
"""


RESUMED = """
import sys
import tempfile
import torch
from pathlib import Path
import lowerbound as lb
from lowerbound import VariationalLoss
from lowerbound.gradients import Pathwise
from lowerbound.models import vae
from lowerbound.objectives import ELBO
from lowerbound.training.checkpoint import Checkpoint
from lowerbound.training.engine import Engine
from lowerbound.training.loop import train

def made():
    torch.manual_seed(0)
    return VariationalLoss(vae((6,), latent_dim=2, hidden=(8,)), ELBO("kl"), Pathwise())

x = (torch.rand(200, 6) < 0.5).float()
for precision in ("fp32", "bf16"):
    folder = Path(tempfile.mkdtemp())
    options = dict(log_every=20, compile=True, engine=Engine(device=sys.argv[1], precision=precision), batch_size=32)
    whole, parts = made(), made()
    random = torch.cuda.get_rng_state()
    for _ in train(whole, x, num_steps=80, **options):
        pass
    assert torch.equal(torch.cuda.get_rng_state(), random)  # the caller's own
    for record in train(parts, x, num_steps=80, checkpoint=Checkpoint(path=folder / "state"), **options):
        if record.step == 40:
            break
    again = made()
    for _ in train(again, x, num_steps=80, checkpoint=Checkpoint(path=folder / "state"), **options):
        pass
    torch.testing.assert_close(again.state_dict(), whole.state_dict(), rtol=0, atol=0)
print("resumed")
"""

LOOKED = """
import sys
import warnings
import torch
from lowerbound.training import graphs
from repeated_on_cpu import OnCpu

graphs._compiler = lambda **_: lambda graph, inputs: graph
on_host = graphs._on_host

class Scaled(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.factor = 2.0
        self.register_buffer("shift", torch.zeros(()))
    def of(self, sums, x):
        sums[0].add_(x.sum())
        return x * self.factor + self.shift

def warned(graph, call):
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        for _ in range(2):
            for _ in range(12):
                call()
            graph.begin()
    return [str(one.message) for one in seen if "CUDA graph" in str(one.message)]

x = torch.arange(3.0)
with torch.no_grad():
    scaled, recorder, sums = Scaled(), OnCpu(), [torch.zeros(())]
    on_cpu = graphs.Graph(scaled.of, told=[], on_cpu=False, recorder=recorder)
    said = warned(on_cpu, lambda: on_cpu(sums, x))  # the host computes, and no stand-in is made of it
    assert len(said) == 1 and "because of" in said[0] and "a tensor on the CPU" in said[0], said
    assert recorder.recorded == 0 and sums[0] == 72
    inner, outer = (torch.fx.GraphModule(torch.nn.Module(), torch.fx.Graph()) for _ in range(2))
    outer.add_module("forward_of_a_function", inner)
    assert on_host(outer) is None
    inner.graph.placeholder("number").meta["example_value"] = torch.ones(())
    assert on_host(outer) == "number, a tensor on the CPU"

    graphs._on_host = lambda graph: None
    graph, sums = graphs.Graph(scaled.of, told=[], on_cpu=False, recorder=recorder), [torch.zeros(())]
    def five(expected):
        rows = [x + i for i in range(5)]
        for i, row in enumerate(rows):
            torch.testing.assert_close(graph(sums, row), expected * (x + i) + scaled.shift, rtol=0, atol=0)
        assert all(torch.equal(row, x + i) for i, row in enumerate(rows))  # of which copies are recorded
    assert warned(graph, lambda: five(2)) == [] and sums[0] == 24 * 45
    assert recorder.recorded == 1 and recorder.repeated == 60 - 3 + 60 - 2
    scaled.factor = 5.0
    five(5)  # between two intervals anything may change, and it is recorded anew
    assert recorder.recorded == 2
    graph.begin()
    sums = [torch.zeros(())]
    five(5)
    assert sums[0] == 45 and recorder.recorded == 3  # it lies elsewhere
    graph.begin()
    sums[0].data = torch.zeros(())  # as by `module.to`: the same tensor in other memory
    five(5)
    assert sums[0] == 45 and recorder.recorded == 4
    graph.begin()
    scaled.shift = torch.ones(())
    five(5)
    assert recorder.recorded == 5
    graph(sums, torch.ones(4))
    five(5)

    gaps = graphs.Graph(scaled.of, told=[], on_cpu=False, recorder=recorder)
    rows = torch.arange(8.0).reshape(2, 4)[:, :3]
    said = warned(gaps, lambda: gaps(sums, rows))
    assert len(said) == 1 and "rows with gaps in memory" in said[0] and recorder.recorded == 5, said

    class Counting(Scaled):
        def of(self, x):
            return x * self.factor
    counting, recorder = Counting(), OnCpu()
    graph = graphs.Graph(counting.of, told=[counting], on_cpu=False, recorder=recorder)
    def told():
        counting.factor = 3.0 - counting.factor
        torch.testing.assert_close(graph(x), counting.factor * x, rtol=0, atol=0)
    said = warned(graph, told)
    assert recorder.recorded == 0 and len(said) == 1 and "besides the numbers of tensors" in said[0], said

    def another():
        if scaled.factor < 17:
            scaled.factor += 1
            changed.begin()
        changed(sums, x)
    changed = graphs.Graph(scaled.of, told=[], on_cpu=False, recorder=recorder)
    assert warned(changed, another) == []  # too many graphs were made, of which another warning tells
print("looked")
"""


def run(script: str, *words: str) -> str:
    paths = os.pathsep.join([str(SUPPORT), *filter(None, [os.environ.get("PYTHONPATH")])])
    done = subprocess.run(
        [sys.executable, "-c", script, *words],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": paths},
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def test_what_changes_between_intervals_is_recorded_anew_and_what_cannot_be_recorded_is_told() -> None:
    assert "looked" in run(LOOKED, "cpu")


def test_recorded_steps_have_the_bits_of_steps_that_are_not() -> None:
    assert "is the same" in run(STEPS, "cpu", "warm-up, skipping")


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", ["convolution", "iwae", "learned baseline", "rebar", "codes", "whitened codes", "players"]
)
def test_recorded_steps_of_each_kind_have_the_bits_of_steps_that_are_not(name: str) -> None:
    assert "is the same" in run(STEPS, "cpu", name)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_recorded_steps_have_the_bits_of_steps_that_are_not_on_a_gpu() -> None:
    assert run(STEPS, "cuda").count("is the same") == 8


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_run_on_a_gpu_is_resumed_with_the_bits_of_one_that_was_not_stopped(tmp_path: Path) -> None:
    assert "resumed" in run(RESUMED, "cuda")


class Stream:
    def __init__(self, name: str, asked: list[object]) -> None:
        self.name, self._asked = name, asked

    def __repr__(self) -> str:
        return self.name

    def wait_stream(self, other: object) -> None:
        self._asked.append(f"{self} waits for {other}")


class Device:
    """What torch.cuda is asked for where something is recorded, in order."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, error: RuntimeError | None) -> None:
        self.asked: list[object] = []
        self._error = error
        for name, stand_in in {
            "Stream": lambda device: Stream(f"side of {device}", self.asked),
            "CUDAGraph": lambda: SimpleNamespace(replay=print),
            "current_stream": lambda device: Stream(f"main of {device}", self.asked),
            "stream": lambda stream: self._within(f"on {stream}"),
            "set_stream": lambda stream: self.asked.append(f"on {stream}"),
            "device": lambda device: self._within(f"at {device}"),
            "graph": self._graph,
        }.items():
            monkeypatch.setattr(torch.cuda, name, stand_in)
        clear = partial(self.asked.append, "clear")
        monkeypatch.setattr(torch._C, "_cuda_clearCublasWorkspaces", clear, raising=False)

    @contextmanager
    def _within(self, name: str) -> Iterator[None]:
        self.asked.append(name)
        yield

    @contextmanager
    def _graph(self, graph: object, stream: Stream, capture_error_mode: str) -> Iterator[None]:
        self.asked.append(f"{stream}, {capture_error_mode}")
        yield
        if self._error is not None:
            raise self._error


def test_what_a_gpu_does_not_record_is_told_in_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    said = "CUDA error: operation failed due to a previous error during capture\nmore lines"
    device = Device(monkeypatch, RuntimeError(said))
    with pytest.raises(CannotRecord, match=r"error during capture\); train without compiling: --no-compile"):
        CudaGraphs(torch.device("cuda:1")).record(lambda: torch.ones(()))
    assert device.asked[-1] == "on main of cuda:1"
    assert gc.isenabled()


def test_a_recording_is_of_its_device_and_shares_no_workspace_and_no_garbage_is_collected_in_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    device, cycle = Device(monkeypatch, None), torch.fx.Graph()
    old = weakref.ref(cycle)
    del cycle  # nodes and their graph hold each other

    def call() -> Tensor:
        assert old() is None  # a graph of a former run is destroyed before
        assert not gc.isenabled()
        device.asked.append("call")
        return torch.ones(())

    repeat, result = CudaGraphs(torch.device("cuda:1")).record(call)
    assert (repeat, result) == (print, torch.ones(()))
    assert gc.isenabled()
    assert device.asked == ["at cuda:1", "clear", "side of cuda:1, thread_local", "call", "clear", "on main of cuda:1"]


def test_a_rehearsal_is_made_where_it_is_recorded_after_all_before_it_and_before_all_after_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    device = Device(monkeypatch, None)

    def call() -> Tensor:
        device.asked.append("call")
        return torch.ones(())

    recorder = recorder_on(torch.device("cuda:1"))
    assert isinstance(recorder, CudaGraphs)
    assert recorder.rehearse(call) == torch.ones(())
    side, main = "side of cuda:1", "main of cuda:1"
    assert device.asked == [f"{side} waits for {main}", f"on {side}", "call", f"{main} waits for {side}"]
    assert recorder_on(torch.device("cpu")) is None
