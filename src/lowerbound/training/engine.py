"""Where the computation runs: device, precision and number of processes, by lightning-fabric."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, get_args

import torch
from torch import Tensor, nn

from lowerbound.losses.loss import Loss

if TYPE_CHECKING:
    from lightning_fabric import Fabric

__all__ = ["Device", "Engine", "Precision", "Strategy", "check_environment"]

Device: TypeAlias = Literal["auto", "cpu", "cuda", "mps"]
Precision: TypeAlias = Literal["fp32", "bf16", "fp16"]
Strategy: TypeAlias = Literal["ddp", "fsdp"]
_FABRIC_PRECISION: dict[str, Any] = {"bf16": "bf16-mixed", "fp16": "16-mixed"}


@dataclass(frozen=True, kw_only=True)
class Engine:
    """A device, a precision and a number of processes.

    Arguments:
        device: "auto" takes CUDA, then MPS, then the CPU.
        precision: "fp32"; "bf16" autocasts; "fp16" autocasts with a gradient scaler (CUDA only).
        devices: processes on this machine, trained together. Under `torchrun` its own count.
        strategy: "ddp" (DistributedDataParallel) gives each process the whole model; "fsdp" divides large layers among
            them, with gradients and moments (`sharding`). One process has the whole model under either.

    Raises:
        ValueError: a device that is not there, more processes than the machine has cores or GPUs for, or a precision
            that it cannot train in.
    """

    device: Device = "auto"
    precision: Precision = "fp32"
    devices: int = 1
    strategy: Strategy = "ddp"

    def __post_init__(self) -> None:
        if self.precision not in get_args(Precision):
            raise ValueError(f"Engine got precision={self.precision!r} and expected fp32, bf16 or fp16.")
        if self.strategy not in get_args(Strategy):
            raise ValueError(f"Engine got strategy={self.strategy!r} and expected ddp or fsdp.")
        if self.strategy == "fsdp" and self.precision == "fp16":
            raise ValueError("fsdp trains in fp32 or bf16, as the scale of fp16 gradients would differ by process.")
        if self.devices < 1:
            raise ValueError(f"Engine got devices={self.devices} and needs at least 1.")
        if self.accelerator not in _present():
            raise ValueError(f"No {self.device} device is available here; use one of {', '.join(_present())}, or auto.")
        if self.devices > _most(self.accelerator):
            raise ValueError(
                f"Engine got devices={self.devices} and this machine has room for {_most(self.accelerator)} on "
                f"{self.accelerator}; give at most that many."
            )
        if self.precision == "fp16" and self.accelerator != "cuda":
            raise ValueError(f"fp16 needs a CUDA device and this is {self.accelerator}; use bf16 or fp32.")

    @property
    def accelerator(self) -> str:
        """The kind of device that "auto" selects."""
        return _present()[-1] if self.device == "auto" else self.device

    @cached_property
    def fabric(self) -> Fabric:
        """The launched Fabric; with several devices this starts the other processes."""
        check_environment()  # before the import, which reads it
        from lightning_fabric import Fabric

        local = int(os.environ.get("LOCAL_WORLD_SIZE", self.devices))
        nodes = int(os.environ.get("WORLD_SIZE", local)) // local
        fabric = Fabric(
            accelerator=self.accelerator,
            devices=local,
            num_nodes=nodes,
            strategy="ddp" if local * nodes > 1 else "auto",
            plugins=_precision(self.precision, self.accelerator),
        )
        fabric.launch()
        return fabric

    @property
    def torch_device(self) -> torch.device:
        """The device of this process."""
        return self.fabric.device

    @property
    def rank(self) -> int:
        """The number of this process, from 0."""
        return self.fabric.global_rank

    @property
    def world_size(self) -> int:
        """The number of processes."""
        return self.fabric.world_size

    def mean(self, value: Tensor) -> Tensor:
        """The mean of a tensor over the processes."""
        return value if self.world_size == 1 else self.fabric.all_reduce(value, reduce_op="mean")  # type: ignore[return-value]

    @cached_property
    def is_plain(self) -> bool:
        """Whether steps are those of torch alone: one process in fp32, which lightning's wrappers would only slow."""
        return self.world_size == 1 and self.precision == "fp32"

    @property
    def divides(self) -> bool:
        """Whether large layers are divided among several processes."""
        return self.strategy == "fsdp" and self.world_size > 1

    def said_by_first(self, flag: bool) -> bool:
        """What the first process says; all of them must call this."""
        said = torch.tensor(float(flag and self.rank == 0), device=self.torch_device)
        return self.mean(said).item() > 0

    def set_up(self, loss: nn.Module, optimizer: torch.optim.Optimizer) -> tuple[Any, Any]:
        """The loss and its optimiser as this engine runs them.

        Several processes search for parameters without a gradient if there may be some: in a `Loss` that says so, and
        in any other module.
        """
        if self.is_plain:
            return loss, optimizer
        if self.divides:
            return self._in_precision(loss), optimizer
        if self.world_size > 1:
            everywhere = isinstance(loss, Loss) and loss.every_parameter_learns
            ddp_options = self.fabric.strategy._ddp_kwargs  # pyright: ignore[reportAttributeAccessIssue]
            ddp_options["find_unused_parameters"] = not everywhere
        return self.fabric.setup(loss, optimizer)  # type: ignore[return-value]

    def backward(self, value: Tensor) -> None:
        """Add the gradient of a value of a loss that was set up."""
        if self.is_plain or self.divides:
            value.backward()
        else:
            self.fabric.backward(value)

    def alone(self, loss: Any, enabled: bool) -> AbstractContextManager[object]:
        """Within this context, if it is enabled, processes do not exchange the gradients of a loss that was set up."""
        return nullcontext() if self.is_plain or self.divides else self.fabric.no_backward_sync(loss, enabled=enabled)

    def _in_precision(self, loss: nn.Module) -> Callable[..., Any]:
        """A loss whose nets compute in the precision of this engine."""

        def run(*batch: Tensor) -> Any:
            with self.fabric.autocast():
                return loss(*batch)

        return run

    def unscale(self, optimizer: torch.optim.Optimizer, module: nn.Module) -> None:
        """Undo the scaling of half-precision gradients, so that they can be measured and clipped."""
        if self.precision == "fp16":
            self.fabric.clip_gradients(module, optimizer, max_norm=float("inf"), error_if_nonfinite=False)


