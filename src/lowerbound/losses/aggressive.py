"""Aggressive training of the encoder: He, Spokoyny, Neubig & Berg-Kirkpatrick (2019, arXiv:1901.05534, Algorithm 1).

If the decoder can model x without z and the encoder lags behind it, q(z | x) collapses to p(z). Until the mutual
information of x and z under q,

    I = E_x E_q(z | x)[log q(z | x) − log (1/B) Σ_j q(z | x_j)],

stops rising from one held-out evaluation to the next, several steps train φ alone and then one trains θ alone; after
that every step trains both. The paper takes steps for φ until its loss stops falling, at most 100. Here their number is
fixed, so that the loop need not wait for the device. I is estimated on each held-out batch, whose size B bounds it by
log B.

Like other losses it is told the step by the loop. A parameter whose turn it is not has no gradient, rather than a
gradient of zero, with which Adam's momentum would still move it.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import ClassVar, Literal, TypeAlias

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.distributions import Distribution

from lowerbound.inference import InferenceScheme
from lowerbound.losses.loss import LossOutput, first_two
from lowerbound.losses.variational import VariationalLoss
from lowerbound.model import LatentVariableModel
from lowerbound.protocols import Context, Gradient, Objective, Penalty
from lowerbound.randomness import forked
from lowerbound.several_processes import sum_over_processes

__all__ = ["Aggressive", "mutual_information"]

Phase: TypeAlias = Literal["encoder", "decoder", "both"]
_PAIRS_PER_BLOCK = 2**16


class Aggressive(VariationalLoss):
    """`VariationalLoss` with several encoder steps per decoder step, while that raises the mutual information.

    Arguments:
        model, objective, gradient, num_samples, penalty, inference: as in `VariationalLoss`.
        num_encoder_steps: steps that train φ before one that trains θ.

    It needs held-out data in the loop, which end the first phase, and a q(z | x) with a density. The step cannot be
    compiled.

    Returns (when called with a batch x (B, *event)):
        What `VariationalLoss` returns, and in evaluation the term mutual_information, nats.

    Raises:
        ValueError: no encoder steps; or (when called) a q(z | x) on which no parameter of the encoder acts.
    """

    cites: ClassVar[tuple[str, ...]] = ("he2019lagging",)

    every_parameter_learns = False
    aggressive: Tensor
    information: Tensor
    seen: Tensor

    def __init__(
        self,
        model: LatentVariableModel,
        objective: Objective,
        gradient: Gradient,
        num_samples: int = 1,
        penalty: Penalty | None = None,
        inference: InferenceScheme | None = None,
        num_encoder_steps: int = 10,
    ):
        super().__init__(model, objective, gradient, num_samples, penalty, inference)
        if num_encoder_steps < 1:
            raise ValueError(f"Aggressive got num_encoder_steps={num_encoder_steps} and needs at least 1.")
        self.num_encoder_steps = num_encoder_steps
        self.phase: Phase = "both"
        self._is_aggressive: bool | None = None  # of the buffer; None where it has to be read
        self.register_buffer("aggressive", torch.ones(()))
        self.register_buffer("information", torch.tensor(-math.inf))
        self.register_buffer("seen", torch.zeros(2))  # since the last decision: rows, and their information summed
        self.register_load_state_dict_post_hook(_forget)

    def at_step(self, step: int) -> None:
        """Decide, after an evaluation, whether to go on, and whose turn it is. See `protocols.FollowsSteps`."""
        if self._is_aggressive is None:
            self._is_aggressive = self._decide()
        if not self._is_aggressive:
            self.phase = "both"
        else:
            turn = step % (self.num_encoder_steps + 1)
            self.phase = "encoder" if turn < self.num_encoder_steps else "decoder"

    def check(self, x: Tensor, context: Context | None = None) -> None:
        """See `Loss.check`; also that the encoder alone can learn."""
        super().check(x, context)
        if self.criterion != "bound":
            raise ValueError(
                f"Aggressive weighs draws by log q(z | x), and {type(self.gradient).__name__} estimates it; use the "
                "variational loss."
            )
        x, context = first_two(x, context)
        with forked(x.device, 0), torch.enable_grad(), _frozen(self._theta()):
            q, joint = self.model.infer(x, context), self.model.joint(x, context)
            objective, gradient = copy.deepcopy((self.objective, self.gradient))
            learns = gradient.estimate(objective, q, joint, self.num_samples).surrogate.requires_grad
        if not learns:
            raise ValueError(
                "Aggressive trains the encoder alone at first, and no parameter of it that learns acts on q(z | x) "
                "(Local inference and frozen parts have none); leave them out, or use VariationalLoss."
            )

    def forward(self, x: Tensor, context: Context | None = None) -> LossOutput:
        """The loss of one batch, with gradients for the parameters whose turn it is."""
        if torch.compiler.is_compiling():
            torch._dynamo.graph_break()
        if not self.training:
            return self._evaluate(x, context)
        with _frozen(self._resting()):
            return super().forward(x, context)

    def _evaluate(self, x: Tensor, context: Context | None) -> LossOutput:
        output = super().forward(x, context)
        value = mutual_information(self.model.infer(x, context))
        with torch.no_grad():
            self.seen += torch.stack([value.new_full((), len(x)), len(x) * value]).to(self.seen)
        self._is_aggressive = None
        return LossOutput(output.loss, {**output.terms, "mutual_information": value})

    @torch.no_grad()
    def _decide(self) -> bool:
        """Take the evaluation since the last decision into account, if there was one."""
        sum_over_processes(self.seen)  # each process has seen its share of the held-out rows
        rows, total = self.seen.tolist()
        if rows:
            now = total / rows
            if not now > self.information.item():
                self.aggressive.zero_()
            self.information.fill_(now)
            self.seen.zero_()
        return bool(self.aggressive.item())

    def _resting(self) -> list[nn.Parameter]:
        """The parameters whose turn it is not: θ is what prior and likelihood do not share with the posterior."""
        if self.phase == "both":
            return []
        theta = self._theta()
        return list(theta if self.phase == "encoder" else set(self.model.parameters()) - theta)

    def _theta(self) -> set[nn.Parameter]:
        of_q = set(_parameters(self.model.posterior))
        return {*_parameters(self.model.prior), *_parameters(self.model.likelihood)} - of_q


@torch.no_grad()
def mutual_information(q: Distribution) -> Float[Tensor, ""]:
    """I of the data of a batch and their latents, nats, from one draw each: at most log B."""
    draw, size = q.sample(), q.batch_shape[0]
    rows = max(1, _PAIRS_PER_BLOCK // size)
    # Row i of a block is the draw of datum i; column j is q(· | x_j).
    blocks = [q.log_prob(part[:, None].expand(-1, size, *part.shape[1:])) for part in draw.split(rows)]
    log_q = torch.cat(blocks)
    return (log_q.diagonal() - torch.logsumexp(log_q, 1)).mean() + math.log(size)


@contextmanager
def _frozen(parameters: Iterable[nn.Parameter]) -> Iterator[None]:
    """Within this context the graph is built as if these parameters were constants."""
    trained = [p for p in parameters if p.requires_grad]
    for p in trained:
        p.requires_grad_(False)
    try:
        yield
    finally:
        for p in trained:
            p.requires_grad_(True)


def _parameters(part: object) -> Iterable[nn.Parameter]:
    return part.parameters() if isinstance(part, nn.Module) else ()


def _forget(module: nn.Module, _: object) -> None:
    assert isinstance(module, Aggressive)
    module._is_aggressive = None
