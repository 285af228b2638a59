"""Products by oneDNN: those of torch to rounding, in gradients and graphs too, and only where they are large."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

import lowerbound as lb
from lowerbound import nets
from lowerbound.evaluate import annealed_importance, log_evidence
from lowerbound.nets import products
from lowerbound.nets.precision import call_net
from lowerbound.nets.products import by_onednn, fast_products, is_large, products_of_nets

pytestmark = pytest.mark.skipif(not torch.backends.mkldnn.is_available(), reason="this torch has no oneDNN")


class Seen(TorchDispatchMode):
    """The operations that reach torch."""

    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []
        self.arguments: list[tuple[Any, ...]] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.names.append(func.__name__)
        self.arguments.append(args)
        return func(*args, **(kwargs or {}))


@pytest.fixture
def _is_faster(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(products, "is_faster", lambda: True)


def gradients(net: nn.Module, x: Tensor) -> list[Tensor]:
    out = net(x)
    return [out.detach(), *torch.autograd.grad(out.square().sum(), list(net.parameters()))]


@pytest.mark.parametrize("with_bias", [False, True])
def test_a_product_is_that_of_double_precision(with_bias: bool) -> None:
    torch.manual_seed(0)
    a, b = torch.randn(40, 30).t(), torch.randn(50, 40).t()  # neither lies in rows
    bias = torch.randn(50) if with_bias else None
    exact = a.double() @ b.double() + (0 if bias is None else bias.double())
    found = by_onednn(a, b, bias)
    torch.testing.assert_close(found.double(), exact, rtol=1e-5, atol=1e-5)
    assert found.is_contiguous()


@pytest.mark.usefixtures("_is_faster")
def test_scores_of_several_threads_leave_nothing_behind() -> None:
    first, second = fast_products(), fast_products()
    with ThreadPoolExecutor(1) as one, ThreadPoolExecutor(1) as other:
        one.submit(first.__enter__).result()
        other.submit(second.__enter__).result()
        modes = [thread.submit(products_of_nets).result() for thread in (one, other)]
        one.submit(first.__exit__, None, None, None).result()
        other.submit(second.__exit__, None, None, None).result()
        after = [thread.submit(products_of_nets).result() for thread in (one, other)]
    assert modes[0] is not modes[1]
    assert all(isinstance(mode, TorchDispatchMode) for mode in modes)
    assert not any(isinstance(mode, TorchDispatchMode) for mode in (*after, products_of_nets()))


@pytest.mark.usefixtures("_is_faster")
def test_large_products_of_a_net_and_of_its_gradients_go_to_onednn() -> None:
    torch.manual_seed(0)
    net, x = nn.Sequential(nn.Linear(200, 128), nn.ReLU(), nn.Linear(128, 3)), torch.randn(128, 200)
    expected = gradients(net, x)
    with Seen() as seen, fast_products(), products_of_nets():
        found = gradients(net, x)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-3)
    assert seen.names.count("_linear_pointwise.default") == 2  # forward and for the first weight; x needs no gradient
    assert sum(name.startswith(("mm", "addmm")) for name in seen.names) == 3  # the small ones of the second layer


@pytest.mark.usefixtures("_is_faster")
@pytest.mark.parametrize("mode", [torch.enable_grad, torch.inference_mode])
def test_tanh_of_many_numbers_is_that_of_double_precision(mode: Any) -> None:
    torch.manual_seed(0)
    x = torch.cat([torch.randn(2**15), 10 ** torch.linspace(-30, 2, 2**15), torch.tensor([torch.inf, torch.nan])])
    x = torch.stack([x, -x]).T  # which does not lie in rows
    with mode(), Seen() as seen, fast_products(), products_of_nets():
        z = x.clone().requires_grad_(mode is torch.enable_grad)
        found = z.tanh()
    assert "to_mkldnn.default" in seen.names
    exact = x.double().tanh()
    torch.testing.assert_close(found.double().detach(), exact, rtol=3e-7, atol=0, equal_nan=True)
    if mode is torch.enable_grad:
        (slope,) = torch.autograd.grad(found.sum(), z)
        torch.testing.assert_close(slope.double(), 1 - exact.square(), rtol=0, atol=1e-6, equal_nan=True)


def test_elsewhere_nothing_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(products, "is_faster", lambda: False)
    with Seen() as seen, fast_products(), products_of_nets():
        torch.mm(torch.randn(200, 200), torch.randn(200, 200))
    assert "mm.default" in seen.names


@pytest.mark.usefixtures("_is_faster")
def test_nets_alone_multiply_by_onednn_and_only_while_they_are_asked_to() -> None:
    net, x = nn.Linear(200, 200, bias=False), torch.randn(200, 200)
    with Seen() as seen:
        with fast_products():
            call_net(net, (x,))
            torch.mm(x, x)
        call_net(net, (x,))
    of_interest = [name for name in seen.names if name.startswith(("mm", "_linear"))]
    assert of_interest == ["_linear_pointwise.default", "mm.default", "mm.default"]


@pytest.mark.usefixtures("_is_faster")
def test_a_parameter_is_laid_out_once_and_other_weights_are_taken_as_they_come() -> None:
    net, x, mask = nn.Linear(200, 200), torch.randn(3, 200, 200), torch.ones(200, 200)
    with torch.inference_mode(), Seen() as seen, fast_products(), products_of_nets():
        first, second = net(x), net(x)
        others = [nn.functional.linear(x, factor * mask) for factor in (1.0, 2.0)]
    assert seen.names.count("_reorder_linear_weight.default") == 1
    assert torch.equal(first, second)
    exact = nn.functional.linear(x.double(), net.weight.double(), net.bias.double())  # type: ignore[union-attr]
    torch.testing.assert_close(first.double(), exact.detach(), rtol=1e-5, atol=1e-5)
    assert torch.equal(others[1], 2 * others[0])


def large(seen: Seen) -> list[str]:
    """The names of the large products that reach torch, whoever computes them."""
    found = []
    for name, args in zip(seen.names, seen.arguments, strict=True):
        sides = [a for a in args if isinstance(a, Tensor) and a.ndim > 1]
        if name.startswith(("mm", "addmm", "linear", "_linear")) and sides[0].numel() * sides[1].numel() >= 2**21 * 200:
            found.append(name)
    return found


@pytest.mark.usefixtures("_is_faster")
def test_scoring_and_annealing_multiply_by_onednn_in_decoders_flows_and_their_gradients() -> None:
    torch.manual_seed(0)
    model = lb.LatentVariableModel(
        prior=lb.priors.FlowPrior(2, kind="affine", transforms=1, hidden=200),
        likelihood=lb.likelihoods.Bernoulli(nets.MLP(2, [200], 200)),
        posterior=lb.posteriors.IAF(nets.MLP(200, [8], 36), transforms=1, hidden=200),
    )
    x = torch.rand(5, 200).round()
    with Seen() as seen:
        log_evidence(model, x, num_samples=40)
    assert len(large(seen)) == 4  # of the decoder, of p(z), and two of q(z | x), which draws one latent after another
    assert set(large(seen)) == {"_linear_pointwise.default"}
    with Seen() as seen:
        annealed_importance(model, x, num_distributions=2, num_chains=40, num_leapfrog=2)
    assert len(large(seen)) >= 12
    assert set(large(seen)) == {"_linear_pointwise.default"}


def test_doubles_and_small_products_are_left_alone() -> None:
    a = torch.zeros(200, 200)
    assert is_large(a, a)
    assert not is_large(a.double(), a.double())
    assert not is_large(a.bfloat16(), a.bfloat16())
    assert not is_large(a[:2], a)


COMPILED = """
import torch
from torch import nn
from lowerbound.training.products_compiled import ProductsByOneDNN
torch.manual_seed(0)
net, x = nn.Sequential(nn.Linear(200, 128), nn.ReLU(), nn.Linear(128, 3)), torch.randn(128, 200)
named = dict(net.named_parameters())
def run(values):
    return torch.func.grad(lambda p: torch.func.functional_call(net, p, (x,)).square().sum())(values)
