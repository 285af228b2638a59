"""Steps a second of one model on one device: this library, a loop by hand, pythae and Pyro, and their ratios.

A perceptron 784-512-20 on MNIST, or the convolutions of `convolutional_epoch`; batch 128, Adam. A call is a pass over
the rows and ends when its loss is known on the CPU, so that it waits for the device once. Peers that are not installed
are left out and named.

python benchmarks/peers.py [--device cuda] [--net perceptron|convolution] [--rows 60000] [--repeats 5] [--out FILE]
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any, get_args

import torch
from contenders import (
    binary_images,
    lowerbound_model,
    pyro_svi,
    pythae_model,
    pythae_perceptron,
    trained_by_hand,
    trained_by_lowerbound,
    trained_by_pythae,
)
from convolutional_epoch import LATENT, WIDTH, body, decoder, images, ours
from timing import interleave, machine
from torch import Tensor, nn

from lowerbound.training.engine import Device, Precision

_HIDDEN, _BATCH, _OURS = 512, 128, "lowerbound compiled"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=get_args(Device), default="cuda")
    parser.add_argument("--net", choices=["perceptron", "convolution"], default="perceptron")
    parser.add_argument("--rows", type=int, default=60_000)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--no-compile", action="store_true")
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    make = perceptrons if arguments.net == "perceptron" else convolutions
    contenders = make(arguments.rows, arguments.device, not arguments.no_compile)
    found = compared(contenders, arguments.rows // _BATCH, arguments.repeats)
    content = {"protocol": __doc__, "device": arguments.device, "net": arguments.net, "machine": machine(), **found}
    print(json.dumps(found))
    if arguments.out is not None:
        arguments.out.write_text(json.dumps(content, indent=1) + "\n")


def perceptrons(rows: int, device: Device, compile: bool) -> dict[str, Callable[[], object]]:
    """One pass over binary images by each."""
    x = binary_images(rows)
    pixels = x.shape[1]

    def nets() -> tuple[nn.Module, nn.Module]:
        encoder = nn.Sequential(nn.Linear(pixels, _HIDDEN), nn.ReLU(), nn.Linear(_HIDDEN, 2 * LATENT))
        return encoder, nn.Sequential(nn.Linear(LATENT, _HIDDEN), nn.ReLU(), nn.Linear(_HIDDEN, pixels))

    contenders = _own(x, lambda: lowerbound_model(pixels, _HIDDEN, LATENT), device, compile)
    contenders["hand-written"] = trained_by_hand(x.to(device), *nets(), _BATCH)
    if find_spec("pythae"):
        contenders["pythae"] = trained_by_pythae(x, pythae_perceptron(pixels, _HIDDEN, LATENT), _BATCH, device)
    if find_spec("pyro"):
        contenders["pyro"] = pyro_svi(x, _HIDDEN, LATENT, _BATCH, device)
    return contenders


def convolutions(rows: int, device: Device, compile: bool) -> dict[str, Callable[[], object]]:
    """One pass over images by each."""
    x = images(rows)
    contenders = _own(x, ours, device, compile)
    encoder = nn.Sequential(body(), nn.Linear(WIDTH, 2 * LATENT))
    contenders["hand-written"] = trained_by_hand(x.to(device), encoder, decoder(), _BATCH)
    if find_spec("pythae"):
        model = pythae_model((1, 28, 28), LATENT, body(), WIDTH, decoder(nn.Sigmoid()))
        contenders["pythae"] = trained_by_pythae(x, model, _BATCH, device)
    return contenders


def _own(x: Tensor, model: Callable[[], Any], device: Device, compile: bool) -> dict[str, Callable[[], object]]:
    """This library, in each form and precision that it has here."""
    forms: list[tuple[str, bool, Precision]] = [
        (_OURS, True, "fp32"),
        ("lowerbound compiled, bf16", True, "bf16"),
        ("lowerbound eager", False, "fp32"),
        ("lowerbound eager, bf16", False, "bf16"),
    ]
    return {
        name: trained_by_lowerbound(x, model(), _BATCH, compile=whole, precision=precision, device=device)
        for name, whole, precision in forms
        if compile or not whole
    }


def compared(contenders: Mapping[str, Callable[[], object]], steps: int, repeats: int) -> dict[str, Any]:
    """Median steps a second of each, and how many times as many the first takes."""
    seconds = interleave(contenders, repeats)
    rates = {name: steps / statistics.median(taken) for name, taken in seconds.items()}
    first = next(iter(rates))
    return {
        "steps_per_second": {name: round(rate, 1) for name, rate in rates.items()},
        f"times_as_fast_is_{first}": {name: round(rates[first] / rate, 2) for name, rate in rates.items()},
        "not_installed": [name for name in ("pythae", "pyro") if not find_spec(name)],
        "on": torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu",
    }


if __name__ == "__main__":
    main()
