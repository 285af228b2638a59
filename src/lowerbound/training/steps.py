"""One optimisation step, in two forms with the same arithmetic.

`EagerStep` runs on any device, precision and number of processes. `CompiledStep` makes forward pass, gradient,
clipping and the default Adam one compiled graph, which a GPU launches as one (`recorded`): about twice as fast for
small networks after seconds of compilation; it needs one process, and fp32 or bf16. In bf16 the products of nets alone
are rounded; weights, moments and distributions stay in fp32. Both forms update the state of one `torch.optim.Adam`, so
that a checkpoint does not depend on the form, and return one row for the `History`: the terms of the loss followed by
the gradient norm of every parameter.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from typing import Protocol, TypeAlias, no_type_check, runtime_checkable

import torch
from torch import Tensor, nn

from lowerbound.losses.loss import LossOutput
from lowerbound.optimizers import Adam, MakeOptimizer, optimizer_for
from lowerbound.protocols import FollowsSteps
from lowerbound.threads import computing_seconds
from lowerbound.training.direct_adam import DirectAdam, has_direct_update
from lowerbound.training.engine import Engine
from lowerbound.training.graphs import Graph, can_follow_autograd, why
from lowerbound.training.recorded import recorder_on
from lowerbound.training.sharding import Shards
from lowerbound.training.skipping import Skipping

__all__ = ["CannotCompile", "CompiledStep", "EagerStep", "TrainingStep", "Transform", "buffers_kept"]

Transform: TypeAlias = Callable[..., tuple[Tensor, ...]]
_ADAM = Adam()


class CannotCompile(ValueError):
    """A loss that the compiler cannot follow, in one sentence."""


@runtime_checkable
class TrainingStep(Protocol):
    """From a batch of raw rows and a learning rate to a row of the history."""

    terms: list[str]
    parameters: list[str]
    optimizer: torch.optim.Optimizer

    def begin(self) -> None:
        """Between the steps before and those to come, the loss may have changed."""
        ...

    def __call__(self, raw: tuple[Tensor, ...], lr: float) -> Tensor:
        """Take one step."""
        ...


class EagerStep:
    """Forward, backward, clip, update.

    Arguments:
        loss: from the tensors of a batch to a `LossOutput`.
        transform: from raw rows to those tensors.
        engine: device, precision and processes.
        make_optimizer: from parameters, or groups of them, to an optimiser.
        clip_norm: largest norm of the whole gradient, or None.
        accumulate: parts of a batch that are computed one after another, with one update at the end.
        skipping: which updates are left out, or None; with it every step waits for the device, unless the optimiser is
            a fused one of torch (as those of Adam and AdamW are).
        shards: the parts of the loss that lie in this process, or None where it has the whole.
    """

    def __init__(
        self,
        loss: nn.Module,
        transform: Transform,
        engine: Engine,
        make_optimizer: MakeOptimizer,
        clip_norm: float | None,
        accumulate: int = 1,
        skipping: Skipping | None = None,
        shards: Shards | None = None,
    ):
        named = [(name, p) for name, p in loss.named_parameters() if p.requires_grad]
        self.parameters, self._trained = [n for n, _ in named], [p for _, p in named]
        self.terms: list[str] = []
        self._shards = shards
        if shards is not None:
            self._trained = [shards.own(p) for p in self._trained]
        self.optimizer = optimizer_for(loss, make_optimizer if shards is None else shards.over_own(make_optimizer))
        self._transform, self._engine, self._clip_norm = transform, engine, clip_norm
        self._accumulate, self._skipping = accumulate, skipping
        self._loss, self._fabric_optimizer = engine.set_up(loss, self.optimizer)
        is_bare = engine.is_plain or shards is not None
        is_direct = is_bare and isinstance(make_optimizer, Adam) and has_direct_update(self.optimizer)
        self._update = DirectAdam(self.optimizer).step if is_direct else self._fabric_optimizer.step

    def begin(self) -> None:
        """See `TrainingStep`: nothing is taken for granted."""

    def __call__(self, raw: tuple[Tensor, ...], lr: float) -> Tensor:
        """Take one step."""
        _set_rates(self.optimizer, lr)
        terms = self._accumulated(self._transform(*raw))
        self._engine.unscale(self._fabric_optimizer, self._loss)
        if self._shards is not None:
            self._shards.collect_gradients()
        row = torch.stack([*terms.values(), *self._norms()]).float()
        norms = row[len(terms) :]
        if self._clip_norm is not None:
            self._clip(norms, self._clip_norm)
        if self._skipping is None:
            self._update()
        else:
            self._update_unless_left_out(norms, self._skipping)
        for p in self._trained:
            p.grad = None
        self.terms = list(terms)
        return row

    def _accumulated(self, batch: tuple[Tensor, ...]) -> dict[str, Tensor]:
        """Backward for every part of a batch, weighted by its rows, and the means of the terms."""
        size = len(batch[0])
        count = min(self._accumulate, size)
        if count == 1:
            return self._added(batch, 1.0)
        parts = list(zip(*(tensor.tensor_split(count) for tensor in batch), strict=True))
        total: dict[str, Tensor] = {}
        for i, part in enumerate(parts):
            share = len(part[0]) / size
            with self._engine.alone(self._loss, enabled=i + 1 < count):
                for name, term in self._added(part, share).items():
                    total[name] = total.get(name, 0.0) + share * term
        return total

    def _added(self, batch: tuple[Tensor, ...], share: float) -> dict[str, Tensor]:
        """Add a share of the gradient of these rows, and return their terms."""
        output: LossOutput = self._loss(*batch)
        self._engine.backward(output.loss if share == 1 else share * output.loss)
        return output.terms

    def _update_unless_left_out(self, norms: Tensor, skipping: Skipping) -> None:
        """A fused optimiser is always called, and told to change nothing where the update is left out."""
        norm = norms.norm()
        taken = norm <= skipping.limit()
        skipping.observe(norm, taken)
        with skipping.told(self.optimizer, taken) as understands:
            if understands or bool(taken):
                self._update()

    def _norms(self) -> Sequence[Tensor]:
        """The norm of each parameter's gradient; 0 if a parameter had no gradient in this step."""
        grads = [p.grad for p in self._trained]
        found = torch._foreach_norm([g for g in grads if g is not None])  # pyright: ignore[reportPrivateImportUsage]
        if len(found) < len(grads):
            norms = iter(found)
            found = [p.new_zeros(()) if g is None else next(norms) for p, g in zip(self._trained, grads, strict=True)]
        return found if self._shards is None else self._shards.whole_norms(found)

    @torch.no_grad()
    def _clip(self, norms: Tensor, clip_norm: float) -> None:
        factor = (clip_norm / (norms.norm() + 1e-6)).clamp(max=1.0)
        torch._foreach_mul_([p.grad for p in self._trained if p.grad is not None], factor)  # pyright: ignore[reportPrivateImportUsage]


