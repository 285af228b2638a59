"""A step as one graph: how torch is told to follow it, and when it looks whether the graph still holds.

Before each call torch looks whether everything that the graph takes for granted is as it was (numbers and flags of
modules, shapes, settings), and finds the tensors that its code takes; for a small net this takes a third of the time of
a step. Within an interval of training nothing of that changes but tensors. So once two calls of an interval have gone
the same way, the code of the graph is called directly for the rest of it. A part of the loss that is told of each step
(`protocols.FollowsSteps`) is looked at in each of them (`told`): where more than the numbers of its tensors has
changed, torch looks at everything again. On a GPU that code is recorded, and launched as one (`recorded`).

A number that a caller changes between intervals makes a graph anew, which takes seconds. torch makes eight of them;
where a ninth is needed, steps are not compiled from there on, which a warning says.
"""

from __future__ import annotations

import logging
import re
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, replace
from types import FunctionType, MethodType
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from lowerbound.nets.products import is_faster
from lowerbound.training.recorded import Recorded, Recorder
from lowerbound.training.told import Held
from lowerbound.warned import LowerboundWarning

__all__ = ["Graph", "can_follow_autograd", "is_called_from_cpp", "why"]

_Inputs: TypeAlias = tuple[Tensor | Sequence[Tensor], ...]
_CALLS_BY_NAME = "2.13"  # the torch from which calls in C++ reach every operation
_WORTH_RECORDING = 10  # calls
_FEW = 1000  # operations of a graph; a step of a perceptron with two hidden layers has 360


class Graph:
    """A method as one compiled graph.

    A recorded call has its result in one tensor, which the next call overwrites.

    Arguments:
        method: of tensors, which are rows of data, and lists of them, which are the state of training.
        told: what is told of each step, and may change more than the numbers of its tensors.
        on_cpu: whether all tensors lie there.
        from_cpp: whether kernels may be called from C++ (`is_called_from_cpp`), which does not know every operation.
        recorder: how a GPU records a call; None where no call is recorded.
    """

    def __init__(
        self,
        method: Callable[..., Tensor],
        *,
        told: Sequence[nn.Module],
        on_cpu: bool,
        from_cpp: bool = True,
        recorder: Recorder | None = None,
    ):
        own = _with_code_of_its_own(method)
        self._code = own.__func__.__code__
        self._method, self._told = method, told
        self._make = _compiler(on_cpu=on_cpu, from_cpp=from_cpp)
        self._compiled: Callable[..., Tensor] = torch.compile(own, dynamic=False, fullgraph=True, backend=self._made)
        self._recorder = recorder
        self._recorded: Recorded | None = None
        self._why_not = "what the loss changes in each step besides the numbers of tensors"
        self._calls = 0
        self._seen: _Call | None = None
        self._direct: _Direct | None = None
        self._held = Held(told)

    def begin(self) -> None:
        """Look at everything again in the next calls: what is no tensor may have changed. A warning says, once, where
        the calls since the last time were not recorded and would have been worth it.
        """
        if self._recorder is not None and self._calls > _WORTH_RECORDING and self._recorded is None:
            warnings.warn(
                "The steps are compiled and launched kernel by kernel, not as one CUDA graph, because of "
                f"{self._why_not}.",
                LowerboundWarning,
                stacklevel=2,
            )
            self._recorder = None
        self._calls = 0
        self._look_again()

    def _look_again(self) -> None:
        self._seen = self._direct = None

    def _look_at_told(self) -> None:
        if self._held.is_as_before():
            return
        before, self._held = self._held, Held(self._told)
        if self._held != before:
            self._look_again()

    def __call__(self, *inputs: Tensor | Sequence[Tensor]) -> Tensor:
        """The result of the method."""
        self._look_at_told()
        self._calls += 1
        if self._direct is not None and self._direct.takes(inputs):
            return self._direct(inputs)
        before, self._seen = self._seen, None
        held = _references(inputs)
        try:
            with _following_autograd(), _without_advice():
                result = self._compiled(*inputs)
        except torch._dynamo.exc.FailOnRecompileLimitHit:  # pyright: ignore[reportAttributeAccessIssue]
            return self._give_up()(*inputs)  # nothing was computed so far
        self._look_at_told()  # what a call changes itself, its code alone would not
        if before is not None and self._seen is not None:
            direct = _direct(before, self._seen, inputs, result, held)
            self._direct = direct if self._recorder is None else self._recorded_by(self._recorder, direct, self._seen)
        return result

    def _recorded_by(self, recorder: Recorder, direct: _Direct | None, call: _Call) -> _Direct | None:
        """The same call, recorded, and still so where it was in a former interval."""
        why_not = call.on_host
        if direct is None:
            why_not = "a tensor that the loss keeps from one step to the next"
        elif not all(_is_copied_as_it_lies(call.arguments[place]) for place in direct.rows):
            why_not = "rows with gaps in memory"
        if direct is None or why_not is not None:
            self._why_not = why_not
            return direct
        if self._recorded is None or not self._recorded.is_of(direct.code, direct.rows):
            self._recorded = Recorded(direct.code, direct.rows, recorder)
        return replace(direct, code=self._recorded)

    def _made(self, graph: torch.fx.GraphModule, inputs: list[Tensor]) -> Callable[..., Sequence[Tensor]]:
        """The code of a graph, of which each call is seen."""
        on_host = None if self._recorder is None else _on_host(graph)
        code = self._make(graph, inputs)

        def run(*arguments: Tensor) -> Sequence[Tensor]:
            results = code(*arguments)
            self._seen = _Call(code, arguments, results, on_host)
            return results

        return run

    def _give_up(self) -> Callable[..., Tensor]:
        """From now on the method itself."""
        warnings.warn(
            f"The loss was changed so often that {len(_graphs_of(self._code))} graphs were made, and torch makes no "
            "more; steps are not compiled from here on. Change numbers by a schedule, such as warmup, or as tensors.",
            LowerboundWarning,
            stacklevel=2,
        )
        self._compiled, self._recorder = self._method, None
        return self._method


