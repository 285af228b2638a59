"""Codes of clips: the prior over time, files of them, and what follows the first frames."""

from __future__ import annotations

import copy
from typing import Any, cast

import numpy as np
import pytest
import torch

import lowerbound as lb
from lowerbound.data.moving_digits import moving_digits
from lowerbound.models.rate_distortion_video import predicted, rate_distortion_video
from lowerbound.priors import FramesInTurn

SMALL = {"hidden": [4], "code_channels": 2, "prior_channels": [4], "device": "cpu", "compile": False}
CLIPS = (np.random.default_rng(0).random((30, 4, 8, 7, 3)) * 255).astype(np.uint8)


@pytest.fixture(scope="module")
def prior() -> FramesInTurn:
    """A prior over five frames that sees three, with large weights."""
    torch.manual_seed(0)
    made = FramesInTurn((5, 2, 3, 4), window=3, channels=[6]).double()
    assert made.net is not None
    with torch.no_grad():
        for p in made.net.parameters():
            p.mul_(3)
    return made


def test_frames_at_once_score_as_one_after_another(prior):
    z = torch.randint(-3, 4, (2, 6, 5, 2, 3, 4)).double()
    terms = []

    def choose(t, d):
        terms.append(d.log_prob(z[:, :, t]))
        return z[:, :, t]

    assert torch.equal(prior().chosen_in_turn(choose), z)
    torch.testing.assert_close(sum(terms), prior().log_prob(z))


def test_a_frame_depends_on_the_frames_of_its_window_alone(prior):
    """∂ of the term of frame 4 along the others: none for the frame behind the window, nor for later ones."""
    z = torch.randn(1, 5, 2, 3, 4, dtype=torch.float64, requires_grad=True)
    whole = prior().log_prob(z)
    (gradient,) = torch.autograd.grad(whole.sum(), z)
    assert bool((gradient.flatten(2).abs().sum(-1) > 0).all())
    before = torch.stack([z[:, t] for t in (1, 2, 3)], -4)
    term = prior.given(before, torch.ones(1, 3).double()).log_prob(z[:, 4])
    (own,) = torch.autograd.grad(term.sum(), z)
    assert (own.flatten(2).abs().sum(-1) > 0).tolist() == [[False, True, True, True, True]]


def test_probabilities_of_all_continuations_sum_to_one():
    """Two frames of one number each: Σ over the second of p(z_2 | z_1) = 1."""
    torch.manual_seed(0)
    p = FramesInTurn((2, 1, 1, 1), window=1, channels=[3]).double()
    second = torch.arange(-80.0, 81.0).double()
    z = torch.stack([torch.full_like(second, 2.0), second], -1)[..., None, None, None]
    given = p.beginning(None).log_prob(torch.full((1, 1, 1, 1), 2.0).double())
    torch.testing.assert_close(p().log_prob(z).logsumexp(0), given[0])


def test_draws_and_continuations_are_whole_numbers(prior):
    torch.manual_seed(0)
    z = prior().sample((7,))
    assert z.shape == (7, 5, 2, 3, 4)
    assert torch.equal(z, z.round())
    again = prior().continued(z[:, :2])
    assert torch.equal(again[:, :2], z[:, :2])
    assert not torch.equal(again[:, 2:], z[:, 2:])
    assert prior().log_prob(z).shape == (7,)


