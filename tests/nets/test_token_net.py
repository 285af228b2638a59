"""Scores of a few rows at a time, and groups of texts, against everything at once."""

import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy

from lowerbound.nets import token_net
from lowerbound.nets.precision import nets_alone_autocast
from lowerbound.nets.texts import groups_of_length
from lowerbound.nets.token_net import make_token_net

K, ROWS = 50, 23


def net():
    return make_token_net(6, K, embedding_dim=8, width=12)


def test_log_p_of_parts_is_that_of_all_rows_with_its_gradients(monkeypatch):
    made = net().double()
    h = torch.randn(ROWS, 8, dtype=torch.float64, requires_grad=True)
    k, weight = torch.randint(K, (ROWS,)), torch.randn(ROWS, dtype=torch.float64)
    leaves = (h, made.embedding, made.bias)
    whole = -cross_entropy(made.scores(h), k, reduction="none")
    monkeypatch.setattr(token_net, "_SCORES_AT_ONCE", 4 * K + 1)  # 4 rows, and 3 at the end
    parts = made.log_p(h, k)
    torch.testing.assert_close(parts, whole, rtol=1e-13, atol=0)
    for found, expected in zip(
        torch.autograd.grad(parts @ weight, leaves), torch.autograd.grad(whole @ weight, leaves), strict=True
    ):
        torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-14)


def test_products_with_the_embedding_are_in_the_precision_of_nets_and_the_rest_is_not():
    made, h, k = net(), torch.randn(ROWS, 8), torch.randint(K, (ROWS,))
    with torch.no_grad():
        made.embedding.mul_(10)
        made.bias.copy_(torch.linspace(-90, -80, K))  # of which bfloat16 would leave 20 values
    with torch.autocast("cpu", torch.bfloat16):
        low = nets_alone_autocast(made.log_p)(h, k)
    product = (h.bfloat16() @ made.embedding.bfloat16().T).float()
    assert low.dtype == torch.float32
    torch.testing.assert_close(low, -cross_entropy(product + made.bias, k, reduction="none"), rtol=0, atol=1e-5)
    assert not torch.allclose(low, made.log_p(h, k), atol=1e-5)


@pytest.mark.parametrize(
    "lengths, groups", [([7] * 40, 1), ([7] * 39 + [6], 1), ([*range(1, 65)], 4), ([3, 9], 1), ([], 0)]
)
def test_texts_of_nearly_one_length_are_one_group(lengths, groups):
    found = groups_of_length(np.array(lengths, dtype=np.int64))
    assert len(found) == groups
    assert sorted(row for rows, _ in found for row in rows.tolist()) == [*range(len(lengths))]
    assert all(longest == max(lengths[row] for row in rows) for rows, longest in found)