@dataclass(frozen=True)
class _Call:
    """One call of the code of a graph."""

    code: Callable[..., Sequence[Tensor]]
    arguments: tuple[Tensor, ...]
    results: Sequence[Tensor]
    on_host: str | None


@dataclass(frozen=True)
class _Direct:
    """The code of a graph, where its arguments are found among what is given and what is kept (buffers), and which of
    them are rows.
    """

    code: Callable[..., Sequence[Tensor]]
    places: list[int]
    kept: list[Tensor]
    kinds: list[object]
    rows: frozenset[int]

    def takes(self, inputs: _Inputs) -> bool:
        """Whether the code is for tensors like these; lists hold the state of training, whose shapes do not change."""
        return _kinds(inputs) == self.kinds

    def __call__(self, inputs: _Inputs) -> Tensor:
        """The result of the method."""
        tensors = _flat(inputs) + self.kept
        return self.code(*[tensors[place] for place in self.places])[0]


def _direct(before: _Call, last: _Call, inputs: _Inputs, result: Tensor, held: list[int]) -> _Direct | None:
    """How the code of a graph is called as torch called it twice; None where torch does more than to call it.

    Each argument must be one of the tensors that are given, which must be different ones, or the same object in both
    calls. The result must be all that the code returns: where a step sets attributes to tensors that it made, they are
    further results; and it must keep none of those that it was given (`held` is `_references` before the last call).
    """
    mine = [sum(argument is part for argument in last.arguments) for part in inputs if isinstance(part, Tensor)]
    if [now - own for now, own in zip(_references(inputs), mine, strict=True)] != held:
        return None
    if last.code is not before.code or len(last.results) != 1 or last.results[0] is not result:
        return None
    given = _flat(inputs)
    place_of = {id(tensor): place for place, tensor in enumerate(given)}
    if len(place_of) < len(given):
        return None
    places, kept = [], []
    for argument, former in zip(last.arguments, before.arguments, strict=True):
        if id(argument) not in place_of:
            if argument is not former:
                return None
            place_of[id(argument)] = len(given) + len(kept)
            kept.append(argument)
        places.append(place_of[id(argument)])
    single = {id(part) for part in inputs if isinstance(part, Tensor)}
    rows = frozenset(i for i, argument in enumerate(last.arguments) if id(argument) in single)
    return _Direct(last.code, places, kept, _kinds(inputs), rows)


def _flat(inputs: _Inputs) -> list[Tensor]:
    found: list[Tensor] = []
    for part in inputs:
        found.extend((part,) if isinstance(part, Tensor) else part)
    return found


def _kinds(inputs: _Inputs) -> list[object]:
    return [(part.shape, part.stride(), part.dtype, part.device) for part in inputs if isinstance(part, Tensor)]


def _on_host(graph: torch.fx.GraphModule) -> str | None:
    """What of a graph is computed by the host, or brought from it, in words; None if nothing is."""
    parts = [part for part in graph.modules() if isinstance(part, torch.fx.GraphModule)]  # of what has derivatives too
    for node in (node for part in parts for node in part.graph.nodes):
        results = tree_leaves(node.meta.get("example_value"))
        if any(isinstance(result, Tensor) and result.device.type == "cpu" for result in results):
            return f"{node.name}, a tensor on the CPU"
    return None


