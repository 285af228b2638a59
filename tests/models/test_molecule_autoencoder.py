"""Molecules by a net of atoms, and with latents of the tree and of the graph: against RDKit and by enumeration."""

import itertools

import pytest
import torch
from some_molecules import SMILES

from lowerbound.data.chemistry import rdkit_chem
from lowerbound.data.derivations import assemble
from lowerbound.data.fragment_graphs import spelled_fragments
from lowerbound.data.fragments import all_rows_of, first_of_points, molecules_of
from lowerbound.data.given import dataset_of
from lowerbound.data.overrides import Overrides
from lowerbound.models.molecule_autoencoder import molecule_vae
from lowerbound.nets.fragment_tables import FragmentTables, classes_of
from lowerbound.nets.message_passing import MessagePassing, MoleculeEncoder
from lowerbound.nets.molecule_graphs import MoleculeGraphs, RowsToGraphs

ELEMENTS = ("B", "C", "N", "O", "F", "Si", "P", "S", "Cl", "Se", "Br", "I")
SMALL = {"embedding_dim": 4, "width": 8, "latent_dim": 2}


@pytest.fixture(autouse=True)
def without_gradients():
    with torch.no_grad():
        yield


@pytest.fixture(scope="module")
def data():
    return dataset_of(SMILES * 3, overrides=Overrides.said("molecules"))


@pytest.fixture(scope="module")
def words(data):
    symbols = data.schema.molecules.symbols
    return spelled_fragments(symbols[first_of_points(symbols) :])


@pytest.fixture(scope="module")
def rows(data):
    """Molecules by known fragments, by atoms, and draws of an untrained model, with rings that no molecule has."""
    torch.manual_seed(1)
    model = molecule_vae(data.event_shape, likelihood=data.default_likelihood, **SMALL).eval()
    with torch.no_grad():
        drawn = model.sample(50)
    return torch.cat([torch.as_tensor(data.x_train).float(), drawn]), drawn


def in_rdkit(graphs: MoleculeGraphs, row: int):
    """The molecule of a row, made of what the graph says, and the numbers of its atoms."""
    Chem = rdkit_chem()
    orders = dict(enumerate((None, *(getattr(Chem.BondType, n) for n in ("SINGLE", "DOUBLE", "TRIPLE", "AROMATIC")))))
    made, place = Chem.RWMol(), {}
    for number in (graphs.molecule == row).nonzero()[:, 0].tolist():
        element, charge, aromatic, _, hydrogens = graphs.atoms[number].tolist()
        atom = Chem.Atom(ELEMENTS[element])
        atom.SetFormalCharge((0, 1, -1)[charge])
        atom.SetNumExplicitHs(hydrogens)
        atom.SetNoImplicit(True)
        atom.SetIsAromatic(bool(aromatic))
        place[number] = made.AddAtom(atom)
    for (i, j), (order, _) in zip(graphs.ends.tolist(), graphs.bonds.tolist(), strict=True):
        if i in place:
            made.AddBond(place[i], place[j], orders[order])
            made.GetBondBetweenAtoms(place[i], place[j]).SetIsAromatic(order == 4)
    Chem.SanitizeMol(made)
    return made, place


def test_the_graph_of_a_row_is_the_molecule(data, words, rows):
    x, _ = rows
    graphs = RowsToGraphs(words, len(data.schema.molecules.symbols))(x)
    Chem = rdkit_chem()
    for row, smiles in enumerate(molecules_of(x.numpy(), data.schema.molecules)):
        made, place = in_rdkit(graphs, row)
        assert Chem.MolToSmiles(made) == smiles
        for number, i in place.items():
            assert int(graphs.atoms[number, 3]) == made.GetAtomWithIdx(i).GetDegree()


