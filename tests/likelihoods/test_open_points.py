"""The grammar of molecules: all rows of a small one are enumerated; draws follow log p and are molecules."""

import itertools
from collections import Counter

import pytest
import torch
from some_molecules import SMILES

from lowerbound.data.atoms import alphabet
from lowerbound.data.chemistry import rdkit_chem
from lowerbound.data.given import dataset_of
from lowerbound.data.kinds import Molecules
from lowerbound.data.overrides import Overrides
from lowerbound.likelihoods import Tokens
from lowerbound.nets import MLP
from lowerbound.spelling import parse

POINTS, K, T = "a0-+a0-1+a0-11+a1-+a1-1+f1-11", 10, 6  # two symbols that join rings before them


def likelihood(network: str, points: str = POINTS, num_symbols: int = K, length: int = T) -> Tokens:
    made = Tokens(
        MLP(2, [], 3), length, num_symbols, network=network, embedding_dim=4, width=8, layers=1, points=points
    )  # type: ignore[arg-type]
    made = made.double()
    with torch.no_grad():
        made.causal.embedding.mul_(10)
        made.causal.bias.normal_()
    return made.eval()


def every_row() -> torch.Tensor:
    rows = torch.tensor(list(itertools.product(range(K), repeat=T - 1)), dtype=torch.float64)
    return torch.cat([rows, torch.zeros(len(rows), 1, dtype=torch.float64)], 1)


@pytest.mark.parametrize(
    "network",
    ["lstm", pytest.param("transformer", marks=pytest.mark.slow), pytest.param("convolution", marks=pytest.mark.slow)],
)
def test_all_rows_together_have_probability_one(network):
    x = every_row()
    with torch.no_grad():
        log_p = likelihood(network)(torch.randn(1, 2, dtype=torch.float64)).log_prob(x)
    torch.testing.assert_close(log_p.logsumexp(0).exp().item(), 1.0, rtol=1e-10, atol=0)
    assert int(log_p.isfinite().sum()) == 18  # counted by hand: 13 trees of atoms, and a ring of three, …


def test_a_ring_is_joined_where_there_is_no_bond_yet():
    p = likelihood("lstm")(torch.zeros(2, dtype=torch.float64))
    rows = [[6, 8, 8, 2, 0, 0], [6, 8, 2, 0, 0, 0], [6, 9, 7, 2, 0, 0], [6, 2, 0, 0, 0, 0], [6, 8, 8, 3, 0, 0]]
    found = p.log_prob(torch.tensor(rows, dtype=torch.float64)).isfinite()
    # a ring of three; of two; with a fragment; of one; and one that joins what is not open
    assert found.tolist() == [True, False, False, False, False]


@pytest.mark.slow
def test_draws_follow_log_p():
    num = 20_000
    p = likelihood("lstm")(torch.randn(2, dtype=torch.float64))
    x = every_row()
    with torch.no_grad():
        log_p = p.log_prob(x)
    legal = {
        tuple(row): num * float(q) for row, q in zip(x.long().tolist(), log_p.exp(), strict=True) if q > -torch.inf
    }
    torch.manual_seed(0)
    seen = Counter(map(tuple, p.sample(torch.Size((num,))).long().tolist()))
    assert set(seen) <= {row for row, expected in legal.items() if expected > 0}
    tested = {row: expected for row, expected in legal.items() if expected >= 5}
    statistic = sum((seen[row] - expected) ** 2 / expected for row, expected in tested.items())
    assert statistic < 60  # 17 degrees of freedom at most: p = 1e-6 at 59


def test_the_probability_has_a_gradient_and_no_other_row_spoils_it():
    made = likelihood("lstm")
    z = torch.zeros(2, 2, dtype=torch.float64, requires_grad=True)
    log_p = made(z).log_prob(torch.tensor([[6.0, 8, 8, 2, 0, 0], [7, 0, 0, 0, 0, 0]], dtype=torch.float64))
    assert log_p.isfinite().tolist() == [True, False]
    log_p[0].backward()
    assert bool(z.grad.isfinite().all())
    assert bool(z.grad[0].any())


@pytest.fixture(scope="module")
def real():
    data = dataset_of(SMILES * 3, overrides=Overrides.said("molecules"))
    _, options = parse(data.default_likelihood)
    return data, likelihood("lstm", options["points"], options["num_symbols"], *data.event_shape)


def test_rows_of_molecules_have_a_probability(real):
    data, made = real
    with torch.no_grad():
        log_p = made(torch.zeros(2, dtype=torch.float64)).log_prob(torch.as_tensor(data.x_train, dtype=torch.float64))
    assert bool(log_p.isfinite().all())


def test_every_draw_of_an_untrained_model_is_a_molecule(real):
    data, made = real
    torch.manual_seed(1)
    with torch.no_grad():
        made.causal.embedding.mul_(0.1)  # nearly uniform over what may stand: strange molecules, long ones and rings
        made.causal.bias.zero_()
        rows = made(torch.randn(300, 2, dtype=torch.float64)).sample()
    ringed = int((((rows >= 2) & (rows < 34)).any(1)).sum())
    assert ringed > 20
    shown = Molecules().render(rows.numpy(), data.schema)
    Chem = rdkit_chem()
    assert all(Chem.MolFromSmiles(one) is not None for one in shown)
    assert len(set(shown)) > 100
    assert bool(made(torch.zeros(2, dtype=torch.float64)).log_prob(rows).isfinite().all())


def test_points_are_checked():
    for points, said in [
        ("a0-+b1-", "points='b1-'"),
        ("a0-+a4-", "points='a4-'"),
        ("a0-1", "a symbol without further ones"),
        ("a0-+a0-2+a1-", "a symbol without further ones"),
        ("+".join(["a0-"] * 20), "fewer points than symbols"),
    ]:
        with pytest.raises(ValueError, match=said.replace("'", ".")):
            likelihood("lstm", points)


def test_the_words_of_the_likelihood_are_those_of_the_symbols(real):
    data, made = real
    symbols = data.schema.molecules.symbols
    assert made.grammar.num_rings == sum(symbol.startswith("&") for symbol in symbols) == 32
    assert len(alphabet()) < len(symbols) == made.num_symbols
