"""Parts of the model of cells: sizes of libraries, the prior, the encoder (`cell_autoencoder` has the equations)."""

from __future__ import annotations

from typing import cast

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.distributions import Independent, Normal

from lowerbound.models.cell_likelihood import library_of
from lowerbound.nets import MLP
from lowerbound.nets.added_categories import add_to_first_layer
from lowerbound.nets.log_link import StandardizedLog1p
from lowerbound.protocols import Context

__all__ = ["CellEncoder", "CellPrior", "LibrarySizes"]

_LEAST_SCALE, _FEWEST = 0.1, 2


class LibrarySizes(nn.Module):
    """N(m_b, s_b²) of log l, measured for each batch on training cells.

    Arguments:
        batch: the columns of c that say the batch, as (first, one after the last); two of the same for none.
        num_added: how many of the last batches came after a fit; their m and s are apart from those of the others.
    """

    loc: Tensor
    scale: Tensor

    def __init__(self, batch: tuple[int, int], num_added: int = 0):
        super().__init__()
        self.batch, self.num_batches = slice(*batch), batch[1] - batch[0]
        known = max(1, self.num_batches - num_added)
        self.register_buffer("loc", torch.zeros(known))
        self.register_buffer("scale", torch.ones(known))
        start = torch.tensor([0.0, 1.0])
        self.added = nn.ParameterList(nn.Parameter(start.clone(), requires_grad=False) for _ in range(num_added))

    def forward(self, c: Float[Tensor, "*rows covariate"]) -> tuple[Float[Tensor, "*rows"], Float[Tensor, "*rows"]]:
        """m and s of rows with these covariates."""
        if not self.num_batches:
            return self.loc[0].expand(c.shape[:-1]), self.scale[0].expand(c.shape[:-1])
        batch = c[..., self.batch]
        more = torch.stack(list(self.added), 1) if len(self.added) else self.loc.new_zeros(2, 0)
        return batch @ torch.cat([self.loc, more[0]]), batch @ torch.cat([self.scale, more[1]])

    @torch.no_grad()
    def initialize(self, x: Float[Tensor, "row gene"], c: Float[Tensor, "row covariate"]) -> None:
        """Measure; a batch of fewer than two of these rows gets what all rows have."""
        log_l = library_of(x).log().to(self.loc)
        self.loc.fill_(log_l.mean())
        self.scale.fill_(log_l.std().clamp_min(_LEAST_SCALE))
        for i in range(self.num_batches):
            own = log_l[c[:, self.batch][:, i] > 0]
            own = own if len(own) >= _FEWEST else log_l
            measured = torch.stack([own.mean(), own.std().clamp_min(_LEAST_SCALE)])
            if i < len(self.loc):
                self.loc[i], self.scale[i] = measured
            else:
                self.added[i - len(self.loc)].copy_(measured)


class CellPrior(nn.Module):
    """p(z) = N(0, I), and with a latent library p(log l | c) as its last coordinate.

    Arguments:
        latent_dim: length of z without log l.
        sizes: of libraries; None where they are observed.
    """

    def __init__(self, latent_dim: int, sizes: LibrarySizes | None):
        super().__init__()
        self.sizes, self.latent_dim = sizes, latent_dim
        self.register_buffer("zero", torch.zeros(latent_dim), persistent=False)

    def forward(self, context: Context | None = None) -> Independent:
        """p(z, log l | c); without a context log l is that of an average batch."""
        loc = self.get_buffer("zero")
        scale = torch.ones_like(loc)
        if self.sizes is not None:
            average = self.sizes.loc.mean(), self.sizes.scale.mean()
            m, s = average if context is None else self.sizes(cast(Tensor, context))
            loc = torch.cat([loc.expand(*m.shape, -1), m[..., None]], -1)
            scale = torch.cat([scale.expand(*m.shape, -1), s[..., None]], -1)
        return Independent(Normal(loc, scale, validate_args=False), 1, validate_args=False)


class CellEncoder(nn.Module):
    """From counts x (..., G) and covariates c to μ and σ before `positive` (..., 2, latents).

    Arguments:
        num_genes: G.
        hidden: widths of the hidden layers.
        width: how many numbers c has.
        num_latents: coordinates of z, log l among them if it is latent.
        sizes: of libraries.
        adds_library: whether log Σ x is added to the last μ, which then is log l.
        dropout: the fraction of the inputs that are dropped in training.
        num_added: how many of the last batches came after a fit.
    """

    takes_leading_axes: bool = True

    def __init__(
        self,
        num_genes: int,
        *,
        hidden: tuple[int, ...],
        width: int,
        num_latents: int,
        sizes: LibrarySizes,
        adds_library: bool,
        dropout: float,
        num_added: int = 0,
    ):
        super().__init__()
        net = MLP([num_genes, (width + 1,)], hidden, (2, num_latents))
        if num_added:
            add_to_first_layer(net, (num_genes + sizes.batch.start, num_genes + sizes.batch.stop), num_added)
        if dropout:
            net.layers.insert(0, nn.Dropout(dropout))
        self.net, self.sizes, self.adds_library = StandardizedLog1p(net, (num_genes,)), sizes, adds_library
        self.out_shape, self.width = net.out_shape, width

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """Map counts and covariates; a stated log l after them is that of x, and is not read."""
        log_l = library_of(x).log()
        c = x.new_zeros(*x.shape[:-1], 0) if context is None else context[..., : self.width]
        y = self.net(self._scaled(x, log_l), torch.cat([c, (log_l - self.sizes.loc.mean())[..., None]], -1))
        if not self.adds_library:
            return y
        first = torch.zeros_like(y)
        first[..., 0, -1] = log_l
        return y + first

    @torch.no_grad()
    def initialize(self, x: Float[Tensor, "row gene"]) -> None:
        """Standardise what is seen; the sizes of libraries must be measured before."""
        self.net.initialize(self._scaled(x.to(self.sizes.loc), library_of(x.to(self.sizes.loc)).log()))

    def _scaled(self, x: Tensor, log_l: Tensor) -> Tensor:
        """Counts as they would be in a library of typical size."""
        return x * (self.sizes.loc.mean() - log_l).exp()[..., None]