applied = []
class Counted(ProductsByOneDNN):
    def __call__(self, graph):
        super().__call__(graph)
        applied.append(sum("product" in str(node.target) for node in graph.nodes))
options = {"post_grad_custom_post_pass": Counted()}
values = {name: p.detach() for name, p in named.items()}
with torch.no_grad():
    found, expected = torch.compile(run, fullgraph=True, options=options)(values), run(values)
torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-3)
assert applied == [2], applied
print("the same")
"""


@pytest.mark.slow
def test_those_of_a_compiled_graph_do_too(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    done = subprocess.run([sys.executable, "-c", COMPILED], capture_output=True, text=True, check=False)
    assert "the same" in done.stdout, done.stderr[-2000:]


SCORED = """
import sys
import torch
import lowerbound as lb
from lowerbound.evaluate import log_evidence
from lowerbound.nets import products
products.is_faster = lambda: True
torch.manual_seed(0)
model, x = lb.models.vae((200,), latent_dim=8, hidden=(128,)), torch.rand(20, 200).round()
plain = log_evidence(model, x, num_samples=100).mean
assert "torch._dynamo" not in sys.modules
model.likelihood.net.compile()
assert log_evidence(model, x, num_samples=100).mean == plain
print("the same")
"""


@pytest.mark.slow
def test_no_compiler_is_loaded_for_it_and_compiled_nets_are_scored_too() -> None:
    done = subprocess.run([sys.executable, "-c", SCORED], capture_output=True, text=True, check=False)
    assert "the same" in done.stdout, done.stderr[-2000:]


def test_a_part_of_a_matrix_is_made_dense_and_whole_ones_stay() -> None:
    whole = torch.randn(6, 9)
    for same in (whole, whole.t(), whole[2:], whole[:, 3:4].t()[:, :1]):
        assert products.dense(same) is same
    for part in (whole[:, :4], whole[:, :4].t(), whole[::2]):
        assert products.dense(part).is_contiguous()
        assert torch.equal(products.dense(part), part)


def test_no_product_by_onednn_has_a_part_of_a_matrix(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in nets of several inputs, whose first weight is used in parts, and their gradients."""
    monkeypatch.setattr(products, "is_faster", lambda: True)
    strides: list[tuple[int, ...]] = []

    class Strides(TorchDispatchMode):
        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            if func._schema.name == "mkldnn::_linear_pointwise":
                strides.append(args[1].stride())
            return func(*args, **(kwargs or {}))

    weight, x = torch.randn(256, 96, requires_grad=True), torch.randn(256, 64, requires_grad=True)
    with Strides(), fast_products(), products_of_nets():
        y = torch.nn.functional.linear(x, weight[:, :64])
        (slope,) = torch.autograd.grad(y.square().sum(), x)
    assert len(strides) == 2
    assert all(1 in stride and sorted(stride)[1] in (64, 256) for stride in strides)
    torch.testing.assert_close(slope, 2 * (x @ weight[:, :64].t()) @ weight[:, :64], rtol=1e-3, atol=1e-2)
