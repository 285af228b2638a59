r"""Images by a factorised decoder, by a causal net without latents, and by both, with and without remedies.

    vae                p(z) Π_d p(x_d | z)              L_K
    no latents         Π_d p(x_d | x_<d)                log p(x) exact
    pixel-vae          p(z) Π_d p(x_d | x_<d, z)        L_K, and with: a warm-up of the rate; hidden positions
                                                        (`position_dropout`); the auxiliary loss; free bits; aggressive
                                                        training of the encoder

scikit-learn's digits, 8 × 8, or MNIST, 28 × 28, split as the library does. Every model has the same encoder, sees the
same number of batches of 100, and is trained by Adam at a rate that falls from --lr to a hundredth of it by a cosine;
the last weights are scored, on the first --test-images. A factorised decoder is several times faster, so that it is
trained for six times as many steps as well. A warm-up takes a third of --steps.
Bits are drawn anew from the grey values in each batch; the test images are binarized once. One seed. "levels" are the
17 grey values of the digits as mixtures of three discretized logistics instead.
Aggressive training ends its first phase by the mutual information of the last tenth of the training images, which it
does not train on, ten times in all; its weights are those with the best bound of these images.
Seconds are CPU time, with the compilation where --compile is given (on a CPU, and not for aggressive training).

Results are kept in one file. With --runs, training goes on where it was stopped.

python papers/pixels.py --steps 3000
python papers/pixels.py --pixels levels --steps 1500
python papers/pixels.py --data mnist --steps 2000 --latent-dim 16 --hidden 256 --runs runs/pixels \
    --only warm-up "no latents" vae "vae, longer"
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lowerbound.data import InMemory, Pixels, load
from lowerbound.evaluate import log_evidence, summary
from lowerbound.gradients import Pathwise
from lowerbound.likelihoods import Autoregressive
from lowerbound.losses import Aggressive, Auxiliary, Loss, VariationalLoss
from lowerbound.model import LatentVariableModel
from lowerbound.models import DirectedModel, Node, pixel_vae, vae
from lowerbound.objectives import ELBO, BetaELBO, FreeBits
from lowerbound.plots import image_grid
from lowerbound.randomness import forked
from lowerbound.schedules import Cosine
from lowerbound.spelling import outer
from lowerbound.training.checkpoint import Checkpoint
from lowerbound.training.engine import Engine
from lowerbound.training.held_out import HeldOut
from lowerbound.training.loop import train

RESULTS = Path(__file__).parent / "results"
CPU, BATCH, SHOWN, LONGER, BLOCK = torch.device("cpu"), 100, 20, 6, 250
SITES = {"bits": "bernoulli", "levels": "discretized-logistic-mixture:num_components=3,num_levels=17"}
MODELS = (
    "vae",
    "vae, longer",
    "no latents",
    "pixel-vae",
    "warm-up",
    "warm-up and position_dropout 0.3",
    "warm-up and auxiliary 0.2",
    "warm-up and free bits 0.5",
    "aggressive",
)
DECIDE = ("data", "steps", "lr", "pixels", "latent_dim", "hidden", "channels", "layers", "seed")
"""Options that decide the weights."""


def main() -> None:
    """Read the options; train, score and save one model after another."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", choices=["digits", "mnist"], default="digits")
    parser.add_argument("--only", choices=MODELS, nargs="+", default=list(MODELS), metavar="MODEL")
    parser.add_argument("--steps", type=int, default=1500)
    parser.add_argument("--lr", type=float, default=3e-3)
    parser.add_argument("--pixels", choices=list(SITES), default="bits")
    parser.add_argument("--latent-dim", type=int, default=8)
    parser.add_argument("--hidden", type=int, default=128)
    parser.add_argument("--channels", type=int, default=8)
    parser.add_argument("--layers", type=int, default=3)
    parser.add_argument("--test-images", type=int, default=1000)
    parser.add_argument("--evidence-samples", type=int, default=100, help="K")
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--runs", type=Path, help="folder of checkpoints, from which training goes on")
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    torch.set_num_threads(1)
    if given.runs is not None:
        given.runs.mkdir(parents=True, exist_ok=True)
    out = given.out or RESULTS / f"pixels_{given.data}_{given.pixels}.json"
    data = load(given.data)
    pixels = Pixels(scale=data.pixel_scale, binarization="dynamic" if given.pixels == "bits" else "none")
    images = torch.as_tensor(np.asarray(data.x_train))
    with forked(CPU, given.seed):
        x = pixels(torch.as_tensor(np.asarray(data.x_test[: given.test_images])))
    models = json.loads(out.read_text())["models"] if out.exists() else {}
    pictures = [x[:SHOWN].numpy()]
    for name in given.only:
        loss, found = trained(name, images, pixels, given)
        new = {key: value for key, value in found.items() if value is not None}
        models[name] = models.get(name, {}) | new | scores(loss.model, x.to(given.device), given)
        print(name, models[name], flush=True)
        models[name]["options"] = {k: value for k, value in vars(given).items() if k not in ("only", "runs", "out")}
        out.write_text(json.dumps({"protocol": __doc__, "models": models}, indent=2) + "\n")
        with forked(torch.device(given.device), given.seed):
            pictures.append(loss.model.sample(SHOWN).cpu().numpy())
        title = f"Test images, then draws: {'; '.join(given.only[: len(pictures) - 1])}"
        image_grid(np.concatenate(pictures), columns=SHOWN, title=title).savefig(out.with_suffix(".png"))


