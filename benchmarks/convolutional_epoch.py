"""Time of one pass over Fashion-MNIST by a convolutional VAE: the same nets by this library, by hand and by pythae.

Encoder: 3×3 convolutions of stride 2 with 32 and 64 channels, a layer of 128, 20 latents; the decoder is its mirror.
Bernoulli pixels, batch 128, Adam. pythae and the loop by hand keep PyTorch's own layout, channels first.

python benchmarks/convolutional_epoch.py [--repeats 5] [--rows 60000] [--clock cpu --threads 1]     needs `bench`
"""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import Any

import numpy as np
import torch
from contenders import pythae_model, trained_by_hand, trained_by_lowerbound, trained_by_pythae
from timing import CLOCKS, interleave, report
from torch import Tensor, nn

import lowerbound as lb

LATENT, CHANNELS, WIDTH = 20, (32, 64), 128


def images(rows: int) -> Tensor:
    """Fashion-MNIST in [0, 1] if it is at hand, else noise: the time is the same."""
    path = Path(os.environ.get("LOWERBOUND_DATA", "")) / "fashion_mnist.npz"
    if path.is_file():
        with np.load(path, allow_pickle=False) as file:
            return torch.from_numpy(file["x_train"][:rows] / np.float32(255)).reshape(rows, 1, 28, 28)
    return torch.rand(rows, 1, 28, 28, generator=torch.Generator().manual_seed(0))


def body() -> nn.Sequential:
    """From images (batch, 1, 28, 28) to vectors (batch, WIDTH)."""
    first, second = CHANNELS
    return nn.Sequential(
        nn.Conv2d(1, first, 3, stride=2, padding=1),
        nn.ReLU(),
        nn.Conv2d(first, second, 3, stride=2, padding=1),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(second * 49, WIDTH),
        nn.ReLU(),
    )


def decoder(*last: nn.Module) -> nn.Sequential:
    """From latents to logits (batch, 1, 28, 28), and whatever comes last."""
    first, second = CHANNELS
    return nn.Sequential(
        nn.Linear(LATENT, WIDTH),
        nn.ReLU(),
        nn.Linear(WIDTH, second * 49),
        nn.ReLU(),
        nn.Unflatten(-1, (second, 7, 7)),
        nn.ConvTranspose2d(second, first, 3, 2, 1, output_padding=1),
        nn.ReLU(),
        nn.ConvTranspose2d(first, 1, 3, 2, 1, output_padding=1),
        *last,
    )


def ours() -> lb.LatentVariableModel:
    """The model by this library."""
    return lb.models.vae((1, 28, 28), latent_dim=LATENT, network="convolution", hidden=CHANNELS)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--rows", type=int, default=60_000, help="a pass over fewer images takes less time")
    parser.add_argument("--clock", choices=list(CLOCKS), default="wall")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    x, batch = images(arguments.rows), 128
    by_hand = nn.Sequential(body(), nn.Linear(WIDTH, 2 * LATENT)), decoder()
    theirs = pythae_model((1, 28, 28), LATENT, body(), WIDTH, decoder(nn.Sigmoid()))
    contenders: dict[str, Any] = {
        "lowerbound compiled": trained_by_lowerbound(x, ours(), batch, compile=True),
        "lowerbound compiled, bf16": trained_by_lowerbound(x, ours(), batch, compile=True, precision="bf16"),
        "lowerbound eager": trained_by_lowerbound(x, ours(), batch, compile=False),
        "lowerbound eager, bf16": trained_by_lowerbound(x, ours(), batch, compile=False, precision="bf16"),
        "hand-written": trained_by_hand(x, *by_hand, batch),
        "pythae 0.1.2": trained_by_pythae(x, theirs, batch),
    }
    protocol = (
        f"{arguments.clock} seconds for one pass over {arguments.rows:,} Fashion-MNIST images, "
        "convolutions of 32 and 64 channels, stride 2, and back, batch 128, Adam, CPU"
    )
    seconds = interleave(contenders, arguments.repeats, clock=arguments.clock)
    report("convolutional_epoch", protocol, seconds, 1.0, "s", "lowerbound compiled")


if __name__ == "__main__":
    main()
