"""The most probable text that a beam search finds: argmax over x of log p(x | z) = Σ_t log p(x_t | x_<t, z).

Of all continuations of the N best beginnings the N best are kept, by their log-probability, until all of them have
ended (Graves 2012, arXiv:1211.3711, §2.5). Texts are not weighted by their length, so that what comes out is what the
model holds for likely, which tends to be short. With one beginning it is the greedy choice, and with as many as there
are texts the argmax itself. Nothing is drawn, and the symbol of unknown words is not written.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import log_softmax

from lowerbound.decoding import known
from lowerbound.likelihoods.tokens import TokenDistribution
from lowerbound.nets.texts import END

__all__ = ["beam_search"]

_SCORES_AT_ONCE = 2**24


@torch.no_grad()
def beam_search(p: TokenDistribution, width: int) -> Tensor:
    """The best text for each z: rows (*batch, T), the end and 0 after it.

    Arguments:
        p: p(x | z), of any batch shape.
        width: N, beginnings that are kept.
    """
    context = p.contexts()
    rows = p.batch_shape.numel()
    most = max(1, _SCORES_AT_ONCE // (width * p.tokens.num_symbols))
    parts = [
        _search(p, min(most, rows - i), None if context is None else context[i : i + most], width)
        for i in range(0, rows, most)
    ]
    return torch.cat(parts).reshape(*p.batch_shape, *p.event_shape)


def _search(p: TokenDistribution, rows: int, context: Tensor | None, width: int) -> Tensor:
    """The best texts (rows, T). One beginning of each row at first, then up to `width`, side by side in one axis."""
    length, like = p.event_shape[0], p.zeros(0)
    x = torch.zeros(rows, length, dtype=torch.long, device=like.device)
    total = p.zeros(rows, 1)
    state = None if p.grammar is None else p.grammar.begin(rows)
    for t in range(length - 1):
        each = total.shape[1]
        log_p = _next(p, x[:, : t + 1], None if context is None else context.repeat_interleave(each, 0), state)
        ended = (x[:, t - 1] == END) if t else torch.zeros(len(x), dtype=torch.bool, device=like.device)
        log_p[ended | log_p.isnan().any(1)] = -torch.inf  # NaN after a beginning of probability 0
        log_p[ended, END] = 0.0
        every = (total[..., None] + log_p.view(rows, each, -1)).flatten(1)
        total, chosen = every.topk(min(width, every.shape[1]), sorted=True)
        parents = (torch.arange(rows, device=like.device)[:, None] * each + chosen // log_p.shape[1]).flatten()
        symbols = (chosen % log_p.shape[1]).flatten()
        x = x[parents]
        x[:, t] = symbols
        if p.grammar is not None and state is not None:
            state = state.of(parents)
            p.grammar.advance(state, symbols)
        if bool((symbols == END).all()):
            break
    return x.view(rows, -1, length)[:, 0].to(like)


def _next(p: TokenDistribution, x: Tensor, context: Tensor | None, state: Any) -> Tensor:
    """log p(x_t | x_<t) of every symbol (N, K) after beginnings x (N, t), whose last column is not looked at."""
    scores = p.tokens.scores(p.tokens.features(x, context)[:, -1])
    if p.grammar is not None:
        scores = scores.masked_fill(~p.grammar.allowed(p.grammar.situation(state)), -torch.inf)
    return known(log_softmax(scores, -1))
