"""How q(z | x) is computed: a scheme is a small object that is called with a model and a batch.

    scheme(model, x, context) → q(z | x), batch shape (B,)

The simplest scheme is the encoder (Kingma & Welling 2013, arXiv:1312.6114). Others compute longer for each datum to
come nearer to p(z | x). `with_inference` replaces `model.infer` by a scheme, so that losses, evaluation and all other
users of q(z | x) use it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import ClassVar, Protocol, runtime_checkable

import torch
from torch import Tensor
from torch.distributions import Distribution

from lowerbound.model import Joint, LatentVariableModel
from lowerbound.protocols import Context, Latents

__all__ = ["Amortised", "InferenceScheme", "gradients_enabled", "recordable", "with_inference"]


@runtime_checkable
class InferenceScheme(Protocol):
    """From a model and a batch to q(z | x).

    It works under `torch.no_grad` and `torch.inference_mode` too (see `gradients_enabled`). A scheme that is trained is
    a module, or its result is differentiable along the model's parameters, or both.
    """

    def __call__(self, model: LatentVariableModel, x: Tensor, context: Context | None = None) -> Distribution:
        """q(z | x) of a batch x (B, *event): a distribution with `batch_shape` (B,)."""
        ...


@dataclass(frozen=True)
class Amortised:
    """One pass of the encoder: q(z | x) = `model.infer(x)`."""

    cites: ClassVar[tuple[str, ...]] = ("kingma2014auto",)

    def __call__(self, model: LatentVariableModel, x: Tensor, context: Context | None = None) -> Distribution:
        """See `InferenceScheme`."""
        return model.infer(x, context)


def with_inference(model: LatentVariableModel, scheme: InferenceScheme) -> LatentVariableModel:
    """The same model, with the same parameters, whose `infer` is the scheme.

    >>> import lowerbound as lb
    >>> exact = lb.exact.LinearGaussian(torch.ones(2, 1), torch.zeros(2), torch.tensor(1.0))
    >>> refined = with_inference(exact.model(), lb.inference.Local(num_steps=3))
    >>> refined.infer(torch.zeros(5, 2)).rsample((7,)).shape
    torch.Size([7, 5, 1])
    """
    return _WithInference(model, scheme)


class _WithInference(LatentVariableModel):
    """See `with_inference`. The names of its parameters are those of the model; a scheme's own come after."""

    def __init__(self, model: LatentVariableModel, scheme: InferenceScheme):
        super().__init__(prior=model.prior, likelihood=model.likelihood, posterior=model.posterior)
        self.inference = scheme
        self.__dict__["_amortised"] = model  # not a submodule: its parts are registered above

    def infer(self, x: Tensor, context: Context | None = None) -> Distribution:
        """q(z | x) of the batch, by the scheme."""
        return self.inference(self.__dict__["_amortised"], x, context)

    def joint(self, x: Tensor, context: Context | None = None) -> Joint:
        """See `LatentVariableModel`; parts of the context that are for the scheme alone are left out."""
        return self.__dict__["_amortised"].joint(x, self._of_model(context))

    def decode(self, z: Latents, context: Context | None = None) -> Distribution:
        """See `LatentVariableModel`."""
        return self.__dict__["_amortised"].decode(z, self._of_model(context))

    def _decode(self, z: Latents, context: Context | None, q: Distribution | None) -> Distribution:
        return self.__dict__["_amortised"]._decode(z, self._of_model(context), q)

    def _of_model(self, context: Context | None) -> Context | None:
        strip = getattr(self.inference, "context_of_model", None)
        return context if strip is None else strip(context)


@contextmanager
def gradients_enabled() -> Iterator[None]:
    """Record gradients within this context even if the caller has turned them off: refining q needs them."""
    with torch.inference_mode(False), torch.enable_grad():
        yield


def recordable(x: Tensor, context: Context | None) -> tuple[Tensor, Context | None]:
    """A batch through which gradients can be recorded: tensors of `torch.inference_mode` are copied."""
    if context is None or isinstance(context, Tensor):
        return _recordable(x), None if context is None else _recordable(context)
    return _recordable(x), tuple(_recordable(part) for part in context)


def _recordable(value: Tensor) -> Tensor:
    return value.clone() if value.is_inference() else value
