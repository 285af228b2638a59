"""From a run to the contents of its report: load the model once, draw a little, encode some test rows.

Every draw comes from a fixed seed, so that the same run gives the same page.
"""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from lowerbound.data import Dataset
from lowerbound.model import LatentVariableModel, flat_latents
from lowerbound.randomness import forked
from lowerbound.report.contents import ReportContents
from lowerbound.runs import Run
from lowerbound.weights import latents_of

__all__ = ["collect"]

MOST_CODES, NUM_PAIRS, NUM_SAMPLES, NUM_TABLE_ROWS = 2000, 30, 60, 2000
DRAWS_PER_CODE = 64

_CPU = torch.device("cpu")
_SEED = 0


def collect(run: Run) -> ReportContents:
    """Gather what the report of a trained run shows.

    Raises:
        RunError: the run has no trained model yet.
        DataError: its data are gone or have changed.
    """
    model = run.load_model()
    dataset, transform = run.dataset(), run.load_transform()
    x = run.test_tensor(max(MOST_CODES, NUM_TABLE_ROWS))
    context = run.context(None if dataset.y_test is None else dataset.y_test[: len(x)], dataset.name)
    with forked(_CPU, _SEED), torch.inference_mode():
        codes, codes_are = _codes(model, x[:MOST_CODES], None if context is None else context[:MOST_CODES])
        if dataset.kind == "image":
            shown = _shown_images(model, x, context)
        else:
            shown = _shown_rows(model, dataset, transform, context)
    codes, explained = _project(codes)
    evaluation = _plain(run.evaluation())
    kl = (evaluation or {}).get("kl_per_dimension")
    binarization = getattr(transform, "binarization", "none")
    return ReportContents(
        title=f"{run.settings.recipe} on {dataset.name}",
        kind=dataset.kind,
        command=run.config.get("command"),
        configuration=run.config["settings"],
        versions=run.config["versions"],
        data=_describe(dataset),
        metrics=run.metrics(),
        evaluation=evaluation,
        binarization=None if binarization == "none" else binarization,
        codes=codes,
        codes_are=codes_are,
        code_labels=None if dataset.y_test is None else dataset.y_test[: len(codes)],
        label_names=dataset.label_names,
        explained=explained,
        kl_per_dimension=None if kl is None else np.asarray(kl, dtype=np.float64),
        feature_names=dataset.feature_names,
        originals=shown["originals"],
        reconstructions=shown.get("reconstructions"),
        samples=shown["samples"],
    )


def _codes(model: LatentVariableModel, x: Tensor, context: Tensor | None) -> tuple[Tensor, str]:
    """The mean of q(z | x) per row (N, L), by draws where it has no closed form, and which of the two it is."""
    q = model.infer(x, context)
    try:
        return q.mean.flatten(1), "The mean of q(z | x)"
    except NotImplementedError:
        draws = flat_latents(latents_of(q, q.sample(torch.Size((DRAWS_PER_CODE,)))))
        return draws.mean(0), f"The mean of {DRAWS_PER_CODE} draws of q(z | x)"


def _project(codes: Tensor) -> tuple[np.ndarray, tuple[float, ...] | None]:
    """Codes of at most two dimensions, and the fraction of the variance along each if they were more."""
    z = codes.double().numpy()
    if z.shape[1] <= 2 or len(z) < 3:
        return z[:, :2], None
    from sklearn.decomposition import PCA

    pca = PCA(n_components=2, svd_solver="full")
    projected = pca.fit_transform(z)
    return projected, tuple(float(v) for v in pca.explained_variance_ratio_)


def _shown_images(model: LatentVariableModel, x: Tensor, context: Tensor | None) -> dict[str, np.ndarray]:
    """Images as the model sees them, their reconstructions and samples, all E[x | z] but the first."""
    originals, given = x[:NUM_PAIRS], None if context is None else context[:NUM_PAIRS]
    samples = model.sample_mean(NUM_SAMPLES) if context is None else model.sample_mean(1, _every_class(context))[0]
    return {
        "originals": originals.numpy(),
        "reconstructions": model.reconstruct(originals, given).numpy(),
        "samples": samples.numpy(),
    }


def _every_class(context: Tensor) -> Tensor:
    """The classes by turns, one-hot, for as many samples as are shown."""
    count = context.shape[-1]
    return torch.eye(count)[torch.arange(NUM_SAMPLES) % count]


def _shown_rows(
    model: LatentVariableModel, dataset: Dataset, transform: torch.nn.Module, context: Tensor | None
) -> dict[str, np.ndarray]:
    """Rows of the table and as many samples, in the units of the table."""
    originals = dataset.x_test[:NUM_TABLE_ROWS]
    draws = model.sample(NUM_TABLE_ROWS) if context is None else model.sample(1, context[:NUM_TABLE_ROWS])[0]
    samples = transform.inverse(draws)  # type: ignore[operator]
    return {"originals": originals, "samples": samples.numpy()}


def _plain(evaluation: dict[str, Any] | None) -> dict[str, Any] | None:
    """The scores with one number for each baseline."""
    if evaluation is None:
        return None
    return evaluation | {
        "baselines": {name: b["log_likelihood"] for name, b in evaluation.get("baselines", {}).items()}
    }


def _describe(dataset: Dataset) -> dict[str, object]:
    return {
        "name": dataset.name,
        "source": dataset.source,
        "training rows": f"{dataset.num_train:,}",
        "test rows": f"{dataset.num_test:,}",
        "shape of a row": " × ".join(str(n) for n in dataset.event_shape),
        "scaling": dataset.scaling,
        "checksum (sha256)": dataset.checksum,
    }
