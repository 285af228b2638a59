"""Bits that a prior over time saves of moving digits, at pictures that are the same to the last bit.

One encoder and decoder are trained with the coder of frames (`prior=frames`), and then held. On their rounded codes two
priors are trained alone: that of frames, and that of motion, both with the same p̃ of the first frame. Clips are the
first test clips, and some of twice as many frames, which no training saw. With --run the trained coder of frames is
kept there and is not trained again.

python benchmarks/motion.py [--steps 2000] [--alone 1000] [--clips 300] [--run FOLDER]
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from timing import RESULTS, machine
from torch import Tensor, nn

import lowerbound as lb
from lowerbound.data import load
from lowerbound.data.moving_digits import moving_digits
from lowerbound.models.rate_distortion_video import OverTime, rate_distortion_video

HIDDEN, SIZES = [16, 32], {"window": 3, "prior_channels": [32, 32]}
BATCH, FRAMES_ALONE, LONG_CLIPS, SEED = 16, 300, 100, 77


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--alone", type=int, default=1000)
    parser.add_argument("--clips", type=int, default=300)
    parser.add_argument("--run", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    data = load("moving-digits")
    held = _coder_of_frames(data, arguments.steps, arguments.run).model.state_dict()
    frames, motion = _model("frames", 10, held), _model("motion", 10, held)
    z = _codes(frames, np.asarray(data.x_train))
    _train(frames, frames.prior.parameters(), z, FRAMES_ALONE)
    motion.prior.first.load_state_dict(frames.prior.first.state_dict())
    start = time.process_time()
    _train(motion, motion.prior.motion.parameters(), z, arguments.alone)
    seconds = time.process_time() - start
    longer = moving_digits(np.asarray(load("mnist").x_test), LONG_CLIPS, num_frames=20, seed=SEED)
    results = {f"{x.shape[1]} frames": _measured(frames, motion, x) for x in (data.x_test[: arguments.clips], longer)}
    content = {"machine": machine(), "steps": [arguments.steps, FRAMES_ALONE, arguments.alone], "results": results}
    (RESULTS / "motion.json").write_text(json.dumps({**content, "cpu_seconds_of_motion": seconds}, indent=1) + "\n")
    for name, found in results.items():
        print(name, *(f"{key} {value:.4f}" for key, value in found.items()))


def _coder_of_frames(data: Any, steps: int, run: Path | None) -> lb.Fitted:
    if run is not None and run.exists():
        return lb.Fitted.open(run)
    sizes = {"hidden": HIDDEN, "batch_size": BATCH, "prior_epochs": 0, "objective": "beta-elbo:beta=1.0"}
    fitted = lb.fit(data, "rate-distortion-video", prior="frames", steps=steps, device="cpu", **sizes)
    if run is not None:
        fitted.save(run)
    return fitted


def _model(prior: OverTime, num_frames: int, state: dict[str, Tensor]) -> Any:
    """A model in eval mode, which rounds, with the weights that there are."""
    model = rate_distortion_video((num_frames, 1, 32, 32), prior=prior, hidden=HIDDEN, **SIZES)
    model.load_state_dict(state, strict=False)
    return model.eval()


@torch.no_grad()
def _codes(model: Any, x: np.ndarray) -> Tensor:
    blocks = np.array_split(np.asarray(x), max(1, len(x) // 100))
    return torch.cat([model.infer(torch.as_tensor(block).float() / 255).sample() for block in blocks])


def _train(model: Any, parameters: Iterable[nn.Parameter], z: Tensor, steps: int) -> None:
    """Let a part of the prior learn codes, all else held."""
    learning = list(parameters)
    optimizer, g = torch.optim.Adam(learning, 3e-3), torch.Generator().manual_seed(1)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for step in range(1, steps + 1):
        rows = torch.randint(len(z), (BATCH,), generator=g)
        loss = -model.prior().log_prob(z[rows]).mean() / z[0].numel()
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(learning, 1.0)
        optimizer.step()
        schedule.step()
        if step % 100 == 0:
            print(f"step {step}  {loss.item() * z[0].numel() / math.log(2):.0f} bits a clip", flush=True)


@torch.no_grad()
def _measured(frames: Any, motion: Any, x: np.ndarray) -> dict[str, float]:
    x, num = np.asarray(x), x.shape[1]
    models = [_model("frames", num, frames.state_dict()), _model("motion", num, motion.state_dict())]
    z = _codes(models[0], x)
    seen = models[0].decode(z).mean
    assert torch.equal(z, _codes(models[1], x))
    assert torch.equal(seen, models[1].decode(z).mean)
    error = (seen.clamp(0, 1).mul(255).round() - torch.as_tensor(x).float()).div(255).square().mean().item()
    bits = [torch.cat([-m.prior().log_prob(part) for part in z.split(25)]) / math.log(2) for m in models]
    first = -models[0].prior.first().log_prob(z[:, 0]) / math.log(2)
    saved = 1 - bits[1] / bits[0]
    return {
        "clips": len(x),
        "psnr": -10 * math.log10(error),
        "frames_bits_per_pixel": bits[0].mean().item() / x[0].size,
        "motion_bits_per_pixel": bits[1].mean().item() / x[0].size,
        "saved_percent": 100 * (1 - bits[1].sum() / bits[0].sum()).item(),
        "standard_error": 100 * saved.std().item() / len(x) ** 0.5,
        "first_frame_bits": first.mean().item(),
        "later_frame_bits": (bits[1] - first).mean().item() / (num - 1),
    }


if __name__ == "__main__":
    main()