def test_the_graph_of_a_row_whose_rings_are_taken_apart_is_the_molecule():
    fused = ["c1ccc2c(c1)CCC2", "O=C1NCCc2ccccc21", "c1ccc2c(c1)CCCC2", "c1ccc2c(c1)COC2", "c1ccc2c(c1)CCO2"]
    data = dataset_of(fused + ["Cc1ccccc1C", "CCc1ccccc1C"] * 10, overrides=Overrides.said("molecules:rings=true"))
    symbols, x = data.schema.molecules.symbols, torch.as_tensor(data.x_train)
    assert bool(((x > 1) & (x < first_of_points(symbols))).any())
    graphs = RowsToGraphs(spelled_fragments(symbols[first_of_points(symbols) :]), len(symbols))(x)
    for row, smiles in enumerate(molecules_of(x.numpy(), data.schema.molecules)):
        assert rdkit_chem().MolToSmiles(in_rdkit(graphs, row)[0]) == smiles


def test_bonds_are_in_rings_where_rdkit_says_so(data, words, rows):
    x = torch.as_tensor(data.x_train).float()
    graphs = RowsToGraphs(words, len(data.schema.molecules.symbols))(x)
    seen = 0
    for row in range(len(x)):
        made, place = in_rdkit(graphs, row)
        for (i, j), (_, ring) in zip(graphs.ends.tolist(), graphs.bonds.tolist(), strict=True):
            if i in place:
                assert made.GetBondBetweenAtoms(place[i], place[j]).IsInRing() == bool(ring)
                seen += ring
    assert seen > 100


def test_molecules_of_one_symbol_each_are_graphs_too():
    graphs = RowsToGraphs("0|C4|||;1|O2|||", 4)(torch.tensor([[2.0, 0, 0], [3, 0, 0], [0, 0, 0]]))
    assert (graphs.molecule.tolist(), graphs.atoms[:, 0].tolist(), len(graphs.ends)) == ([0, 1], [1, 3], 0)


def test_atoms_are_not_told_apart_by_their_numbers(data, words, rows):
    torch.manual_seed(0)
    graphs = RowsToGraphs(words, len(data.schema.molecules.symbols))(rows[0])
    net = MessagePassing(8).double()
    new = torch.randperm(len(graphs.atoms))  # atom i is now number new[i]
    bonds = torch.randperm(len(graphs.ends))
    other = MoleculeGraphs(
        atoms=torch.empty_like(graphs.atoms).index_copy(0, new, graphs.atoms),
        molecule=torch.empty_like(graphs.molecule).index_copy(0, new, graphs.molecule),
        ends=new[graphs.ends][bonds].flip(1),
        bonds=graphs.bonds[bonds],
        num_molecules=graphs.num_molecules,
    )
    found = net(graphs)
    torch.testing.assert_close(net(other), found, rtol=1e-12, atol=1e-12)
    assert float(found.std(0).min()) > 1e-4