def loss_of(name: str, shape: tuple[int, ...], given: argparse.Namespace) -> Loss:
    """The untrained loss with its model."""
    site, hidden, wide = SITES[given.pixels], [given.hidden], given.latent_dim
    causal: dict[str, Any] = {"channels": given.channels, "layers": given.layers}
    warmup = max(1, given.steps // 3)
    warm = BetaELBO(1.0, rate="kl", warmup=warmup)
    if name.startswith("vae"):
        return VariationalLoss(vae(shape, latent_dim=wide, likelihood=site, hidden=hidden), warm, Pathwise())
    if name == "no latents":
        node = Node("x", Autoregressive(None, shape, outer(site), **causal))
        return VariationalLoss(DirectedModel([node], observed="x"), ELBO(), Pathwise())
    if name == "warm-up and position_dropout 0.3":
        causal["position_dropout"] = 0.3
    model = pixel_vae(shape, latent_dim=wide, likelihood=site, hidden=hidden, **causal)
    if name == "pixel-vae":
        return VariationalLoss(model, ELBO("kl"), Pathwise())
    if name == "warm-up and auxiliary 0.2":
        return Auxiliary(model, warm, Pathwise(), weight=0.2)
    if name == "warm-up and free bits 0.5":
        return VariationalLoss(model, FreeBits(0.5, warmup=warmup), Pathwise())
    if name == "aggressive":
        return Aggressive(model, ELBO("kl"), Pathwise())
    return VariationalLoss(model, warm, Pathwise())


def steps_of(name: str, given: argparse.Namespace) -> int:
    """How long to train."""
    return given.steps * (LONGER if name == "vae, longer" else 1)


def trained(
    name: str, images: Tensor, pixels: Pixels, given: argparse.Namespace
) -> tuple[Loss, dict[str, float | None]]:
    """The loss after its steps, and what training took; seconds are missing where it had been done before."""
    steps, held_out, first = steps_of(name, given), None, pixels(images[:5000])
    source = InMemory(images, pixels, device=given.device)
    if name == "aggressive":
        rest = len(images) // 10
        source, others = (InMemory(some, pixels, device=given.device) for some in (images[:-rest], images[-rest:]))
        held_out = HeldOut(source=others, every=max(1, steps // 10), batch_size=BLOCK)
    with forked(CPU, given.seed):
        loss = loss_of(name, tuple(images.shape[1:]), given)
        loss.model.initialize(first)
    begun, bound = time.process_time(), None
    records = train(
        loss,
        source,
        num_steps=steps,
        batch_size=BATCH,
        lr=Cosine(given.lr, given.lr / 100, steps),
        seed=given.seed,
        log_every=max(1, min(100, steps // 10)),
        held_out=held_out,
        checkpoint=None if given.runs is None else Checkpoint(path=folder_of(name, given) / "checkpoint.safetensors"),
        compile=given.compile and name != "aggressive",
        engine=Engine(device=given.device),
    )
    for record in records:
        bound = record.terms["bound"]
        if record.step % max(1, steps // 10) == 0:
            print(f"{name}: step {record.step}, bound {bound:.2f}", flush=True)
    loss.eval()
    seconds = None if bound is None else time.process_time() - begun
    return loss, {"steps": steps, "cpu_seconds_training": seconds, "training_bound": bound}


def folder_of(name: str, given: argparse.Namespace) -> Path:
    """Where the checkpoint of a model is, beside the options under which it is trained.

    Raises:
        ValueError: there is one of other options.
    """
    folder: Path = given.runs / name.replace(" ", "-").replace(",", "")
    folder.mkdir(parents=True, exist_ok=True)
    options, told = {key: getattr(given, key) for key in DECIDE}, folder / "options.json"
    if told.exists() and json.loads(told.read_text()) != options:
        raise ValueError(f"{folder} holds a run with other options; remove it, or name another folder.")
    told.write_text(json.dumps(options))
    return folder


def scores(model: LatentVariableModel, x: Tensor, given: argparse.Namespace) -> dict[str, Any]:
    """log p(x), or the ELBO, the rate and L_K, nats per image."""
    if isinstance(model, DirectedModel):
        with torch.inference_mode():
            value = torch.cat([model.log_prob(some) for some in x.split(BLOCK)])
        return {"log_evidence": value.mean().item(), "standard_error": value.std().item() / len(x) ** 0.5}
    evidence = log_evidence(model, x, num_samples=given.evidence_samples, seed=given.seed, max_elements=2**22)
    return {
        "log_evidence": evidence.mean,
        "standard_error": evidence.standard_error_of_mean,
        "elbo": evidence.mean_elbo,
        "rate": summary(model, x, seed=given.seed).rate,
    }


if __name__ == "__main__":
    main()
