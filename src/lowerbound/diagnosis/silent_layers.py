"""Silent layers: some latents of a hierarchy say nothing about the data (Sønderby et al. 2016, arXiv:1602.02282, §3.1).

    rate_l = E KL(q(z_l | a_l, x) ‖ p(z_l | a_l)),      a_l the layers drawn before z_l

A silent layer is drawn from its prior whatever the datum: it costs its nets and adds noise that the layers below must
undo. The least of the rates is the evidence, and all layers below the bar are named.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor

from lowerbound.diagnosis.case import Case, error_of_mean
from lowerbound.diagnosis.finding import Bars, Finding, Measurement, found, undefined
from lowerbound.evaluate.batches import context_rows, row_blocks
from lowerbound.factors import rate_per_layer
from lowerbound.hooks import Layered
from lowerbound.randomness import forked

__all__ = ["FEWEST_NATS_OF_A_LAYER", "silent_layers"]

NAME = "silent layers"
FEWEST_NATS_OF_A_LAYER = 0.1
"""Layers of healthy hierarchies have one nat and more; those that fell silent have a hundredth and less."""
_DRAWS, _ROWS_AT_A_TIME, _MOST_NAMED = 8, 50, 12


def silent_layers(case: Case) -> Finding:
    """Whether a layer has a rate below a tenth of a nat, and which."""
    q, p = case.posterior, case.prior
    if not (isinstance(q, Layered) and isinstance(p, Layered)):
        return undefined(NAME, "Not defined for one layer of latents.")
    if q.drawing_order() != p.drawing_order():
        return undefined(
            NAME,
            "Not defined where q draws in another order than p: the rate of one layer is no divergence then.",
        )
    rates = _rates(case)
    values = {str(i + 1): (rate.mean().item(), error_of_mean(rate)) for i, rate in enumerate(rates.unbind(1))}
    layer, (least, error) = min(values.items(), key=lambda item: item[1][0])
    silent = [name for name, (value, _) in values.items() if value < FEWEST_NATS_OF_A_LAYER]
    named = ", ".join(silent[:_MOST_NAMED]) + (", …" if len(silent) > _MOST_NAMED else "")
    are = "Layer " + named + " is" if len(silent) == 1 else "Layers " + named + " are"
    return found(
        NAME,
        Measurement(value=least, standard_error=error, low=FEWEST_NATS_OF_A_LAYER, unit="nats"),
        ill=f"{are} silent ({len(silent)} of {len(values)}; 1 is nearest to the data): drawn from p whatever the row.",
        well=f"Each of {len(values)} layers speaks; the least, layer {layer}, has {least:.2f} nats.",
        remedy=case.refit(objective="free-bits:nats=0.5,per=group,warmup=1000"),
        picture=Bars(values=values, label="rate of each layer (nats), from the data to the top"),
    )


def _rates(case: Case) -> Tensor:
    """The rate of each layer for each test row (B, layer), nats, averaged over draws."""
    blocks = []
    with torch.no_grad(), forked(case.x_held_out.device, case.seed):
        for rows in row_blocks(len(case.x_held_out), _ROWS_AT_A_TIME):
            x, context = case.x_held_out[rows], context_rows(case.context_held_out, rows)
            q, p = case.model.infer(x, context), case.model.joint(x, context).prior
            z = cast(tuple[Tensor, ...], q.sample(torch.Size((_DRAWS,))))
            blocks.append(rate_per_layer(q, p, z).mean(0).double())
    return torch.cat(blocks)
