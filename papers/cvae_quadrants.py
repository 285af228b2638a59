"""Completing MNIST digits of which one, two or three quadrants are seen (Sohn, Lee & Yan 2015, NeurIPS 28).

Compared are a plain net, which gives each missing pixel a probability, and a conditional VAE built on top of it: its
three nets see the observed pixels and the prediction of the plain net. The protocol is that of the Pyro tutorial where
not said otherwise: grey pixels scored as Bernoulli (cross-entropy), summed over the missing ones only; observed is the
lower left quadrant (1), the left half (2), or all but the lower right quadrant (3); two hidden layers of 500, ReLU,
Adam 1e-3, batches of 128, at most 50 passes, patience of 3. Unlike there, the best weights are chosen on 5,000 training
images, which are not trained on, and never on the test images; the generation net sees the condition too; z has 50
dimensions rather than 200.

Three numbers for the CVAE, each in nats for each of the test images, lower is better:
    negative ELBO, 10 draws from q(z | x, c): what the table of the tutorial calls Monte Carlo (its code evaluates the
        ELBO, with the recognition net, on the test images by which training was stopped);
    Monte Carlo: −log (1/S) Σ p(x | z, c), z from the prior net, which sees nothing of x;
    importance sampling: the same with z from the recognition net.
The last two also for the first twentieth of the test images with more samples, and for the first fifth of them
binarized (each missing pixel drawn once, with a fixed seed; the condition stays grey).

python papers/cvae_quadrants.py --observed 1 2 3
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from lowerbound.data import InMemory, load
from lowerbound.evaluate import Evidence, log_evidence
from lowerbound.evaluate.conditional_evidence import prior_evidence
from lowerbound.gradients import Pathwise
from lowerbound.likelihoods import Bernoulli
from lowerbound.losses import LossOutput, VariationalLoss
from lowerbound.models.conditional_autoencoder import ConditionalModel, cvae
from lowerbound.nets import MLP
from lowerbound.objectives import ELBO
from lowerbound.plots import image_grid
from lowerbound.randomness import forked
from lowerbound.training.loop import HeldOut, steps_for, train

RESULTS = Path(__file__).parent / "results"
BATCH = 128
PUBLISHED = {
    "paper, test": {
        "plain net": {"1": 99.75, "2": 62.18, "3": 25.99},
        "Monte Carlo": {"1": 68.39, "2": 45.34, "3": 20.96},
        "importance sampling": {"1": 63.91, "2": 44.73, "3": 20.95},
    },
    "Pyro tutorial": {
        "plain net": {"1": 100.4, "2": 61.9, "3": 25.4},
        "negative ELBO": {"1": 71.8, "2": 51.0, "3": 24.2},
    },
}


class PlainNet(nn.Module):
    """The baseline: p(x | c) a product over the missing pixels, and its cross-entropy as a loss."""

    def __init__(self, num_observed: int, hidden: list[int], num_missing: int):
        super().__init__()
        self.likelihood = Bernoulli(MLP(num_observed, hidden, num_missing))

    def forward(self, x: Tensor, observed: Tensor) -> LossOutput:
        """Minus the mean log p(x | c) of a batch."""
        bound = self.likelihood(observed).log_prob(x).mean()
        return LossOutput(-bound, {"bound": bound.detach()})


def main() -> None:
    """Read the options and run, saving after each number of quadrants."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--observed", type=int, nargs="+", choices=(1, 2, 3), default=[1, 2, 3])
    parser.add_argument("--epochs", type=float, default=50)
    parser.add_argument("--patience", type=int, default=3)
    parser.add_argument("--hidden", type=int, nargs="+", default=[500, 500])
    parser.add_argument("--latent-dim", type=int, default=50)
    parser.add_argument("--data", default="mnist")
    parser.add_argument("--train-images", type=int, default=60_000, help="of which a twelfth is held out")
    parser.add_argument("--test-images", type=int, default=10_000)
    parser.add_argument("--samples", type=int, default=100, help="S, for all test images")
    parser.add_argument("--more-samples", type=int, default=1000, help="S, for the first twentieth of them")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=RESULTS / "cvae_quadrants.json")
    given = parser.parse_args()
    options = {name: value for name, value in vars(given).items() if name not in ("observed", "out")}
    results = {**earlier(given.out, options), "protocol": __doc__, "published": PUBLISHED, "options": options}
    given.out.parent.mkdir(parents=True, exist_ok=True)
    for count in given.observed:
        results[str(count)] = run(count, given)
        given.out.write_text(json.dumps(results, indent=2) + "\n")
        print(count, "observed:", json.dumps(results[str(count)]["nats"]), flush=True)


def earlier(path: Path, options: dict[str, Any]) -> dict[str, Any]:
    """What was saved before with the same options, for other numbers of quadrants."""
    saved = json.loads(path.read_text()) if path.exists() else {}
    return saved if saved.get("options") == options else {}


def run(count: int, given: argparse.Namespace) -> dict[str, Any]:
    """Train both for one number of observed quadrants, score, and draw."""
    dataset = load(given.data)
    images = {"train": dataset.x_train[: given.train_images], "test": dataset.x_test[: given.test_images]}
    grey = {part: torch.as_tensor(x).float().flatten(1) / int(dataset.x_train.max()) for part, x in images.items()}
    height, width = dataset.x_train.shape[1:]
    seen = observed_pixels(height, width, count)
    observed = {part: x[:, seen] for part, x in grey.items()}
    missing = {part: x[:, ~seen] for part, x in grey.items()}
    torch.manual_seed(given.seed)
    plain = PlainNet(int(seen.sum()), given.hidden, int((~seen).sum()))
    plain.likelihood.initialize(missing["train"])
    plain_curve = list(fit("plain net", plain, missing["train"], observed["train"], given))
    with torch.no_grad():
        context = {part: torch.cat([c, plain.likelihood(c).mean], -1) for part, c in observed.items()}
    model = cvae(
        missing["train"].shape[1:],
        context_shape=context["train"].shape[1:],
        latent_dim=given.latent_dim,
        hidden=given.hidden,
    )
    model.initialize(missing["train"])
    loss = VariationalLoss(model, ELBO(rate="kl"), Pathwise())
    curve = list(fit("CVAE", loss, missing["train"], context["train"], given))
    draw(count, plain, model, grey["test"], context["test"], seen, given)
    scores = score(plain, model, observed["test"], missing["test"], context["test"], given)
    return {"nats": scores, "training": {"plain net": plain_curve, "CVAE": curve}}


