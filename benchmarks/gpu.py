"""What is measured on a GPU, in pieces of at most ten minutes, each saved as it ends.

A piece is a command; the first is the tests marked gpu. Its exit status, seconds and last lines are written to
results/gpu/NAME.json as soon as it has ended or its time is over; a piece that is there already with status 0 is not
run again, so that the same command goes on where it ended early. The long pieces keep their runs in results/gpu/runs
and go on from their last checkpoint: about 25 minutes are three calls. Where a machine is lent for ten minutes a call
and gives back one folder, `--out` is that folder, filled with what the call before gave back, and `--limit 540` lets a
piece be saved before the machine is gone. MNIST and Fashion-MNIST lie in the folder that $LOWERBOUND_DATA names, or
are downloaded. What the long pieces are to reach, nats per image of dynamic MNIST unless said:

    very deep maps     −L_1000 ≤ 81.5          pixel-vae            −L_1000 ≤ 81
    draw 32            −L_1000 ≤ 88            fashion maps         bits/dim 0.15 below its `plain-maps`

python benchmarks/gpu.py [--only NAME …] [--out FOLDER] [--limit 540]        needs a CUDA device
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from shlex import split

__all__ = ["PIECES", "run_pieces"]

HERE = Path(__file__).parent
LIMIT = 600
_PEERS = [sys.executable, str(HERE / "peers.py"), "--device", "cuda", "--out", "{out}/peers", "--net"]
PAPERS = HERE.parent / "papers"
_PATH = [
    sys.executable,
    str(PAPERS / "dense_path.py"),
    *split("--device cuda --test-images 1000 --evidence-samples 1000 --runs {runs} --out {runs}/result.json"),
]
_FIT = [sys.executable, "-m", "lowerbound", "fit", "mnist", "--device", "cuda"]
_WHOLE = [sys.executable, str(HERE / "whole_step.py"), *split("--device cuda --out {runs}/result.json")]
PIECES: Mapping[str, list[str]] = {
    "tests": [sys.executable, "-m", "pytest", "-m", "gpu", str(HERE.parent / "tests")],
    "whole step": [*_WHOLE, "--only", "784-512-20", "vae, elbo", "vae, convolution", "very-deep"],
    "waiting": [
        sys.executable,
        str(HERE / "waiting.py"),
        "--device",
        "cuda",
        "--steps",
        "3000",
        "--out",
        "{out}/waiting",
    ],
    "peers perceptron": [*_PEERS, "perceptron"],
    "peers convolution": [*_PEERS, "convolution"],
    "vae": [*_FIT, "--epochs", "30", "--out", "{out}/vae"],
    "vae compiled": [*_FIT, "--epochs", "30", "--compile", "--out", "{out}/vae-compiled"],
    "vae bf16": [*_FIT, "--epochs", "30", "--precision", "bf16", "--out", "{out}/vae-bf16"],
    "convolution": [*_FIT, "--network", "convolution", "--epochs", "10", "--out", "{out}/convolution"],
    "very deep": [*_FIT, "--recipe", "very-deep", "--steps", "3000", "--out", "{out}/very-deep"],
    "very deep maps": [*_PATH, "--only", "maps", "--steps", "40000"],
    "draw 32": [*_PATH, "--only", "draw-32", "--steps", "40000"],
    "pixel-vae": [
        sys.executable,
        str(PAPERS / "pixels.py"),
        *split("--device cuda --data mnist --only warm-up --steps 30000 --latent-dim 32 --hidden 512 --channels 32"),
        *split("--layers 6 --evidence-samples 1000 --runs {runs} --out {runs}/result.json"),
    ],
    "fashion maps": [
        *_PATH,
        *split("--data fashion-mnist --likelihood discretized-logistic --only maps plain-maps --steps 20000"),
    ],
    "vae-gan": [*_FIT, "--recipe", "vae-gan", "--epochs", "10", "--out", "{out}/vae-gan"],
    "whole step of each model": _WHOLE,
}


def run_pieces(pieces: Mapping[str, list[str]], folder: Path, limit: float, only: Iterable[str] = ()) -> int:
    """Run the pieces that are not saved, and save each; how many failed.

    Arguments:
        pieces: commands by name; "{out}" in a word is a folder that is removed at the end of the piece, "{runs}" one
            that stays, from which a piece that was stopped goes on.
        folder: where results are saved.
        limit: seconds after which a piece is stopped.
        only: names; all pieces if none.
    """
    folder.mkdir(parents=True, exist_ok=True)
    failed = 0
    for name, words in pieces.items():
        path = folder / f"{name.replace(' ', '-')}.json"
        saved = json.loads(path.read_text()) if path.exists() else {}
        if (only and name not in only) or saved.get("status") == 0:
            continue
        found = _run([word.replace("{runs}", str(folder / "runs" / path.stem)) for word in words], limit)
        path.write_text(json.dumps({"piece": name, "command": words, **found}, indent=1))
        print(f"{name}: status {found['status']} after {found['seconds']:.0f} s, saved in {path}", flush=True)
        failed += found["status"] != 0
    return failed


def _run(words: list[str], limit: float) -> dict[str, object]:
    start = time.monotonic()
    with tempfile.TemporaryDirectory() as out, tempfile.TemporaryFile("w+") as said:
        command = [word.replace("{out}", out) for word in words]
        try:
            status = subprocess.run(
                command, stdout=said, stderr=subprocess.STDOUT, timeout=limit, check=False
            ).returncode
        except subprocess.TimeoutExpired:
            status = 124
        said.seek(0)
        lines = said.read().splitlines()[-60:]
        kept = [Path(out) / name for name in ("waiting", "peers")]
        results = {path.name: json.loads(path.read_text()) for path in kept if path.exists()}
    return {"status": status, "seconds": time.monotonic() - start, "lines": lines, **results}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", default=[], choices=list(PIECES), metavar="NAME")
    parser.add_argument("--out", type=Path, default=HERE / "results" / "gpu", help="folder of the results and runs")
    parser.add_argument("--limit", type=float, default=LIMIT, help="seconds after which a piece is stopped")
    arguments = parser.parse_args()
    import torch

    if not torch.cuda.is_available():
        raise SystemExit("There is no CUDA device here; run this where nvidia-smi lists one.")
    raise SystemExit(min(run_pieces(PIECES, arguments.out, arguments.limit, arguments.only), 1))


if __name__ == "__main__":
    main()
