"""Large layers whose numbers are divided among the processes (FSDP: Zhao et al. 2023, arXiv:2304.11277).

Every process keeps 1/W of the weights of each large layer, of their gradients and of both moments of Adam. torch's
`fully_shard` collects the weights of a layer when it is called and again in its backward pass, and averages gradients
where they are kept. All other parameters are few: every process holds them, and their gradients are averaged, as by
DistributedDataParallel. While a loss is trained, its large layers are replaced; `give_back` puts them back, with the
new weights.

An optimiser updates the part of a parameter that lies here as if it were a parameter of its own. That is right for
those that treat each number alone, which all of `optimizers` do.
"""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import chain
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor, distributed, nn
from torch.nn.modules.conv import _ConvNd

from lowerbound import gradients, optimizers
from lowerbound.losses.guards import batch_norms
from lowerbound.losses.loss import Loss
from lowerbound.losses.variational import VariationalLoss
from lowerbound.optimizers import MakeOptimizer
from lowerbound.training.sharded_state import part_here, part_of, whole

if TYPE_CHECKING:
    from torch.distributed.tensor import DTensor

__all__ = ["SMALLEST", "Shards", "check_sharded"]

SMALLEST = 2**16
"""Numbers from which a layer is divided; to collect a smaller one takes longer than its memory is worth."""

_LAYERS = (nn.Linear, _ConvNd, nn.Embedding)
_GRADIENTS = (gradients.Pathwise, gradients.StickTheLanding, gradients.DReG, gradients.ScoreFunction)
_OF_WEIGHTS = ("loss", "best", "average")  # groups of a checkpoint whose names are those of the loss
_OPTIMIZERS = (optimizers.Adam, optimizers.AdamW, optimizers.Adamax, optimizers.SGD)


def check_sharded(loss: nn.Module, make_optimizer: MakeOptimizer) -> None:
    """Refuse what cannot be trained in shards.

    Raises:
        ValueError: in one sentence.
    """
    if isinstance(loss, Loss):
        if type(loss) is not VariationalLoss:
            raise ValueError(f"fsdp trains the variational loss and this is {type(loss).__name__}; use ddp.")
        if not isinstance(loss.gradient, _GRADIENTS):
            raise ValueError(
                f"fsdp takes one backward pass a step, by pathwise, stick-the-landing, dreg or score-function, and got "
                f"{type(loss.gradient).__name__}; use ddp."
            )
        if hasattr(loss.model, "inference"):
            raise ValueError("fsdp takes q(z | x) from the encoder alone; leave inference out, or use ddp.")
    if not isinstance(make_optimizer, _OPTIMIZERS):
        raise ValueError("fsdp takes adam, adamw, adamax or sgd, which treat each number alone; or use ddp.")
    if batch_norms(loss):
        raise ValueError("fsdp takes no BatchNorm, whose statistics would differ by process; use ddp.")
    if not _large_layers(loss):
        raise ValueError(
            f"fsdp divides linear layers, convolutions and embeddings of {SMALLEST:,} numbers and more, and there is "
            "none here; use ddp."
        )


