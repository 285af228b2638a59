"""A step as one graph: how torch is told to follow it, and when it looks whether the graph still holds.

Before each call torch looks whether everything that the graph takes for granted is as it was (numbers and flags of
modules, shapes, settings), which takes a quarter of the time of a step of a small net. Within an interval of training
nothing of that changes but tensors: it is looked at in the first steps of an interval alone, unless a part of the loss
is told of each step (`protocols.FollowsSteps`), or a graph was made anew in these steps.

A number that a caller changes between intervals makes a graph anew, which takes seconds. torch makes eight of them;
where a ninth is needed, steps are not compiled from there on, which a warning says.
"""

from __future__ import annotations

import logging
import re
import warnings
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from types import FunctionType, MethodType
from typing import Any

import torch
from torch import Tensor

from lowerbound.training.products import is_faster
from lowerbound.warned import LowerboundWarning

__all__ = ["Graph", "can_follow_autograd", "is_called_from_cpp", "why"]

_CALLS_BY_NAME = "2.13"  # the torch from which calls in C++ reach every operation
_FEW = 1000  # operations of a graph; a step of a perceptron with two hidden layers has 360
_CHECKED = 2  # steps of an interval: one would not show what each step changes


class Graph:
    """A method as one compiled graph.

    Arguments:
        method: of tensors, and lists of them.
        is_told: whether something is told of each step, and may change what is no tensor.
        on_cpu: whether all tensors lie there.
    """

    def __init__(self, method: Callable[..., Tensor], *, is_told: bool, on_cpu: bool):
        own = _with_code_of_its_own(method)
        self._code = own.__func__.__code__
        self._method = method
        self._compiled: Callable[..., Tensor] = torch.compile(
            own, dynamic=False, fullgraph=True, backend=_compiler(on_cpu=on_cpu)
        )
        self._is_steady, self._checks_left = not is_told, _CHECKED
        self._num_graphs = 0

    def begin(self) -> None:
        """Look at everything again in the next calls: what is no tensor may have changed."""
        self._checks_left = _CHECKED

    def __call__(self, *inputs: Any) -> Tensor:
        """The result of the method."""
        if self._is_steady and not self._checks_left:
            with _unchecked():
                return self._compiled(*inputs)
        try:
            with _following_autograd(), _without_advice():
                result = self._compiled(*inputs)
        except torch._dynamo.exc.FailOnRecompileLimitHit:  # pyright: ignore[reportAttributeAccessIssue]
            return self._give_up()(*inputs)  # nothing was computed so far
        self._checks_left = max(self._checks_left - 1, 0)
        self._notice()
        return result

    def _give_up(self) -> Callable[..., Tensor]:
        """From now on the method itself."""
        warnings.warn(
            f"The loss was changed so often that {len(_graphs_of(self._code))} graphs were made, and torch makes no "
            "more; steps are not compiled from here on. Change numbers by a schedule, such as warmup, or as tensors.",
            LowerboundWarning,
            stacklevel=2,
        )
        self._compiled, self._is_steady = self._method, False
        return self._method

    def _notice(self) -> None:
        """A graph that is made anew in the last of the checked calls would be made anew in all."""
        found = len(_graphs_of(self._code))
        if self._checks_left == 0 and self._num_graphs not in (0, found):
            self._is_steady = False
        self._num_graphs = found


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


def _unchecked() -> AbstractContextManager[object]:
    return torch.compiler.set_stance("default", skip_guard_eval_unsafe=True)


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


def _compiler(*, on_cpu: bool) -> Callable[[torch.fx.GraphModule, list[Tensor]], Any]:
    """torch's own, told how a graph is to be compiled."""

    def compile_one(graph: torch.fx.GraphModule, inputs: list[Tensor]) -> Any:
        from torch._inductor.compile_fx import compile_fx  # slow to import

        options = _options(on_cpu=on_cpu, from_cpp=on_cpu and is_called_from_cpp(len(graph.graph.nodes)))
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
