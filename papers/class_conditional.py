"""Digits drawn by class beside digits drawn without one: what does the class buy, and which digits are mixed up?

A plain VAE and a conditional VAE (Sohn, Lee & Yan 2015, NeurIPS 28) with a one-hot label for its condition and N(0, I)
for its prior, with the same nets (the label is one more input of each) and the same training: grey pixels under a
Bernoulli likelihood, Adam 1e-3, batches of 128, weights chosen on a held-out twelfth. What others judge by eye is
judged here by a convolutional classifier, trained on real images and then held fixed:

    recognised: how often an image drawn for class c (E[x | z, c], z from the prior) is classified as c;
    confidence: the largest class probability of an image; entropy: of the class probabilities, nats;
    ambiguous: how often the confidence is below 0.9.

Beside them the same for real test images, and for their reconstructions by the plain VAE, which are as blurred as its
samples but belong to a digit: what separates plain samples from these is ambiguity and not blur.

python papers/class_conditional.py
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import one_hot

from lowerbound.data import InMemory, load
from lowerbound.evaluate import log_evidence
from lowerbound.gradients import Pathwise
from lowerbound.losses import LossOutput, VariationalLoss
from lowerbound.models import vae
from lowerbound.models.conditional_autoencoder import cvae
from lowerbound.nets import Convolution
from lowerbound.objectives import ELBO
from lowerbound.plots.style import INK, new_figure
from lowerbound.randomness import forked
from lowerbound.training.loop import HeldOut, steps_for, train

RESULTS = Path(__file__).parent / "results"
BATCH = 128
CLASSES = 10


class Classifier(nn.Module):
    """log p(class | image), and its cross-entropy as a loss."""

    def __init__(self, shape: tuple[int, ...], channels: list[int]):
        super().__init__()
        self.net = Convolution(shape, channels, CLASSES)

    def log_probability(self, x: Tensor) -> Tensor:
        """Of every class, (N, class)."""
        return self.net(x).log_softmax(-1)

    def forward(self, x: Tensor, label: Tensor) -> LossOutput:
        """Minus the mean log-probability of the label (one-hot)."""
        bound = (self.log_probability(x) * label).sum(-1).mean()
        return LossOutput(-bound, {"bound": bound.detach()})


def main() -> None:
    """Read the options, train the three, judge, draw, save."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", type=float, default=12, help="passes of each VAE")
    parser.add_argument("--classifier-epochs", type=float, default=5)
    parser.add_argument("--hidden", type=int, nargs="+", default=[256, 256])
    parser.add_argument("--channels", type=int, nargs="+", default=[16, 32])
    parser.add_argument("--latent-dim", type=int, default=16)
    parser.add_argument("--data", default="mnist", help="images of ten classes")
    parser.add_argument("--train-images", type=int, default=60_000)
    parser.add_argument("--samples", type=int, default=1000, help="images drawn for each class")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=RESULTS / "class_conditional.json")
    given = parser.parse_args()
    given.out.parent.mkdir(parents=True, exist_ok=True)
    options = {name: value for name, value in vars(given).items() if name != "out"}
    result: dict[str, Any] = {"protocol": __doc__, "options": options}

    data, labels = images(given)
    shape = tuple(data["train"].shape[1:])
    torch.manual_seed(given.seed)
    classifier = Classifier(shape, given.channels)
    models = {
        "plain VAE": vae(shape, latent_dim=given.latent_dim, hidden=given.hidden),
        "CVAE": cvae(shape, num_classes=CLASSES, latent_dim=given.latent_dim, hidden=given.hidden, prior_network=False),
    }
    result["classifier"] = fit(classifier, data["train"], labels["train"], given.classifier_epochs, given)
    for name, model in models.items():
        model.initialize(data["train"])
        loss = VariationalLoss(model, ELBO(rate="kl"), Pathwise())
        c = labels["train"] if name == "CVAE" else None
        result[name] = fit(loss, data["train"], c, given.epochs, given)
        result[name] |= score(model, data["test"], labels["test"] if name == "CVAE" else None, given.seed)
    drawn = draws(models, data["test"], given)
    result["judged"] = {name: judge(classifier, x, y) for name, (x, y) in drawn.items()}
    result["judged"]["real test images"] = judge(classifier, data["test"], labels["test"].argmax(-1))
    result["most confused"] = {
        name: confused_pairs(np.array(result["judged"][name]["confusion"])) for name in ("CVAE", "real test images")
    }
    given.out.write_text(json.dumps(result, indent=2) + "\n")
    picture(drawn, np.array(result["judged"]["CVAE"]["confusion"]), given)
    for name, found in result["judged"].items():
        print(name, {key: value for key, value in found.items() if key != "confusion"})
    print("most confused:", result["most confused"])