def check_environment() -> None:
    """Refuse environment variables that no launcher would have set.

    Raises:
        ValueError: naming the variable.
    """
    for name, least in (
        ("WORLD_SIZE", 1),
        ("LOCAL_WORLD_SIZE", 1),
        ("RANK", 0),
        ("LOCAL_RANK", 0),
        ("SLURM_NTASKS", 1),
        ("SLURM_PROCID", 0),
        ("JSM_NAMESPACE_RANK", 0),
    ):
        text = os.environ.get(name)
        if text is not None and not (text.isdecimal() and int(text) >= least):
            raise ValueError(
                f"The environment has {name}={text[:40]!r}; expected a whole number from {least} as launchers "
                "set it: unset it, or start the command through torchrun or SLURM."
            )
    if int(os.environ.get("SLURM_NTASKS", "1")) > 1 and "SLURM_NTASKS_PER_NODE" not in os.environ:
        raise ValueError(
            f"The environment has SLURM_NTASKS={os.environ['SLURM_NTASKS']} and no SLURM_NTASKS_PER_NODE; ask for "
            "--ntasks-per-node in place of --ntasks, or unset SLURM_NTASKS for a single process."
        )
    world, local = (int(os.environ.get(name, "1")) for name in ("WORLD_SIZE", "LOCAL_WORLD_SIZE"))
    if world % local:
        raise ValueError(
            f"The environment has WORLD_SIZE={world} and LOCAL_WORLD_SIZE={local}, which does not divide it; start "
            "the same number of processes on each machine."
        )


def _precision(precision: Precision, device: str) -> Any:
    """Autocast that does not convert the batch, because data rounded to bfloat16 would be other data."""
    from lightning_fabric.plugins import MixedPrecision
    from lightning_fabric.plugins.precision import Precision as FullPrecision

    class Autocast(MixedPrecision):
        def convert_input(self, data: Any) -> Any:
            return data

    return FullPrecision() if precision == "fp32" else Autocast(_FABRIC_PRECISION[precision], device)


def _most(accelerator: str) -> int:
    """Processes that are worth starting: one for each GPU, or for each core; two everywhere, to try several out."""
    if accelerator == "cuda":
        return max(1, torch.cuda.device_count())
    return max(2, os.cpu_count() or 1) if accelerator == "cpu" else 1


def _present() -> list[str]:
    """Kinds of device on this machine, the fastest last."""
    found = ["cpu"]
    if torch.backends.mps.is_available():
        found.append("mps")
    if torch.cuda.is_available():
        found.append("cuda")
    return found
