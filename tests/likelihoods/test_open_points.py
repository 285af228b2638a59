"""The grammar of molecules: all rows of a small one are enumerated; draws follow log p and are molecules."""

import copy
import itertools
from collections import Counter

import pytest
import torch
from some_molecules import SMILES

from lowerbound.data.atoms import alphabet
from lowerbound.data.chemistry import rdkit_chem
from lowerbound.data.derivations import assemble, atoms_of_points
from lowerbound.data.given import dataset_of
from lowerbound.data.kinds import Molecules
from lowerbound.data.overrides import Overrides
from lowerbound.data.points import spelled_points
from lowerbound.likelihoods import Tokens
from lowerbound.likelihoods.open_points import OpenPoints
from lowerbound.nets import MLP
from lowerbound.spelling import parse

# ring systems that are taken apart into aromatic rings that occur whole, and atoms
FUSED = ["C1CCc2ccccc21", "Cc1ccccc1C", "O=C1NCCc2ccccc21", "C1=CCc2ccccc21", "c1ccc2c(c1)CCc1ccccc1-2"]
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


def test_rings_are_closed_through_the_atoms_of_fragments():
    """5 opens two points, 8 is a fragment with its points at two atoms, 9 with both at one."""
    points = "a0-+a0-1+a0-11+a1-+r1a-1b+r1a-1a1a+r1a-1b1b+r0-1a1a+r0-1a1b"
    p = likelihood("lstm", points, 13, 6)(torch.zeros(2, dtype=torch.float64))
    rows = {
        (6, 8, 2): True,  # a ring of an atom and both ends of a fragment
        (6, 8, 8, 2): True,
        (6, 9, 7, 2): False,  # a second bond between the atom and that of the fragment
        (6, 10, 7, 2): True,
        (11, 2): False,  # a fragment to itself, at one atom or at two
        (12, 2): False,
        (12, 8, 2): True,
        (11, 8, 2): True,
        (11, 9, 7, 2): False,
    }
    x = torch.tensor([[*row, *[0] * (6 - len(row))] for row in rows], dtype=torch.float64)
    assert p.log_prob(x).isfinite().tolist() == list(rows.values())


def test_a_row_with_rings_through_fragments_is_legal_where_it_is_a_molecule():
    """All rows of up to four symbols, with room for more, against what RDKit can put together."""
    parts = ("C", "*C", "*C*", "[1*]C", "[1*]C*", "[1*]C=C*", "[1*]C(*)=C*", "*C(*)=C", "*C=C*")
    symbols, size = ("", "?", "&1", "&2", *parts), 7
    grammar = OpenPoints(spelled_points(parts, atoms_of_points), len(symbols), size)
    rows = [row for n in range(1, 5) for row in itertools.product(range(2, len(symbols)), repeat=n)]
    x = torch.tensor([[*row, *[0] * (size - len(row))] for row in rows])
    state, legal = grammar.begin(len(x)), torch.ones(len(x), dtype=torch.bool)
    for t in range(5):  # the symbols, and an end
        legal &= grammar.allowed(grammar.situation(state)).gather(1, x[:, t, None])[:, 0]
        grammar.advance(state, x[:, t])
    assert legal.tolist() == [is_molecule([symbols[k] for k in row]) for row in rows]
    assert sum(ok and bool({2, 3} & set(row)) for ok, row in zip(legal.tolist(), rows, strict=True)) > 10


def test_all_rows_with_rings_through_fragments_have_probability_one():
    points, num_symbols, size = "a0-+a0-11+a1-+r1a-1b+r0-1a1a+r0-1a1b", 9, 6
    x = torch.tensor(list(itertools.product(range(num_symbols), repeat=size - 1)), dtype=torch.float64)
    made = likelihood("lstm", points, num_symbols, size)
    with torch.no_grad():
        log_p = made(torch.randn(1, 2, dtype=torch.float64)).log_prob(torch.nn.functional.pad(x, (0, 1)))
    torch.testing.assert_close(log_p.logsumexp(0).exp().item(), 1.0, rtol=1e-10, atol=0)
    assert bool((log_p.isfinite() & ((x == 2) | (x == 3)).any(1)).any())


def is_molecule(symbols):
    try:
        assemble(symbols)
    except ValueError:
        return False
    return True


def test_the_probability_has_a_gradient_and_no_other_row_spoils_it():
    made = likelihood("lstm")
    z = torch.zeros(2, 2, dtype=torch.float64, requires_grad=True)
    log_p = made(z).log_prob(torch.tensor([[6.0, 8, 8, 2, 0, 0], [7, 0, 0, 0, 0, 0]], dtype=torch.float64))
    assert log_p.isfinite().tolist() == [True, False]
    log_p[0].backward()
    assert bool(z.grad.isfinite().all())
    assert bool(z.grad[0].any())


@pytest.fixture(scope="module", params=["molecules", "molecules:rings=true"])
def real(request):
    data = dataset_of([*SMILES, *FUSED] * 3, overrides=Overrides.said(request.param))
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


def test_the_rows_of_the_last_question_are_those_that_are_answered() -> None:
    grammar = OpenPoints("a0-+a0-1+a1-", 5, 4)
    one, other = torch.tensor([[2, 0, 0, 0]]), torch.tensor([[3, 4, 0, 0]])
    for rows in (one, other, one, one):
        now, alone = grammar.along(rows, rows.numpy()), OpenPoints("a0-+a0-1+a1-", 5, 4).along(rows, rows.numpy())
        assert torch.equal(grammar.allowed(now), grammar.allowed(alone))
    rows = one.clone()
    first = grammar.allowed(grammar.along(rows, rows.numpy()))
    rows.copy_(other)
    assert not torch.equal(grammar.allowed(grammar.along(rows, rows.numpy())), first)


def test_a_grammar_that_was_asked_under_torch_func_is_copied() -> None:
    grammar, rows = OpenPoints("a0-+a0-1+a1-", 5, 4), torch.tensor([[2, 0, 0, 0]])
    symbols = rows.numpy()

    def value(scale: torch.Tensor) -> torch.Tensor:
        return (scale * grammar.allowed(grammar.along(rows, symbols))).sum()

    torch.func.grad(value)(torch.ones(()))
    copied = copy.deepcopy(grammar)
    assert torch.equal(*(g.allowed(g.along(rows, symbols)) for g in (copied, grammar)))