def _is_copied_as_it_lies(row: Tensor) -> bool:
    """Whether a copy has the strides for which the code was made."""
    return torch.empty_like(row, device="meta").stride() == row.stride()


def _references(inputs: _Inputs) -> list[int]:
    """How often each tensor is held: once more after a call that keeps it, as in an attribute."""
    return [sys.getrefcount(part) for part in inputs if isinstance(part, Tensor)]


def can_follow_autograd() -> bool:
    """Whether this torch follows `autograd.grad`, with which losses that have derivatives of their own compile."""
    import torch._dynamo.config as settings  # slow to import

    return hasattr(settings, "trace_autograd_ops")


def why(error: Exception) -> str:
    """Why a graph could not be made: the first line of what the compiler says, and the file at which it gave up."""
    said = str(error).strip() or type(error).__name__
    first = said.splitlines()[0][:200].rstrip(". ")
    files = re.findall(r'File "[^"]*?/(?:site-packages|src)/([^"]+)", line', said)
    places = [file for file in files if not file.startswith("torch/") and file != "lowerbound/training/steps.py"]
    return f"{first}, in {places[-1]}" if places else first


def _following_autograd() -> AbstractContextManager[object]:
    if not can_follow_autograd():
        return nullcontext()
    return torch._dynamo.config.patch(trace_autograd_ops=True)


@contextmanager
def _without_advice() -> Iterator[None]:
    """Leave out what torch logs of operations that C++ calls by name, a microsecond slower and with the same bits."""

    def is_meant_for_users(entry: logging.LogRecord) -> bool:
        return "is missing a c-shim implementation" not in str(entry.msg)

    log = logging.getLogger("torch._inductor.ir")
    log.addFilter(is_meant_for_users)
    try:
        yield
    finally:
        log.removeFilter(is_meant_for_users)


def _graphs_of(code: Any) -> list[Any]:
    from torch._dynamo.eval_frame import _debug_get_cache_entry_list

    return _debug_get_cache_entry_list(code)


def _with_code_of_its_own(method: Any) -> MethodType:
    """A bound method with a copy of its code: torch counts the graphs of one code, and gives up at the ninth."""
    function = method.__func__
    own = FunctionType(
        function.__code__.replace(),
        function.__globals__,
        function.__name__,
        function.__defaults__,
        function.__closure__,
    )
    return MethodType(own, method.__self__)


def _compiler(*, on_cpu: bool, from_cpp: bool) -> Callable[[torch.fx.GraphModule, list[Tensor]], Any]:
    """torch's own, told how a graph is to be compiled."""

    def compile_one(graph: torch.fx.GraphModule, inputs: list[Tensor]) -> Any:
        from torch._inductor.compile_fx import compile_fx  # slow to import

        by_cpp = from_cpp and on_cpu and is_called_from_cpp(len(graph.graph.nodes))
        options = _options(on_cpu=on_cpu, from_cpp=by_cpp)
        return compile_fx(graph, inputs, config_patches=options)

    return compile_one


def is_called_from_cpp(num_operations: int) -> bool:
    """Whether the kernels of a graph on a CPU are called from C++ in place of Python.

    It takes a fifth off the step of a small net, with the same bits. The calls of a large graph hardly count beside its
    kernels, which C++ compiles one after another and Python at once. What C++ cannot call directly it calls by name.
    """
    return torch.__version__ >= _CALLS_BY_NAME and num_operations <= _FEW


def _options(*, on_cpu: bool, from_cpp: bool) -> dict[str, Any]:
    """Random numbers are torch's own, on a CPU in the order in which an uncompiled step draws them, which torch would
    change for less memory; products are those of oneDNN where it is faster.

    torch would keep compiled headers in the folder for temporary files, where others can be first (`keep_graphs`).
    """
    options: dict[str, Any] = {"fallback_random": True, "cpp_wrapper": from_cpp}
    known = torch._inductor.list_options()  # pyright: ignore[reportPrivateImportUsage]
    if "cpp_cache_precompile_headers" in known:
        options["cpp_cache_precompile_headers"] = False
    if on_cpu and "reorder_for_peak_memory" in known:
        options["reorder_for_peak_memory"] = False
    if is_faster():
        from lowerbound.training.products_compiled import ProductsByOneDNN  # the compiler is slow to import

        options["post_grad_custom_post_pass"] = ProductsByOneDNN()
    return options