class Shards:
    """A loss whose large layers are divided among the processes, and the parts that lie here.

    Arguments:
        loss: of which layers are replaced in place.
        device: of this process.
    """

    def __init__(self, loss: nn.Module, device: torch.device):
        from torch.distributed.device_mesh import init_device_mesh
        from torch.distributed.fsdp import fully_shard

        self._loss, self._size = loss, distributed.get_world_size()
        self._is_first = distributed.get_rank() == 0
        layers = _large_layers(loss)
        for parameter in (p for layer in layers for p in layer.parameters()):
            parameter.data = parameter.data.contiguous()  # torch divides no others
        for tensor in chain(loss.parameters(), loss.buffers()):
            _of_first(tensor.detach())
        mesh = init_device_mesh(device.type, (self._size,))
        kept = {id(tensor): tensor for tensor in chain(loss.parameters(), loss.buffers())}
        self._replaced = {layer: copy.deepcopy(layer, dict(kept)) for layer in layers}
        for divided in self._replaced.values():
            divided.register_forward_hook(_no_view)
            fully_shard(divided, mesh=mesh, reshard_after_forward=True)
        _replace(loss, self._replaced)
        for parameter in (p for layer in layers for p in layer.parameters()):
            parameter.data = parameter.data.new_empty(0)
        self._names: dict[Tensor, str] = {p: name for name, p in loss.named_parameters()}
        self._own: dict[Tensor, Tensor] = {
            p: nn.Parameter(part_here(p.detach())) for p in self._names if part_here(p) is not p
        }
        self._shared = [p for p in self._names if p.requires_grad and p not in self._own]
        self._by_name = {name: p for p, name in self._names.items()}
        self._in_order: list[Tensor] = []

    def own(self, parameter: Tensor) -> Tensor:
        """The part of a parameter that is updated here."""
        return self._own.get(parameter, parameter)

    def over_own(self, make_optimizer: MakeOptimizer) -> MakeOptimizer:
        """The same maker of an optimiser, over the parts that lie here."""

        def make(found: list[Any]) -> torch.optim.Optimizer:
            groups = found if isinstance(found[0], dict) else [{"params": found}]
            self._in_order = [p for group in groups for p in group["params"]]
            return make_optimizer([{**group, "params": [self.own(p) for p in group["params"]]} for group in groups])

        return make

    @torch.no_grad()
    def collect_gradients(self) -> None:
        """After the backward pass: give each part its gradient, and average those of parameters that all hold; one
        without a gradient has 0.
        """
        for parameter, own in self._own.items():
            own.grad = None if parameter.grad is None else part_here(parameter.grad)
            parameter.grad = None
        if not self._shared:
            return
        flat = torch.cat([(torch.zeros_like(p) if p.grad is None else p.grad).flatten() for p in self._shared])
        distributed.all_reduce(flat)
        for p, grad in zip(self._shared, (flat / self._size).split([p.numel() for p in self._shared]), strict=True):
            p.grad = grad.view_as(p).to(p)

    @torch.no_grad()
    def whole_norms(self, norms: Sequence[Tensor]) -> Sequence[Tensor]:
        """The norms of the gradients of all parameters that learn, from those of the parts that lie here."""
        divided = [p in self._own for p in self._names if p.requires_grad]
        squares = torch.stack([norm.square() for norm, is_part in zip(norms, divided, strict=True) if is_part])
        distributed.all_reduce(squares)
        summed = iter(squares.sqrt().unbind())
        return [next(summed) if is_part else norm for norm, is_part in zip(norms, divided, strict=True)]

    def agree_on_buffers(self) -> None:
        """Take the buffers of the first process."""
        for buffer in self._loss.buffers():
            _of_first(buffer)

    def whole(self, groups: Mapping[str, Mapping[str, Tensor]]) -> dict[str, dict[str, Tensor]]:
        """The groups of a checkpoint from the parts of all processes, in the first; all of them must call this."""
        found: dict[str, dict[str, Tensor]] = {}
        for group, tensors in groups.items():
            found[group] = {}
            for name, tensor in tensors.items():
                like = self._like(group, name)
                full = tensor if like is None or not tensor.ndim else whole(tensor, like)
                if self._is_first:
                    found[group][name] = full.cpu()
        return found

    def parts(self, groups: Mapping[str, Mapping[str, Tensor]]) -> dict[str, dict[str, Tensor]]:
        """The parts that lie here, of the groups of a checkpoint.

        Raises:
            ValueError: they are of another model.
        """
        found: dict[str, dict[str, Tensor]] = {}
        for group, tensors in groups.items():
            likes = {name: self._like(group, name) for name in tensors}
            found[group] = {
                name: tensor if (like := likes[name]) is None or not tensor.ndim else part_of(tensor, like)
                for name, tensor in tensors.items()
            }
        return found

    @torch.no_grad()
    def give_back(self) -> None:
        """Put the layers of the loss back, whole and with the weights of now; all processes must call this."""
        for layer, divided in self._replaced.items():
            for parameter, now in zip(layer.parameters(), divided.parameters(), strict=True):
                parameter.data = whole(part_here(now.detach()), cast("DTensor", now))
            layer.train(divided.training)
        _replace(self._loss, {divided: layer for layer, divided in self._replaced.items()})

    def _like(self, group: str, name: str) -> DTensor | None:
        """The divided parameter to which a tensor of a checkpoint belongs, if it does."""
        if group == "optimizer":
            index = name.partition("/")[0]
            found = self._in_order[int(index)] if index.isdecimal() and int(index) < len(self._in_order) else None
        else:
            found = self._by_name.get(name) if group in _OF_WEIGHTS else None
        return cast("DTensor", found) if found in self._own else None


def _no_view(_: nn.Module, __: tuple[Any, ...], output: Tensor) -> Tensor:
    """A copy of an output that is a view, of which torch would not see a later change in place in the backward pass."""
    return output.clone() if output._is_view() else output


def _of_first(tensor: Tensor) -> None:
    """Overwrite a tensor with that of the first process."""
    sent = tensor.contiguous()
    distributed.broadcast(sent, 0)
    if sent is not tensor:
        tensor.copy_(sent)


def _large_layers(loss: nn.Module) -> list[nn.Module]:
    """Layers that are divided: without parts, large enough, learning, and with weights of no other part."""
    owners = Counter(id(p) for module in loss.modules() for p in module.parameters(recurse=False))
    return [
        module
        for module in loss.modules()
        if isinstance(module, _LAYERS)
        and not list(module.children())
        and sum(p.numel() for p in module.parameters()) >= SMALLEST
        and all(p.requires_grad and owners[id(p)] == 1 for p in module.parameters())
    ]


def _replace(loss: nn.Module, other: Mapping[nn.Module, nn.Module]) -> None:
    """Put other modules in the places of some."""
    for module in list(loss.modules()):
        for name, child in list(module._modules.items()):
            if child is not None and child in other:
                setattr(module, name, other[child])