@torch.no_grad()
def test_pixels_are_fetched_from_where_the_weights_say():
    """With all weight on one place, x̃ is x̂ moved by it, and what comes from outside is 0; evenly, x̃ is a mean."""
    model = rate_distortion_video((4, 1, 9, 7), prior="motion", window=2, hidden=[4], prior_channels=[4]).double()
    motion = cast(FramesInTurn, model.prior).motion
    assert motion is not None
    last, logits = torch.rand(3, 1, 9, 7).double(), torch.zeros(3, 25, 4, 5, 4).double()
    evenly = torch.nn.functional.avg_pool2d(torch.nn.functional.pad(last, (2,) * 4), 5, 1)
    torch.testing.assert_close(motion._fetched(last, logits.flatten(1, 2)), evenly)
    logits[:, 5 * (2 + 1) + (2 - 2)] = 100.0  # one row down, two columns to the left
    moved = torch.zeros_like(last)
    moved[..., :-1, 2:] = last[..., 1:, :-2]
    torch.testing.assert_close(motion._fetched(last, logits.flatten(1, 2)), moved)
    begun = motion.weights(torch.rand(3, 16, 5, 4).double()).unflatten(1, (25, 4)).softmax(1)
    assert bool((begun.argmax(1) == 12).all())  # at first a frame is most like the last


@torch.no_grad()
def test_the_first_channels_say_where_to_fetch_from_and_nothing_else():
    """What they are changes p̃ of the others; but not where the last frame is black, from wherever it is fetched."""
    torch.manual_seed(0)
    model = rate_distortion_video((4, 1, 8, 8), prior="motion", window=2, hidden=[4], prior_channels=[4]).double()
    prior = cast(FramesInTurn, model.prior)
    for p in model.parameters():
        p.add_(0.3 * torch.randn_like(p))
    assert prior.widths == (2, 6)
    before, known = torch.randint(-3, 4, (5, 2, 8, 4, 4)).double(), torch.ones(5, 2).double()
    early = torch.randint(-3, 4, (2, 5, 2, 4, 4)).double()

    def others(pictures, given):
        turns = prior.turns(before, known, pictures)
        next(turns)
        return turns.send(given)

    seen = torch.rand(5, 2, 1, 8, 8).double()
    assert not torch.allclose(others(seen, early[0]).loc, others(seen, early[1]).loc)
    seen[:, -1] = 0
    assert torch.equal(others(seen, early[0]).loc, others(seen, early[1]).loc)
    assert torch.equal(others(seen, early[0]).scale, others(seen, early[1]).scale)


@torch.no_grad()
def test_under_motion_frames_at_once_score_as_one_after_another_and_a_copy_has_its_own_nets():
    torch.manual_seed(0)
    model = rate_distortion_video((5, 2, 8, 7), prior="motion", window=2, hidden=[4], prior_channels=[4]).double()
    for p in model.prior.parameters():
        p.add_(0.1 * torch.randn_like(p))
    model.eval()
    z, terms = model.infer(torch.rand(6, 5, 2, 8, 7).double()).sample((1,)), []
    prior = cast(FramesInTurn, model.prior)
    parts = prior.parts_of(z)
    assert len(parts) == prior.num_parts == 1 + 4 * 2

    def choose(part, d):
        terms.append(d.log_prob(parts[part]))
        return parts[part]

    assert torch.equal(prior().chosen_in_turn(choose), z)
    torch.testing.assert_close(sum(terms), prior().log_prob(z))
    copied = copy.deepcopy(model)
    before = prior().log_prob(z)
    for p in cast(torch.nn.Module, copied.posterior).parameters():
        p.mul_(2)
    torch.testing.assert_close(prior().log_prob(z), before)
    assert not torch.allclose(cast(FramesInTurn, copied.prior)().log_prob(z), before)
    names = [name for name, _ in model.named_parameters()]
    assert not any("encoder" in name or "decoder" in name for name in names if name.startswith("prior"))


