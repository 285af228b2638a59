"""The sum over rows that say the same, against sums of exact probabilities and a quadrature over z."""

import pytest
import torch

from lowerbound import priors
from lowerbound.evaluate import log_evidence_of_sums
from lowerbound.likelihoods import Tokens
from lowerbound.model import LatentVariableModel
from lowerbound.models.sentence_autoencoder import language_model
from lowerbound.nets import MLP
from lowerbound.posteriors import DiagonalNormal

T, K = 5, 4
ROWS = [
    torch.tensor([[2, 3, 0, 0, 0], [3, 2, 0, 0, 0], [2, 2, 1, 0, 0]], dtype=torch.float64),
    torch.tensor([[3, 3, 3, 1, 0]], dtype=torch.float64),
]


def test_without_a_latent_it_is_the_exact_sum():
    torch.manual_seed(0)
    model = language_model((T,), likelihood=f"tokens:num_symbols={K}", embedding_dim=4, width=4).double().eval()
    with torch.no_grad():
        exact = [model.likelihood(None).log_prob(x).logsumexp(0) for x in ROWS]
    torch.testing.assert_close(log_evidence_of_sums(model, ROWS, num_samples=1), torch.stack(exact))


def test_with_a_latent_it_is_near_the_quadrature_and_above_one_row_alone():
    torch.manual_seed(0)
    model = LatentVariableModel(
        prior=priors.StandardNormal(1),
        likelihood=Tokens(MLP(1, [8], 3), T, K, embedding_dim=4, width=6),
        posterior=DiagonalNormal(MLP(T, [8], (2, 1))),
    ).double()
    with torch.no_grad():
        model.likelihood.causal.embedding.mul_(20)  # z and x matter
    z = torch.linspace(-8, 8, 2001, dtype=torch.float64)[:, None]
    log_p_z = model.prior(None).log_prob(z) + torch.log(z[1, 0] - z[0, 0])
    with torch.no_grad():
        exact = torch.stack([(model.decode(z[:, None]).log_prob(x).logsumexp(1) + log_p_z).logsumexp(0) for x in ROWS])
    found = log_evidence_of_sums(model, ROWS, num_samples=20_000)
    torch.testing.assert_close(found, exact, atol=0.03, rtol=0)
    alone = log_evidence_of_sums(model, [x[:1] for x in ROWS], num_samples=20_000)
    assert found[0] > alone[0] + 0.2
    torch.testing.assert_close(found[1], alone[1], atol=0.03, rtol=0)


def test_what_cannot_be_scored_is_refused():
    model = language_model((T,), likelihood=f"tokens:num_symbols={K}", embedding_dim=4, width=4).double()
    with pytest.raises(ValueError, match="got no data"):
        log_evidence_of_sums(model, [], num_samples=1)
    with pytest.raises(ValueError, match="num_samples=0"):
        log_evidence_of_sums(model, ROWS, num_samples=0)
