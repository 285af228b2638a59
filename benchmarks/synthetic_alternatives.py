"""What draws synthetic tables otherwise: a Gaussian copula, and models in the manner of TVAE and CTGAN, in plain code.

`TVAE` and `CTGAN` are those of Xu et al. 2019 (arXiv:1907.00503) in short: numbers by the mode of a Gaussian mixture
and their place in it, categories as one-hot vectors, two hidden layers of 128. The VAE has 64 latents and a
reconstruction that counts twice; the GAN has a Wasserstein loss with a gradient penalty, Gumbel softmax and one row a
pack, and leaves out the sampling by conditions.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import torch
from scipy.stats import norm
from sklearn.mixture import BayesianGaussianMixture
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, gumbel_softmax

__all__ = ["ALTERNATIVES"]

_MODES, _WIDTH, _LATENTS, _BATCH, _SPREAD = 10, 128, 64, 100, 4.0


def copula(table: pd.DataFrame, count: int, seed: int, epochs: int) -> pd.DataFrame:
    """Ranks (of categories: their cumulative shares) as normal scores with one correlation matrix."""
    del epochs
    g = np.random.default_rng(seed)
    scores = []
    for name in table.columns:
        column = table[name]
        codes = column.to_numpy(float) if _is_number(column) else pd.factorize(column, sort=True)[0].astype(float)
        ranks = pd.Series(codes + 1e-9 * g.random(len(codes)) * (np.ptp(codes) + 1)).rank().to_numpy()
        scores.append(norm.ppf((ranks - 0.5) / len(codes)))
    drawn = norm.cdf(g.multivariate_normal(np.zeros(len(scores)), np.corrcoef(scores), size=count))
    found = {}
    for i, name in enumerate(table.columns):
        column = table[name]
        if _is_number(column):
            values = np.quantile(column.to_numpy(float), drawn[:, i], method="inverted_cdf")
            found[name] = values.astype(column.dtype)
        else:
            found[name] = np.sort(column.to_numpy())[(drawn[:, i] * len(column)).astype(int).clip(0, len(column) - 1)]
    return pd.DataFrame(found)


class _Coded:
    """Rows as numbers: for each number its place in a mode and the mode, for each category a one-hot vector."""

    def __init__(self, table: pd.DataFrame, seed: int):
        self.table, self.mixtures = table, {}
        self.sizes: list[tuple[str, int]] = []
        for name in table.columns:
            if _is_number(table[name]):
                x = table[name].to_numpy(float)[:, None]
                mixture: Any = BayesianGaussianMixture(
                    n_components=_MODES, weight_concentration_prior=1e-3, random_state=seed
                )
                self.mixtures[name] = mixture.fit(x)
                self.sizes += [("place", 1), ("choice", _MODES)]
            else:
                self.sizes.append(("choice", table[name].nunique()))

    def rows(self, g: np.random.Generator) -> Tensor:
        parts = []
        for name in self.table.columns:
            column = self.table[name]
            if name in self.mixtures:
                x, mixture = column.to_numpy(float)[:, None], self.mixtures[name]
                p = mixture.predict_proba(x)
                mode = (p.cumsum(1) < g.random((len(x), 1))).sum(1).clip(0, _MODES - 1)
                deviation = np.sqrt(mixture.covariances_.ravel())
                place = (x[:, 0] - mixture.means_.ravel()[mode]) / (_SPREAD * deviation[mode])
                parts += [place.clip(-0.99, 0.99)[:, None], np.eye(_MODES)[mode]]
            else:
                parts.append(np.eye(column.nunique())[pd.factorize(column, sort=True)[0]])
        return torch.tensor(np.concatenate(parts, 1), dtype=torch.float32)

    def table_of(self, drawn: list[Tensor]) -> pd.DataFrame:
        """The columns of the blocks of `sizes`, choices as numbers."""
        found, blocks = {}, iter(drawn)
        for name in self.table.columns:
            column = self.table[name]
            if name in self.mixtures:
                place, mode, mixture = next(blocks)[:, 0].numpy(), next(blocks).numpy(), self.mixtures[name]
                deviation = np.sqrt(mixture.covariances_.ravel())
                x = mixture.means_.ravel()[mode] + _SPREAD * deviation[mode] * place
                x = x.clip(column.min(), column.max())
                found[name] = x.round().astype(column.dtype) if column.dtype.kind in "iu" else x
            else:
                found[name] = np.sort(column.unique())[next(blocks).numpy()]
        return pd.DataFrame(found)

    def blocks(self, x: Tensor) -> list[tuple[str, Tensor]]:
        parts = x.split([size for _, size in self.sizes], -1)
        return [(kind, part) for (kind, _), part in zip(self.sizes, parts, strict=True)]


def tvae(table: pd.DataFrame, count: int, seed: int, epochs: int) -> pd.DataFrame:
    """A VAE of coded rows."""
    torch.manual_seed(seed)
    coded = _Coded(table, seed)
    x = coded.rows(np.random.default_rng(seed))
    encoder, decoder = _net(x.shape[1], 2 * _LATENTS), _net(_LATENTS, x.shape[1])
    log_scale = nn.Parameter(torch.full((len(coded.sizes),), -2.0))
    optimizer = torch.optim.Adam([*encoder.parameters(), *decoder.parameters(), log_scale], lr=1e-3, weight_decay=1e-5)
    for _ in range(epochs):
        for rows in torch.randperm(len(x)).split(_BATCH):
            m, log_s = encoder(x[rows]).chunk(2, -1)
            y = decoder(m + log_s.exp() * torch.randn_like(m))
            rate = 0.5 * (m**2 + (2 * log_s).exp() - 1 - 2 * log_s).sum()
            loss = torch.zeros(())
            for i, ((kind, part), (_, made)) in enumerate(zip(coded.blocks(x[rows]), coded.blocks(y), strict=True)):
                if kind == "place":
                    loss = loss + ((part - made.tanh()) ** 2 / (2 * (2 * log_scale[i]).exp()) + log_scale[i]).sum()
                else:
                    loss = loss + cross_entropy(made, part.argmax(-1), reduction="sum")
            optimizer.zero_grad()
            ((2 * loss + rate) / len(rows)).backward()
            optimizer.step()
    with torch.no_grad():
        drawn = []
        for i, (kind, part) in enumerate(coded.blocks(decoder(torch.randn(count, _LATENTS)))):
            noisy = part.tanh() + log_scale[i].exp() * torch.randn_like(part)
            drawn.append(noisy.clamp(-1, 1) if kind == "place" else part.argmax(-1))
    return coded.table_of(drawn)


def ctgan(table: pd.DataFrame, count: int, seed: int, epochs: int) -> pd.DataFrame:
    """A Wasserstein GAN of coded rows."""
    torch.manual_seed(seed)
    coded = _Coded(table, seed)
    x = coded.rows(np.random.default_rng(seed))
    generator, critic = _net(_LATENTS, x.shape[1]), _net(x.shape[1], 1)
    optimizers = [torch.optim.Adam(net.parameters(), lr=2e-4, betas=(0.5, 0.9)) for net in (critic, generator)]

    def drawn(size: int) -> Tensor:
        parts = coded.blocks(generator(torch.randn(size, _LATENTS)))
        return torch.cat([y.tanh() if kind == "place" else gumbel_softmax(y, 0.2) for kind, y in parts], -1)

    for _ in range(epochs):
        for rows in torch.randperm(len(x)).split(_BATCH):
            real, made = x[rows], drawn(len(rows)).detach()
            between = (real + torch.rand(len(rows), 1) * (made - real)).requires_grad_()
            (slope,) = torch.autograd.grad(critic(between).sum(), between, create_graph=True)
            penalty = 10 * ((slope.norm(dim=1) - 1) ** 2).mean()
            _step(optimizers[0], critic(made).mean() - critic(real).mean() + penalty)
            _step(optimizers[1], -critic(drawn(len(rows))).mean())
    with torch.no_grad():
        parts = coded.blocks(drawn(count))
    return coded.table_of([part if kind == "place" else part.argmax(-1) for kind, part in parts])


def _step(optimizer: torch.optim.Optimizer, loss: Tensor) -> None:
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()


def _net(fan_in: int, fan_out: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(fan_in, _WIDTH), nn.ReLU(), nn.Linear(_WIDTH, _WIDTH), nn.ReLU(), nn.Linear(_WIDTH, fan_out)
    )


def _is_number(column: pd.Series) -> bool:
    return column.dtype.kind in "iuf"


ALTERNATIVES: dict[str, Callable[[pd.DataFrame, int, int, int], pd.DataFrame]] = {
    "Gaussian copula": copula,
    "TVAE-like": tvae,
    "CTGAN-like": ctgan,
}
