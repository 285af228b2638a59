"""Bits that a prior over time saves of moving digits, at pictures that are the same to the last bit.

One encoder and decoder are trained with the coder of frames (`prior=frames`), and then held. On their rounded codes two
priors are trained alone: that of frames, until it changes no more, and that of motion, whose p̃ of the first frame is
the same. "Counted" is what no prior of independent frames can go below: the frequency of each number in the training
clips, for each channel. Clips are the first test clips, and some of twice as many frames, which no training saw. With
--run the trained coder of frames is kept there and is not trained again; with --keep the prior of motion is, and is
trained for --alone steps more.

python benchmarks/motion.py [--steps 2000] [--alone 1000] [--clips 300] [--run FOLDER] [--keep FILE]
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from timing import RESULTS, machine
from torch import Tensor, nn

import lowerbound as lb
from lowerbound.data import load
from lowerbound.data.moving_digits import moving_digits
from lowerbound.models.rate_distortion_video import OverTime, rate_distortion_video

HIDDEN, SIZES = [16, 32], {"window": 3, "prior_channels": [32, 32]}
BATCH, FRAMES_ALONE, LONG_CLIPS, SEED = 16, 1500, 100, 77


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--alone", type=int, default=1000)
    parser.add_argument("--clips", type=int, default=300)
    parser.add_argument("--run", type=Path)
    parser.add_argument("--keep", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    data = load("moving-digits")
    held = _coder_of_frames(data, arguments.steps, arguments.run).model.state_dict()
    frames, motion = _model("frames", 10, held), _model("motion", 10, held)
    z = _codes(frames, np.asarray(data.x_train))
    _train(frames, frames.prior.parameters(), z, FRAMES_ALONE, lr=0.1)
    before = _kept(motion, arguments.keep)
    motion.prior.first.load_state_dict(frames.prior.first.state_dict())
    _train(motion, motion.prior.motion.parameters(), z, arguments.alone, lr=3e-3)
    alone = before + arguments.alone
    if arguments.keep is not None:
        save_file({k: v.contiguous() for k, v in motion.state_dict().items()}, arguments.keep, {"steps": str(alone)})
    counted = _frequencies(z)
    longer = moving_digits(np.asarray(load("mnist").x_test), LONG_CLIPS, num_frames=20, seed=SEED)
    results = {
        f"{x.shape[1]} frames": _measured(frames, motion, counted, x) for x in (data.x_test[: arguments.clips], longer)
    }
    content = {"machine": machine(), "steps": arguments.steps, "steps_of_motion_alone": alone, "results": results}
    (RESULTS / "motion.json").write_text(json.dumps(content, indent=1) + "\n")
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


def _train(model: Any, parameters: Iterable[nn.Parameter], z: Tensor, steps: int, lr: float) -> None:
    """Let a part of the prior learn codes, all else held."""
    learning = list(parameters)
    optimizer, g = torch.optim.Adam(learning, lr), torch.Generator().manual_seed(1)
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


def _kept(model: Any, path: Path | None) -> int:
    """Load the weights of a file, if it is there, and say for how many steps they were trained."""
    if path is None or not path.exists():
        return 0
    with safe_open(path, "pt") as file:
        model.load_state_dict({name: file.get_tensor(name) for name in file.keys()})  # noqa: SIM118
        return int(file.metadata()["steps"])


def _frequencies(z: Tensor) -> Tensor:
    """−log₂ of the share of each number from −128 to 127, with one more of each, for each channel (channel, 256)."""
    counts = torch.stack([torch.bincount(c.flatten().long() + 128, minlength=256) for c in z.unbind(2)]) + 1.0
    return -(counts / counts.sum(1, keepdim=True)).log2()


@torch.no_grad()
def _measured(frames: Any, motion: Any, counted: Tensor, x: np.ndarray) -> dict[str, float]:
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
    least = sum(counted[c][part.long() + 128].sum().item() for c, part in enumerate(z.unbind(2)))
    return {
        "clips": len(x),
        "psnr": -10 * math.log10(error),
        "frames_bits_per_pixel": bits[0].mean().item() / x[0].size,
        "motion_bits_per_pixel": bits[1].mean().item() / x[0].size,
        "saved_percent": 100 * (1 - bits[1].sum() / bits[0].sum()).item(),
        "counted_bits_per_pixel": least / x.size,
        "saved_of_counted_percent": 100 * (1 - bits[1].sum().item() / least),
        "standard_error": 100 * saved.std().item() / len(x) ** 0.5,
        "first_frame_bits": first.mean().item(),
        "later_frame_bits": (bits[1] - first).mean().item() / (num - 1),
    }


if __name__ == "__main__":
    main()
