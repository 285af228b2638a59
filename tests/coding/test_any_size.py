"""Pictures of other sizes than those of the fit: windows without seams, bits, names and sizes, and what is refused."""

from __future__ import annotations

from typing import cast

import numpy as np
import pytest
import torch
from torch import nn

import lowerbound as lb
from lowerbound.coding.windows import from_windows, to_map
from lowerbound.data import DataError
from lowerbound.nets import FromMap, ToMap
from lowerbound.verbs.lossless_file import pack, unpack

G = np.random.default_rng(0)
PICTURES = np.kron(G.integers(0, 256, (60, 5, 4, 3)), np.ones((1, 3, 3, 1))).astype(np.uint8)[:, :13, :11]


def picture(height: int, width: int) -> np.ndarray:
    """Cells of four pixels."""
    cells = G.integers(0, 256, (-(-height // 4), -(-width // 4), 3))
    return np.kron(cells, np.ones((4, 4, 1))).astype(np.uint8)[:height, :width]


@pytest.fixture(scope="module", params=["factorized", "hyperprior"])
def fitted(request):
    """A model of colour pictures of 13 x 11, with weights so large that codes vary."""
    found = lb.fit(
        PICTURES, "rate-distortion", prior=request.param, steps=20, hidden=[6, 6], code_channels=4, device="cpu",
        objective="beta-elbo:beta=0.1", lr=0.01, compile=False,
    )  # fmt: skip
    with torch.no_grad():
        for p in cast(nn.Module, found.model.posterior).parameters():
            p.mul_(1.5)
    return found


@torch.no_grad()
@pytest.mark.parametrize("stages", [1, 2, 3])
def test_windows_give_what_the_net_gives_for_the_whole_picture(stages):
    torch.manual_seed(0)
    size, widths = (75 * 2**stages - 1, 70 * 2**stages + 1), [4] * stages
    down, up = ToMap((3, 8, 8), widths, (2,)).double(), FromMap(2, widths, (3, 8, 8)).double()
    x = torch.randn(1, 3, *size).double()
    cells = to_map(down, x)
    torch.testing.assert_close(cells, down.of_size(*size)(x), rtol=0, atol=1e-12)
    again = torch.full_like(x, torch.nan)
    for rows, columns, part in from_windows(up, cells, size):
        again[..., rows, columns] = part
    torch.testing.assert_close(again, up.of_size(*size)(cells), rtol=0, atol=1e-12)


@torch.no_grad()
def test_a_net_of_its_own_size_is_the_same_but_for_the_mean_of_its_bias():
    torch.manual_seed(0)
    up = FromMap(2, [4, 4], (3, 7, 10))
    up.output_bias.normal_()
    z = torch.randn(2, 2, 2, 3)
    bias = up.output_bias
    torch.testing.assert_close(up.of_size(7, 10)(z), up(z) - bias + bias.mean((-2, -1), keepdim=True))
    assert up.of_size(9, 4).output_bias.shape == (3, 9, 4)


def test_pictures_of_many_sizes_and_back(fitted, tmp_path):
    given = {name: picture(*size) for name, size in {"a": (13, 11), "b/wide": (9, 301), "high": (270, 14)}.items()}
    found = fitted.compress(given, tmp_path / "x.lb")
    assert found.bits == pytest.approx(found.rate_bits, rel=1e-3)
    assert 8 * (tmp_path / "x.lb").stat().st_size < found.rate_bits + 8 * 800  # lanes, header and hash
    assert (found.num_rows, found.num_pixels) == (3, 13 * 11 + 9 * 301 + 270 * 14)
    back = fitted.decompress(tmp_path / "x.lb")
    assert {name: x.shape for name, x in back.items()} == {name: x.shape for name, x in given.items()}
    error = np.concatenate([(back[name] / 255 - x / 255).reshape(-1) for name, x in given.items()])
    assert found.psnr == pytest.approx(-10 * np.log10(np.mean(error**2)), rel=1e-6)
    assert found.psnr > 10


def test_pictures_of_the_size_of_the_fit_are_those_of_rows(fitted, tmp_path):
    """Of rows they are coded with the bias of each pixel, by name with its mean, which differs little here."""
    fitted.compress({"one": PICTURES[0]}, tmp_path / "named.lb")
    fitted.compress(PICTURES[:1], tmp_path / "row.lb")
    named, row = fitted.decompress(tmp_path / "named.lb")["one"], fitted.decompress(tmp_path / "row.lb")[0]
    spread = fitted.model.state_dict()
    bias = next(value for name, value in spread.items() if name.startswith("likelihood") and "output_bias" in name)
    apart = 255 * (bias - bias.mean((-2, -1), keepdim=True)).abs().max().item() + 1
    assert np.abs(named.astype(int) - row.astype(int)).max() <= apart


def test_progress_ends_with_all_pictures(fitted, tmp_path):
    told: list[tuple[int, int]] = []
    fitted.compress([picture(9, 8), picture(12, 30)], tmp_path / "x.lb", progress=lambda *done: told.append(done))
    assert [done for done, _ in told] == sorted(done for done, _ in told)
    assert told[-1] == (2, 2)


@pytest.mark.parametrize(
    "pictures, sentence",
    [
        ({"grey": np.zeros((20, 20), np.uint8)}, "'grey' has 20 x 20 numbers of type uint8; .* in colour"),
        ({"real": np.zeros((20, 20, 3))}, "of type float64"),
        ({"thin": np.zeros((3, 20, 3), np.uint8)}, "'thin' is a picture of 3 x 20; .* sides of 4 to"),
        ({"../up": np.zeros((20, 20, 3), np.uint8)}, "the name of no file"),
        ({"a\\b": np.zeros((20, 20, 3), np.uint8)}, "the name of no file"),
    ],
)
def test_what_is_no_picture_of_the_fit_is_refused(fitted, tmp_path, pictures, sentence):
    with pytest.raises(DataError, match=sentence):
        fitted.compress(pictures, tmp_path / "x.lb")
    assert not (tmp_path / "x.lb").exists()


@pytest.mark.parametrize(
    "sizes",
    [[["../up", 20, 30]], [["a", 20, 31]], [["a", 30, 20]], [["a", 20.0, 30]], [["a", 2, 300]], [], [["a", 20]], 7],
    ids=str,
)
def test_altered_sizes_and_names_are_refused(fitted, tmp_path, sizes):
    fitted.compress({"a": picture(20, 30)}, tmp_path / "x.lb")
    content = unpack((tmp_path / "x.lb").read_bytes())
    (tmp_path / "y.lb").write_bytes(pack(type(content)(header={**content.header, "sizes": sizes}, seen=None,
                                                       stack=content.stack)))  # fmt: skip
    with pytest.raises(DataError, match=r"altered|does not decode"):
        fitted.decompress(tmp_path / "y.lb")


def test_another_recipe_takes_pictures_of_its_size_alone(tmp_path):
    clips = G.integers(0, 256, (12, 3, 1, 8, 8), dtype=np.uint8)
    fitted = lb.fit(
        clips, "rate-distortion-video", steps=1, hidden=[4], code_channels=2, prior_channels=[4], device="cpu"
    )
    with pytest.raises(ValueError, match="expected"):
        fitted.compress(clips[..., :6], tmp_path / "x.lb")
