"""How much of its time training waits for rows: in memory, on disk read alone, and on disk read in compressed shards.

One model (784-512-20) is trained for the same steps on the same images from an array, from .npy shards and from
compressed .npz shards, of which a tenth are mixed at a time, so that each is read again in each epoch. The share of the
seconds that steps waited for rows is what a `Record` says (`waited`). Interleaved repeats; each result is saved as soon
as it is there.

python benchmarks/waiting.py [--rows 40000] [--steps 600] [--repeats 3] [--device cpu]
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path

import numpy as np
import torch
from timing import RESULTS, machine

from lowerbound import VariationalLoss
from lowerbound.data import Pixels, read_file, source_for
from lowerbound.data.shards import folder
from lowerbound.gradients import Pathwise
from lowerbound.models import vae
from lowerbound.objectives import ELBO
from lowerbound.training.engine import Engine
from lowerbound.training.loop import train

_SHARDS = 40
_MIXED = 4  # as many are read ahead


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=40_000)
    parser.add_argument("--steps", type=int, default=600)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument("--out", type=Path, default=RESULTS / "waiting.json")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    results: dict[str, list[list[float]]] = {"in memory": [], ".npy shards": [], "compressed .npz shards": []}
    with tempfile.TemporaryDirectory() as name:
        places = _written(Path(name), arguments.rows)
        for _ in range(arguments.repeats):
            for form, (place, stream_above) in places.items():
                results[form].append(_one(place, stream_above, arguments))
                said = {"protocol": __doc__, "machine": machine(), "rows": arguments.rows, "steps": arguments.steps}
                said |= {"shards": _SHARDS, "mixed": _MIXED, "results": results}
                arguments.out.write_text(json.dumps(said, indent=1) + "\n")
                seconds, waited = results[form][-1]
                print(f"{form:24s} {seconds:7.1f} s, of which {waited / seconds:6.2%} waiting")


def _written(place: Path, num_rows: int) -> dict[str, tuple[Path, int]]:
    rng = np.random.default_rng(0)
    (place / "npy").mkdir()
    (place / "npz").mkdir()
    for i in range(_SHARDS):
        x = (rng.integers(0, 256, (num_rows // _SHARDS, 28, 28)) * rng.integers(0, 2, (1, 28, 28))).astype(np.uint8)
        np.save(place / "npy" / f"{i:02d}.npy", x)
        np.savez_compressed(place / "npz" / f"{i:02d}.npz", x=x)
    npy, npz = place / "npy", place / "npz"
    return {"in memory": (npy, 2**40), ".npy shards": (npy, 0), "compressed .npz shards": (npz, 0)}


def _one(place: Path, stream_above: int, arguments: argparse.Namespace) -> list[float]:
    engine = Engine(device=arguments.device)
    folder.WINDOW = 2 * _MIXED * (arguments.rows // _SHARDS) * 28 * 28
    source = source_for(read_file(place, stream_above=stream_above), Pixels(), device=engine.torch_device)
    torch.manual_seed(0)
    loss = VariationalLoss(vae((28, 28), latent_dim=20, hidden=[512]), ELBO(), Pathwise())
    *_, last = train(loss, source, num_steps=arguments.steps, engine=engine, compile=False)
    return [last.seconds, last.waited]


if __name__ == "__main__":
    main()
