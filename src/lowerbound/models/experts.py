"""q(z | x_1, …, x_M) of blocks of which any may be missing: products and mixtures of one expert for each block.

    expert                 q_m(z) = N(z; μ_m(x_m), diag σ_m(x_m)²)
    product                q_A(z) ∝ p(z) Π_{m ∈ A} q_m(z)           Wu & Goodman 2018 (arXiv:1802.05335, sec. 2)
    mixture                (1/|A|) Σ_{m ∈ A} q_m(z)                 Shi et al. 2019 (arXiv:1911.03393, sec. 3)
    mixture of products    (2^|A| − 1)⁻¹ Σ_{∅ ≠ S ⊆ A} q_S(z)       Sutter et al. 2021 (arXiv:2105.02470, sec. 3)

A is the set of the blocks that a row has, and p(z) = N(0, I) the prior expert. A product of Gaussians is one: its
precision is 1 + Σ_m σ_m⁻² and its mean Σ_m σ_m⁻² μ_m divided by that. An expert of the product stands for p(x_m | z)
as a function of z, so that the product is the posterior where that is Gaussian; an expert of the mixture is a posterior
itself. Where nothing is there, all three are the prior.

A mixture has its own density, log q(z) = log Σ_k π_k q_k(z), in log w, so that the ELBO is one of log p(x_A). (Sutter
et al. put Σ_k π_k KL(q_k ‖ p) ≥ KL(q ‖ p) in the place of its rate, which is a looser bound.)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import product
from typing import Literal, TypeAlias, cast

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.distributions import Distribution, Independent, Normal

from lowerbound.models.block_likelihood import block_numbers, start_from_block
from lowerbound.nets.softplus import positive
from lowerbound.posteriors.mixture_normal import MixtureNormalDistribution

__all__ = ["BlockPosterior", "Experts", "product_of_experts"]

Experts: TypeAlias = Literal["product", "mixture", "mixture-of-products"]

_MOST_OF_PRODUCTS = 6


def product_of_experts(
    loc: Float[Tensor, "... block latent"],
    scale: Float[Tensor, "... block latent"],
    present: Bool[Tensor, "... block"],
) -> tuple[Float[Tensor, "... latent"], Float[Tensor, "... latent"]]:
    """Mean and standard deviation of the product of N(0, I) and the experts of the blocks that are present; leading
    axes broadcast.

    >>> loc, scale = torch.tensor([[2.0], [8.0]]), torch.ones(2, 1)
    >>> product_of_experts(loc, scale, torch.tensor([True, False]))
    (tensor([1.]), tensor([0.7071]))
    """
    precision = torch.where(present.unsqueeze(-1), scale.square().reciprocal(), 0.0)
    total = 1 + precision.sum(-2)
    return (precision * loc).sum(-2) / total, total.rsqrt()


class BlockPosterior(nn.Module):
    """A product, a mixture, or a mixture of products of Gaussian experts.

    Arguments:
        encoders: from x_m (..., d_m) to (..., 2, latent_dim), mean and raw scale of the expert of each block, by name.
        columns: the numbers of the columns of each block.
        experts: how they are put together.
        latent_dim: length of z, if it is to be stated.
        min_scale: the floor of every σ_m.

    Returns (when called with x (..., D), NaN where an entry is missing):
        A factorised Gaussian, or a mixture of them, over z (..., latent_dim).

    Raises:
        ValueError: a mixture of products of more than 6 blocks, which would have more than 63 components.
    """

    members: Tensor  # (component, block): which blocks each component is of
    block_of_column: Tensor  # (column,)

    def __init__(
        self,
        encoders: Mapping[str, nn.Module],
        columns: Mapping[str, Sequence[int]],
        experts: Experts = "mixture-of-products",
        latent_dim: int | None = None,
        min_scale: float = 1e-4,
    ):
        super().__init__()
        if experts == "mixture-of-products" and len(columns) > _MOST_OF_PRODUCTS:
            raise ValueError(
                f"A mixture of products got {len(columns)} blocks and has {2 ** len(columns) - 1} components; take "
                f"experts='product' or 'mixture' above {_MOST_OF_PRODUCTS} blocks."
            )
        self.event_shape = None if latent_dim is None else (latent_dim,)
        self.names, self.experts, self.min_scale = tuple(columns), experts, min_scale
        self.encoders = nn.ModuleList(encoders[name] for name in self.names)
        self.columns = [list(columns[name]) for name in self.names]
        self.register_buffer("block_of_column", block_numbers(columns), persistent=False)
        self.register_buffer("members", _members(experts, len(columns)), persistent=False)

    def forward(self, x: Float[Tensor, "*batch column"]) -> Distribution:
        """q(z | x_A)."""
        loc, scale, present = self.of_blocks(x)
        if self.experts == "product":
            mean, deviation = product_of_experts(loc, scale, present)
            return Independent(Normal(mean, deviation, validate_args=False), 1, validate_args=False)
        usable = (present.unsqueeze(-2) | ~self.members).all(-1)
        if self.experts == "mixture-of-products":
            loc, scale = product_of_experts(loc.unsqueeze(-3), scale.unsqueeze(-3), self.members)
        loc = torch.where(usable.unsqueeze(-1), loc, 0.0)
        scale = torch.where(usable.unsqueeze(-1), scale, 1.0)
        logits = torch.where(usable | ~usable.any(-1, keepdim=True), 0.0, -torch.inf).to(loc)
        return MixtureNormalDistribution(logits, loc, scale)

    def of_blocks(self, x: Float[Tensor, "*batch column"]) -> tuple[Tensor, Tensor, Tensor]:
        """μ_m and σ_m (..., block, latent), and which blocks are present (..., block)."""
        parts = [x[..., columns] for columns in self.columns]
        present = torch.stack([~part.isnan().all(-1) for part in parts], -1)
        outputs = torch.stack([encoder(part) for encoder, part in zip(self.encoders, parts, strict=True)], -3)
        loc, raw = outputs.unbind(-2)
        return loc, positive(raw, self.min_scale), present

    def initialize(self, x: Float[Tensor, "row column"]) -> None:
        """Show every encoder the rows that have its block."""
        for encoder, columns in zip(self.encoders, self.columns, strict=True):
            start_from_block(encoder, x[:, columns])


def _members(experts: Experts, num_blocks: int) -> Tensor:
    """Which blocks (component, block) each component is made of."""
    if experts == "mixture":
        return torch.eye(num_blocks, dtype=torch.bool)
    if experts == "product":
        return torch.ones(1, num_blocks, dtype=torch.bool)
    subsets = [subset for subset in product([False, True], repeat=num_blocks) if any(subset)]
    return cast(Tensor, torch.tensor(subsets))
