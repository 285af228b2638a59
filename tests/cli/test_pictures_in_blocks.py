"""Blocks that are pictures: the places of their pixels, convolutions for them, and pictures as output."""

import numpy as np
import pytest
import torch

import lowerbound as lb
from lowerbound.data import DataError
from lowerbound.data.block_pictures import Picture, pictures_of_blocks
from lowerbound.models.multimodal import multimodal
from lowerbound.nets import Convolution, TransposedConvolution
from lowerbound.nets.in_picture import FromPicture, InPicture
from lowerbound.verbs.cross_generating import made_given, pictures_in


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    """Pictures of 6 x 5 whose corners never vary, bright on the side that the label says."""
    rng = np.random.default_rng(0)
    side = rng.integers(0, 2, 160)
    image = (rng.random((160, 6, 5)) < np.where(np.arange(5) < 2, 0.9, 0.1)).astype(np.uint8)
    image = np.where(side[:, None, None] == 1, image[:, :, ::-1], image)
    image[:, [0, 0, 5, 5], [0, 4, 0, 4]] = 0
    path = tmp_path_factory.mktemp("pictures") / "pairs.npz"
    np.savez(path, image=image, label=np.array(["left", "right"])[side])
    return path


@pytest.fixture(scope="module")
def run(file):
    from lowerbound.cli import main

    words = ["--array", "image,label", "--recipe", "multimodal:experts=mixture"]
    words += ["--pictures", "image=6x5", "--steps", "200"]
    words += ["--latent-dim", "2", "--hidden", "8", "--lr", "0.03", "--device", "cpu", "--no-compile", "--no-evaluate"]
    assert main(["fit", str(file), *words, "--out", str(file.parent / "run")]) == 0
    return file.parent / "run"


def test_pixels_stand_at_their_places() -> None:
    places, x = [0, 7, 11], torch.randn(2, 3, 3)
    into = InPicture(Convolution((3, 4), [2], (5,)), places)
    whole = torch.zeros(2, 3, 12)
    whole[..., places] = x
    torch.testing.assert_close(into(x), into.net(whole.view(2, 3, 3, 4)))
    out = FromPicture(TransposedConvolution(2, [2], (2, 3, 4)), places)
    with torch.no_grad():
        out.output_bias.copy_(torch.arange(6.0).view(2, 3))
    z = torch.randn(4, 2)
    torch.testing.assert_close(out(z), out.net(z).reshape(4, 2, 12)[..., places] + out.output_bias)
    filled = Picture((3, 4), (0, 7, 11)).filled(x[0].numpy())
    np.testing.assert_array_equal(filled, whole[0].view(3, 3, 4).numpy())


def test_the_plan_knows_the_places_and_the_nets_are_convolutions(run) -> None:
    fitted = lb.Fitted.open(run)
    assert fitted.plan.model["pictures"] == "image=6x5@1-3,5-24,26-28"
    assert any(isinstance(part, Convolution) for part in fitted.model.posterior.modules())
    assert any(isinstance(part, TransposedConvolution) for part in fitted.model.likelihood.modules())


def test_a_label_gives_pictures_of_its_side(cli, refused, run, tmp_path) -> None:
    fitted = lb.Fitted.open(run)
    out = tmp_path / "made.png"
    assert cli("cross-generate", run, "--given", "label", "--num-samples", 50, "--out", out).code == 0
    assert out.read_bytes().startswith(b"\x89PNG")
    assert "makes no picture given image" in refused("cross-generate", run, "--given", "image", "--out", out, "--force")
    means = pictures_in(fitted, made_given(fitted, fitted.test_rows(), "label", False, 50, 0, None, as_means=True)[0])
    assert 0.1 < means["image"].mean() < 0.9
    assert ((means["image"] > 0.05) & (means["image"] < 0.95)).mean() > 0.3  # probabilities and not their modes
    made = fitted.cross_generate(fitted.test_rows(), "label", num_samples=100).to_numpy()
    is_right = fitted.render(fitted.events(fitted.test_rows().x))["label"].to_numpy() == "right"
    pictures = Picture((6, 5), (*range(1, 4), *range(5, 25), *range(26, 29))).filled(made)
    right, left = (pictures[which][:, 1:5].mean((0, 1)) for which in (is_right, ~is_right))
    assert right[3:].mean() > right[:2].mean() + 0.3
    assert left[:2].mean() > left[3:].mean() + 0.3


def test_the_report_draws_them(cli, run) -> None:
    assert cli("report", run).code == 0
    assert "Samples of image" in (run / "report.html").read_text()
    fitted = lb.Fitted.open(run)
    drawn = pictures_in(fitted, fitted.model.sample(3))["image"]
    assert drawn.shape == (3, 6, 5)
    assert (drawn[:, [0, 0, 5, 5], [0, 4, 0, 4]] == 0).all()


@pytest.mark.parametrize(
    "pictures, words",
    [
        ("picture=2x2", "names the block 'picture'"),
        ("a=2", "write HEIGHTxWIDTH"),
        ("a=0x4", "write HEIGHTxWIDTH"),
        ("a=1x2", "has 3 columns and a picture of 1x2"),
        ("a=2x2@0,1", "at 2 places"),
        ("a=2x2@0,1,4", "one of its 4 places"),
        ("a=2x2@x", "write 0-3,7"),
    ],
)
def test_refusals(pictures, words) -> None:
    with pytest.raises(ValueError, match=words):
        pictures_of_blocks(pictures, {"a": (0, 1, 2), "b": (3,)})


def test_likelihoods_without_pictures_and_pixels_without_places_are_refused(file) -> None:
    said = {"blocks": "a=0-3;b=4", "likelihoods": "a=mixed:columns=4*continuous;b=normal", "pictures": "a=2x2"}
    with pytest.raises(ValueError, match="whose parameters are no pictures"):
        multimodal((5,), **said)
    with pytest.raises(DataError, match="column 'label' of the picture 'label' has no number at its end"):
        lb.fit(file, "multimodal", array="image,label", pictures="label=1x1", steps=1)