def observed_pixels(height: int, width: int, count: int) -> Tensor:
    """Which of the height × width pixels are seen: lower left, the left half, or all but lower right."""
    seen = torch.zeros(height, width, dtype=torch.bool)
    seen[height // 2 :, : width // 2] = True
    if count == 2:
        seen[:, : width // 2] = True
    if count == 3:
        seen[: height // 2] = True
    return seen.flatten()


def fit(
    name: str, loss: nn.Module, x: Tensor, context: Tensor, given: argparse.Namespace
) -> Iterator[dict[str, float | str | None]]:
    """Train on eleven twelfths, keep the best weights by the rest; yields a line for each pass."""
    held = len(x) // 12
    num_train = len(x) - held
    one_pass = steps_for(1, num_train, BATCH)
    plan = HeldOut(source=InMemory((x[num_train:], context[num_train:])), every=one_pass, patience=given.patience)
    source = InMemory((x[:num_train], context[:num_train]))
    steps = steps_for(given.epochs, num_train, BATCH)
    for record in train(
        loss,
        source,
        num_steps=steps,
        batch_size=BATCH,
        log_every=one_pass,
        held_out=plan,
        seed=given.seed,
        compile=False,
    ):
        assert record.held_out is not None
        line = {"epoch": round(record.epoch, 2), "seconds": round(record.seconds, 1), "train": record.terms["bound"]}
        print(f"{name}: {line}, held out {record.held_out['bound']:.3f}, {record.stopped or ''}", flush=True)
        yield {**line, "held_out": record.held_out["bound"], "stopped": record.stopped}


@torch.no_grad()
def score(
    plain: PlainNet, model: ConditionalModel, observed: Tensor, x: Tensor, c: Tensor, given: argparse.Namespace
) -> dict[str, Any]:
    """Every number of the protocol, with the error over images (and that of the samples alone)."""
    loss = -plain.likelihood(observed).log_prob(x)
    scores: dict[str, Any] = {"plain net": {"value": loss.mean().item(), **error(loss), "num_images": len(x)}}
    few = log_evidence(model, x, num_samples=10, context=c, seed=given.seed)
    scores["negative ELBO"] = {"value": -few.mean_elbo, **error(few.elbo), "num_images": len(x), "num_samples": 10}
    with forked(torch.device("cpu"), given.seed):
        binary = torch.bernoulli(x)
    fifth, twentieth = (slice(0, max(1, len(x) // part)) for part in (5, 20))
    for label, values, samples, rows in (
        ("", x, given.samples, slice(None)),
        ("", x, given.more_samples, twentieth),
        (", binarized", binary, given.samples, fifth),
    ):
        for name, estimate in {"Monte Carlo": prior_evidence, "importance sampling": log_evidence}.items():
            start = time.perf_counter()
            got = estimate(model, values[rows], num_samples=samples, context=c[rows], seed=given.seed)
            scores[f"{name}{label}, S = {samples}"] = plainly(got, time.perf_counter() - start)
    loss = -plain.likelihood(observed[fifth]).log_prob(binary[fifth])
    scores["plain net, binarized"] = {"value": loss.mean().item(), **error(loss), "num_images": len(loss)}
    return scores


def error(values: Tensor) -> dict[str, float]:
    """The standard error of a mean over images."""
    return {"standard_error": values.double().std().item() / len(values) ** 0.5}


def plainly(evidence: Evidence, seconds: float) -> dict[str, float]:
    """A negative log-likelihood, its errors, and how far to trust it."""
    return {
        "value": -evidence.mean,
        "standard_error": evidence.standard_error_of_mean,
        "sampling_error": evidence.sampling_error_of_mean,
        "unreliable_fraction": evidence.unreliable_fraction,
        "num_images": len(evidence.log_evidence),
        "num_samples": evidence.num_samples,
        "seconds": round(seconds, 1),
    }


@torch.no_grad()
def draw(
    count: int,
    plain: PlainNet,
    model: ConditionalModel,
    x: Tensor,
    context: Tensor,
    seen: Tensor,
    given: argparse.Namespace,
    columns: int = 10,
    draws: int = 6,
) -> None:
    """Row by row: what is seen, the truth, the plain net, and draws of the CVAE."""
    x, context = x[:columns], context[:columns]
    with forked(torch.device("cpu"), given.seed):
        samples = model.sample_mean(draws, context)
    rows = [x.where(seen, torch.tensor(0.5)), x]
    for filled in (plain.likelihood(x[:, seen]).mean, *samples):
        image = x.clone()
        image[:, ~seen] = filled
        rows.append(image)
    side = round(x.shape[1] ** 0.5)
    pictures = np.asarray(torch.cat(rows)).reshape(-1, side, side)
    title = f"{count} quadrant(s) observed: input, truth, plain net, {draws} draws of the CVAE"
    image_grid(pictures, columns, title=title).savefig(given.out.with_name(f"{given.out.stem}_{count}.png"))


if __name__ == "__main__":
    main()
