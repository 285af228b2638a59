"""Molecules around a scaffold: each draw holds it, whatever the model, and the last row that has room for it too."""

import pytest
import torch
from some_molecules import SMILES

from lowerbound.data.chemistry import rdkit_chem
from lowerbound.data.fragments import first_of_points, molecules_of
from lowerbound.data.given import dataset_of
from lowerbound.data.overrides import Overrides
from lowerbound.data.points import spelled_points
from lowerbound.data.scaffolds import scaffold_of
from lowerbound.likelihoods.beam import beam_search
from lowerbound.likelihoods.open_points import OpenPoints
from lowerbound.likelihoods.scaffolds import ScaffoldGrammar
from lowerbound.likelihoods.tokens import TokenDistribution
from lowerbound.nets.token_net import make_token_net

LONGEST = 40


@pytest.fixture(scope="module")
def schema():
    return dataset_of(SMILES * 3, overrides=Overrides.said(f"molecules:longest={LONGEST}")).schema.molecules


def around(scaffold, schema, length=LONGEST + 1, seed=0):
    """An untrained model of rows that hold a scaffold."""
    torch.manual_seed(seed)
    symbols = schema.symbols
    net = make_token_net(length, len(symbols), embedding_dim=4, width=4).eval()
    with torch.no_grad():
        net.embedding.mul_(0.1)
    grammar = OpenPoints(spelled_points(symbols[first_of_points(symbols) :]), len(symbols), length)
    return TokenDistribution(net, (length,), grammar=ScaffoldGrammar(grammar, scaffold_of(scaffold, schema)))


def holds(rows, scaffold, schema):
    """Of each row, whether it holds the scaffold, by RDKit."""
    Chem = rdkit_chem()
    wanted = Chem.MolFromSmiles(scaffold)
    return [Chem.MolFromSmiles(one).HasSubstructMatch(wanted) for one in molecules_of(rows.numpy(), schema)]


@pytest.mark.parametrize(
    "scaffold",
    [
        "c1ccccc1",
        "O=CNc1ccccc1",  # a ring on a chain
        "NCCS",  # chains of single atoms, each of which may be a part of a larger group
        "CC(C)c1ccccc1",  # two places on one atom
        "NC(=O)C",  # its largest part begins no molecule of the fit
        "c1ccc(-c2ccncc2)cc1",
        "C[N+](C)(C)C",
    ],
)
def test_every_draw_holds_its_scaffold(schema, scaffold):
    p = around(scaffold, schema)
    rows = p.sample(torch.Size((150,)))
    assert all(holds(rows, scaffold, schema))
    assert len(set(molecules_of(rows.numpy(), schema))) > 30
    for likely in (p.greedy()[None], beam_search(p, 3)[None]):
        assert all(holds(likely, scaffold, schema))


def test_a_part_lies_where_its_symmetry_allows_it(schema):
    (bare,) = (place for place in scaffold_of("c1ccccc1", schema).places)
    number = schema.symbols.index("*c1ccc(*)cc1")
    assert bare.ways[number] == ((-1, -1),)
    ring, carbon = scaffold_of("Cc1ccccc1", schema).places
    assert ring.ways[number] == ((-1, 1), (1, -1))
    assert carbon.ways[schema.symbols.index("*C[1*]")] == ((-1,),)
    assert (ring.room, carbon.room) == (2, 1)


def test_a_row_that_just_has_room_holds_the_scaffold_and_opens_nothing_else(schema):
    scaffold = "CC(C)c1ccccc1"
    room = scaffold_of(scaffold, schema).room
    rows = around(scaffold, schema, length=room + 1).sample(torch.Size((20,)))
    assert all(holds(rows, scaffold, schema))
    assert ((rows > 0).sum(1) == room).all()
    with pytest.raises(ValueError, match=f"takes at least {room} symbols, and a row of the model has {room - 1}"):
        around(scaffold, schema, length=room)


def test_no_ring_goes_through_the_scaffold(schema):
    grammar = around("CCN", schema).grammar
    assert isinstance(grammar, ScaffoldGrammar)
    written = [torch.tensor([schema.symbols.index(one)]) for one in ("*C*", "*C[1*]", "*N[1*]")]
    while True:
        state = grammar.begin(1)
        grammar.advance(state, written[0])
        if state.waits[0][-1] >= 0:  # of the two ways of the first symbol that whose free point comes later
            break
    for symbol in written[1:]:
        grammar.advance(state, symbol)
    assert state.waits == [[-1, -2]]  # a free point on each side of the scaffold
    assert grammar.grammar.situation(state.points).joins.any()
    assert not grammar.situation(state).joins.any()


@pytest.mark.parametrize(
    "scaffold, said",
    [
        ("", "is empty; give SMILES"),
        ("ring", "is no molecule; give SMILES"),
        ("[Na]", "is a molecule with Na; give SMILES"),
        ("CC.CCC", "has several components; give SMILES"),
        ("C1CCCCCCC1", "needs C1CCCCCCC1 with 0 bonds to its other parts"),
        ("C" * 5000, "has 5,000 atoms without hydrogens; give one of at most 250"),
        ("CC1CCCCCCC1", "needs C1CCCCCCC1 with 1 bond to its other parts"),
    ],
)
def test_what_cannot_be_written_is_refused(schema, scaffold, said):
    with pytest.raises(ValueError, match=said):
        scaffold_of(scaffold, schema)