class CompiledStep:
    """The same step as one graph; call `prepare` first.

    Arguments:
        loss, transform, clip_norm, skipping: as in `EagerStep`.
        low: whether the products of nets are computed in bfloat16.
    """

    def __init__(
        self,
        loss: nn.Module,
        transform: Transform,
        clip_norm: float | None,
        skipping: Skipping | None = None,
        *,
        low: bool = False,
    ):
        named = {name: p for name, p in loss.named_parameters() if p.requires_grad}
        self.parameters = list(named)
        self.terms: list[str] = []
        self.optimizer = optimizer_for(loss, _ADAM)
        self._loss, self._transform, self._clip_norm, self._skipping = loss, transform, clip_norm, skipping
        self._low = low
        self._trained = list(named.values())
        self._device = self._trained[0].device
        own = {
            p: (group.get("lr_factor", 1.0), group["betas"][0])
            for group in self.optimizer.param_groups
            for p in group["params"]
        }
        self._own = [own[p] for p in self._trained]
        self._state: tuple[list[Tensor], list[Tensor], list[Tensor], list[Tensor]] | None = None
        self._lr = torch.zeros((), device=self._device)
        self._limit = torch.full((), torch.inf, device=self._device)
        self._by_autograd = can_follow_autograd()
        told = [part for part in loss.modules() if isinstance(part, FollowsSteps)]
        self._on_cpu = self._device.type == "cpu"
        self._draws_on = [] if self._on_cpu else [self._device]  # besides the CPU
        self._make_graph = partial(Graph, self._run, told=told, on_cpu=self._on_cpu, recorder=recorder_on(self._device))
        self._graph = self._make_graph()

    def __call__(self, raw: tuple[Tensor, ...], lr: float) -> Tensor:
        """Take one step. On a GPU the next step overwrites its row."""
        if self._state is None:
            self._state = self._gather_state()
        parameters, means, squares, counts = self._state
        with torch.no_grad():
            torch._foreach_add_(counts, 1)  # pyright: ignore[reportPrivateImportUsage]
            self._lr.fill_(lr)
            if self._skipping is not None:
                self._limit.copy_(self._skipping.limit())
            row = self._graph(parameters, means, squares, [self._lr, self._limit, *counts], *raw)
            if self._skipping is not None:
                norm = row[len(self.terms) :].norm()
                taken = norm <= self._limit
                self._skipping.observe(norm, taken)
                torch._foreach_sub_(counts, [(~taken).float()] * len(counts))  # pyright: ignore[reportPrivateImportUsage]
            return row

    def begin(self) -> None:
        """See `TrainingStep`."""
        self._graph.begin()

    def _autocast(self) -> AbstractContextManager[object]:
        return torch.autocast(self._device.type, torch.bfloat16) if self._low else nullcontext()

    def _gather_state(self) -> tuple[list[Tensor], list[Tensor], list[Tensor], list[Tensor]]:
        """Parameters, both moments and step counts, at the first step: after a checkpoint was loaded, if one was."""
        states = [_adam_state(self.optimizer, p) for p in self._trained]
        means, squares, counts = ([state[key] for state in states] for key in ("exp_avg", "exp_avg_sq", "step"))
        if len({count.item() for count in counts}) == 1:  # then one tensor counts for all
            for state in states:
                state["step"] = counts[0]
            counts = counts[:1]
        return [p if self._by_autograd else p.detach() for p in self._trained], means, squares, counts

    @torch.no_grad()
    def prepare(self, raw: tuple[Tensor, ...]) -> None:
        """Compile the graph by a step whose changes are undone.

        The loss runs once without compilation before. Its errors are then reported in its own words, and torch has done
        its look-ups for each pair of types (closed-form KL), which the compiler cannot follow.

        Raises:
            CannotCompile: the compiler refused something in the loss.
        """
        with torch.random.fork_rng(devices=self._draws_on), buffers_kept(self._loss):
            batch = self._transform(*(rows[:2] for rows in raw))
            with self._autocast():
                self.terms = list(self._loss(*batch).terms)
        try:
            self._first(raw)
        except Exception as error:  # of the compiler, whose errors have many classes: the loss itself ran above
            raise CannotCompile(f"This loss cannot be compiled as one graph ({why(error)}).") from error

    def _first(self, raw: tuple[Tensor, ...]) -> None:
        """Make the graph; with calls from Python where an operation cannot be called from C++ (powers of integers)."""
        try:
            self._rehearse(raw, 1)
        except torch._dynamo.exc.Unsupported:  # pyright: ignore[reportAttributeAccessIssue]
            raise
        except Exception:
            if not self._on_cpu:
                raise
            self._graph = self._make_graph(from_cpp=False)
            self._rehearse(raw, 1)

    def seconds(self, raw: tuple[Tensor, ...], repeats: int = 5) -> float:
        """The shortest computing time of some steps whose changes are undone; call `prepare` first."""
        return self._rehearse(raw, repeats)

    @torch.no_grad()
    def _rehearse(self, raw: tuple[Tensor, ...], repeats: int) -> float:
        """Steps from copies of the parameters, and the shortest computing time of one."""
        parameters, means, squares = ([p.detach().clone() for p in self._trained] for _ in range(3))
        if self._by_autograd:
            parameters = [nn.Parameter(p) for p in parameters]
        seconds: list[float] = []
        with torch.random.fork_rng(devices=self._draws_on), buffers_kept(self._loss):
            for _ in range(repeats):
                start = computing_seconds()
                numbers = [self._lr, self._limit, torch.ones((), device=self._device)]
                self._graph(parameters, means, squares, numbers, *raw)
                seconds.append(computing_seconds() - start)
        return min(seconds)

    @no_type_check  # type checks of the tests would wrap the function inside, which the compiler cannot follow
    def _run(
        self,
        parameters: list[Tensor],
        means: list[Tensor],
        squares: list[Tensor],
        numbers: list[Tensor],
        *raw: Tensor,
    ) -> Tensor:
        lr, limit, *counts = numbers

        def objective(values: list[Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
            named = dict(zip(self.parameters, values, strict=True))
            batch = self._transform(*raw)
            with self._autocast():
                return torch.func.functional_call(self._loss, named, batch)

        if self._by_autograd:
            with torch.enable_grad():
                value, terms = objective(parameters)
                grads = torch.autograd.grad(value, parameters, allow_unused=True, materialize_grads=True)
        else:
            grads, (_, terms) = torch.func.grad_and_value(objective, has_aux=True)(parameters)
        norms = torch.stack([g.norm() for g in grads])
        taken = None if self._skipping is None else norms.norm() <= limit
        if self._clip_norm is not None:
            factor = (self._clip_norm / (norms.norm() + 1e-6)).clamp(max=1.0)
            grads = [g * factor for g in grads]
        beta2 = _ADAM.beta2
        counts = counts if len(counts) > 1 else counts * len(parameters)
        state = zip(parameters, means, squares, grads, counts, self._own, strict=True)
        for p, m, v, g, count, (factor, beta1) in state:
            before = [t.clone() for t in (p, m, v)] if taken is not None else []
            m.lerp_(g, 1 - beta1)
            v.mul_(beta2).addcmul_(g, g, value=1 - beta2)
            denominator = (v / (1 - beta2**count)).sqrt() + _ADAM.eps
            p.sub_(lr * factor * (m / (1 - beta1**count)) / denominator)
            for tensor, old in zip((p, m, v), before, strict=False):
                tensor.copy_(torch.where(taken, tensor, old))
        return torch.cat([torch.stack(list(terms.values())).float(), norms.float()])


@contextmanager
def buffers_kept(module: nn.Module) -> Iterator[None]:
    """Undo all changes of a module's buffers at the end of this context."""
    kept = [(buffer, buffer.clone()) for buffer in module.buffers()]
    try:
        yield
    finally:
        with torch.no_grad():
            for buffer, value in kept:
                buffer.copy_(value)


def _set_rates(optimizer: torch.optim.Optimizer, lr: float) -> None:
    """Give every group the rate of this step, times its own factor."""
    for group in optimizer.param_groups:
        group["lr"] = lr * group.get("lr_factor", 1.0)


def _adam_state(optimizer: torch.optim.Optimizer, parameter: nn.Parameter) -> dict[str, Tensor]:
    """The state of torch's Adam for a parameter, made at the first request."""
    state = optimizer.state[parameter]
    if not state:
        state["step"] = torch.zeros((), dtype=torch.float32, device=parameter.device)
        state["exp_avg"] = torch.zeros_like(parameter)
        state["exp_avg_sq"] = torch.zeros_like(parameter)
    return state
