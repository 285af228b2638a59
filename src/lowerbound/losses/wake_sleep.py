"""Wake-sleep: p learns from the data, q from the dreams of p.

    wake    θ ascends the bound at samples z_s ~ q_φ(z | x) held fixed: (1/S) Σ_s ∇_θ log p(x, z_s) on the ELBO (Hinton,
            Dayan, Frey & Neal 1995; Dayan et al. 1995), Σ_s w̃_s ∇_θ log p(x, z_s) on IWAE (Bornschein & Bengio 2015,
            arXiv:1406.2751), with w̃ = w / Σ w
    sleep   (z, x) ~ p_θ(z) p_θ(x | z), and φ ascends log q_φ(z | x):
            E[∇_φ log q_φ(z | x)] = −∇_φ E_{p(x)} KL(p(z | x) ‖ q_φ)

Neither gradient differentiates through a sample, so that latents may be discrete, and neither multiplies a score by a
value, so that no baseline is needed. The two phases have different objectives: φ does not ascend the bound but descends
the divergence KL(p(z | x) ‖ q), on dreams x of the model, which resemble the data only once the model is good. The wake
phase of φ, Σ_s w̃_s ∇_φ log q_φ(z_s | x), uses the data instead, with a bias of O(1/S) (Le et al. 2020,
arXiv:1805.10469). Both phases are in one loss: its value is minus the bound; the terms of φ have the value zero and a
gradient.
"""

from __future__ import annotations

from typing import ClassVar, Literal, TypeAlias, cast

import torch
from jaxtyping import Float
from torch import Tensor, nn

from lowerbound.gradients.path_only import detach
from lowerbound.gradients.reweighted_wake_sleep import weighted_score
from lowerbound.hooks import Augmented
from lowerbound.losses.guards import check_same_kind
from lowerbound.losses.loss import Loss, LossOutput
from lowerbound.model import LatentVariableModel
from lowerbound.nets.precision import nets_alone_autocast
from lowerbound.protocols import Context, Latents, Objective
from lowerbound.randomness import forked
from lowerbound.weights import weigh

__all__ = ["Phase", "WakeSleep"]

Phase: TypeAlias = Literal["sleep", "wake", "both"]
"""When φ learns; "both" is the mean of the two gradients."""