@torch.no_grad()
@pytest.mark.parametrize("prior", ["motion", "temporal", "frames"])
def test_beside_a_code_of_the_clip_frames_at_once_score_as_one_after_another(prior):
    """log p̃(w) + Σ_t log p̃(z_t | z_<t, w), each chosen in turn; and the whole changes with w."""
    torch.manual_seed(0)
    sizes = {"window": 2, "hidden": [4], "prior_channels": [4], "code_channels": 3, "clip_channels": 2}
    model = rate_distortion_video((5, 2, 8, 7), prior=prior, **sizes).double().eval()
    for p in model.parameters():
        p.add_(0.2 * torch.randn_like(p))
    x = torch.rand(6, 5, 2, 8, 7).double()
    over: Any = model.prior
    frames, clip = model.infer(x).sample((1,))
    assert frames.shape == (1, 6, 5, 3, 4, 4)
    assert clip.shape == (1, 6, 2, 4, 4)
    parts, terms = over().parts_of((frames, clip)), []

    def choose(part, d):
        terms.append(d.log_prob(parts[part]))
        return parts[part]

    chosen = over().chosen_in_turn(choose)
    assert torch.equal(chosen[0], frames)
    assert torch.equal(chosen[1], clip)
    assert len(terms) == (10 if prior == "motion" else 6)
    torch.testing.assert_close(sum(terms, torch.zeros(())), over().log_prob((frames, clip)))
    other = over().log_prob((frames, clip + 1)) - over.conditionals[1]().log_prob(clip + 1)
    assert not torch.allclose(other, sum(terms[1:], torch.zeros(())))
    assert not torch.allclose(model.decode((frames, clip + 1)).mean, model.decode((frames, clip)).mean)


@torch.no_grad()
def test_a_code_of_the_clip_is_that_of_what_frames_share():
    """w = round(mean_t h(x_t)): the order of the frames does not matter, and of still clips not their number."""
    torch.manual_seed(0)
    model = rate_distortion_video((4, 1, 8, 8), hidden=[4], prior_channels=[4], clip_channels=3).double().eval()
    for p in cast(torch.nn.Module, model.posterior).parameters():
        p.mul_(3)
    x = torch.rand(5, 4, 1, 8, 8).double()
    _, clip = model.infer(x).sample()
    assert clip.abs().max() > 0
    assert torch.equal(model.infer(x.flip(1)).sample()[1], clip)
    still = x[:, :1]
    assert torch.equal(model.infer(still.expand(-1, 4, -1, -1, -1)).sample()[1], model.infer(still).sample()[1])


@pytest.fixture(scope="module", params=["motion", "temporal", "frames", "motion and a clip", "temporal and a clip"])
def fitted(request):
    prior, *clip = request.param.split(" and ")
    return lb.fit(CLIPS, "rate-distortion-video", prior=prior, clip_channels=2 * len(clip), steps=4, **SMALL)


def test_a_file_and_back(fitted, tmp_path):
    with torch.no_grad():
        for p in fitted.model.posterior.parameters():
            p.mul_(2)
    found = fitted.compress(CLIPS, tmp_path / "x.lb")
    assert found.bits == pytest.approx(found.rate_bits, rel=1e-3)
    assert found.num_pixels == 30 * 4 * 8 * 7
    codes = fitted.model.infer(fitted.events(CLIPS.transpose(0, 1, 4, 2, 3))).sample()
    above = fitted.model.prior.conditionals[1]().log_prob(codes[1]) if isinstance(codes, tuple) else torch.zeros(1)
    assert found.above_bits == pytest.approx(-above.sum().item() / np.log(2), rel=1e-3)
    assert {"lzma", "png", "gif"} <= found.others.keys()
    back = fitted.decompress(tmp_path / "x.lb")
    assert (back.shape, back.dtype) == (CLIPS.shape, np.uint8)
    assert np.array_equal(back, fitted.reconstruct(CLIPS))


def test_prediction_keeps_what_is_given(fitted):
    found, decoded = fitted.predict(CLIPS, 3, seed=1), fitted.reconstruct(CLIPS)
    assert found.shape == CLIPS.shape
    of_frames_alone = isinstance(fitted.model.prior, FramesInTurn)
    assert np.array_equal(found[:, :3], decoded[:, :3]) or not of_frames_alone  # a code of the clip is that of three
    other = CLIPS.copy()
    other[:, 3:] = 0
    assert np.array_equal(found, fitted.predict(other, 3, seed=1))
    another = fitted.predict(CLIPS, 3, seed=2)
    assert np.array_equal(found[:, :3], another[:, :3])
    assert not np.array_equal(found, another)
    with pytest.raises(ValueError, match="give 1 to 3"):
        fitted.predict(CLIPS, 4)


