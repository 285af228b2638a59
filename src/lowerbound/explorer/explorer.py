"""What a page asks of a fitted model and some of its rows.

Every number is that of `Fitted`: codes are those of `Fitted.encode`, and a point z is shown as `Fitted.interpolate`
shows it: E[x | z], or what is shown in its place (`shown`). A model that is given a class or covariates decodes under
those of a row that the page names.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cached_property, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from lowerbound.data import DataError, Rows
from lowerbound.distributions.autoregressive import AutoregressiveDistribution
from lowerbound.evaluate.rate_distortion import ACTIVE_ABOVE
from lowerbound.explorer.colours import Colour, colours_of
from lowerbound.explorer.own import form_of, own_row
from lowerbound.explorer.planes import Directions, LatentPlane, latent_plane
from lowerbound.explorer.space import space_of
from lowerbound.explorer.terms import terms_of
from lowerbound.explorer.views import View, views_of
from lowerbound.fitted import Fitted
from lowerbound.randomness import derive_seed, forked
from lowerbound.shown import shown, shown_as
from lowerbound.verbs.interpolating import Way, between

if TYPE_CHECKING:
    from lowerbound.diagnosis import Diagnosis
    from lowerbound.explorer.server import ExplorerServer

__all__ = ["MOST_ROWS", "NUM_ROWS", "Explorer", "explore"]

NUM_ROWS, MOST_ROWS = 10_000, 100_000
"""Rows on the map if nothing is said, and at most."""
MOST_LATENTS_AT_ONCE, NUM_NEIGHBOURS = 64, 8
QUICK_SECONDS = 0.03
"""Of passes under a moving cursor, so that an answer takes less than 50 ms."""

_CPU = torch.device("cpu")
_EXPLORE = 10  # a stream of random numbers beside those of `fitted`, `imputing`, `writing` and `interpolating`
_PLANES = 64


def explore(
    fitted: Fitted,
    data: Any = None,
    *,
    num_rows: int = NUM_ROWS,
    seed: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Explorer:
    """Encode rows for a map. See `Fitted.explore`.

    Raises:
        ValueError: a model without latents, or another number of rows.
    """
    if not 2 <= num_rows <= MOST_ROWS:
        raise ValueError(f"explore got num_rows={num_rows} and takes 2 to {MOST_ROWS:,}.")
    rows = fitted.test_rows() if data is None else fitted.rows(data)
    if len(rows.x) < 2:
        raise ValueError(f"explore got {len(rows.x)} rows of {rows.name} and needs at least 2 for a map.")
    first = fitted.seed if seed is None else seed
    return Explorer(fitted, _some(rows, num_rows, first), len(rows.x), seed=first, progress=progress)


class Explorer:
    """A fitted model, and rows on a map of its latents.

    Arguments:
        fitted: the model.
        rows: at least two.
        num_all: how many rows there are, of which these are some.
        seed: of all draws.
        progress: called with the rows weighed and their number.

    Attributes:
        mean: of q(z | x) of each row (N, latent), as `Fitted.encode` gives it.
        scale: its standard deviation (N, latent).
        space: what the latents are.
        terms: log w and the rate of each row, and one draw.
        colours: by which rows can be coloured.
    """

    def __init__(
        self,
        fitted: Fitted,
        rows: Rows,
        num_all: int,
        *,
        seed: int,
        progress: Callable[[int, int], None] | None = None,
    ):
        self.fitted, self.rows, self.num_all, self.seed = fitted, rows, num_all, seed
        encoded = fitted.encode(rows, seed=seed)
        self.mean, self.scale = encoded.mean.astype(np.float32), encoded.scale.astype(np.float32)
        first = next(fitted.blocks(self._part([0]), seed))
        with forked(_CPU, seed, "explore"):
            self.space = space_of(fitted, first[0], first[1], self.mean.shape[1])
        self.terms = terms_of(fitted, rows, seed, progress)
        self.colours: tuple[Colour, ...] = colours_of(fitted, rows, encoded.assigned, self.terms)
        self.diagnosis: Diagnosis | None = None
        self.plane = lru_cache(maxsize=_PLANES)(self._plane)

    @property
    def activity(self) -> Float[np.ndarray, "latent"]:
        """Var_x E_q[z_d | x]; latents where it is not above 0.01 are silent (`evaluate.summary`)."""
        return self.mean.astype(np.float64).var(0, ddof=1)

    @property
    def silent(self) -> np.ndarray:
        """Which latents say nothing about a row."""
        return ~(self.activity > ACTIVE_ABOVE)

    @cached_property
    def principal(self) -> tuple[Directions, tuple[float, float]] | None:
        """The plane of the first two principal components of the means, and the share of the variance of each; None for
        one or two latents.
        """
        if self.mean.shape[1] < 3 or len(self.mean) < 3:
            return None
        from sklearn.decomposition import PCA

        pca = PCA(n_components=2, svd_solver="full").fit(self.mean.astype(np.float64))
        one, other = pca.explained_variance_ratio_.tolist()
        return Directions(origin=np.asarray(pca.mean_), basis=np.asarray(pca.components_)), (one, other)

    def directions(self, axes: tuple[int, int] | None) -> Directions:
        """The plane of two latents, or of the principal components if None.

        Raises:
            ValueError: no such latents, or no principal components.
        """
        if axes is None:
            if self.principal is None:
                raise ValueError("There are no principal components of one or two latents; name two of these.")
            return self.principal[0]
        size = self.mean.shape[1]
        one, other = axes
        if not (0 <= one < size and 0 <= other < size) or (one == other and size > 1):
            raise ValueError(
                f"A plane got the latents {one} and {other}; take two different ones from 0 to {size - 1}."
            )
        basis = np.zeros((2, size))
        basis[0, one] = 1.0
        basis[1, other] = 1.0 if one != other else 0.0
        return Directions(origin=np.zeros(size), basis=basis)

    def _plane(self, axes: tuple[int, int] | None) -> LatentPlane:
        """Contours of the prior and holes in a plane (`planes.latent_plane`); each is computed once."""
        means = self.mean.astype(np.float64)
        return latent_plane(self.space, self.directions(axes), means, self.terms.draws, self.seed)

    @torch.no_grad()
    def decode(self, latents: Any, row: int = 0, *, is_quick: bool = False) -> list[View]:
        """What the model shows at latents; views of images have the `words` of what that is (`shown.shown_as`).

        Arguments:
            latents: (N, latent), finite.
            row: whose class or covariates the model is given, if it is given some.
            is_quick: of pixels that are drawn one after another, show what `QUICK_SECONDS` of passes over all of them
                give (`AutoregressiveDistribution.means_in_passes`). Where that is no draw, the views have `isDrawn`
                false.

        Raises:
            ValueError: latents that cannot be decoded, too many, or of another length.
        """
        if self.space.shape is None:
            raise ValueError(self.space.limits)
        z = self._latents(latents)
        _, context, _ = next(self.fitted.blocks(self._part([row]), self.seed))
        given = None if context is None else context.expand(len(z), *context.shape[1:])
        is_image = self.fitted.schema.kind == "image"
        with forked(_CPU, derive_seed(self.seed, _EXPLORE)):
            p = self.fitted.model.decode(z.unflatten(1, self.space.shape), given)
            if is_quick and is_image and isinstance(p, AutoregressiveDistribution):
                (found, is_drawn), is_mean = p.means_in_passes(QUICK_SECONDS), False
            else:
                (found, is_mean), is_drawn = shown(p), True
        views = views_of(self.fitted.stored(self.fitted.finite(found)), self.fitted.schema)
        words = {"words": shown_as(is_mean), "isDrawn": is_drawn} if is_image else {}
        return [view | words for view in views]

    def walk(
        self, a: Sequence[float], b: Sequence[float], way: Way = "line", num_steps: int = 9, row: int = 0
    ) -> tuple[Float[np.ndarray, "step latent"], list[View]]:
        """Latents between two (`interpolating.between`), and what the model shows at each.

        Raises:
            ValueError: as `decode`, fewer than two steps, or another way.
        """
        if way not in ("line", "circle") or not 2 <= num_steps <= MOST_LATENTS_AT_ONCE:
            raise ValueError(f"walk got way={way!r} and {num_steps} steps; choose line or circle, and 2 steps or more.")
        first, last = self._latents([a, b])
        z = between(first, last, num_steps, way).numpy()
        return z, self.decode(z, row)

    def originals(self, rows: Sequence[int]) -> list[View]:
        """Rows as they are in the data."""
        return views_of(np.asarray(self._part(rows).x), self.fitted.schema)

    def reconstructions(self, rows: Sequence[int]) -> list[View]:
        """What the model shows at the mean of q(z | x) of rows; at a draw of it where means cannot be decoded."""
        if self.space.shape is None:
            part = self._part(rows)
            parts = []
            for x, context, part_seed in self.fitted.blocks(part, self.seed):
                with forked(_CPU, part_seed, "explore rows"):
                    parts.append(self.fitted.model.reconstruct(x, context))
            return views_of(self.fitted.stored(self.fitted.finite(torch.cat(parts))), self.fitted.schema)
        if not self.needs_context:
            blocks = [list(rows[i : i + MOST_LATENTS_AT_ONCE]) for i in range(0, len(rows), MOST_LATENTS_AT_ONCE)]
            return [view for block in blocks for view in self.decode(self.mean[block])]
        return [view for i in rows for view in self.decode(self.mean[[i]], i)]

    @property
    def needs_context(self) -> bool:
        """Whether the model is given a class or covariates."""
        return self.fitted.is_conditional or bool(self.fitted.schema.covariates)

    def neighbours(self, row: int, count: int = NUM_NEIGHBOURS) -> list[int]:
        """The rows whose means of q(z | x) are nearest to that of a row, the nearest first, without itself."""
        squares = np.square(self.mean - self.mean[row]).sum(1)
        squares[row] = np.inf
        count = min(count, len(squares) - 1)
        nearest = np.argpartition(squares, count - 1)[:count]
        return nearest[np.argsort(squares[nearest], kind="stable")].tolist()

    def draws_of(self, row: int, count: int = 200) -> Float[np.ndarray, "draw latent"] | None:
        """Draws of q(z | x) of a row, which show its shape; None where its deviations do, or z cannot be decoded."""
        if self.space.is_product or self.space.shape is None:
            return None
        from lowerbound.weights import latents_of

        x, context, part_seed = next(self.fitted.blocks(self._part([row]), self.seed))
        with torch.no_grad(), forked(_CPU, part_seed, "explore draws"):
            q = self.fitted.model.infer(x, context)
            z = latents_of(q, q.sample(torch.Size((count,))))
        assert isinstance(z, torch.Tensor)
        return z.flatten(1).numpy()

    def encode(self, given: Any, row: int = 0) -> dict[str, Any]:
        """Encode a row that a user made (`own.own_row`).

        Arguments:
            given: a text, values by column, or numbers.
            row: whose class or covariates it has, if the model is given some.

        Returns:
            `mean` and `scale` of q(z | x) (latent,), `log_w` and `rate` (nats, None without a density), and the views
            `own` and `reconstruction`.

        Raises:
            DataError: it is no row of these data.
        """
        like = self._part([row])
        rows = own_row(self.fitted, given, like.y, like.covariates)
        if len(rows.x) != 1:
            raise DataError(f"the row was read as {len(rows.x)} rows; give one.")
        other = Explorer(self.fitted, rows, 1, seed=self.seed)
        log_w, rate = other.terms.log_w, other.terms.rate
        return {
            "mean": other.mean[0],
            "scale": other.scale[0],
            "log_w": None if log_w is None else float(log_w[0]),
            "rate": None if rate is None else float(rate[0]),
            "own": other.originals([0])[0],
            "reconstruction": other.reconstructions([0])[0],
        }

    def diagnose(self, progress: Callable[[int, int], None] | None = None) -> Diagnosis:
        """The findings of `Fitted.diagnose`, computed once.

        Raises:
            ValueError: a model that is not examined.
        """
        if self.diagnosis is None:
            self.diagnosis = self.fitted.diagnose(seed=self.seed, progress=progress)
        return self.diagnosis

    @property
    def form(self) -> dict[str, Any]:
        """How a row is asked for (`own.form_of`)."""
        return form_of(self.fitted.schema)

    def write(
        self, path: str | Path, *, force: bool = False, progress: Callable[[int, int], None] | None = None
    ) -> Path:
        """Write the page with all that it shows into one file, which needs no server; with the findings of `diagnose`
        if that was called before.

        Arguments:
            path: of the .html file.
            force: whether a file that is there is overwritten.
            progress: called with the parts done and their number.

        Raises:
            ValueError: a file that is there, or a disk that refuses.
        """
        from lowerbound.explorer.saved import write_page

        return write_page(self, Path(path), force=force, progress=progress)

    def serve(self, port: int = 0) -> ExplorerServer:
        """Show the page at an address of this machine, in a thread of its own, until `ExplorerServer.stop`.

        Arguments:
            port: 0 takes a free one.

        Raises:
            ValueError: a port that is taken.
        """
        from lowerbound.explorer.server import ExplorerServer

        return ExplorerServer(self, port)

    def _latents(self, given: Any) -> Tensor:
        """Rows of finite numbers, as many as the latents of a row.

        Raises:
            ValueError: something else, or too many.
        """
        size, lengths = self.space.size, sorted({len(one) for one in given})
        if lengths != [size] or len(given) > MOST_LATENTS_AT_ONCE:
            raise ValueError(
                f"Got {len(given)} latents of {' and '.join(map(str, lengths)) or 'no'} numbers; expected 1 to "
                f"{MOST_LATENTS_AT_ONCE} of {size}."
            )
        z = torch.from_numpy(np.stack([np.asarray(one, dtype=np.float64) for one in given])).float()
        if not bool(z.isfinite().all()):
            raise ValueError("Got latents that are not finite; give finite numbers.")
        return z

    def _part(self, rows: Sequence[int]) -> Rows:
        """Some of the rows.

        Raises:
            ValueError: there is no such row.
        """
        strange = [i for i in rows if not 0 <= i < len(self.rows.x)]
        if strange:
            raise ValueError(f"There is no row {strange[0]}; the map has {len(self.rows.x):,}.")
        return part_of(self.rows, np.asarray(rows, dtype=np.int64))


def part_of(rows: Rows, chosen: np.ndarray) -> Rows:
    """Some rows (numbers in ascending order where it is all of them), which keep their numbers in the data."""
    names, y, covariates = rows.row_names, rows.y, rows.covariates
    return replace(
        rows,
        x=rows.x if len(chosen) == len(rows.x) else np.ascontiguousarray(rows.x[chosen]),
        y=None if y is None else y[chosen],
        num_test=0,
        numbers=chosen if rows.numbers is None else rows.numbers[chosen],
        covariates=None if covariates is None else covariates[chosen],
        row_names=None if names is None else tuple(names[i] for i in chosen.tolist()),
    )


def _some(rows: Rows, num_rows: int, seed: int) -> Rows:
    """At most so many rows, chosen at random, in their order."""
    if len(rows.x) <= num_rows:
        return part_of(rows, np.arange(len(rows.x)))
    chosen = np.random.default_rng(derive_seed(seed, "explore rows")).choice(len(rows.x), num_rows, replace=False)
    return part_of(rows, np.sort(chosen))
