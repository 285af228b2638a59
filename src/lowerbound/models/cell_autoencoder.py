"""An autoencoder of the counts of cells given their covariates and the sizes of their libraries (scVI).

    z ~ N(0, I),   log l ~ N(m_b, s_b²) or given,   x | z, l, c   as in `cell_likelihood`
    q(z, log l | x, c) = N(μ(x, c), diag σ(x, c)²)

Source: Lopez, Regier, Cole, Jordan & Yosef 2018 (Nature Methods 15, doi:10.1038/s41592-018-0229-2). With the size of
the library observed, the model is one of x given l = Σ_g x_g, and its scores are log p(x | l, c): comparable with those
of models that are given l too, and with no others. Draws take l from the log-normal distribution of the training cells
of the batch. With a latent library the scores are log p(x | c).

The encoder sees log(1 + x l̃/l), standardised, with l̃ the typical size, and log l and c beside: what depth says is told
apart from what genes say.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from typing import cast

import torch
from jaxtyping import Float
from torch import Tensor
from torch.distributions import Distribution

from lowerbound.model import Joint, LatentVariableModel
from lowerbound.models.cell_likelihood import CellDispersion, CellFamily, CellLikelihood, Library, library_of
from lowerbound.models.cell_parts import CellEncoder, CellPrior, LibrarySizes
from lowerbound.models.recipe import Recipe
from lowerbound.posteriors import DiagonalNormal
from lowerbound.protocols import Conditional, Context, Latents
from lowerbound.shown import shown
from lowerbound.weights import latents_of

__all__ = ["RECIPE", "CellModel", "cell_autoencoder"]


class CellModel(LatentVariableModel):
    """A model of counts given covariates and, if it is observed, the size of the library.

    The context of B rows is c (B, width), or (B, width + 1) with log l as its last column; without this column l is
    Σ_g x_g where there is x, and the typical size of the batch in `decode`. Without covariates it may be None.

    Arguments:
        prior, likelihood, posterior: the parts.
        sizes: of libraries.
        covariate_sizes: how many categories each covariate has; 1 for numbers.

    Raises:
        ValueError: (when used) a context that is not of this shape.
    """

    likelihood: CellLikelihood  # pyright: ignore[reportIncompatibleVariableOverride]

    def __init__(
        self,
        *,
        prior: Conditional,
        likelihood: CellLikelihood,
        posterior: DiagonalNormal,
        sizes: LibrarySizes,
        covariate_sizes: Sequence[int],
    ):
        super().__init__(prior=prior, likelihood=likelihood, posterior=posterior)
        self.sizes, self.covariate_sizes = sizes, tuple(covariate_sizes)

    def infer(self, x: Tensor, context: Context | None = None) -> Distribution:
        """q(z | x, c), or q(z, log l | x, c), for a batch x (B, G)."""
        return self.posterior((x, self._covariates(context, len(x))))

    def joint(self, x: Tensor, context: Context | None = None) -> Joint:
        """z ↦ (log p(x | z, l, c), log p(z)), or of (z, log l), for a batch x (B, G)."""
        c = self._covariates(context, len(x))
        return Joint(self.likelihood, self._prior(c), x, self._given(c, context, library_of(x).log()))

    def decode(self, z: Latents, context: Context | None = None) -> Distribution:
        """p(x | z, l, c) for latents z (..., B, latents)."""
        z = cast(Tensor, z)
        c = self._covariates(context, z.shape[-2] if z.ndim > 1 else None)
        return self.likelihood((z, self._given(c, context, self.sizes(c)[0])))

    def completed(self, x: Tensor, context: Tensor | None) -> Tensor | None:
        """The context with log l of x (B, G) as its last column; as it is if the library is a latent."""
        c = self._covariates(context, len(x))
        return context if self.likelihood.library == "latent" else self._given(c, None, library_of(x).log())

    @torch.no_grad()
    def reconstruct(self, x: Tensor, context: Context | None = None) -> Tensor:
        """E[x' | z, l, c] at one draw z ~ q(z | x, c), with the library of x: (B, G)."""
        q, c = self.infer(x, context), self._covariates(context, len(x))
        z = latents_of(q, q.sample())
        return shown(self.likelihood((cast(Tensor, z), self._given(c, context, library_of(x).log())))).values

    @torch.no_grad()
    def initialize(self, x: Float[Tensor, "batch *event"], context: Context | None = None) -> None:
        """Measure the libraries and the shares of genes on some training rows."""
        self.sizes.initialize(x, self._covariates(context, len(x)))
        encoder = cast(DiagonalNormal, self.posterior).net
        assert isinstance(encoder, CellEncoder)
        encoder.initialize(x)
        self.likelihood.initialize(x)

    def _generated(self, num_samples: int, context: Context | None) -> Distribution:
        """p(x | z, l, c) at draws of z and l, for each row of a context if there is one."""
        c = self._covariates(context, None)
        lead = (num_samples, *c.shape[:-1])
        p = self._prior(c.expand(*lead, -1))
        z = p.sample(torch.Size(() if p.batch_shape else lead))
        loc, scale = self.sizes(c)
        log_l = loc + scale * torch.randn(lead, device=loc.device, dtype=loc.dtype)
        return self.likelihood((z, self._given(c.expand(*lead, -1), context, log_l)))

    def _prior(self, c: Tensor) -> Distribution:
        return self.prior(c if self.likelihood.library == "latent" and self.sizes.num_batches else None)

    def _given(self, c: Tensor, context: Context | None, log_l: Tensor) -> Tensor:
        """What the likelihood is given besides z: c, and log l where it is observed."""
        if self.likelihood.library == "latent":
            return c
        stated = isinstance(context, Tensor) and context.shape[-1] > c.shape[-1]
        return torch.cat([c, cast(Tensor, context)[..., -1:] if stated else log_l[..., None].to(c)], -1)

    def _covariates(self, context: Context | None, num_rows: int | None) -> Tensor:
        """c (B, width), or (width,) of no rows.

        Raises:
            ValueError: another shape.
        """
        width = self.likelihood.width
        if context is None and not width:
            return self.sizes.loc.new_zeros(() if num_rows is None else (num_rows,))[..., None][..., :0]
        if not isinstance(context, Tensor) or context.shape[-1] not in (width, width + 1):
            got = "no context" if context is None else f"{getattr(context, 'shape', len(context))}"
            raise ValueError(
                f"This model is given covariates as a context of shape (B, {width}) and got {got}; give one row for "
                "each cell (`lowerbound.data.covariates.encode_covariates`)."
            )
        if num_rows is not None and len(context) not in (1, num_rows):
            raise ValueError(
                f"This model got {num_rows} rows of data and {len(context)} of context; give one for each."
            )
        return context[..., :width]


def cell_autoencoder(
    event_shape: Sequence[int],
    *,
    covariate_sizes: Sequence[int] = (),
    latent_dim: int = 10,
    hidden: Sequence[int] = (128,),
    likelihood: CellFamily = "negative-binomial",
    library: Library = "observed",
    dispersion: CellDispersion = "gene",
    dropout: float = 0.1,
    num_added: int = 0,
) -> CellModel:
    """A model of the counts of cells; run `initialize` on some of them before training it.

    Arguments:
        event_shape: (genes,).
        covariate_sizes: how many categories each covariate has, 1 for numbers; the first with categories is the batch.
        latent_dim: length of z; a latent library adds one coordinate, the last.
        hidden: widths of the hidden layers from the data to z, mirrored back.
        likelihood: the family of the counts.
        library: whether the size of the library is the sum of the counts of the cell, or a latent.
        dispersion: learned for each gene, for each gene and batch, or computed for each gene and cell.
        dropout: the fraction of the inputs of the encoder that are dropped in training.
        num_added: how many of the last categories of the batch came after a fit, whose weights are held fixed.

    Raises:
        ValueError: rows that are not vectors, no latent, a dropout that is no fraction, or choices that do not go
            together.

    >>> cell_autoencoder((12,), covariate_sizes=(2, 1), latent_dim=3, hidden=[16]).sample(5, torch.eye(3)).shape
    torch.Size([5, 3, 12])
    """
    shape, sizes, widths = tuple(event_shape), tuple(covariate_sizes), tuple(hidden)
    if len(shape) != 1 or latent_dim < 1:
        raise ValueError(f"cells got rows of shape {shape} and latent_dim={latent_dim}; it takes vectors of counts.")
    if not 0 <= dropout < 1:
        raise ValueError(f"cells got dropout={dropout:g}; give a fraction from 0 to below 1.")
    width, batch = sum(sizes), _batch_of(sizes)
    if not 0 <= num_added < max(1, batch[1] - batch[0]):
        raise ValueError(
            f"cells got num_added={num_added} of {batch[1] - batch[0]} batches; at least one must be known."
        )
    libraries, is_latent = LibrarySizes(batch, num_added), library == "latent"
    encoder = CellEncoder(
        shape[0],
        hidden=widths,
        width=width,
        num_latents=latent_dim + is_latent,
        sizes=libraries,
        adds_library=is_latent,
        dropout=dropout,
        num_added=num_added,
    )
    counts = CellLikelihood(
        shape[0],
        latent_dim=latent_dim,
        hidden=widths[::-1],
        width=width,
        batch=batch,
        family=likelihood,
        dispersion=dispersion,
        library=library,
        num_added=num_added,
    )
    return CellModel(
        prior=CellPrior(latent_dim, libraries if is_latent else None),
        likelihood=counts,
        posterior=DiagonalNormal(encoder, latent_dim + is_latent),
        sizes=libraries,
        covariate_sizes=sizes,
    )


def _batch_of(sizes: tuple[int, ...]) -> tuple[int, int]:
    """The columns of c that say the batch, which is the first covariate with categories."""
    ends = list(accumulate(sizes))
    return next(((end - size, end) for size, end in zip(sizes, ends, strict=True) if size > 1), (0, 0))


RECIPE = Recipe(
    name="cells",
    cites=("lopez2018deep",),
    make=cell_autoencoder,
    labels="covariates",
    defaults={"objective": "elbo:rate=kl", "clip_norm": 50.0, "patience": 10},
)
