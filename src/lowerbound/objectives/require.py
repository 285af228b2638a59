"""Checks of the weights that an objective is given, with a sentence that refuses others."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor

from lowerbound.weights import LogWeights

__all__ = ["closed_form", "closed_form_rate", "sampled_log_w"]


def sampled_log_w(w: LogWeights, objective: str) -> Float[Tensor, "sample batch"]:
    """log w, for objectives that are not linear in it.

    Raises:
        ValueError: weights whose rate is in closed form, because their spread has no meaning, or an estimate.
    """
    if w.form == "estimated":
        raise ValueError(f"{objective} got weights with an estimated rate, of which it is no bound; use ELBO.")
    if w.form != "sampled":
        raise ValueError(
            f"{objective} got weights with a closed-form rate ({w.form!r}) and needs sampled ones; use ELBO."
        )
    return w.log_w


def closed_form(w: LogWeights, objective: str) -> LogWeights:
    """Weights with KL(q ‖ p) in closed form, for objectives that are not linear in it.

    Raises:
        ValueError: weights whose rate is not in closed form, because a nonlinear function of a sampled rate is biased.
    """
    if w.form != "kl":
        raise ValueError(
            f"{objective} got weights of the form {w.form!r} and needs KL(q ‖ p) in closed form ('kl'); use BetaELBO."
        )
    return w


def closed_form_rate(w: LogWeights, objective: str) -> Float[Tensor, "sample batch"]:
    """KL(q ‖ p), the same in every row.

    Raises:
        ValueError: the rate is not in closed form, or only given a draw, as that of several layers.
    """
    rate = closed_form(w, objective).rate
    if w.rate_per_group is not None and w.rate_per_group.shape[-1] > 1:
        raise ValueError(
            f"{objective} needs one KL(q ‖ p) and got several layers, whose KLs are known only given a draw of the "
            "layers before them; use FreeBits, or BetaELBO(rate='kl')."
        )
    return rate
