"""The check that nets treat each row by itself.

A net that mixes the rows of a batch, as attention does over the axis of the batch, makes log p(x | z) or q(z | x) of a
row depend on the rows beside it, so that there is no bound. It would train without an error.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from lowerbound.model import LatentVariableModel

__all__ = ["rows_kept_apart"]

_TOLERANCE = 1e-3


@contextmanager
def rows_kept_apart(model: LatentVariableModel) -> Iterator[None]:
    """Raise a `ValueError` at the end of this context if a net of q(z | x) or p(x | z) that ran in it mixes rows.

    A net of one input is run again in eval mode: on all rows, which shows whether it draws numbers of its own, and on
    the last row alone.
    """
    nets = {id(net): (part, net) for part in (model.posterior, model.likelihood) for net in _nets_of(part)}
    seen: dict[int, Tensor] = {}
    hooks = [net.register_forward_pre_hook(_remember(seen)) for _, net in nets.values()]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
    for key, rows in seen.items():
        part, net = nets[key]
        if not _is_row_by_row(net, rows):
            raise ValueError(
                f"The net of {type(part).__name__}, a {type(net).__name__}, gives a row alone another output than "
                "among other rows, so that there is no bound; let attention go over an axis behind that of the batch."
            )


def _nets_of(part: object) -> list[nn.Module]:
    net = getattr(part, "net", None)
    return [net] if isinstance(net, nn.Module) else []


def _remember(seen: dict[int, Tensor]) -> Callable[[nn.Module, tuple[object, ...]], None]:
    def hook(net: nn.Module, inputs: tuple[object, ...]) -> None:
        if len(inputs) == 1 and isinstance(inputs[0], Tensor):
            seen[id(net)] = inputs[0]

    return hook


@torch.no_grad()
def _is_row_by_row(net: nn.Module, rows: Tensor) -> bool:
    """Whether the last row has the same output alone; True where that cannot be seen."""
    if rows.ndim == 0 or len(rows) < 2:
        return True
    modes = [(module, module.training) for module in net.modules()]
    net.eval()
    try:
        whole, again, alone = net(rows), net(rows), net(rows[-1:])
    finally:
        for module, mode in modes:
            module.training = mode
    if not (isinstance(whole, Tensor) and isinstance(alone, Tensor) and torch.equal(whole, again)):
        return True
    return torch.allclose(whole[-1:], alone, rtol=_TOLERANCE, atol=_TOLERANCE * float(whole.abs().max()))