def test_a_still_clip_costs_its_first_frame():
    """Where nothing moves, training finds μ_t = z_{t−1}, and further frames take less than a tenth of the first."""
    still = np.repeat((np.random.default_rng(1).random((64, 1, 1, 8, 8)) * 255).astype(np.uint8), 5, 1)
    given = {**SMALL, "code_channels": 4, "noise": 0.05, "lr": 0.01, "steps": 200, "batch_size": 32}
    one = lb.fit(still, "rate-distortion-video", **given)
    x = one.events(still)
    z = one.model.infer(x).sample()
    p = cast(FramesInTurn, one.model.prior)
    first = -p.beginning(None).log_prob(z[:, 0]).mean().item()
    assert first > 20
    assert -p().log_prob(z).mean().item() - first < 0.4 * first


@pytest.mark.parametrize(
    "shape, given, sentence",
    [
        ((1, 1, 8, 8), {}, "two frames at least"),
        ((3, 8, 8), {}, "For pictures take rate-distortion"),
        ((4, 1, 3, 8), {"hidden": [4, 4]}, "halvings leave nothing"),
        ((4, 1, 8, 8), {"window": 0}, "window=0"),
        ((4, 1, 8, 8), {"clip_channels": -1}, "clip_channels=-1"),
        ((4, 1, 8, 8), {"code_channels": 1, "prior": "motion"}, "code_channels=1"),
    ],
)
def test_it_refuses_in_a_sentence(shape, given, sentence):
    with pytest.raises(ValueError, match=sentence):
        rate_distortion_video(shape, **given)


def test_a_model_of_pictures_predicts_nothing():
    model = lb.models.vae((4,), latent_dim=2, hidden=[4])
    with pytest.raises(ValueError, match="takes a model of clips"):
        predicted(model, torch.zeros(2, 4), 1)


def test_moving_digits_move_straight_and_bounce():
    digits = np.full((3, 28, 28), 255, np.uint8)
    clips = moving_digits(digits, 20, num_frames=12, side=30, num_digits=1, seed=3)
    assert np.array_equal(clips, moving_digits(digits, 20, num_frames=12, side=30, num_digits=1, seed=3))
    assert bool((clips.sum((2, 3, 4)) == 255 * 14 * 14).all())
    rows = clips[:, :, 0].max(3).argmax(2)
    columns = clips[:, :, 0].max(2).argmax(2)
    for place in (rows, columns):
        assert place.min() >= 0
        assert place.max() <= 16
        assert np.abs(np.diff(place, axis=1)).max() <= 3
    speed = np.hypot(np.diff(rows, axis=1), np.diff(columns, axis=1)).mean(1)
    assert bool((speed > 0.5).all())


@torch.no_grad()
@pytest.mark.parametrize("prior", ["motion", "temporal", "frames"])
@pytest.mark.parametrize("clip", [0, 2])
def test_one_clip_is_drawn_without_a_batch_as_with_one(prior, clip):
    sizes = {"window": 2, "hidden": [4], "prior_channels": [4], "code_channels": 3, "clip_channels": clip}
    torch.manual_seed(0)
    model = rate_distortion_video((4, 2, 8, 7), prior=prior, **sizes).double().eval()
    for p in model.parameters():
        p.add_(0.2 * torch.randn_like(p))
    over: Any = model.prior
    torch.manual_seed(1)
    one = over().sample()
    torch.manual_seed(1)
    batch = over().sample((1,))
    pairs = zip(one, batch, strict=True) if clip else [(one, batch)]
    assert all(torch.equal(a, b[0]) for a, b in pairs)
    torch.testing.assert_close(over().log_prob(one), over().log_prob(batch)[0])
