"""Monte Carlo EM: draws from the posterior in the E step, one step along their average gradient in the M step.

    ∇_θ log p(x) = E[∇_θ log p(x, z)],   z ~ p(z | x)                                         (Fisher's identity)

so that ascent along Σ_s w̃_s ∇_θ log p(x, z_s) maximises log p(x) itself and not a bound (Wei & Tanner 1990, here with
a gradient step as M step, as in Lange 1995). The draws z_s, held fixed, with weights w̃_s that sum to one, are

    "importance"    z_s ~ q(z | x),   w̃ ∝ p(x, z) / q(z | x)
    "prior"         z_s ~ p(z),       w̃ ∝ p(x | z)
    "hmc"           chains of Hamiltonian Monte Carlo that start at q(z | x), w̃ equal (MCMC-EM; Hoffman 2017)

The first two have a bias of O(1/S), the last one because the chains still depend on their start. q learns from the same
draws: φ ascends Σ_s w̃_s log q(z_s | x), which descends KL(p(z | x) ‖ q), as in the wake phase of `WakeSleep`; a better
q gives better weights and better starts.

The reported value does not use the draws of the E step, because draws by HMC have no density. It is the
importance-weighted bound log (1/S) Σ_s p(x, z_s) / q(z_s | x), z_s ~ q(z | x), which is at most log p(x) in expectation
(Burda et al. 2016, arXiv:1509.00519, eq. 8), for each kind of draws. Without gradients (in a held-out evaluation) no
chain is run.
"""

from __future__ import annotations

import math
from typing import ClassVar, Literal, TypeAlias, cast

import torch
from jaxtyping import Float
from torch import Tensor, nn

from lowerbound.called import name_of
from lowerbound.gradients.path_only import detach
from lowerbound.hooks import Augmented
from lowerbound.inference import HMC, Draws
from lowerbound.inference.families import is_real
from lowerbound.losses.guards import check_same_kind
from lowerbound.losses.loss import Loss, LossOutput
from lowerbound.model import LatentVariableModel
from lowerbound.nets.precision import nets_alone_autocast
from lowerbound.protocols import Context, Latents
from lowerbound.randomness import forked
from lowerbound.weights import LogWeights, weigh

__all__ = ["MonteCarloEM", "PosteriorDraws"]

PosteriorDraws: TypeAlias = Literal["importance", "prior", "hmc"]
"""Where the draws of the E step come from."""

_KEPT = 4  # transitions kept of each chain


