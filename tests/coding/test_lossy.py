"""Files of a rate–distortion autoencoder: what comes back is what the encoder saw, or the file is refused."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import lowerbound as lb
from lowerbound.cli.compress import lines_of
from lowerbound.coding import BitStack
from lowerbound.coding.whole_numbers import MOST_CELLS, ranges_of
from lowerbound.data import DataError
from lowerbound.verbs.lossless_file import Content, pack, unpack
from lowerbound.verbs.lossy import CompressedWithLoss, _stack_of

G = np.random.default_rng(0)
PICTURES = np.kron(G.integers(0, 256, (60, 5, 4, 3)), np.ones((1, 3, 3, 1))).astype(np.uint8)[:, :13, :11]


@pytest.fixture(scope="module", params=["factorized", "hyperprior"])
def fitted(request):
    """A model of colour pictures of odd sizes."""
    return lb.fit(
        PICTURES, "rate-distortion", prior=request.param, steps=20, hidden=[6, 6], code_channels=4, device="cpu",
        objective="beta-elbo:beta=0.1", lr=0.01, compile=False,
    )  # fmt: skip


def test_a_file_and_back(fitted, tmp_path):
    found = fitted.compress(PICTURES, tmp_path / "x.lb")
    assert isinstance(found, CompressedWithLoss)
    assert found.num_bytes == (tmp_path / "x.lb").stat().st_size
    assert found.bits == pytest.approx(found.rate_bits, rel=1e-3)
    assert found.num_pixels == 60 * 13 * 11
    back = fitted.decompress(tmp_path / "x.lb")
    assert back.shape == PICTURES.shape
    assert back.dtype == np.uint8
    error = (back / 255 - PICTURES / 255).astype(np.float64)
    assert found.psnr == pytest.approx(-10 * np.log10(np.mean(error**2)), rel=1e-6)
    seen = fitted.model.double().reconstruct(fitted.events(PICTURES.transpose(0, 3, 1, 2)).double())
    fitted.model.float()
    assert np.array_equal(back, fitted.render(seen))


def test_progress_goes_through_coding_decoding_and_comparing(fitted, tmp_path):
    told: list[tuple[int, int]] = []
    fitted.compress(PICTURES, tmp_path / "x.lb", progress=lambda done, total: told.append((done, total)))
    done = [rows for rows, _ in told]
    assert {total for _, total in told} == {60}
    assert done == sorted(done)
    assert done[0] == 10  # the encoder has seen all rows, which is half of a third
    assert done[-1] == 60
    assert len([rows for rows in done if rows > 40]) == 4  # gzip, bz2, lzma and png


def test_the_header_and_the_answer_say_that_there_is_loss(fitted, tmp_path):
    found = fitted.compress(PICTURES[:9], tmp_path / "x.lb")
    assert unpack((tmp_path / "x.lb").read_bytes()).header["lossy"] is True
    assert any("WITH LOSS" in line for line in lines_of(found))


def test_other_weights_and_other_codes_are_refused(fitted, tmp_path, monkeypatch):
    place = tmp_path / "x.lb"
    fitted.compress(PICTURES, place)
    bias = fitted.model.likelihood.state_dict()
    name = next(name for name in bias if name.endswith("output_bias"))
    with torch.no_grad():
        bias[name].add_(1e-3)
    with pytest.raises(DataError, match="other weights"):
        fitted.decompress(place)
    monkeypatch.setattr(
        "lowerbound.verbs.coded_file.weights_checksum", lambda _: unpack(place.read_bytes()).header["weights"]
    )
    with pytest.raises(DataError, match="does not decode to the codes"):
        fitted.decompress(place)
    with torch.no_grad():
        bias[name].sub_(1e-3)


def test_pictures_that_do_not_fit_are_refused(fitted, tmp_path):
    with pytest.raises(ValueError, match="expected"):
        fitted.compress(PICTURES[..., 0], tmp_path / "x.lb")
    with pytest.raises(DataError, match="is empty"):
        fitted.compress(PICTURES[:0], tmp_path / "x.lb")
    assert not (tmp_path / "x.lb").exists()


@pytest.mark.parametrize("width", [0, MOST_CELLS + 2, 1 << 25])
def test_ranges_that_no_file_has_are_refused_before_memory_is_asked_for(fitted, tmp_path, width):
    fitted.compress(PICTURES[:2], tmp_path / "x.lb")
    content = unpack((tmp_path / "x.lb").read_bytes())
    content.header["ranges"] = [[-3, width - 3] for _ in content.header["ranges"]]
    (tmp_path / "x.lb").write_bytes(pack(content))
    with pytest.raises(DataError, match="header that is not readable"):
        fitted.decompress(tmp_path / "x.lb")


def test_the_widest_ranges_that_are_written_are_those_that_are_read():
    codes = [[torch.tensor([0.0, MOST_CELLS - 1.0])]]
    ((low, high),) = ranges_of(codes)
    stack = BitStack(lends=True).to_bytes()
    header = {"ranges": [[low, high]], "words": 0, "lanes": 0, "lent": 0}
    assert _stack_of(Content(header=header, seen=None, stack=stack))[1] == ((low, high),)
    header["ranges"] = [[low, high + 1]]
    with pytest.raises(ValueError, match="too many"):
        _stack_of(Content(header=header, seen=None, stack=stack))
