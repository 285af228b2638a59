"""Molecules with a latent: a causal net writes a derivation (`data.derivations`), given z.

    z ~ p(z)        p(x | z) = Π_t p(x_t | x_<t, z) over the symbols x_t that may stand        q(z | x)

It is the sentence VAE (Bowman et al. 2016, arXiv:1511.06349; `sentence_autoencoder`) of symbols, with 2 nats of the
rate free of cost from the first step on. Two choices are for molecules alone. The encoder may read the graph of atoms
(`nets.message_passing`). And z may have two parts, of the tree of fragments and of the graph (Jin, Barzilay & Jaakkola
2018, arXiv:1802.04364):

    p(z_T) p(z_G) p(T | z_T) p(G | T, z_T, z_G)        q(z_T | T) q(z_G | G)

T says which fragments with how many points follow each other, G at which atoms they are attached
(`nets.tree_and_graph`). q(z_T | T) is computed from T by the chosen encoder, q(z_G | G) from the graph of atoms. z is
one vector, z_T first, so that whatever takes a latent takes both.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypeAlias, cast

from torch import nn

from lowerbound import likelihoods, posteriors, priors
from lowerbound.model import LatentVariableModel
from lowerbound.models.conditional_autoencoder import ConditionalModel
from lowerbound.models.parts import outputs_of
from lowerbound.models.recipe import Recipe
from lowerbound.models.sentence_autoencoder import RECURRENT, of_decoder, of_text, sentence_vae
from lowerbound.nets import MLP
from lowerbound.nets.fragment_tables import classes_of
from lowerbound.nets.message_passing import MoleculeEncoder
from lowerbound.nets.token_encoder import TokenEncoder
from lowerbound.nets.token_net import TokenNetwork
from lowerbound.nets.tree_and_graph import OfClasses, SideBySide, TreeAndGraphContext
from lowerbound.spelling import build, construct

__all__ = ["RECIPE", "MoleculeEncoderNetwork", "molecule_vae", "reads_fragments"]

MoleculeEncoderNetwork: TypeAlias = Literal["lstm", "bag-of-words", "convolution", "transformer", "message-passing"]


def reads_fragments(options: Mapping[str, Any]) -> bool:
    """Whether a model with these options reads the atoms of fragments."""
    return options.get("encoder") == "message-passing" or bool(options.get("graph_latent_dim"))


def molecule_vae(
    event_shape: Sequence[int],
    *,
    latent_dim: int = 32,
    graph_latent_dim: int = 0,
    likelihood: str = "tokens",
    prior: str | nn.Module = "standard-normal",
    posterior: str | nn.Module = "diagonal-normal",
    encoder: MoleculeEncoderNetwork = "lstm",
    decoder: TokenNetwork = "lstm",
    embedding_dim: int = 128,
    width: int = 256,
    layers: int = 1,
    word_dropout: float = 0.0,
    dropout: float = 0.3,
    covariate_sizes: Sequence[int] = (),
    fragments: str | None = None,
) -> LatentVariableModel:
    """A model of molecules with a latent for each.

    Arguments:
        event_shape: (T,), the most symbols of a molecule and its end.
        latent_dim: length of z; of z_T where there is a z_G.
        graph_latent_dim: length of z_G, of the graph, beside z_T, of the tree of fragments; 0 for one z of both.
        likelihood: "tokens:num_symbols=K,points=…", K symbols with the end.
        prior: as for `vae`.
        posterior: as for `vae`; "diagonal-normal" where there is a z_G.
        encoder: the net that reads x for q(z | x), or T for q(z_T | T); "message-passing" reads the atoms.
        decoder: the causal net of p(x | z).
        embedding_dim: width of the embeddings of both, which are not shared.
        width: of the layers of both.
        layers: of the decoder.
        word_dropout: the probability that a symbol is hidden from later ones while training, so that z has to tell.
        dropout: the probability that a number of the decoder is dropped while training.
        covariate_sizes: as for `sentence_vae`.
        fragments: the atoms of the symbols, in the words of `data.fragment_graphs`, where they are read.

    Raises:
        ValueError: rows that are no texts, an unknown name or option, or sizes that are too small.

    >>> words = "tokens:num_symbols=6,points=a0-+a0-1+a1-"
    >>> tree_and_graph = dict(graph_latent_dim=1, fragments="0|C4|||;1|C3|||0-;2|C3||0-|")
    >>> molecule_vae((4,), likelihood=words, latent_dim=2, width=8, **tree_and_graph).sample(3).shape
    torch.Size([3, 4])
    """
    net: dict[str, Any] = {
        "decoder": decoder,
        "embedding_dim": embedding_dim,
        "width": width,
        "layers": layers,
        "word_dropout": word_dropout,
        "dropout": dropout,
    }
    reads = reads_fragments({"encoder": encoder, "graph_latent_dim": graph_latent_dim})
    if reads and fragments is None:
        raise ValueError(
            "A net of atoms got no fragments, which the data decide; fit it to molecules (kind molecules)."
        )
    if graph_latent_dim < 0 or (graph_latent_dim and posterior != "diagonal-normal"):
        raise ValueError(
            f"graph_latent_dim={graph_latent_dim} was given with the posterior {str(posterior)[:40]!r}; a z_G has a "
            "length of at least 1 and the posterior diagonal-normal, and 0 means none."
        )
    given = sum(covariate_sizes)
    if graph_latent_dim:
        dims = (latent_dim, graph_latent_dim)
        return _tree_and_graph(event_shape, dims, likelihood, prior, encoder, net, given, cast(str, fragments))
    own: dict[str, Any] = {"latent_dim": latent_dim, "likelihood": likelihood, "prior": prior, **net}
    if encoder != "message-passing":
        own |= {"encoder": encoder, "posterior": posterior}
    else:
        own["posterior"] = _of_atoms(posterior, likelihood, latent_dim, width, given, cast(str, fragments))
    return sentence_vae(event_shape, covariate_sizes=covariate_sizes, **own)


def _of_atoms(
    posterior: str | nn.Module, likelihood: str, latent_dim: int, width: int, given: int, fragments: str
) -> nn.Module:
    """q(z | x) from the graph of atoms."""
    if not isinstance(posterior, str):
        return posterior
    num_symbols = of_text(likelihood)[1]["num_symbols"]
    net = MoleculeEncoder(fragments, num_symbols, outputs_of(posteriors, posterior, latent_dim), width, given)
    return construct(posteriors, posterior, net=net, latent_dim=latent_dim, latent_shape=latent_dim)


def _tree_and_graph(
    event_shape: Sequence[int],
    latent_dims: tuple[int, int],
    likelihood: str,
    prior: str | nn.Module,
    encoder: MoleculeEncoderNetwork,
    net: dict[str, Any],
    given: int,
    fragments: str,
) -> LatentVariableModel:
    """The model with z = (z_T, z_G)."""
    name, options = of_text(likelihood)
    both, shape, num_symbols = sum(latent_dims), tuple(event_shape), cast(int, options["num_symbols"])
    sizes = {"embedding_dim": net["embedding_dim"], "width": net["width"], "context": given}
    tree = _of_tree(encoder, fragments, num_symbols, shape[0], (2, latent_dims[0]), sizes)
    graph = MoleculeEncoder(fragments, num_symbols, (2, latent_dims[1]), net["width"], given)
    q = posteriors.DiagonalNormal(SideBySide(tree, graph))
    of_tree, of_graph = (
        MLP([(size,), (given,)] if given else size, (), net["embedding_dim"]) for size in (latent_dims[0], both)
    )
    x_given_z = build(
        likelihoods,
        name,
        options | of_decoder(**net) | {"classes": classes_of(fragments, num_symbols)},
        net=TreeAndGraphContext(of_tree, of_graph, latent_dims),
        event_shape=shape,
    )
    p = prior
    if isinstance(p, str):
        p = construct(priors, p, latent_dim=both, latent_shape=both, event_shape=shape, posterior=q)
    if given:
        return ConditionalModel(prior=p, likelihood=x_given_z, posterior=q, context_shape=(given,))
    return LatentVariableModel(prior=p, likelihood=x_given_z, posterior=q)


def _of_tree(
    encoder: MoleculeEncoderNetwork,
    fragments: str,
    num_symbols: int,
    length: int,
    out_shape: tuple[int, ...],
    sizes: dict[str, int],
) -> nn.Module:
    """The net of q(z_T | T): of the classes of symbols, or of the atoms."""
    if encoder == "message-passing":
        return MoleculeEncoder(fragments, num_symbols, out_shape, sizes["width"], sizes["context"])
    classes = classes_of(fragments, num_symbols)
    return OfClasses(TokenEncoder(max(classes) + 1, length, out_shape, encoder, **sizes), classes)


RECIPE = Recipe(
    name="molecule-vae",
    cites=("bowman2016generating",),
    make=molecule_vae,
    labels="optional covariates",
    likelihood="tokens",
    defaults={**RECURRENT, "objective": "free-bits:nats=2.0,per=group"},  # docs/models/molecules.md: measured
)
