"""Sylvester flows: f(z) = z + Q R tanh(R̃ Qᵀz + b) (van den Berg et al. 2018, arXiv:1803.05649, §3).

Q (D, M) has orthonormal columns, R and R̃ (M, M) are upper triangular. By Sylvester's identity

    log |det ∂f/∂z| = Σ_m log(1 + R_mm R̃_mm sech²(A_m)),      A = R̃ Qᵀz + b

and f is invertible if R_mm R̃_mm > −1, which holds because both diagonals are (1 − δ) tanh of what the net gives.
How the net gives Q:

==============  ==============================================================================================
"orthogonal"    from a (D, M) matrix, by QR; M ≤ D is free. The paper iterates to an orthonormal matrix instead;
                QR is exact for every input, and so is the log-determinant
"householder"   a product of reflections I − 2 v vᵀ / ‖v‖²; M = D
"triangular"    not at all: Q alternates between the identity and the reversal of the coordinates; M = D
==============  ==============================================================================================

Inverse. s = Qᵀz solves s + R tanh(R̃ s + b) = Qᵀy. Both matrices are upper triangular, so this is solved from the last
coordinate to the first, by a scalar equation A + c tanh(A) = t with c = R_mm R̃_mm > −1 for each. Then z = y − Q R
tanh(A).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal, TypeAlias

import torch
from torch import Tensor, nn

from lowerbound.limits import MOST_LAYERS, require_at_most
from lowerbound.nets.parameters import parameters_of
from lowerbound.nets.shapes import Shape
from lowerbound.nets.softplus import positive
from lowerbound.posteriors.monotone import attach_root, sech_squared, solve_scalar
from lowerbound.posteriors.parameters import latent_dim_of, require_at_least, split
from lowerbound.posteriors.transformed_normal import TransformedNormal
from lowerbound.protocols import Context

__all__ = ["Basis", "Sylvester", "SylvesterLayer"]

Basis: TypeAlias = Literal["orthogonal", "householder", "triangular"]
_BASES = ("orthogonal", "householder", "triangular")
_SHRINK = 1 - 1e-3
_TINY = 1e-12


class Sylvester(nn.Module):
    """A Gaussian pushed through Sylvester flows; all parameters are computed by a net.

    Arguments:
        net: from a context (..., *event) to (..., P), P as `parameter_shape` says: the mean and scale (before
            `positive`) of z_0, then for each layer the parameters of Q, both triangles in one matrix, the diagonal of
            R̃, and b.
        basis: "orthogonal", "householder" or "triangular".
        layers: the number of flow steps.
        columns: M of the orthogonal basis, at most latent_dim.
        reflections: the number of reflections of the Householder basis.
        latent_shape: length of z; read from `net.out_shape` if the net states it.
        min_scale: the floor ε of the scale of z_0.

    Returns (when called with a context of B rows):
        A reparameterised distribution with batch shape (B,) and event shape (latent_dim,). Sampling takes one pass,
        `log_prob` of its own draw one more, and `log_prob` of any other z a search for each coordinate.

    Raises:
        ValueError: an unknown basis, a number below 1, or the output shape of the net fits no latent_dim.
    """

    cites: ClassVar[tuple[str, ...]] = ("vandenberg2018sylvester",)

    def __init__(
        self,
        net: nn.Module,
        basis: Basis = "orthogonal",
        layers: int = 4,
        columns: int = 8,
        reflections: int = 8,
        latent_shape: Shape | None = None,
        min_scale: float = 1e-4,
    ):
        super().__init__()
        _check(basis, layers, columns, reflections)
        self.net, self.layers, self.min_scale = net, layers, min_scale
        self.basis: Basis = basis
        self.columns, self.reflections = columns, reflections
        self.latent_dim = latent_dim_of(
            net,
            latent_shape,
            lambda d: self.parameter_shape(d, basis, layers, columns, reflections),
            owner="Sylvester",
        )
        self.event_shape = (self.latent_dim,)

    @staticmethod
    def parameter_shape(
        latent_dim: int,
        basis: Basis = "orthogonal",
        layers: int = 4,
        columns: int = 8,
        reflections: int = 8,
    ) -> tuple[int, ...]:
        """What its net must output per datum."""
        m = _width(latent_dim, basis, columns)
        of_q = _basis_shape(latent_dim, basis, m, reflections)
        return (2 * latent_dim + layers * (of_q[0] * of_q[1] + m * (m + 2)),)

    def forward(self, context: Context) -> TransformedNormal:
        """q(z | context)."""
        d, m = self.latent_dim, _width(self.latent_dim, self.basis, self.columns)
        of_q = _basis_shape(d, self.basis, m, self.reflections)
        loc, raw, *rest = split(
            parameters_of(self.net, context), [(d,), (d,), *[of_q, (m, m), (m,), (m,)] * self.layers]
        )
        layers = [
            SylvesterLayer.constrained(self._orthonormal(rest[4 * k], d, k), *rest[4 * k + 1 : 4 * k + 4])
            for k in range(self.layers)
        ]
        return TransformedNormal(loc, positive(raw, self.min_scale), layers)

    def _orthonormal(self, raw: Tensor, d: int, layer: int) -> Tensor:
        if self.basis == "householder":
            return _product_of_reflections(raw)
        eye = torch.eye(d, dtype=raw.dtype, device=raw.device)
        if self.basis == "triangular":
            return eye if layer % 2 == 0 else eye.flip(-1)
        return torch.linalg.qr(raw + eye[:, : raw.shape[-1]])[0]


@dataclass(frozen=True)
class SylvesterLayer:
    """One step. See `transformed_normal.Layer`.

    Attributes:
        q: Q (..., D, M), orthonormal columns.
        r: R (..., M, M), upper triangular.
        r_tilde: R̃ (..., M, M), upper triangular, R_mm R̃_mm > −1.
        b: (..., M).
    """

    q: Tensor
    r: Tensor
    r_tilde: Tensor
    b: Tensor

    @classmethod
    def constrained(cls, q: Tensor, both: Tensor, diagonal: Tensor, b: Tensor) -> SylvesterLayer:
        """Make the step whose triangles are the upper and the (transposed) lower triangle of any matrix (..., M, M)."""
        of_r = _SHRINK * both.diagonal(dim1=-2, dim2=-1).tanh()
        r = both.triu(1) + torch.diag_embed(of_r)
        r_tilde = both.tril(-1).mT + torch.diag_embed(_SHRINK * diagonal.tanh())
        return cls(q, r, r_tilde, b)

    def forward(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """Map z to y; the root is s = Qᵀz."""
        s = torch.einsum("...dm,...d->...m", self.q, z)
        return z + _times(self.q, _times(self.r, self._argument(s).tanh())), s

    def inverse(self, y: Tensor, root: Tensor | None) -> tuple[Tensor, Tensor]:
        """Map y to z, with the log-determinant (...), nats."""
        t = torch.einsum("...dm,...d->...m", self.q, y)
        root = self._search(t) if root is None else root
        a = self._argument(attach_root(root, lambda s: self._residual(s, t), self._solve))
        z = y - _times(self.q, _times(self.r, a.tanh()))
        return z, torch.log1p(self._slopes() * sech_squared(a)).sum(-1)

    def _argument(self, s: Tensor) -> Tensor:
        return _times(self.r_tilde, s) + self.b

    def _residual(self, s: Tensor, t: Tensor) -> Tensor:
        return s + _times(self.r, self._argument(s).tanh()) - t

    def _slopes(self) -> Tensor:
        return self.r.diagonal(dim1=-2, dim2=-1) * self.r_tilde.diagonal(dim1=-2, dim2=-1)

    def _solve(self, s: Tensor, residual: Tensor) -> Tensor:
        """(I + R diag(sech² A) R̃)⁻¹ residual, an upper triangular system."""
        slope = sech_squared(self._argument(s)).unsqueeze(-2)
        eye = torch.eye(s.shape[-1], dtype=s.dtype, device=s.device)
        jacobian = eye + (self.r * slope) @ self.r_tilde
        return torch.linalg.solve_triangular(jacobian, residual.unsqueeze(-1), upper=True).squeeze(-1)

    def _search(self, t: Tensor) -> Tensor:
        """s from the last coordinate up, without a gradient."""
        with torch.no_grad():
            s, h, c = torch.zeros_like(t), torch.zeros_like(t), self._slopes()
            for m in reversed(range(t.shape[-1])):
                rest = t[..., m] - (self.r[..., m, :] * h).sum(-1)
                offset = (self.r_tilde[..., m, :] * s).sum(-1) + self.b[..., m]
                a = solve_scalar(self.r_tilde[..., m, m] * rest + offset, c[..., m])
                h[..., m] = a.tanh()
                s[..., m] = rest - self.r[..., m, m] * h[..., m]
            return s


def _times(matrix: Tensor, vector: Tensor) -> Tensor:
    return torch.einsum("...ij,...j->...i", matrix, vector)


def _product_of_reflections(raw: Tensor) -> Tensor:
    """H_1 H_2 … from vectors (..., reflections, D): (..., D, D)."""
    unit = raw / torch.linalg.vector_norm(raw, dim=-1, keepdim=True).clamp_min(_TINY)
    q = torch.eye(raw.shape[-1], dtype=raw.dtype, device=raw.device)
    for v in unit.unbind(-2):
        q = q - 2 * _times(q, v).unsqueeze(-1) * v.unsqueeze(-2)
    return q


def _width(latent_dim: int, basis: Basis, columns: int) -> int:
    return min(columns, latent_dim) if basis == "orthogonal" else latent_dim


def _basis_shape(latent_dim: int, basis: Basis, width: int, reflections: int) -> tuple[int, int]:
    if basis == "triangular":
        return (0, latent_dim)
    return (latent_dim, width) if basis == "orthogonal" else (reflections, latent_dim)


def _check(basis: str, layers: int, columns: int, reflections: int) -> None:
    if basis not in _BASES:
        raise ValueError(f"Sylvester got basis={basis!r} and expected one of {', '.join(_BASES)}.")
    require_at_least(1, owner="Sylvester", layers=layers, columns=columns, reflections=reflections)
    require_at_most("Sylvester", MOST_LAYERS, layers=layers, reflections=reflections)
