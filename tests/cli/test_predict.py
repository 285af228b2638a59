"""`lowerbound predict`: what follows the first frames of clips, as numbers and as pictures."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

import lowerbound as lb


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    """A file of forty clips of four frames, and a run that was fitted to it."""
    folder = tmp_path_factory.mktemp("clips")
    x = np.random.default_rng(0).integers(0, 256, (40, 4, 1, 8, 8)).astype(np.uint8)
    np.save(folder / "clips.npy", x)
    recipe = "rate-distortion-video:code_channels=2,hidden=[4],prior_channels=[4]"
    lb.fit(folder / "clips.npy", recipe, steps=2, device="cpu").save(folder / "run")
    return folder / "clips.npy", folder / "run"


def test_predictions_follow_the_given_frames(cli, clips, tmp_path):
    file, run = clips
    words = ["--data", file, "--count", 3, "--given-frames", 2]
    for seed in (0, 1):
        out = tmp_path / f"{seed}.npz"
        assert cli("predict", run, *words, "--seed", seed, "--out", out).out.startswith("Wrote 3 predictions after 2")
    with np.load(tmp_path / "0.npz") as one, np.load(tmp_path / "1.npz") as other:
        np.testing.assert_array_equal(one["x"], np.load(file)[:3])
        assert one["prediction"].shape == (3, 4, 1, 8, 8)
        assert one["prediction"].dtype == np.uint8
        np.testing.assert_array_equal(one["prediction"][:, :2], other["prediction"][:, :2])
        assert (one["prediction"][:, 2:] != other["prediction"][:, 2:]).any()


def test_predictions_as_pictures(cli, clips, tmp_path):
    file, run = clips
    for ending in ("gif", "png"):
        out = tmp_path / f"next.{ending}"
        assert cli("predict", run, "--data", file, "--count", 2, "--given-frames", 1, "--out", out).code == 0
        with Image.open(out) as picture:
            assert getattr(picture, "n_frames", 1) == (4 if ending == "gif" else 1)


def test_what_has_no_next_frame_is_refused(refused, clips, digits_run, tmp_path):
    file, run = clips
    out = ["--out", tmp_path / "x.npz"]
    assert "is of images; predict is for series, and for clips" in refused(
        "predict", digits_run, "--given-frames", 1, *out
    )
    assert "give 1 to 3" in refused("predict", run, "--data", file, "--given-frames", 4, *out)