class WakeSleep(Loss):
    """The wake phase of p and the sleep phase, the wake phase or both of q, in one backward pass.

    Arguments:
        model: p(x, z) and q(z | x), without common parameters.
        objective: what θ ascends: ELBO() is wake-sleep, IWAE() reweighted wake-sleep.
        num_samples: S, latents drawn per datum in the wake phase; at least 2 for the wake phase of φ.
        phi: "sleep", "wake" or "both".

    Returns (when called with a batch x (B, *event)):
        Minus the mean bound, nats per datum, and the terms bound, likelihood, prior and posterior as in
        `VariationalLoss`. There are as many dreams as rows. The term sleep is the mean of log q(z | x) over the dreams,
        nats.

    Gradient: for θ that of the objective, unbiased. For φ that of another objective: unbiased for −E_{p(x)} KL(p(z | x)
    ‖ q) by dreams, biased by O(1/S) for −KL(p(z | x) ‖ q) at the data in the wake phase. No gradient of one phase
    reaches the parameters of the other.

    Raises:
        ValueError: an unknown phase, or too few samples.
    """

    cites: ClassVar[tuple[str, ...]] = (
        "hinton1995wake",
        "dayan1995helmholtz",
        "bornschein2015reweighted",
        "le2020revisiting",
    )

    def __init__(self, model: LatentVariableModel, objective: Objective, num_samples: int = 1, phi: Phase = "sleep"):
        super().__init__()
        _check_options(num_samples, phi)
        self.model, self.objective, self.num_samples, self.phi = model, objective, num_samples, phi

    @nets_alone_autocast
    def forward(self, x: Tensor, context: Context | None = None) -> LossOutput:
        """The loss of one batch."""
        q = self.model.infer(x, context)
        z = detach(q.sample(torch.Size((self.num_samples,))))
        log_q = q.log_prob(cast(Tensor, z))
        w = weigh(q, self.model.joint(x, context), z, log_q=log_q.detach())
        value = self.objective.reduce(self.objective.signal(w)).mean()
        terms = {"bound": value, "likelihood": w.log_likelihood, "prior": w.log_prior, "posterior": w.log_q}
        learning = []
        if self.phi != "sleep":
            learning.append(weighted_score(w.log_w, log_q).mean())
        if self.phi != "wake":
            terms["sleep"] = self._sleep(x.shape[0], context)
            learning.append((terms["sleep"] - terms["sleep"].detach()).mean())
        surrogate = value + torch.stack(learning).mean()
        return LossOutput(-surrogate, {name: term.detach().mean() for name, term in terms.items()})

    def check(self, x: Tensor, context: Context | None = None) -> None:
        """Raise a `ValueError` if the choices do not go together, before any training."""
        self.check_rows(x, context)
        q, p = self.model.infer(x, context), self.model.prior(context)
        if self.objective.rate != "sampled" or self.objective.bound != "lower":
            raise ValueError(
                f"WakeSleep holds the samples fixed while θ ascends a lower bound, which {self.objective} does not "
                "allow; use ELBO() or IWAE(), or losses.VariationalLoss."
            )
        check_same_kind(q, p)
        if isinstance(q, Augmented):
            raise ValueError(
                "WakeSleep needs log q(z | x) of any z, which a posterior with auxiliary variables does not have; "
                "choose another posterior, or losses.VariationalLoss."
            )
        with forked(x.device, 0):
            self._check_parameters(x, context)
            if self.phi != "wake":
                self._check_dreams(x, context)

    def _sleep(self, num_dreams: int, context: Context | None) -> Float[Tensor, "batch"]:
        """log q(z | x) of dreams (z, x) held fixed."""
        z, x = self._dream(num_dreams, context)
        return self.model.infer(x, context).log_prob(cast(Tensor, z))

    @torch.no_grad()
    def _dream(self, num_dreams: int, context: Context | None) -> tuple[Latents, Tensor]:
        """z ~ p(z) and x ~ p(x | z), one for each row of the context where there is one."""
        p = self.model.prior(context)
        z = p.sample(torch.Size(() if p.batch_shape else (num_dreams,)))
        return z, self.model.decode(z, context).sample()

    @torch.enable_grad()
    def _check_parameters(self, x: Tensor, context: Context | None) -> None:
        """Refuse parameters that p and q share: both phases would change them."""
        q = self.model.infer(x, context)
        z = detach(q.sample(torch.Size((1,))))
        log_joint = torch.stack(self.model.joint(x, context)(z)).sum()
        log_q = q.log_prob(cast(Tensor, z)).sum()
        if _reaches(log_joint, self.model.posterior) or _reaches(log_q, self.model.prior, self.model.likelihood):
            raise ValueError(
                f"WakeSleep trains p and q separately, and {type(self.model.prior).__name__} shares parameters with q; "
                "choose a prior with its own, such as MixtureNormal, or losses.VariationalLoss."
            )

    def _check_dreams(self, x: Tensor, context: Context | None) -> None:
        """Refuse a p that cannot dream data for q, and a q without a density."""
        try:
            z, dreams = self._dream(x.shape[0], context)
            if dreams.shape != x.shape:
                raise ValueError(
                    f"The likelihood draws x of shape {tuple(dreams.shape)} and the data have {tuple(x.shape)}; use a "
                    "likelihood over the event of the data, or phi='wake'."
                )
            self.model.infer(dreams, context).log_prob(cast(Tensor, z))
        except NotImplementedError as error:
            raise ValueError(
                "WakeSleep draws from the prior and the likelihood and scores the draws under the posterior, and one "
                f"of the three cannot ({error or 'it has no such method'}); use phi='wake', or losses.VariationalLoss."
            ) from None


def _reaches(value: Tensor, *parts: object) -> bool:
    """Whether a value is a function of the parameters of these parts."""
    modules = [part for part in parts if isinstance(part, nn.Module)]
    parameters = [p for module in modules for p in module.parameters() if p.requires_grad]
    if not parameters or not value.requires_grad:
        return False
    return any(g is not None for g in torch.autograd.grad(value, parameters, allow_unused=True, retain_graph=True))


def _check_options(num_samples: int, phi: str) -> None:
    if phi not in ("sleep", "wake", "both"):
        raise ValueError(f"WakeSleep got phi={phi!r} and expected 'sleep', 'wake' or 'both'.")
    least = 1 if phi == "sleep" else 2
    if num_samples < least:
        raise ValueError(
            f"WakeSleep got num_samples={num_samples} with phi={phi!r} and needs at least {least}"
            + ("." if least == 1 else ": a single sample always has weight 1; draw more, or take phi='sleep'.")
        )
