"""Sentence VAE: a language model with a latent for the whole text (Bowman et al. 2016, arXiv:1511.06349).

    z ~ p(z)        p(x | z) = Π_t p(x_t | x_<t, z)        q(z | x)

z says what the text is about, and a causal net writes it. That net models text so well by itself that z tends to stay
unused: look at the rate, and compare with `language_model`, which is the same net without z. The recipe lets the weight
of the rate rise from 0 to 1 in its first 1,000 steps (Bowman et al. 2016, §3.1). With `decoder="hybrid"` z is unrolled
to a sequence by transposed convolutions, which the loss `auxiliary` asks for each word by itself (Semeniuta, Severyn &
Barth 2017, arXiv:1702.02390).

    p(z) p(x | z, c)        q(z | x, c)        c covariates: a property of a molecule, the stars of a review

Where there are covariates, z and c enter the causal net side by side, and z does not depend on c: the conditional
model of Sohn, Lee & Yan (2015, NeurIPS 28) without a prior network.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import nn

from lowerbound import likelihoods, posteriors, priors
from lowerbound.model import LatentVariableModel
from lowerbound.models.conditional_autoencoder import ConditionalModel
from lowerbound.models.directed import DirectedModel
from lowerbound.models.directed_graph import Node
from lowerbound.models.parts import outputs_of
from lowerbound.models.recipe import Recipe
from lowerbound.nets import MLP
from lowerbound.nets.token_encoder import TokenEncoder, TokenEncoderNetwork
from lowerbound.nets.token_net import ContextAt, Softmax, TokenNetwork
from lowerbound.spelling import build, construct, parse

__all__ = ["RECIPES", "RECURRENT", "language_model", "of_decoder", "of_text", "sentence_vae"]


def sentence_vae(
    event_shape: Sequence[int],
    *,
    latent_dim: int = 32,
    likelihood: str = "tokens",
    prior: str | nn.Module = "standard-normal",
    posterior: str | nn.Module = "diagonal-normal",
    encoder: TokenEncoderNetwork = "lstm",
    decoder: TokenNetwork = "lstm",
    context_at: ContextAt = "every-step",
    softmax: Softmax = "full",
    embedding_dim: int = 128,
    width: int = 256,
    layers: int = 1,
    word_dropout: float = 0.0,
    dropout: float = 0.3,
    covariate_sizes: Sequence[int] = (),
) -> LatentVariableModel:
    """A model of text with one latent for each.

    Arguments:
        event_shape: (T,), the most tokens of a text and its end.
        latent_dim: length of z.
        likelihood: "tokens:num_symbols=K", K symbols with the end.
        prior: as for `vae`.
        posterior: as for `vae`.
        encoder: the net that reads x for q(z | x).
        decoder: the causal net of p(x | z): "lstm", "transformer", "convolution" or "hybrid".
        context_at: where z enters it: at "every-step", in the "first-state" of an LSTM alone, or as a "prefix" of a
            transformer.
        softmax: over words: "full", or "adaptive" for large vocabularies.
        embedding_dim: width of the embeddings of both, which are not shared.
        width: of the layers of both.
        layers: of the decoder.
        word_dropout: the probability that a token is hidden from later ones while training, so that z has to tell.
        dropout: the probability that a number of the decoder is dropped while training.
        covariate_sizes: how many categories each covariate has, 1 for numbers; with some the model is of x given c
            (..., sum of them), as `data.covariates.encode_covariates` writes it.

    Raises:
        ValueError: rows that are no texts, an unknown name or option, sizes that are too small, or a place for z that
            the decoder does not have.

    >>> sentence_vae((8,), likelihood="tokens:num_symbols=9", latent_dim=2, width=8).sample(5).shape
    torch.Size([5, 8])
    """
    if latent_dim < 1:
        raise ValueError(f"latent_dim is {latent_dim} and must be at least 1; the recipe language-model has no latent.")
    name, options = of_text(likelihood)
    given = sum(covariate_sizes)
    q = posterior
    if isinstance(q, str):
        outputs = outputs_of(posteriors, q, latent_dim)
        reader = TokenEncoder(options["num_symbols"], event_shape[0], outputs, encoder, embedding_dim, width, given)
        q = construct(posteriors, q, net=reader, latent_dim=latent_dim, latent_shape=latent_dim)
    stated = tuple(getattr(q, "event_shape", ()))
    latent = stated if len(stated) > 1 else (latent_dim,)  # categories have an axis of their own
    x_given_z = build(
        likelihoods,
        name,
        options | of_decoder(decoder, embedding_dim, width, layers, word_dropout, dropout, context_at, softmax),
        net=MLP([latent, (given,)] if given else latent, (), embedding_dim),
        event_shape=tuple(event_shape),
    )
    p = prior
    if isinstance(p, str):
        p = construct(
            priors, p, latent_dim=latent_dim, latent_shape=latent_dim, event_shape=tuple(event_shape), posterior=q
        )
    if given:
        return ConditionalModel(prior=p, likelihood=x_given_z, posterior=q, context_shape=(given,))
    return LatentVariableModel(prior=p, likelihood=x_given_z, posterior=q)


def language_model(
    event_shape: Sequence[int],
    *,
    likelihood: str = "tokens",
    decoder: TokenNetwork = "lstm",
    context_at: ContextAt = "every-step",
    softmax: Softmax = "full",
    embedding_dim: int = 128,
    width: int = 256,
    layers: int = 1,
    word_dropout: float = 0.0,
    dropout: float = 0.3,
    covariate_sizes: Sequence[int] = (),
) -> DirectedModel:
    """The same causal net without a latent, whose log p(x) is exact. Arguments and errors are those of `sentence_vae`.

    >>> language_model((8,), likelihood="tokens:num_symbols=9", width=8).sample(5).shape
    torch.Size([5, 8])
    """
    name, options = of_text(likelihood)
    given = sum(covariate_sizes)
    net = build(
        likelihoods,
        name,
        options | of_decoder(decoder, embedding_dim, width, layers, word_dropout, dropout, context_at, softmax),
        net=MLP(given, (), embedding_dim) if given else None,
        event_shape=tuple(event_shape),
    )
    return DirectedModel([Node("x", net, "context") if given else Node("x", net)], observed="x")


def of_text(words: str) -> tuple[str, dict[str, Any]]:
    """The name and the options of a likelihood of text.

    Raises:
        ValueError: another one, or no number of symbols.
    """
    name, options = parse(words)
    if name != "tokens" or not isinstance(options.get("num_symbols"), int):
        raise ValueError(
            f"A model of text got the likelihood {words[:60]!r} and expected tokens:num_symbols=K; give text, from "
            "which it is taken."
        )
    return name, options


def of_decoder(
    decoder: TokenNetwork,
    embedding_dim: int,
    width: int,
    layers: int,
    word_dropout: float,
    dropout: float,
    context_at: ContextAt = "every-step",
    softmax: Softmax = "full",
) -> dict[str, Any]:
    """The options of the likelihood."""
    return {
        "network": decoder,
        "context_at": context_at,
        "softmax": softmax,
        "embedding_dim": embedding_dim,
        "width": width,
        "layers": layers,
        "word_dropout": word_dropout,
        "dropout": dropout,
    }


RECURRENT = {"compile": False, "steps": 6000, "clip_norm": 5.0, "lr": 3e-3}  # recurrent nets
_WARM = {**RECURRENT, "objective": "beta-elbo:beta=1.0,rate=kl,warmup=1000"}  # docs/models/text.md: measured
_EXACT = {**RECURRENT, "objective": "elbo"}

RECIPES = tuple(
    Recipe(
        name=name,
        cites=("bowman2016generating",),
        make=make,
        labels="optional covariates",
        likelihood="tokens",
        defaults=defaults,
    )
    for name, make, defaults in (
        ("sentence-vae", sentence_vae, _WARM),
        ("language-model", language_model, _EXACT),
    )
)