class MonteCarloEM(Loss):
    """Fisher's identity at draws from the posterior, for any model.

    Arguments:
        model: p(x, z) and q(z | x), without common parameters.
        num_samples: S, latents drawn per datum, or chains of four draws each; at least 2.
        draws: "importance", "prior" or "hmc"; the last needs real latents.
        num_warmup: transitions in which a chain adapts its step size and forgets its start.
        num_leapfrog: gradients of log p(x, z) per transition.

    Returns (when called with a batch x (B, *event)):
        Minus the mean bound, nats per datum (the importance-weighted bound of S samples of q), and the terms bound,
        likelihood, prior and posterior at those samples, as in `VariationalLoss`.

    Gradient: for θ that of log p(x), biased by O(1/S) (importance, prior; unbiased where q is the posterior) or by the
    dependence of the chains on their start (hmc). For φ that of −KL(p(z | x) ‖ q), with the same bias.

    Raises:
        ValueError: unknown draws, or a number that is too small.
    """

    cites: ClassVar[tuple[str, ...]] = ("wei1990monte", "hoffman2017learning", "burda2016importance")

    def __init__(
        self,
        model: LatentVariableModel,
        num_samples: int = 16,
        draws: PosteriorDraws = "importance",
        num_warmup: int = 30,
        num_leapfrog: int = 8,
    ):
        super().__init__()
        if draws not in ("importance", "prior", "hmc"):
            raise ValueError(f"MonteCarloEM got draws={draws!r} and expected 'importance', 'prior' or 'hmc'.")
        if num_samples < 2:
            raise ValueError(
                f"MonteCarloEM got num_samples={num_samples} and needs at least 2: a single sample always has weight 1."
            )
        self.model, self.num_samples, self.draws = model, num_samples, draws
        self.hmc = HMC(num_chains=num_samples, num_warmup=num_warmup, num_samples=_KEPT, num_leapfrog=num_leapfrog)

    @property
    def works(self) -> tuple[str, ...]:
        """The draws in use."""
        drawn = {"importance": self.cites[2:], "prior": self.cites[2:], "hmc": self.cites[1:2]}
        return (*self.cites[:1], *drawn[self.draws])

    @nets_alone_autocast
    def forward(self, x: Tensor, context: Context | None = None) -> LossOutput:
        """The loss of one batch."""
        w, log_q = self._weights_at_q(x, context)
        bound = (torch.logsumexp(w.log_w, 0) - math.log(self.num_samples)).mean()
        parts = {"likelihood": w.log_likelihood, "prior": w.log_prior, "posterior": w.log_q}
        terms = {"bound": bound, **{name: part.mean() for name, part in parts.items()}}
        value = bound.detach()
        if torch.is_grad_enabled():
            learning = self._expected_log_joint(x, context, w, log_q).mean()
            value = value + learning - learning.detach()
        return LossOutput(-value, {name: term.detach() for name, term in terms.items()})

    def check(self, x: Tensor, context: Context | None = None) -> None:
        """Raise a `ValueError` if the choices do not go together, before any training."""
        self.check_rows(x, context)
        q, p = self.model.infer(x, context), self.model.prior(context)
        if isinstance(q, Draws | Augmented):
            raise ValueError(
                "MonteCarloEM needs log q(z | x) of any z, which draws and a posterior with auxiliary variables do "
                "not have; choose another posterior, or losses.VariationalLoss."
            )
        check_same_kind(q, p)
        if self.draws == "hmc" and not is_real(p):
            raise ValueError(
                f"MonteCarloEM with draws='hmc' needs latents that are real vectors and the prior is "
                f"{name_of(p)}; take draws='importance'."
            )
        with forked(x.device, 0):
            self._check_parameters(x, context)

    def _weights_at_q(self, x: Tensor, context: Context | None) -> tuple[LogWeights, Float[Tensor, "sample batch"]]:
        """log w at draws from q, held fixed, and log q(z | x) with its gradient."""
        q = self.model.infer(x, context)
        z = detach(q.sample(torch.Size((self.num_samples,))))
        log_q = q.log_prob(cast(Tensor, z))
        return weigh(q, self.model.joint(x, context), z, log_q=log_q.detach()), log_q

    def _expected_log_joint(
        self, x: Tensor, context: Context | None, w: LogWeights, log_q: Tensor
    ) -> Float[Tensor, "batch"]:
        """Σ_s w̃_s [log p(x, z_s) + log q(z_s | x)]: its gradient is the step of θ and φ."""
        if self.draws == "importance":
            log_joint, log_weight = w.log_likelihood + w.log_prior, w.log_w
        else:
            z = self._prior_draws(x, context) if self.draws == "prior" else self._chains(x, context)
            log_likelihood, log_prior = self.model.joint(x, context)(z)
            log_joint, log_q = log_likelihood + log_prior, self.model.infer(x, context).log_prob(cast(Tensor, z))
            log_weight = log_likelihood if self.draws == "prior" else torch.zeros_like(log_likelihood)
        return (log_weight.detach().softmax(0) * (log_joint + log_q)).sum(0)

    @torch.no_grad()
    def _prior_draws(self, x: Tensor, context: Context | None) -> Latents:
        """z_s ~ p(z), drawn separately for each datum."""
        p = self.model.prior(context)
        return detach(p.sample(torch.Size((self.num_samples, *(() if p.batch_shape else x.shape[:1])))))

    def _chains(self, x: Tensor, context: Context | None) -> Float[Tensor, "sample batch *event"]:
        return self.hmc(self.model, x, context).values.flatten(0, 1).clone()

    @torch.enable_grad()
    def _check_parameters(self, x: Tensor, context: Context | None) -> None:
        """Refuse parameters that p and q share: both steps would change them."""
        w, _ = self._weights_at_q(x, context)
        phi = [p for p in cast(nn.Module, self.model.posterior).parameters() if p.requires_grad]
        log_joint = (w.log_likelihood + w.log_prior).sum()
        if not phi or not log_joint.requires_grad:
            return
        if any(g is not None for g in torch.autograd.grad(log_joint, phi, allow_unused=True)):
            raise ValueError(
                f"MonteCarloEM trains p and q separately, and {type(self.model.prior).__name__} shares parameters with "
                "q; choose a prior with its own, such as MixtureNormal, or losses.VariationalLoss."
            )
