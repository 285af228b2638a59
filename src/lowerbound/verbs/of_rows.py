"""What a fitted model says of each row: its latents, its score, its class or cluster (`Fitted.encode`, `score`,
`assign`, `probabilities`).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, cast

import numpy as np
import torch
from jaxtyping import Float
from torch import nn

from lowerbound import inference as inferences
from lowerbound.data import Rows
from lowerbound.evaluate import codes_of_rows, latent_moments, log_evidence
from lowerbound.evaluate.evidence import require_finite
from lowerbound.fitted import Fitted
from lowerbound.hooks import Embeds, FindsStates, NamesLatents
from lowerbound.inference import InferenceScheme, Local, with_inference
from lowerbound.randomness import derive_seed, forked
from lowerbound.row_numbers import numbered
from lowerbound.spelling import construct
from lowerbound.training.not_finite import require_finite_rows
from lowerbound.verbs.effort import Samples, rows_trained, samples_for
from lowerbound.verbs.scoring import class_probabilities
from lowerbound.weights import latents_of

__all__ = ["Encoded", "assign", "encode", "probabilities", "samples_of_score", "score"]

_ENCODE, _SCORE = 1, 2  # streams of random numbers


@dataclass(frozen=True, kw_only=True)
class Encoded:
    """The latent representation of rows.

    Attributes:
        mean: E_q[z | x] of each row (N, latent).
        scale: the standard deviation of q(z | x) (N, latent).
        assigned: the class or cluster of each row (N,), as text where classes have names; None if the model gives none.
        probability: that of the assigned class or cluster (N,); None if the model gives none.
        codes: the numbers of the codes of each row (N, stage, position), of quantised latents; `mean` then has the
            vectors that they stand for. None for other latents.
        states: the number of the state of each step (N, T), along the most probable path of a chain of states, of
            which `mean` holds p(state | x), the states of one step after those of the step before; None for others.
        parts: the lengths of named latents that stand side by side in `mean`; empty for one latent.
    """

    mean: np.ndarray
    scale: np.ndarray
    assigned: np.ndarray | None = None
    probability: np.ndarray | None = None
    codes: np.ndarray | None = None
    states: np.ndarray | None = None
    parts: dict[str, int] = field(default_factory=dict)

    @property
    def names(self) -> list[str]:
        """Of the numbers of a latent: "0", "1", …, or "tree_0", …, "graph_0", … of named latents."""
        parts = {f"{name}_": size for name, size in self.parts.items()} or {"": self.mean.shape[1]}
        return [f"{name}{i}" for name, size in parts.items() for i in range(size)]


def encode(
    fitted: Fitted, data: Any, *, refine: int, inference: InferenceScheme | str | None, seed: int | None
) -> Encoded:
    """Mean and standard deviation of q(z | x) of each row, as `Fitted.encode` says."""
    rows, scheme = fitted.rows(data), _scheme(refine, inference)
    if isinstance(scheme, Local):
        _check_refinable(fitted, rows, seed)
    model = fitted.model if scheme is None else with_inference(fitted.model, scheme)
    parts = [
        latent_moments(model, x, context, seed=derive_seed(part_seed, _ENCODE))
        for x, context, part_seed in fitted.blocks(rows, seed)
    ]
    mean, scale = (torch.cat(column).numpy() for column in zip(*parts, strict=True))
    with numbered(rows.numbers):
        remedy = "fit again with a smaller learning rate" if scheme is None else "take a smaller lr of the inference"
        require_finite_rows(torch.from_numpy(mean + scale), "q(z | x)", remedy)
    assigned = probability = None
    if fitted.assigns:
        of_classes = probabilities(fitted, rows, seed=seed)
        assigned, probability = _named(fitted, of_classes.argmax(1)), of_classes.max(1)
    codes, states = _codes(fitted, rows, seed), _states(fitted, rows, seed)
    likelihood = fitted.model.likelihood
    return Encoded(
        mean=mean,
        scale=scale,
        assigned=assigned,
        probability=probability,
        codes=codes,
        states=states,
        parts=likelihood.latent_parts() if isinstance(likelihood, NamesLatents) else {},
    )


def score(fitted: Fitted, data: Any, *, num_samples: int | None, seed: int | None) -> Float[np.ndarray, "row"]:
    """L_K of each row, as `Fitted.score` says."""
    parts, rows = [], fitted.rows(data)
    if num_samples is None:
        num_samples = samples_of_score(fitted, rows, seed).count
    for x, context, part_seed in fitted.blocks(rows, seed):
        found = log_evidence(
            fitted.model, x, num_samples=num_samples, context=context, seed=derive_seed(part_seed, _SCORE)
        )
        parts.append(found.log_evidence.double() - fitted.log_scale_of(x))
    if not parts:
        raise ValueError("score got no rows and needs at least one.")
    log_p = torch.cat(parts)
    with numbered(rows.numbers):
        require_finite(log_p)
    return log_p.numpy()


def samples_of_score(fitted: Fitted, rows: Rows, seed: int | None) -> Samples:
    """K of `score` of these rows where nothing is said, and why there are fewer than 1,000."""
    for x, context, _ in fitted.blocks(rows, seed):
        return samples_for(fitted.model, x, context, num_rows=len(rows.x), num_trained=rows_trained(fitted))
    return Samples(1)


def assign(fitted: Fitted, data: Any, *, seed: int | None) -> np.ndarray:
    """The class or the cluster of each row, as `Fitted.assign` says."""
    return _named(fitted, probabilities(fitted, data, seed=seed).argmax(1))


def _named(fitted: Fitted, numbers: np.ndarray) -> np.ndarray:
    """Classes by their names, if they have some; numbers of clusters as they are."""
    told = fitted.recipe is not None and fitted.recipe.takes_some_labels
    return np.asarray(fitted.schema.classes)[numbers] if told and fitted.schema.classes is not None else numbers


def probabilities(fitted: Fitted, data: Any, *, seed: int | None) -> Float[np.ndarray, "row class"]:
    """The probability of each class or cluster given each row, as `Fitted.probabilities` says."""
    if not fitted.assigns:
        raise ValueError(
            f"{fitted.called} gives rows no class or cluster; fit latent-classes, vade, semi-supervised or "
            "labelled-cells for that."
        )
    drawn = fitted.seed if seed is None else seed  # the same draws for every row, so that its company does not matter
    blocks = fitted.blocks(fitted.rows(data), seed)
    return torch.cat([class_probabilities(fitted.model, x, context, seed=drawn) for x, context, _ in blocks]).numpy()


def _codes(fitted: Fitted, rows: Rows, seed: int | None) -> np.ndarray | None:
    """The numbers of the codes of rows; None for latents that are no codes."""
    if not isinstance(fitted.model.posterior, Embeds):
        return None
    parts = [codes_of_rows(fitted.model, x, context) for x, context, _ in fitted.blocks(rows, seed)]
    return torch.cat(parts).numpy()


def _states(fitted: Fitted, rows: Rows, seed: int | None) -> np.ndarray | None:
    """The most probable path of states of rows; None for a model without a chain of states."""
    q = fitted.model.posterior
    if not isinstance(q, FindsStates):
        return None
    return torch.cat([q.most_probable_states(x) for x, _, _ in fitted.blocks(rows, seed)]).numpy()


def _scheme(refine: int, inference: InferenceScheme | str | None) -> InferenceScheme | None:
    """How q(z | x) is reached; None by the encoder."""
    if refine and inference is not None:
        raise ValueError("encode got both refine and inference; give inference='local:num_steps=…' for both in one.")
    if isinstance(inference, str):
        inference = cast(InferenceScheme, construct(inferences, inference))
    if isinstance(inference, nn.Module):
        raise ValueError(f"{type(inference).__name__} is trained with a model; name it in the fit, with --inference.")
    return Local(num_steps=refine) if refine else inference


def _check_refinable(fitted: Fitted, rows: Rows, seed: int | None) -> None:
    """Refuse to refine q where a row has several latents: layers, or a class and a latent."""
    x, context, first = next(fitted.blocks(rows, seed))
    with torch.no_grad(), forked(torch.device("cpu"), first):
        q = fitted.model.infer(x[:1], None if context is None else context[:1])
        if isinstance(latents_of(q, q.sample()), tuple):
            raise ValueError(
                f"{fitted.called} has several latents for a row, which refine cannot improve; leave it out."
            )
