"""Models of data with a label: p(x, y, z) = p(y) p(z | y) p(x | z, y) with q(y, z | x) = q(y | x) q(z | x, y).

Source: model M2 of Kingma, Rezende, Mohamed & Welling (2014, arXiv:1406.5298, eqs. 2 and 4). The label y is a one-hot
vector, and the latent z is what the label does not say (the style of a digit). A model of x given y and a classifier
make one:

    log p(x) ≥ Σ_y q(y | x) [L(x | y) + log p(y) − log q(y | x)],      L(x | y) ≤ log p(x | y)

Without a context this is a model of x with the latents (z, y): its evidence is log p(x), and its samples are of any
class. With one-hot labels as its context it is the model of x given y: its evidence is log p(x | y), its samples are of
these classes, and z is its only latent. The likelihood is called with (z, y) in both cases.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.distributions import Distribution, Independent, OneHotCategorical
from torch.types import _size

from lowerbound.model import LatentVariableModel
from lowerbound.protocols import Conditional, Context
from lowerbound.shown import shown

__all__ = ["LabelledModel", "LabelledPosterior", "LabelledPrior", "LatentAndLabel"]

_NO_SHAPE = torch.Size()


class LatentAndLabel(Distribution):
    """p(y) p(z | y) over tuples (z, y): a one-hot label, and a latent that may depend on it.

    Arguments:
        label: p(y), over one-hot vectors (C,), with batch shape (B,) or ().
        latent: from labels (..., C) to p(z | y), with batch shape that of the labels, or () if it ignores them.
        event_size: C plus the number of coordinates of z.
    """

    has_rsample = False

    def __init__(self, label: Distribution, latent: Callable[[Tensor], Distribution], event_size: int):
        self.label, self.latent = label, latent
        super().__init__(label.batch_shape, torch.Size((event_size,)), validate_args=False)

    @torch.no_grad()
    def sample(self, sample_shape: _size = _NO_SHAPE) -> tuple[Tensor, Tensor]:  # type: ignore[override]
        """Draw y, then z given y: (*sample_shape, *batch_shape, ...) each."""
        y = self.label.sample(sample_shape)
        p = self.latent(y)
        lead = y.shape[: y.ndim - 1 - len(p.batch_shape)]
        return p.sample(lead), y

    def log_prob(self, value: tuple[Tensor, Tensor]) -> Tensor:  # type: ignore[override]
        """log p(y) + log p(z | y), nats."""
        z, y = value
        return self.label.log_prob(y) + self.latent(y).log_prob(z)

    @property
    def mean(self) -> Tensor:
        """There is none: a mean over labels is no label."""
        raise NotImplementedError("LatentAndLabel has no mean: half a 3 and half an 8 is no digit; use draws.")


class LabelledPrior(nn.Module):
    """p(y) p(z | y), or p(z | y) if labels are given.

    Arguments:
        latent: p(z | y), called with one-hot labels; it may ignore them.
        class_probabilities: p(y), (C,).
    """

    log_probability: Tensor

    def __init__(self, latent: Conditional, class_probabilities: Float[Tensor, "label"]):
        super().__init__()
        self.latent = latent
        self.register_load_state_dict_pre_hook(_take_former_names)
        self.register_buffer("log_probability", class_probabilities.log())
        self.event_size = len(class_probabilities) + latent(torch.eye(len(class_probabilities))).event_shape.numel()

    def label(self) -> Independent:
        """p(y)."""
        return _one_hot(self.log_probability)

    def forward(self, context: Context | None = None) -> Distribution:
        """p(z, y), or p(z | y) for labels (..., C)."""
        return LatentAndLabel(self.label(), self.latent, self.event_size) if context is None else self.latent(context)


class LabelledPosterior(nn.Module):
    """q(y | x) q(z | x, y), or q(z | x, y) if labels are given.

    Arguments:
        classifier: from x (..., *event) to the logits of q(y | x) (..., C).
        latent: q(z | x, y), called with (x, y).
        event_size: as for `LatentAndLabel`.
    """

    def __init__(self, classifier: nn.Module, latent: Conditional, event_size: int):
        super().__init__()
        self.classifier, self.latent, self.event_size = classifier, latent, event_size
        self.register_load_state_dict_pre_hook(_take_former_names)

    def label(self, x: Tensor) -> Independent:
        """q(y | x)."""
        return _one_hot(self.classifier(x))

    def forward(self, context: Context) -> Distribution:
        """q(z, y | x) for x alone, or q(z | x, y) for (x, y)."""
        if isinstance(context, tuple):
            return self.latent(context)
        return LatentAndLabel(self.label(context), lambda y: self.latent((context, y)), self.event_size)


class LabelledModel(LatentVariableModel):
    """A model of x given its label, a prior of labels and a classifier, as one model of x.

    Arguments:
        conditional: p(z | y), p(x | z, y) and q(z | x, y): any model whose context is a one-hot label (..., C). Its
            nets must take x (B, *event) with labels (S, B, C), as `nets.MLP` does.
        classifier: from x (..., *event) to the logits of q(y | x) (..., C).
        num_classes: C.
        class_probabilities: p(y); uniform if None.

    Raises:
        ValueError: class probabilities that are not C positive numbers.
    """

    prior: LabelledPrior  # pyright: ignore[reportIncompatibleVariableOverride]
    posterior: LabelledPosterior  # pyright: ignore[reportIncompatibleVariableOverride]

    def __init__(
        self,
        *,
        conditional: LatentVariableModel,
        classifier: nn.Module,
        num_classes: int,
        class_probabilities: Sequence[float] | None = None,
    ):
        p = _probabilities(num_classes, class_probabilities)
        prior = LabelledPrior(conditional.prior, p)
        posterior = LabelledPosterior(classifier, conditional.posterior, prior.event_size)
        super().__init__(prior=prior, likelihood=conditional.likelihood, posterior=posterior)
        self.num_classes = num_classes

    def classify(self, x: Tensor) -> Float[Tensor, "batch label"]:
        """q(y | x) for a batch x (B, *event), as probabilities."""
        return self.posterior.classifier(x).softmax(-1)

    def one_hot(self, labels: Int[Tensor, "*batch"]) -> Float[Tensor, "*batch label"]:
        """Labels 0, …, C − 1 as the vectors that the model takes.

        Raises:
            ValueError: a label that is none of these.
        """
        if labels.numel() and (int(labels.min()) < 0 or int(labels.max()) >= self.num_classes):
            raise ValueError(
                f"labels go from {int(labels.min())} to {int(labels.max())} and the model has {self.num_classes} "
                f"classes; give labels from 0 to {self.num_classes - 1}."
            )
        return torch.eye(self.num_classes, device=labels.device, dtype=self.prior.log_probability.dtype)[labels]

    @torch.no_grad()
    def transfer(
        self, x: Float[Tensor, "batch *event"], labels: Int[Tensor, "label"], own: Int[Tensor, "batch"] | None = None
    ) -> Float[Tensor, "batch label *event"]:
        """E[x' | z, y] for each of several labels y, where z is the style of x under its own label.

        Arguments:
            x: data.
            labels: the labels under which the style is decoded.
            own: the labels of x; the most probable ones if None.

        z is the mean of q(z | x, own), or one draw where there is no mean in closed form.
        """
        own = self.classify(x).argmax(-1) if own is None else own
        q = self.infer(x, self.one_hot(own))
        try:
            z = q.mean
        except NotImplementedError:
            z = q.sample()
        y = self.one_hot(labels)[:, None].expand(-1, len(x), -1)
        return shown(self.likelihood((z.expand(len(labels), *z.shape), y))).values.transpose(0, 1)


def _take_former_names(module: nn.Module, state: dict[str, Tensor], prefix: str, *_: object) -> None:
    """Let weights load that were saved when `latent` was called `code`."""
    for name in [name for name in state if name.startswith(f"{prefix}code.")]:
        state[f"{prefix}latent.{name.removeprefix(f'{prefix}code.')}"] = state.pop(name)


def _one_hot(logits: Tensor) -> Independent:
    """A distribution of one-hot vectors, which the estimators for discrete latents recognise as a product of one."""
    return Independent(OneHotCategorical(logits=logits, validate_args=False), 0, validate_args=False)


def _probabilities(num_classes: int, given: Sequence[float] | None) -> Tensor:
    p = torch.tensor([1.0] * num_classes if given is None else list(given), dtype=torch.get_default_dtype())
    if num_classes < 2 or p.shape != (num_classes,) or not bool((p > 0).all()):
        raise ValueError(
            f"class_probabilities are {given} and num_classes is {num_classes}; give at least 2 classes and one "
            "positive number for each."
        )
    return p / p.sum()