def test_all_derivations_of_a_molecule_have_one_code_and_company_does_not_matter(data, words):
    schema, torch_of = data.schema.molecules, torch.from_numpy
    net = MoleculeEncoder(words, len(schema.symbols), (2, 3), 8).double()
    several = [torch_of(all_rows_of(one, schema, data.event_shape[0])).double() for one in ("CC(C)Cc1ccc(O)cc1", "CCC")]
    assert len(several[0]) > 1
    found = net(several[0])
    torch.testing.assert_close(found, found[:1].expand_as(found), rtol=1e-12, atol=1e-12)
    padded = torch.nn.functional.pad(several[0][:1], (0, 9))  # after the end nothing is read, nor of other rows
    padded[0, -1] = 5.0
    together = net(torch.cat([several[0][:1], several[1][:1]]))
    torch.testing.assert_close(net(padded)[0], found[0], rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(together[:1], found[:1], rtol=1e-12, atol=1e-12)
    assert not torch.allclose(together[0], together[1])


def test_every_number_of_atoms_and_bonds_reaches_the_code(words):
    tables = FragmentTables.read("0|C3|||0-;1|N+1c0O0|0d1,1:2|0-|1=")
    assert tables.atoms.tolist() == [[1, 0, 0, 1, 3], [2, 1, 0, 2, 1], [1, 0, 1, 3, 0], [3, 0, 0, 1, 0]]
    assert tables.bonds.tolist() == [[2, 1], [4, 1]]
    net = MessagePassing(6).double()
    atoms, ends = torch.zeros(2, 5, dtype=torch.long), torch.tensor([[0, 1]])
    codes = []
    for changed in range(7):
        numbers, bonds = atoms.clone(), torch.tensor([[1, 0]])
        (numbers[0] if changed < 5 else bonds[0])[changed if changed < 5 else changed - 5] += 1
        codes.append(net(MoleculeGraphs(numbers, torch.zeros(2, dtype=torch.long), ends, bonds, 1))[0])
    assert float(torch.pdist(torch.stack(codes)).min()) > 1e-4


def test_rows_that_are_no_molecules_are_read_without_harm(data, words):
    net = MoleculeEncoder(words, len(data.schema.molecules.symbols), (2, 2), 4)
    torch.manual_seed(0)
    wild = torch.randint(0, len(data.schema.molecules.symbols), (50, data.event_shape[0])).float()
    wild[0], wild[1] = 0.0, 1.0
    assert bool(net(wild).isfinite().all())
    assert net(wild[:0]).shape == (0, 2, 2)
    with pytest.raises(ValueError, match="more than fragments"):
        RowsToGraphs(words, 3)
    with pytest.raises(ValueError, match="expected words such as"):
        RowsToGraphs("0|Xx|||", 9)


# a molecule of one to three parts: C alone, C–, –C–, –C, and a ring of two atoms attached at either
POINTS = "2*a0-+a0-1+a0-11+a1-+f1-1+f1-1+f1-1"
FRAGMENTS = "0|C4|||;1|O2|||;2|C3|||0-;3|C2|||0-,0-;4|C3||0-|;5|C1N0O1|0-1,1-2|0-|1-;5|C1N0O1|0-1,1-2|1-|0-;6|C1||0-|0-"
K, T = 11, 5


@pytest.fixture(scope="module")
def two():
    """A model of a small grammar, in which two symbols of one class differ by their attachment."""
    torch.manual_seed(2)
    words = f"tokens:num_symbols={K},points={POINTS}"
    model = molecule_vae((T,), likelihood=words, graph_latent_dim=3, fragments=FRAGMENTS, **SMALL).double().eval()
    with torch.no_grad():
        for p in model.parameters():
            p.normal_()
    return model


@pytest.fixture(scope="module")
def every_row():
    found = torch.tensor(list(itertools.product(range(K), repeat=T - 1)), dtype=torch.float64)
    return torch.cat([found, torch.zeros(len(found), 1, dtype=torch.float64)], 1)


def test_all_rows_together_have_probability_one_given_both_latents(two, every_row):
    with torch.no_grad():
        log_p = two.decode(torch.randn(1, 5, dtype=torch.float64)).log_prob(every_row)
    torch.testing.assert_close(log_p.logsumexp(0).exp().item(), 1.0, rtol=1e-10, atol=0)
    assert int(log_p.isfinite().sum()) > 20


def test_the_tree_reads_z_of_the_tree_alone(two, every_row):
    """p(T | z) is the sum over rows of one tree of classes: z_G moves p(x | z) and leaves the sum."""
    classes = torch.tensor(classes_of(FRAGMENTS, K))
    z = torch.randn(1, 5, dtype=torch.float64)
    other = torch.cat([z[:, :2], torch.randn(1, 3, dtype=torch.float64)], 1)
    with torch.no_grad():
        log_p, moved = (two.decode(one).log_prob(every_row) for one in (z, other))
    possible = log_p.isfinite()
    trees, which = classes[every_row[possible].long()].unique(dim=0, return_inverse=True)
    of_tree = [
        torch.zeros(len(trees), dtype=torch.float64).index_add(0, which, p[possible].exp()) for p in (log_p, moved)
    ]
    torch.testing.assert_close(*of_tree, rtol=1e-10, atol=0)
    assert len(trees) < int(possible.sum())
    assert float((log_p - moved)[possible].abs().max()) > 0.1
    tree_moved = torch.cat([z[:, :2] + 1, z[:, 2:]], 1)
    with torch.no_grad():
        assert float((two.decode(tree_moved).log_prob(every_row) - log_p)[possible].abs().max()) > 0.1


def test_drawing_and_scoring_give_the_same_scores(two, every_row):
    net, x = two.likelihood.causal, every_row[::500]
    context = two.likelihood.context_net(torch.randn(len(x), 5, dtype=torch.float64))
    with torch.no_grad():
        cache = net.begin(len(x), context)
        steps = [net.step(cache, t, x[:, t - 1].long() if t else None) for t in range(T)]
        torch.testing.assert_close(torch.stack(steps, 1), net(x, context), rtol=1e-10, atol=1e-10)


def test_q_of_the_tree_reads_the_tree_and_q_of_the_graph_the_atoms(two):
    x = torch.tensor([[5.0, 8, 10, 7, 0], [5.0, 9, 10, 7, 0]], dtype=torch.float64)  # attached at another atom
    q = two.infer(x)
    torch.testing.assert_close(q.mean[0, :2], q.mean[1, :2], rtol=0, atol=0)
    assert float((q.mean[0, 2:] - q.mean[1, 2:]).abs().min()) > 1e-6
    assert two.likelihood.latent_parts() == {"tree": 2, "graph": 3}


def test_the_offsets_start_at_the_frequencies_of_classes_and_symbols(two):
    model = molecule_vae(
        (T,), likelihood=f"tokens:num_symbols={K},points={POINTS}", graph_latent_dim=1, fragments=FRAGMENTS, **SMALL
    )
    x = torch.tensor([[5.0, 8, 7, 0, 0]] * 3 + [[5.0, 9, 7, 0, 0]])
    model.initialize(x)
    with torch.no_grad():
        model.likelihood.causal.tree.embedding.zero_()
        model.likelihood.causal.graph.embedding.zero_()
        p = model.likelihood.causal(x[:1], torch.zeros(1, 8)).softmax(-1)[0, 0]
    counts = torch.tensor([4.0, 0, 0, 0, 0, 4, 0, 4, 3, 1, 0]) + 1 / K
    torch.testing.assert_close(p, counts / counts.sum())


@pytest.mark.parametrize("choice", [{"graph_latent_dim": 3}, {"encoder": "message-passing"}])
def test_covariates_reach_the_codes_and_the_scores(choice):
    torch.manual_seed(0)
    words = f"tokens:num_symbols={K},points={POINTS}"
    model = molecule_vae((T,), likelihood=words, fragments=FRAGMENTS, covariate_sizes=[2], **choice, **SMALL).eval()
    x, c = torch.tensor([[5.0, 8, 7, 0, 0]] * 2), torch.eye(2)
    q = model.infer(x, c)
    assert float((q.mean[0] - q.mean[1]).abs().min()) > 1e-5
    log_p = model.decode(torch.zeros(2, *q.event_shape), c).log_prob(x)
    assert abs(float(log_p[0] - log_p[1])) > 1e-5
    assert model.sample(3, c).shape == (3, 2, T)


def test_what_the_choices_need_is_said(data):
    words = data.default_likelihood
    with pytest.raises(ValueError, match="got no fragments, which the data decide"):
        molecule_vae(data.event_shape, likelihood=words, encoder="message-passing")
    with pytest.raises(ValueError, match="the posterior diagonal-normal"):
        molecule_vae(
            data.event_shape, likelihood=words, graph_latent_dim=2, posterior="full-normal", fragments=FRAGMENTS
        )


def test_symbols_of_one_class_are_one_fragment_at_other_atoms():
    of = ("*C", "[1*]c1ccc(*)cc1", "[1*]c1cccc(*)c1", "[1*]c1ccccc1*", "[1*]c1ccccc1", "[1*]C(*)=*", "[1*]C(=*)*")
    words = spelled_fragments(of)
    assert classes_of(words, len(of) + 2)[2:] == [2, 3, 3, 3, 4, 5, 6]
    assert assemble(["*C", "[1*]c1ccccc1"]) == "Cc1ccccc1"
