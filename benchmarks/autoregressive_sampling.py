"""Time of drawing images of 28 × 28 pixels one by one: with kept activations, and by the whole net for each.

python benchmarks/autoregressive_sampling.py [--repeats 3] [--count 16]
"""

from __future__ import annotations

import argparse

import torch
from timing import interleave, report

from lowerbound.distributions.autoregressive import AutoregressiveDistribution
from lowerbound.likelihoods import Autoregressive
from lowerbound.nets import MLP

SIDE = 28


def distribution(network: str, count: int) -> AutoregressiveDistribution:
    """p(x | z) of `count` latents, as the recipe pixel-vae makes it."""
    torch.manual_seed(0)
    net = MLP(16, [128], Autoregressive.parameter_shape((SIDE, SIDE)))
    return Autoregressive(net, (SIDE, SIDE), network=network)(torch.randn(count, 16))  # type: ignore[arg-type]


@torch.no_grad()
def naive(p: AutoregressiveDistribution) -> torch.Tensor:
    """A draw that calls the whole net for every pixel."""
    x = torch.zeros(*p.batch_shape, SIDE, SIDE, 1, 1)
    for i in range(SIDE):
        for j in range(SIDE):
            parameters = p.net(x, p.context)[:, i, j]
            x[:, i, j] = p.family(parameters).sample()
    return x.reshape(p.batch_shape + p.event_shape)


def check(p: AutoregressiveDistribution) -> None:
    """Both give the same images from the same random numbers."""
    images = []
    for draw in (p.sample, lambda: naive(p)):
        torch.manual_seed(1)
        images.append(draw())
    assert torch.equal(*images), "the draws differ"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--count", type=int, default=16)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    convolution, transformer = (distribution(kind, arguments.count) for kind in ("convolution", "transformer"))
    check(convolution)
    contenders = {
        "convolution, kept": convolution.sample,
        "convolution, whole net": lambda: naive(convolution),
        "transformer, kept": transformer.sample,
    }
    protocol = (
        f"seconds for {arguments.count} images of {SIDE} x {SIDE}, one thread: 16 channels, 4 layers, a Bernoulli "
        "variable for each pixel; the two draws of the convolution were equal bit for bit"
    )
    seconds = interleave(contenders, arguments.repeats, warmup=0)
    report("autoregressive_sampling", protocol, seconds, 1.0, "s", "convolution, kept")


if __name__ == "__main__":
    main()
