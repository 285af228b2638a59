"""The VAE/GAN of Larsen et al. (2016, arXiv:1512.09300) beside a VAE of the same nets, on the 8 × 8 digits.

Both have the encoder and the decoder of the recipe `vae` (two layers of 128), 8 latents and a Gaussian likelihood of
scale 0.1, and as many steps. The quality of draws x ~ p(x | z) is that of `evaluate.sample_quality`, in features of a
classifier of digits that is fitted for it, against the test rows: precision, recall, density, coverage and the Fréchet
distance. Medians over seeds. The picture shows E[x | z].

The discriminator, 64-128-128-1, is the same twice. Reconstructions are compared in its first layer, or in its last one
before the logit.

What differs from the paper: digits in place of faces, perceptrons in place of convolutions, Adam.

python papers/vae_gan_digits.py          writes results/vae_gan_digits.json and .png
"""

from __future__ import annotations

import argparse
import json
import statistics
from pathlib import Path
from typing import Any

import numpy as np

import lowerbound as lb
from lowerbound.plots.style import new_figure

RESULTS = Path(__file__).parent / "results"
NETS: dict[str, Any] = {"latent_dim": 8, "hidden": [128, 128], "likelihood": "normal:scale=0.1"}
SCORES = ("precision", "recall", "density", "coverage", "frechet")
VAEGAN = "vaegan:beta=0.1,gamma=1.0,warmup=1000"
SETTINGS: dict[str, dict[str, Any]] = {
    "vae": {"objective": "elbo:rate=kl", "gradient": "pathwise", "num_samples": 1, "lr": 2e-3},
    "vae-gan": {"loss": f"{VAEGAN},hidden=[],features=128,after=[128]", "lr": 2e-3},
    "vae-gan, last layer": {"loss": f"{VAEGAN},hidden=[128],features=128,after=[]", "lr": 2e-3},
}


def fit(name: str, seed: int, steps: int) -> tuple[lb.Fitted, dict[str, Any]]:
    """One fit, and how good its samples are."""
    recipe = name.split(",", maxsplit=1)[0]
    fitted = lb.fit("digits", recipe, **NETS, **SETTINGS[name], steps=steps, batch_size=64, seed=seed, compile=False)
    found = fitted.sample_quality()
    best = max((r["held_out"] or {}).get("sample_score", -np.inf) for r in fitted.records)
    return fitted, {**{score: found[score] for score in SCORES}, "features": found["features"], "best_score": best}


def draw(fits: dict[str, lb.Fitted], path: Path) -> None:
    """Forty samples of each."""
    figure = new_figure(12.0, 2.6)
    for axes, (name, fitted) in zip(figure.subplots(1, len(fits)), fits.items(), strict=True):
        _, mean, _ = fitted.draw(40)
        rows = mean.reshape(4, 10, 8, 8).permute(0, 2, 1, 3).reshape(32, 80)
        axes.imshow(rows, cmap="gray_r", vmin=0, vmax=1)
        axes.set_title(name, loc="left", fontsize=11)
        axes.set_axis_off()
    figure.savefig(path, dpi=110)


def main() -> None:
    """Fit, write and draw."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--out", type=Path, default=RESULTS)
    given = parser.parse_args()
    found: dict[str, Any] = {"steps": given.steps}
    shown: dict[str, lb.Fitted] = {}
    for name in SETTINGS:
        fits = [fit(name, seed, given.steps) for seed in range(given.seeds)]
        seeds = [numbers for _, numbers in fits]
        medians = {score: statistics.median(numbers[score] for numbers in seeds) for score in SCORES}
        found[name], shown[name] = {"seeds": seeds, "median": medians}, fits[0][0]
        print(name, medians, flush=True)
    (given.out / "vae_gan_digits.json").write_text(json.dumps(found, indent=2) + "\n")
    draw(shown, given.out / "vae_gan_digits.png")


if __name__ == "__main__":
    main()
