"""What an objective may ask of the weights that it is given, and the sentence with which it refuses others."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor

from lowerbound.weights import LogWeights

__all__ = ["closed_form_rate", "sampled_log_w"]


def sampled_log_w(w: LogWeights, objective: str) -> Float[Tensor, "sample batch"]:
    """log w, for objectives that are not linear in it.

    Raises:
        ValueError: weights whose rate is in closed form: a function of their spread means nothing.
    """
    if w.form != "sampled":
        raise ValueError(
            f"{objective} got weights with a closed-form rate ({w.form!r}) and needs sampled ones; use ELBO."
        )
    return w.log_w


def closed_form_rate(w: LogWeights, objective: str) -> Float[Tensor, "sample batch"]:
    """KL(q ‖ p), the same in every row, for objectives that are not linear in it.

    Raises:
        ValueError: weights whose rate is not in closed form: a function of one sample's rate has another expectation.
    """
    if w.form != "kl":
        raise ValueError(
            f"{objective} got weights of the form {w.form!r} and needs KL(q ‖ p) in closed form ('kl'); use BetaELBO."
        )
    return w.rate
