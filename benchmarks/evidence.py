"""Time of L_1000 on 1,000 images with a 784-512-20 network, against pythae's `get_nll` and the matrix products alone.

On a machine that others share, `--clock cpu --threads 1` counts the seconds that are computed.

python benchmarks/evidence.py [--repeats 3] [--images 1000] [--clock cpu --threads 1]        needs the `bench` extra
"""

from __future__ import annotations

import argparse

import torch
from contenders import binary_images, lowerbound_model, pythae_perceptron
from timing import CLOCKS, interleave, report
from torch import Tensor

from lowerbound.evaluate import log_evidence

SAMPLES = 1000
ROWS = 1280  # what `log_evidence` decodes at a time: 20 samples of 64 images


def products(images: int, hidden: int, latent: int, pixels: int) -> Tensor:
    """The decoder's two products for every image and sample, in the blocks of `log_evidence`, and nothing else."""
    z, first, second = torch.randn(ROWS, latent), torch.randn(latent, hidden), torch.randn(hidden, pixels)
    h, out = torch.empty(ROWS, hidden), torch.empty(ROWS, pixels)
    for _ in range(images * SAMPLES // ROWS):
        torch.mm(torch.mm(z, first, out=h), second, out=out)
    return out


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--images", type=int, default=1000)
    parser.add_argument("--clock", choices=list(CLOCKS), default="wall")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    images = arguments.images
    x = binary_images(images)
    ours, theirs = lowerbound_model(784, 512, 20), pythae_perceptron(784, 512, 20)
    theirs.eval()

    def pythae_at_its_best() -> object:
        with torch.no_grad():
            return theirs.get_nll(x, n_samples=SAMPLES, batch_size=SAMPLES)

    contenders = {
        "lowerbound log_evidence": lambda: log_evidence(ours, x, num_samples=SAMPLES),
        "matrix products alone": lambda: products(images, 512, 20, 784),
        "pythae get_nll": lambda: theirs.get_nll(x, n_samples=SAMPLES),
        "pythae get_nll, no_grad, batch 1000": pythae_at_its_best,
    }
    protocol = (
        f"{arguments.clock} seconds for L_{SAMPLES} of {images} thresholded MNIST images, 784-512-20 and back, CPU; "
        "pythae as its documentation calls it (batch 100, gradients kept), and under no_grad in batches of 1,000"
    )
    report(
        "evidence",
        protocol,
        interleave(contenders, arguments.repeats, clock=arguments.clock),
        1.0,
        "s",
        "lowerbound log_evidence",
    )


if __name__ == "__main__":
    main()
