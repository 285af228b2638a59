"""A fitted model as an object: the model, what its data mean, and the plan it was fitted by.

Everything that people ask of a fitted model is a method of `Fitted`. Rows go in as a DataFrame, an array, a file or a
data set; columns and classes are matched by name; densities are in the units of the user's columns. The estimators hold
a `Fitted`, a run folder is a saved one, the command calls one, and a `LatentVariableModel` that was built by hand
becomes one:

    fitted = lb.Fitted(model, data=X)
    fitted.score(X), fitted.sample(10), fitted.report("report.html")
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from lowerbound.data import DataError, Dataset, Identity, Rows
from lowerbound.data.classes import check_classes, one_hot
from lowerbound.data.covariates import encode_covariates
from lowerbound.data.given import dataset_of, rows_under
from lowerbound.data.kinds import kind_named
from lowerbound.data.schema import Schema
from lowerbound.data.series_of_rows import frame_like
from lowerbound.data.transform import Standardize, Transform
from lowerbound.fitting.fit_in_words import html_of_fit, lines_of_fit
from lowerbound.hooks import HasTopics
from lowerbound.inference import InferenceScheme
from lowerbound.losses.rows_apart import rows_kept_apart
from lowerbound.model import LatentVariableModel
from lowerbound.models.recipe import Recipe
from lowerbound.randomness import derive_seed, forked
from lowerbound.recipes import recipe_named
from lowerbound.row_numbers import numbered, rows_from
from lowerbound.support import require_support
from lowerbound.training.checkpoint import CheckpointError
from lowerbound.weights import latents_of

if TYPE_CHECKING:
    import pandas

    from lowerbound.diagnosis import Diagnosis
    from lowerbound.evaluate import PredictiveChecks, Topic
    from lowerbound.explorer import Explorer
    from lowerbound.fitting.planning import Plan
    from lowerbound.latent_space import Attribute, Neighbours, Traversal
    from lowerbound.verbs.cross_generating import Coherence
    from lowerbound.verbs.forecasting import Forecast
    from lowerbound.verbs.lossless import Compressed
    from lowerbound.verbs.lossy import CompressedWithLoss
    from lowerbound.verbs.molecule_search import MoleculeSearch
    from lowerbound.verbs.of_rows import Encoded

from lowerbound.data.sparse import Array

__all__ = ["BLOCK", "Fitted"]

_CPU = torch.device("cpu")
BLOCK, _MOST_TEXTS = 4096, 20_000


class Fitted:
    """A model of some data.

    Arguments:
        model: p(x, z) and q(z | x), on the CPU.
        schema: what the data mean; that of `data` if None.
        plan: how it was fitted; None for a model built by hand.
        recipe: that of the plan, if it is not one of `recipes.recipes()`.
        transform: from stored rows to what the likelihood scores; None takes rows as they are.
        name: what the report calls it.
        data: what it was fitted to: an array, a DataFrame, a path, a `Dataset`, or a function that gives the `Dataset`.
        records: of training, as dictionaries.
        notes: what a report says of the records, a sentence each.
        scores: what `evaluate` gave for it, if it was asked before.
        folder: the run folder it was read from, if any.
        config: the content of that folder's run.json.

    Raises:
        ValueError: neither data nor a schema.
    """

    def __init__(
        self,
        model: LatentVariableModel,
        *,
        schema: Schema | None = None,
        plan: Plan | None = None,
        recipe: Recipe | None = None,
        transform: nn.Module | None = None,
        name: str | None = None,
        data: Any = None,
        records: Sequence[Mapping[str, Any]] = (),
        notes: Sequence[str] = (),
        scores: Mapping[str, Any] | None = None,
        folder: Path | None = None,
        config: Mapping[str, Any] | None = None,
    ):
        self.model, self.plan, self.records, self.scores = model.eval(), plan, list(records), scores
        self.transform = Identity() if transform is None else transform
        self.folder, self.config, self.notes = folder, dict(config or {}), tuple(notes)
        self.recipe = recipe if recipe is not None or plan is None else recipe_named(plan.recipe)
        self._data: Dataset | Callable[[], Dataset] | None = None
        if callable(data):
            self._data = cast(Callable[[], Dataset], data)
        elif data is not None:
            self._data = dataset_of(data, schema=schema)
            schema = self._data.schema
            if plan is None:
                _check_shape(model, self.transform, self._data)
        if schema is None:
            raise ValueError("Fitted got neither data nor a schema; give the data that the model is of: data=X.")
        self.schema, self.name = schema, name or "model"

    @classmethod
    def open(
        cls, path: str | Path, model: LatentVariableModel | None = None, *, data: Any = None, y: Any = None
    ) -> Fitted:
        """Open a run folder, or a folder that `save` wrote.

        Arguments:
            path: the folder.
            model: for a model that was built by hand: an untrained model of the same parts, which is given the saved
                weights.
            data: the data that it was fitted to, where the folder does not say where they are: those of a DataFrame or
                an array that was given in Python.
            y: their labels, as for `fit`.

        Raises:
            RunError: the folder holds no finished model, or the model is another one.
            DataError: the data are others than those of the fit.
        """
        from lowerbound.runs import Run
        from lowerbound.runs.folders import open_by_hand, with_data

        found = Run.open(path).fitted() if model is None else open_by_hand(Path(path), model)
        return found if data is None else with_data(found, data, y)

    @cached_property
    def dataset(self) -> Dataset:
        """The data that it was fitted to.

        Raises:
            DataError: it was not given, is gone or has changed.
        """
        if self._data is None:
            how = "make it with Fitted(model, data=X)"
            if self.folder is not None:
                how = "give those of its fit: --data FILE, or Fitted.open(folder, data=X) in Python"
            raise DataError(f"{self.called} was given no data; {how}.")
        return self._data if isinstance(self._data, Dataset) else self._data()

    @property
    def has_data(self) -> bool:
        """Whether it knows the data that it was fitted to."""
        return self._data is not None

    @property
    def called(self) -> str:
        """What messages that begin with it call it."""
        return f"T{self.called_within[1:]}"

    @property
    def called_within(self) -> str:
        """What others call it, never by the name of its data: the run and its folder, or the model and its recipe."""
        if self.folder is not None:
            return f"the run {self.folder}"
        return "the model" if self.plan is None else f"the {self.plan.recipe} model"

    @property
    def weights(self) -> str | None:
        """Which weights these are if training did not finish; None for those of a finished fit."""
        return self.config.get("weights")

    @property
    def is_conditional(self) -> bool:
        """Whether it is a model of x given its label."""
        return self.recipe is not None and self.recipe.labels == "context"

    @property
    def assigns(self) -> bool:
        """Whether it gives each row a class or a cluster."""
        return self.recipe is not None and self.recipe.assigns

    @property
    def seed(self) -> int:
        """The seed of the fit, from which every draw here is derived unless another is given."""
        return 0 if self.plan is None else self.plan.seed

    def rows(
        self,
        data: Any,
        label: str | None = None,
        *,
        y: Any = None,
        array: str | None = None,
        covariates: Mapping[str, Any] | None = None,
    ) -> Rows:
        """Other data, read as this model needs them: columns and classes are matched by name.

        Arguments:
            data: a DataFrame, an array (N, …), a path, a name of a data set, or `Rows`; of a `Dataset` its test rows.
            label: the column of labels, if its name is not that in the data of the fit.
            y: labels (N,) of a DataFrame or an array, where they are in no column of it.
            array: the array of an archive, or the layer of an AnnData, if it is not that of the fit.
            covariates: one value for all rows, by name, in place of those of the data: {"batch": "a"} reads cells of an
                unseen batch as cells of batch a.

        Raises:
            DataError: rows of another kind or shape, renamed columns, or classes that training has not seen.
        """
        return rows_under(data, self.schema, label=label, y=y, array=array, covariates=covariates)

    def events(self, x: Array, seed: int | None = None) -> Float[Tensor, "row *event"]:
        """Transform stored rows (N, *event) to what the likelihood scores, and check them against its support.

        Raises:
            ValueError: a value that the likelihood gives no probability.
        """
        with forked(_CPU, self.seed if seed is None else seed):
            raw, names = torch.from_numpy(np.require(np.asarray(x), requirements=["C", "W"])), self.schema.column_names
            if isinstance(self.transform, Transform):
                self.transform.check(raw, "the data", names)
            events = self.transform(raw)
        own = raw if isinstance(self.transform, Standardize) else None
        require_support(self.model.likelihood, events, what="the data", columns=names, given=own)
        return events

    def context(
        self, y: np.ndarray | None, name: str = "the data", covariates: np.ndarray | None = None
    ) -> Tensor | None:
        """The context of the model for rows; None if the model has no context.

        Arguments:
            y: numbers of their classes (N,), or None.
            name: of the data, for messages.
            covariates: of rows (N, C), as `Rows` and `Dataset` hold them, or None.

        Raises:
            DataError: no labels or covariates, or a class that training has not seen.
        """
        if self.schema.covariates:
            if covariates is None:
                raise DataError(f"{name} has no covariates, which {self.called_within} is given; give rows with them.")
            return encode_covariates(covariates, self.schema.covariates)
        if not self.is_conditional:
            return None
        assert self.plan is not None
        count = self.plan.model["num_classes"]
        return one_hot(check_classes(y, count, name), count)

    def encode(
        self, data: Any, *, refine: int = 0, inference: InferenceScheme | str | None = None, seed: int | None = None
    ) -> Encoded:
        """Mean and standard deviation of q(z | x) of each row.

        Arguments:
            data: see `rows`.
            refine: steps by which each q is optimised locally, starting from that of the encoder (`inference.Local`).
            inference: another way to reach q(z | x): a scheme of `inference`, or its name with options ("hmc",
                "local:num_restarts=4"); not together with refine.
            seed: for the binarization of pixels, and for draws where q has no moments in closed form.

        Raises:
            ValueError: both refine and inference, an unknown name, a scheme that must be trained with the model, or a
                result that is not finite.

        Warns:
            InferenceWarning: chains, or optima from several starts, that are unreliable.
        """
        from lowerbound.verbs.of_rows import encode

        return encode(self, data, refine=refine, inference=inference, seed=seed)

    def score(self, data: Any, *, num_samples: int | None = None, seed: int | None = None) -> Float[np.ndarray, "row"]:
        """L_K of each row, a lower bound of log p(x) in expectation: nats, in the units of the user's data.

        Arguments:
            data: see `rows`.
            num_samples: K, latents per row; None for as many as `evaluate` takes, 1000 or fewer.
            seed: of all draws.

        Raises:
            ValueError: no rows, or rows of which log p(x) is no finite number.
        """
        from lowerbound.verbs.of_rows import score

        return score(self, data, num_samples=num_samples, seed=seed)

    def log_scale_of(self, x: Tensor) -> Float[Tensor, "row"]:
        """log p of rows that the likelihood scores minus log p of the user's: Σ_d log scale_d of their entries."""
        if isinstance(self.transform, Transform):
            return self.transform.log_scale_of(x)
        return torch.zeros(len(x), dtype=torch.float64, device=x.device)

    @property
    def log_scale(self) -> float:
        """The same for any complete row; where logarithms are taken, its mean over the training rows."""
        return self.log_scale_of(torch.zeros(1, *self.schema.event_shape)).item()

    def sample(
        self,
        count: int = 1,
        *,
        label: str | None = None,
        given: Mapping[str, Any] | None = None,
        decoding: str | None = None,
        scaffold: str | None = None,
        seed: int | None = None,
    ) -> Any:
        """Draw z ~ p(z), x ~ p(x | z), in the form of the user's data (DataFrame, array, images, list of str).

        Arguments:
            count: how many.
            label: the class to draw, from a model that was fitted with labels; None draws any class.
            given: columns of a table that every draw has, by name, as in {"sex": "female"}; the others are drawn from
                p(the others | given), by `evaluate.missing.draw_missing`. Of a model that is given covariates, values
                of these, as in {"batch": "a"}; others are drawn by their shares, and numbers are at their mean. Not
                together with label.
            decoding: how each token of a text is chosen: "sample" draws from p(x | z), as None does; "greedy",
                "temperature=0.7", "nucleus=0.9" and "beam=5" show what is likely (`lowerbound.decoding`).
            scaffold: SMILES of a part that every molecule holds (`likelihoods.scaffolds`).
            seed: of the draws.

        Raises:
            ValueError: no such class or column, a model that was told no classes, a likelihood that takes no gaps, or a
                scaffold that the model cannot write.

        Warns:
            InferenceWarning: what is given is unlikely under the model, so that the draws rest on few latents.
        """
        from lowerbound.verbs.drawing import sample

        return sample(self, count, label=label, given=given, decoding=decoding, scaffold=scaffold, seed=seed)

    def impute(
        self,
        data: Any,
        *,
        statistic: str | float = "mean",
        num_samples: int = 1000,
        seed: int | None = None,
        progress: Callable[[int, int], None] | None = None,
    ) -> Any:
        """Fill the gaps of a table, or of series (N, T, D) of a model that takes gaps, each given the rest of its row.

        A DataFrame, an array or a file comes back as it is but for the gaps in columns of the model. Classes without
        an order are filled by the most probable one, ordinals by the median unless the mode is asked for. Means are
        exact where states are summed out (hidden-markov).

        Arguments:
            data: see `rows`.
            statistic: what fills numbers: the "mean" of p(x_d | the rest of the row), its "median", or the quantile of
                a level between 0 and 1; 0.05 and 0.95 are the ends of an interval of 90 %. The "mode" is of ordinals
                and counts; other numbers, whose mode depends on their scale, are filled by the median then.
            num_samples: latents for each row.
            seed: of the draws.
            progress: called with the rows done and their total.

        Raises:
            ValueError: another statistic, no rows, or a likelihood that takes no gaps.
        """
        from lowerbound.verbs.imputing import impute

        return impute(self, data, statistic=statistic, num_samples=num_samples, seed=seed, progress=progress)

    def imputations(self, data: Any, count: int = 5, *, num_samples: int = 1000, seed: int | None = None) -> list[Any]:
        """Several copies of a table, each with draws from p(gaps | the rest of the row) in its gaps.

        What is computed from each copy is put together by `evaluate.pool`, with the variance between copies.

        Arguments:
            data: see `rows`.
            count: how many copies.
            num_samples: latents for each row, from which those of the draws are chosen.
            seed: of the draws.

        Raises:
            ValueError: fewer than one, data that are no table, or a likelihood that takes no gaps.
        """
        from lowerbound.verbs.imputing import imputations

        return imputations(self, data, count, num_samples=num_samples, seed=seed)

    def score_cells(
        self,
        data: Any,
        *,
        num_samples: int = 1000,
        seed: int | None = None,
        progress: Callable[[int, int], None] | None = None,
    ) -> Any:
        """log p(x_d | the rest of the row) of each cell, nats, in the units of the user's data; NaN in gaps.

        The lowest are the cells that fit worst to their rows: errors of entry, and anomalies. A DataFrame where columns
        have names, else an array (N, D).

        Arguments:
            data: see `rows`.
            num_samples: latents for each estimate.
            seed: of the draws.
            progress: called with the columns done and their number.

        Raises:
            ValueError: data that are no table, or a likelihood that takes no gaps.
        """
        from lowerbound.verbs.imputing import cell_scores

        return cell_scores(self, data, num_samples=num_samples, seed=seed, progress=progress)

    def compress(
        self,
        data: Any,
        path: str | Path,
        *,
        refine: int = 0,
        samples: int = 1,
        force: bool = False,
        progress: Callable[[int, int], None] | None = None,
    ) -> Compressed | CompressedWithLoss:
        """Write rows to a file from which `decompress` gives them back to the last bit, in about −ELBO bits.

        A rate–distortion autoencoder writes the codes of pictures, with loss, in as many bits as their rate
        (`lossy`): what comes back is E[x | z].

        The file holds no model: reading it takes this one. Labels and columns that are no part of the model are not
        in it.

        Arguments:
            data: see `rows`.
            path: of the file.
            refine: steps by which the q(z | x) of each row is optimised first (`inference.Local`), which shortens the
                file; reading it takes them too.
            samples: latents for each row, of which K take −L_K in place of −ELBO, the importance-weighted bound
                (`coding.weighted`): a shorter file, which takes K times as long to write and to read.
            force: whether a file that is there is overwritten.
            progress: called with the rows done and their total.

        Returns:
            The bits that the rows took, −ELBO of the same rows or their rate, PSNR and MS-SSIM, and the sizes that
            other programs reach.

        Raises:
            ValueError: a part of the model that cannot be coded, or refined, values on no grid, or a file that is
                there.
        """
        from lowerbound.verbs import lossless, lossy

        if not lossy.is_with_loss(self):
            return lossless.compress(self, data, path, refine=refine, samples=samples, force=force, progress=progress)
        if refine or samples != 1:
            name = "refine" if refine else "samples"
            raise ValueError(f"{self.called} rounds its codes, which {name} cannot improve; leave it out.")
        return lossy.compress(self, data, path, force=force, progress=progress)

    def decompress(self, path: str | Path, *, progress: Callable[[int, int], None] | None = None) -> Any:
        """The rows that `compress` wrote, in the form of the user's data; with loss, pictures of a folder by name.

        Raises:
            ValueError: no such file, one of another model, one that is damaged, or one that decodes otherwise here.
        """
        from lowerbound.verbs import lossless, lossy

        decompress = lossy.decompress if lossy.is_with_loss(self) else lossless.decompress
        return decompress(self, path, progress=progress)

    def draw(
        self, count: int, *, label: str | None = None, given: Mapping[str, Any] | None = None, seed: int | None = None
    ) -> tuple[Tensor, Tensor, np.ndarray | None]:
        """Draws of x, E[x | z] of each and their classes, in the form that the likelihood scores.

        Arguments:
            count: how many.
            label: the class to draw.
            given: values of covariates, as for `sample`.
            seed: of the draws.

        Raises:
            ValueError: no such class, or a model that was told none; fewer than one draw.
        """
        from lowerbound.verbs.drawing import draw

        return draw(self, count, label=label, given=given, seed=seed)

    def reconstruct(self, data: Any, *, seed: int | None = None) -> Any:
        """E[x' | z] at one draw z ~ q(z | x) for each row, in the form of the user's data.

        Raises:
            ValueError: a result that is not finite.
        """
        from lowerbound.verbs.drawing import reconstruct

        return reconstruct(self, data, seed=seed)

    def predict(self, data: Any, given_frames: int, *, seed: int | None = None) -> Any:
        """Clips whose frames after the given ones are drawn from what the model expects, in the form of the user's
        data: E[x_t | z_t] at z_t ~ p(z_t | the codes of the frames before).

        Arguments:
            data: clips; see `rows`. Frames after the given ones are not looked at.
            given_frames: how many of each are known; they come back as the model decodes them.
            seed: of the draws.

        Raises:
            ValueError: a model of something else than clips, or no frame given or left.
        """
        from lowerbound.verbs.predicting import predict

        return predict(self, data, given_frames, seed=seed)

    def forecast(
        self, data: Any, steps: int, *, interval: float = 0.9, num_samples: int = 1000, seed: int | None = None
    ) -> Forecast:
        """The steps that follow each series, with intervals: p(x_{t+h} | x_1, …, x_t), h = 1 … steps.

        Exact for hidden-markov, any number of steps ahead, and for mixture-of-factor-analysers, up to the length of the
        series that it was fitted to. Of state-space and of autoregressive-rows without a latent means and quantiles are
        those of draws.

        Arguments:
            data: series; see `rows`. Forecasts begin after the last step of each of which anything was observed.
            steps: how many.
            interval: the probability within the interval, half of the rest on each side of it.
            num_samples: draws for each series, where the model is not exact.
            seed: of the draws.

        Raises:
            ValueError: a model of something else than series, or one that cannot be given a beginning; more steps than
                a model of whole series has; a series without an observed step.
        """
        from lowerbound.verbs.forecasting import forecast

        return forecast(self, data, steps, interval=interval, num_samples=num_samples, seed=seed)

    def normalized_expression(self, data: Any, **options: Any) -> pandas.DataFrame:
        """The expected counts of each gene of each cell in a library of one size, cells by genes, with their names.

        Arguments:
            data: see `rows`.
            options: of `expression.normalized_expression`: given, covariates under which every cell is decoded, as in
                {"batch": "a"}, in place of its own; library_size, 10,000; num_samples, draws of z; own_counts, whether
                the rates are given the cell's own counts and not its latents alone, False; seed.

        Raises:
            ValueError: the model is not one of cells, an unknown covariate or category, or own counts of a Poisson.
        """
        from lowerbound.verbs.expression import normalized_expression

        return normalized_expression(self, data, **options)

    def differential_expression(
        self, data: Any, groups: Any, first: str | None = None, second: str | None = None, **options: Any
    ) -> pandas.DataFrame:
        """The genes that differ between groups of cells, the most probable first.

        Arguments:
            data: see `rows`.
            groups: a column of `obs` (or of a table), or the group of each cell (N,).
            first: a group; None compares each with the rest.
            second: what it is compared with; None for the other cells that have a group.
            options: of `differential_expression.differential_expression`: delta, the least difference of log2 that
                counts, 0.25; level, of expected false discoveries, 0.05; num_draws, pairs of cells, 5000; seed.

        Returns:
            A row for each gene (and group): the probability that log2 of the ratio is beyond delta, its Bayes factor
            (natural logarithm of the odds), mean and standard deviation of log2 of the ratio, the expression in both
            groups in counts of 10,000, the fraction of cells with a count, the expected fraction of false discoveries
            down to this gene, and whether it belongs to the list at that level.

        Raises:
            ValueError: the model is not one of cells, or unknown groups.
        """
        from lowerbound.verbs.differential_expression import differential_expression

        return differential_expression(self, data, groups, first, second, **options)

    def cross_generate(self, data: Any, given: str | Sequence[str], **options: Any) -> Any:
        """The other blocks of each row of a multimodal model given some, in the form of the user's data: the columns of
        those blocks.

        Arguments:
            data: see `rows`; what rows hold in the other blocks is not looked at.
            given: the names of the blocks that are known.
            options: of `cross_generating.cross_generate`: draw, one draw from p(others | given) in place of expected
                values and most probable classes; num_samples, latents a row, 1000; seed.

        Raises:
            ValueError: a model without blocks, an unknown block, or a row that lacks one that is given.
        """
        from lowerbound.verbs.cross_generating import cross_generate

        return cross_generate(self, data, given, **options)

    def block_scores(
        self, data: Any, given: str | Sequence[str], *, num_samples: int = 1000, seed: int | None = None
    ) -> dict[str, Float[np.ndarray, "row"]]:
        """L_S of log p(given), of log p(x), and their difference log p(others | given), nats, by name, for each row.

        The difference of two lower bounds is an estimate, and is on either side of log p(others | given). It is NaN
        where a row has nothing of the others.

        Arguments:
            data: see `rows`.
            given: the names of the blocks that are known.
            num_samples: S, latents of each estimate.
            seed: of all draws.

        Raises:
            ValueError: as `cross_generate`.
        """
        from lowerbound.verbs.cross_generating import block_scores

        return block_scores(self, data, given, num_samples=num_samples, seed=seed)

    def coherence(self, of: str, **options: Any) -> Coherence:
        """How often blocks that are generated together, or one from another, have the same class.

        Arguments:
            of: a column of classes, in one of the blocks.
            options: of `cross_generating.coherence`: num_rows, num_draws, seed.

        Raises:
            ValueError: a model without blocks, or no such column of classes.
        """
        from lowerbound.verbs.cross_generating import coherence

        return coherence(self, of, **options)

    def interpolate(
        self, data: Any, num_steps: int = 7, *, way: Literal["line", "circle"] = "line", seed: int | None = None
    ) -> Any:
        """What the model shows between two rows, in the form of the user's data: E[x | z] on a way between the means of
        q(z | x) of both, or what is shown in its place (`shown`).

        Arguments:
            data: two rows; see `rows`.
            num_steps: how many, with both ends.
            way: "line", or "circle", which keeps the distance from 0 (`interpolating`).
            seed: of draws where q has no mean in closed form or E[x | z] is replaced.

        Raises:
            ValueError: not two rows, or a model without a single vector of latents.
        """
        from lowerbound.verbs.interpolating import interpolated

        return interpolated(self, data, num_steps, way=way, seed=seed)

    def traverse(
        self,
        data: Any = None,
        *,
        row: int | None = None,
        num_steps: int = 7,
        sd: float | None = None,
        num_latents: int | None = None,
        seed: int | None = None,
    ) -> Traversal:
        """What each latent does: it alone is moved, the most active first, and the model shows what comes out.

        Arguments:
            data: rows on which activities and quantiles are measured (5,000 at most); the test rows if None.
            row: the place among these of the row from which each walk starts; None for the mean of all.
            num_steps: along each latent.
            sd: how many standard deviations of the aggregate posterior to walk to both sides of the start; None walks
                over its quantiles from 2 % to 98 %.
            num_latents: how many latents; None for all that are active.
            seed: of draws.

        Raises:
            ValueError: a model without a single vector of latents, or one that is given classes, without a row.
        """
        from lowerbound.latent_space import traverse

        return traverse(self, data, row=row, num_steps=num_steps, sd=sd, num_latents=num_latents, seed=seed)

    def neighbours(
        self,
        of: Any,
        among: Any = None,
        count: int = 5,
        *,
        distance: Literal["euclid", "symmetric-kl"] = "euclid",
        seed: int | None = None,
    ) -> Neighbours:
        """The rows whose latents are nearest to those of each row, itself among them where it is searched.

        Arguments:
            of: the rows that are asked for; see `rows`.
            among: the rows that are searched; the test rows of the fit if None.
            count: how many for each.
            distance: "euclid" between the means of q(z | x), or "symmetric-kl" of q(z | x) as diagonal normals, nats.
            seed: of draws where q has no moments in closed form.

        Raises:
            ValueError: fewer rows than neighbours, or a model without a single vector of latents.
        """
        from lowerbound.latent_space import neighbours

        return neighbours(self, of, among, count, distance=distance, seed=seed)

    def attribute(
        self,
        name: str,
        value: str | None = None,
        data: Any = None,
        *,
        how: Literal["difference", "classifier"] = "difference",
        seed: int | None = None,
    ) -> Attribute:
        """The direction of a label or of a column in the latent space, and whether held-out rows confirm it.

        Arguments:
            name: of the label, or of a column.
            value: its class; of two classes the second if None. Numbers have none.
            data: rows to learn it from; the test rows if None.
            how: the "difference" of means, or the weights of a linear "classifier".
            seed: of the split into rows to learn from and to judge by.

        Raises:
            ValueError: no such label, column or class, too few rows, or a model without a single vector of latents.
        """
        from lowerbound.latent_space import attribute

        return attribute(self, name, value, data, how=how, seed=seed)

    def add_attribute(self, found: Attribute, data: Any, add: float, *, seed: int | None = None) -> Any:
        """What the model shows of rows that are moved by `add` standard deviations along a direction of `attribute`, in
        the form of the user's data.
        """
        from lowerbound.latent_space import with_attribute

        return self.render(with_attribute(self, found, data, add, seed=seed)[1])

    def export(self, path: str | Path, *, force: bool = False) -> dict[str, Any]:
        """Write encoder and decoder as programs that need no lowerbound: see `exporting.export`.

        Arguments:
            path: the folder.
            force: whether files there are overwritten.

        Returns:
            The description that lies beside them as export.json.

        Raises:
            ValueError: a part that cannot be exported, or files that are there.
        """
        from lowerbound.verbs.exporting import export

        return export(self, Path(path), force=force)

    def search(self, of: str = "qed", **options: Any) -> MoleculeSearch:
        """Molecules with more of a property, along the direction in which a regressor on codes says it grows.

        Arguments:
            of: "logp", "qed", "sa" or "weight" (`evaluate.molecule_properties`).
            options: of `molecule_search.searched`: minimize, num_draws, num_shifts, num_train, seed.

        Raises:
            ValueError: a model of something else, or without a single vector of latents.
        """
        from lowerbound.verbs.molecule_search import searched

        return searched(self, of, **options)

    def assign(self, data: Any, *, seed: int | None = None) -> np.ndarray:
        """The class (by name, where classes have names) or the cluster (by number) of each row.

        Raises:
            ValueError: a model that gives none.
        """
        from lowerbound.verbs.of_rows import assign

        return assign(self, data, seed=seed)

    def probabilities(self, data: Any, *, seed: int | None = None) -> Float[np.ndarray, "row class"]:
        """The probability of each class or cluster, by number, given each row; rows sum to one.

        Raises:
            ValueError: a model that gives none.
        """
        from lowerbound.verbs.of_rows import probabilities

        return probabilities(self, data, seed=seed)

    def topics(self, num_words: int = 10) -> list[Topic]:
        """The first words of each topic, by the names of the columns, and their coherence in the training texts.

        Raises:
            ValueError: a model without topics.
        """
        from lowerbound.evaluate import describe_topics

        net = getattr(self.model.likelihood, "net", None)
        if not isinstance(net, HasTopics):
            raise ValueError(f"{self.called} has no topics; fit the recipe lda or prodlda to counts of words.")
        data = self.dataset
        rows = np.arange(len(data.x_train)) if data.train_rows is None else data.train_rows
        x = torch.from_numpy(np.ascontiguousarray(data.x_train[rows[:_MOST_TEXTS]]))
        names = self.schema.column_names or [str(i) for i in range(x.shape[1])]
        with torch.no_grad():
            return describe_topics(net.topics(), x, names, num_words=num_words)

    def render(self, x: Tensor, *, rounded: bool = True, like: Rows | None = None) -> Any:
        """Turn what the likelihood scores (N, *event) into the form of the user's data.

        Arguments:
            x: draws, or means.
            rounded: whether numbers become such as the user's data hold; False gives an array of numbers as they are,
                unless columns hold categories or dates.
            like: the rows that these are made from; series of a table of steps then have their names and times, up to
                the last step of which anything was observed, and are not numbered.
        """
        stored, schema = self.stored(x), self.schema
        if like is not None and like.starts is not None and rounded:
            return frame_like(stored, like)
        if rounded or not schema.of_numbers:
            return kind_named(schema.kind).render(stored, schema)
        return schema.laid_out(stored)

    def stored(self, x: Tensor) -> np.ndarray:
        """Turn what the likelihood scores (N, *event) into stored rows, in the units of the user's data."""
        return self.transform.inverse(x).numpy()  # type: ignore[operator]

    def evaluate(self, data: Any = None, **options: Any) -> dict[str, Any]:
        """Scores on the data's own test rows, or on all rows of other data, beside baselines.

        Arguments:
            data: see `rows`; None takes the test rows of the data it was fitted to, and keeps
                the result in `scores` unless there is a limit.
            options: of `scoring.score_fitted`.
        """
        from lowerbound.verbs.scoring import score_fitted

        found = score_fitted(self, data, **options)
        if data is None and options.get("limit") is None:
            self.scores = found
        return found

    def sample_quality(self, **options: Any) -> dict[str, Any]:
        """How close its samples are to test rows, and how much of these they cover; options of `quality.quality_of`."""
        from lowerbound.verbs.quality import quality_of

        return quality_of(self, **options)

    def diagnose(self, **options: Any) -> Diagnosis:
        """The problems of the model and their remedies. Options are those of `diagnosis.case_of`."""
        from lowerbound.diagnosis import diagnose

        return diagnose(self, **options)

    def predictive_checks(self, **options: Any) -> PredictiveChecks:
        """Whether rows that it makes look like held-out rows; options of `predictive.predictive_checks_of`."""
        from lowerbound.verbs.predictive import predictive_checks_of

        return predictive_checks_of(self, **options)

    def report(self, path: str | Path, *, force: bool = True) -> Path:
        """Write a page of pictures and scores; without `force` a file that is there stays.

        Raises:
            CheckpointError: the disk refused.
            ReportError: no `force`, and it is there.
        """
        from lowerbound.report import collect, write_report

        path = Path(path)
        try:
            write_report(collect(self), path, new=not force)
        except OSError as error:
            raise CheckpointError(
                f"Could not write {path} ({error.strerror or error}); free some space and try again."
            ) from error
        return path

    def explore(
        self,
        data: Any = None,
        *,
        num_rows: int = 10_000,
        seed: int | None = None,
        progress: Callable[[int, int], None] | None = None,
    ) -> Explorer:
        """Rows on a map of the latents, for a page in a browser: `serve` shows it, `write` puts it into one file.

        Arguments:
            data: see `rows`; None takes the test rows of the data it was fitted to.
            num_rows: on the map, at most; of more, some are chosen at random.
            seed: of this choice, and of draws.
            progress: called with the rows done and their number.

        Raises:
            ValueError: a model without latents, fewer than two rows, or num_rows out of range.
        """
        from lowerbound.explorer import explore

        return explore(self, data, num_rows=num_rows, seed=seed, progress=progress)

    def save(self, path: str | Path) -> Path:
        """Write a folder that `open` reads: run.json and model.safetensors.

        Raises:
            RunError: the folder holds a run already, or cannot be written.
        """
        from lowerbound.runs.folders import save_fitted

        return save_fitted(self, Path(path))

    def __repr__(self) -> str:
        """The model, what it is of, how it was fitted, and its scores if there are any, in a few lines."""
        return lines_of_fit(self.name, self.schema, self.plan, self.scores)

    def _repr_html_(self) -> str:
        """The same as a table for notebooks."""
        return html_of_fit(self.name, self.schema, self.plan, self.scores)

    def test_rows(self) -> Rows:
        """The test rows of the data it was fitted to; its training rows where there are no others."""
        data = self.dataset
        x, y = (data.x_test, data.y_test) if data.num_test else (data.x_train, data.y_train)
        numbers = data.test_rows if data.num_test else None
        names, starts = data.row_names, data.starts
        return Rows(
            x=x,
            y=y,
            num_test=0,
            name=data.name,
            schema=self.schema,
            numbers=numbers,
            covariates=data.covariates_test if data.num_test else data.covariates_train,
            row_names=names if names is None or numbers is None else tuple(names[i] for i in numbers),
            starts=starts if starts is None or numbers is None else starts[numbers],
        )

    def blocks(self, rows: Rows, seed: int | None) -> Iterator[tuple[Tensor, Tensor | None, int]]:
        """Yield some thousands of rows at a time, as the likelihood scores them, with their context and a seed."""
        first = self.seed if seed is None else seed
        x, y, c = rows.x, rows.y, rows.covariates
        for start in range(0, len(x), BLOCK):
            part = slice(start, start + BLOCK)
            part_seed = first if start == 0 else derive_seed(first, start)
            with numbered(rows.numbers), rows_from(start):
                context = self.context(None if y is None else y[part], rows.name, None if c is None else c[part])
                yield self.events(x[part], part_seed), context, part_seed

    def finite(self, x: Tensor) -> Tensor:
        """Draws or means of the model, unless some are not finite.

        Raises:
            ValueError: the model gives parameters to which none belong.
        """
        if not bool(x.isfinite().all()):
            raise ValueError(
                f"{self.called} gives numbers that are not finite, as its weights are too large; fit it again with a "
                "smaller learning rate."
            )
        return x


@torch.no_grad()
def _check_shape(model: LatentVariableModel, transform: nn.Module, data: Dataset) -> None:
    """Refuse data whose shape a model that was built by hand does not take or give, and nets that mix rows.

    Raises:
        ValueError: naming both shapes.
    """
    with forked(_CPU, 0), rows_kept_apart(model):
        x = transform(torch.from_numpy(np.ascontiguousarray(data.x_train[:2])))
        q = model.infer(x)
        p = model.decode(latents_of(q, q.sample()))
    if tuple(p.event_shape) != data.event_shape:
        raise ValueError(
            f"Fitted got a model of rows of shape {tuple(p.event_shape)} and data of {data.event_shape}; give the "
            "data that the model is of."
        )