def images(given: argparse.Namespace) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Grey images and one-hot labels of either part."""
    dataset = load(given.data)
    assert dataset.y_train is not None
    assert dataset.y_test is not None
    scale = int(dataset.x_train.max())
    some = slice(0, given.train_images)
    x = {"train": dataset.x_train[some], "test": dataset.x_test}
    y = {"train": dataset.y_train[some], "test": dataset.y_test}
    grey = {part: torch.as_tensor(np.asarray(rows)).float() / scale for part, rows in x.items()}
    coded = {part: one_hot(torch.as_tensor(np.asarray(rows)).long(), CLASSES).float() for part, rows in y.items()}
    return grey, coded


def fit(loss: nn.Module, x: Tensor, c: Tensor | None, epochs: float, given: argparse.Namespace) -> dict[str, Any]:
    """Train on eleven twelfths and keep the weights that are best on the rest."""
    num_train = len(x) - len(x) // 12
    one_pass = steps_for(1, num_train, BATCH)
    parts = (x,) if c is None else (x, c)
    plan = HeldOut(source=InMemory(tuple(part[num_train:] for part in parts)), every=one_pass)
    source = InMemory(tuple(part[:num_train] for part in parts))
    curve = []
    begun = time.process_time()
    for record in train(
        loss,
        source,
        num_steps=steps_for(epochs, num_train, BATCH),
        batch_size=BATCH,
        log_every=one_pass,
        held_out=plan,
        seed=given.seed,
        compile=False,
    ):
        assert record.held_out is not None
        curve.append({"epoch": round(record.epoch, 2), "held_out": record.held_out["bound"]})
        print(f"{type(loss).__name__}, pass {record.epoch:.1f}: held out {record.held_out['bound']:.3f}", flush=True)
    return {"held_out_curve": curve, "cpu_seconds": round(time.process_time() - begun, 1)}


def score(model: Any, x: Tensor, context: Tensor | None, seed: int) -> dict[str, float]:
    """−log p(x), or −log p(x | label), of the first thousand test images (grey pixels), nats."""
    rows = slice(0, 1000)
    found = log_evidence(model, x[rows], num_samples=200, context=None if context is None else context[rows], seed=seed)
    return {"negative_log_likelihood": -found.mean, "standard_error": found.standard_error_of_mean}


def draws(models: dict[str, Any], test: Tensor, given: argparse.Namespace) -> dict[str, tuple[Tensor, Tensor | None]]:
    """Images of each kind, and the class each was drawn for where there is one."""
    label = torch.arange(CLASSES).repeat_interleave(given.samples)
    with forked(torch.device("cpu"), given.seed):
        plain = models["plain VAE"].sample_mean(len(label))
        conditional = models["CVAE"].sample_mean(1, one_hot(label, CLASSES).float())[0]
        rebuilt = models["plain VAE"].reconstruct(test)
    return {"CVAE": (conditional, label), "plain VAE": (plain, None), "reconstructions": (rebuilt, None)}


@torch.no_grad()
def judge(classifier: Classifier, x: Tensor, label: Tensor | None) -> dict[str, Any]:
    """What the classifier says of some images."""
    return numbers(torch.cat([classifier.log_probability(part) for part in x.split(1000)]), label)


def numbers(log_p: Tensor, label: Tensor | None) -> dict[str, Any]:
    """Means over images (N, class) with their standard errors, the histogram of classes, and with labels the confusion.

    The confusion has a row for each class an image was drawn for, and a column for each it was taken for.
    """
    p = log_p.double().exp()
    guess = p.argmax(-1)
    confidence = p.max(-1).values
    found: dict[str, Any] = {
        "images": len(p),
        "confidence": with_error(confidence),
        "entropy": with_error(-torch.special.xlogy(p, p).sum(-1)),
        "ambiguous": with_error((confidence < 0.9).double()),
        "histogram": guess.bincount(minlength=CLASSES).tolist(),
    }
    if label is not None:
        found["recognised"] = with_error((guess == label).double())
        counts = (label * CLASSES + guess).bincount(minlength=CLASSES**2).reshape(CLASSES, CLASSES)
        found["confusion"] = counts.tolist()
        found["recognised_by_class"] = (counts.diagonal() / counts.sum(1).clamp(min=1)).tolist()
    return found


def with_error(values: Tensor) -> list[float]:
    """A mean and its standard error."""
    return [values.mean().item(), values.std().item() / len(values) ** 0.5]


def confused_pairs(confusion: np.ndarray, count: int = 8) -> list[dict[str, Any]]:
    """The pairs of classes taken for each other most, of all images drawn for either."""
    pairs = []
    for a in range(CLASSES):
        for b in range(a + 1, CLASSES):
            both = max(1, confusion[a].sum() + confusion[b].sum())
            rate = (confusion[a, b] + confusion[b, a]) / both
            error = (rate * (1 - rate) / both) ** 0.5
            pairs.append({"pair": f"{a}/{b}", "rate": float(rate), "standard_error": float(error)})
    return sorted(pairs, key=lambda pair: -pair["rate"])[:count]


def picture(
    drawn: dict[str, tuple[Tensor, Tensor | None]], confusion: np.ndarray, given: argparse.Namespace, columns: int = 8
) -> None:
    """Samples of either model in ten rows, and what the classifier takes those of each class for."""
    columns = min(columns, given.samples)
    figure = new_figure(14.0, 6.4)
    left, middle, right = figure.subplots(1, 3)
    by_class = drawn["CVAE"][0].unflatten(0, (CLASSES, given.samples))[:, :columns]
    plain = drawn["plain VAE"][0][: CLASSES * columns].unflatten(0, (CLASSES, columns))
    for axes, rows, title in (
        (left, by_class, "CVAE, one class a row"),
        (middle, plain, "plain VAE"),
    ):
        height, width = rows.shape[-2:]
        tiles = np.asarray(rows.permute(0, 2, 1, 3).reshape(CLASSES * height, columns * width))
        axes.imshow(tiles, cmap="gray", vmin=0, vmax=1)
        axes.set_axis_off()
        axes.set_title(title, loc="left", fontsize=11, color=INK, fontweight="bold")
    share = confusion / np.maximum(confusion.sum(1, keepdims=True), 1)
    right.imshow(share, cmap="Blues", vmin=0, vmax=0.1)
    for row, column in np.ndindex(*share.shape):
        if share[row, column] >= 0.0005:
            colour = "white" if share[row, column] > 0.06 else INK
            text = f"{100 * share[row, column]:.1f}"
            right.text(column, row, text, ha="center", va="center", fontsize=7, color=colour)
    right.set_xticks(range(CLASSES))
    right.set_yticks(range(CLASSES))
    right.set_xlabel("taken for", color=INK)
    right.set_ylabel("drawn for", color=INK)
    right.set_title("% of the images drawn for a class", loc="left", fontsize=11, color=INK, fontweight="bold")
    figure.savefig(given.out.with_suffix(".png"))


if __name__ == "__main__":
    main()
