"""Clips as arrays, as GIFs and as folders of frames, and those that are refused."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

import lowerbound as lb
from lowerbound.data import DataError
from lowerbound.data.readers import read_file, read_rows

G = np.random.default_rng(0)
GREY = (G.integers(0, 2, (10, 3, 6, 5)) * 200 + G.integers(0, 56, (10, 3, 6, 5))).astype(np.uint8)


def write_gif(path, frames):
    images = [Image.fromarray(frame) for frame in frames]
    images[0].save(path, "GIF", save_all=True, append_images=images[1:])


def write_frames(folder, frames):
    folder.mkdir()
    for t, frame in enumerate(frames):
        Image.fromarray(frame).save(folder / f"{t:03}.png")


@pytest.mark.parametrize("last", [True, False])
def test_an_array_of_five_axes_is_of_clips(tmp_path, last):
    x = GREY[..., None] if last else GREY[:, :, None]
    np.save(tmp_path / "x.npy", x)
    data = read_file(tmp_path / "x.npy")
    assert (data.kind, data.event_shape, data.schema.pixel_levels) == ("video", (3, 1, 6, 5), 256)
    rows = read_rows(tmp_path / "x.npy", data.schema).x
    assert np.array_equal(np.asarray(rows)[:, :, 0], GREY)
    assert np.array_equal(lb.data.kinds.kind_named("video").render(rows, data.schema), x)


def test_a_folder_of_gifs_is_of_clips(tmp_path):
    for n, clip in enumerate(GREY):
        write_gif(tmp_path / f"{n:02}.gif", clip)
    data = read_file(tmp_path)
    assert data.event_shape == (3, 1, 6, 5)
    assert np.array_equal(np.asarray(read_rows(tmp_path, data.schema).x)[:, :, 0], GREY)


def test_folders_of_frames_are_clips_where_that_is_said(tmp_path):
    for n, clip in enumerate(GREY):
        write_frames(tmp_path / f"{n:02}", clip)
    assert read_file(tmp_path).kind == "image"
    data = read_file(tmp_path, kind="video")
    assert data.event_shape == (3, 1, 6, 5)
    assert np.array_equal(np.asarray(read_rows(tmp_path, data.schema).x)[:, :, 0], GREY)


def test_other_clips_are_refused_in_a_sentence(tmp_path):
    np.save(tmp_path / "x.npy", GREY[:, :, None])
    schema = read_file(tmp_path / "x.npy").schema
    np.save(tmp_path / "longer.npy", np.concatenate([GREY, GREY], 1)[:, :, None])
    with pytest.raises(DataError, match="clips of 6 frames and the model is of 3"):
        read_rows(tmp_path / "longer.npy", schema)
    np.save(tmp_path / "colour.npy", GREY[:, :, None].repeat(3, 2))
    with pytest.raises(DataError, match="expected"):
        read_rows(tmp_path / "colour.npy", schema)
    np.save(tmp_path / "still.npy", GREY[:, :1, None])
    with pytest.raises(DataError, match="clips of one frame"):
        read_file(tmp_path / "still.npy")


def test_a_gif_of_one_frame_and_clips_of_different_length_are_refused(tmp_path):
    one, two = tmp_path / "one", tmp_path / "two"
    one.mkdir()
    two.mkdir()
    write_gif(one / "a.gif", GREY[0, :1])
    with pytest.raises(DataError, match=r"'a.gif' has one frame"):
        read_file(one)
    write_gif(two / "a.gif", GREY[0])
    write_gif(two / "b.gif", GREY[1, :2])
    with pytest.raises(DataError, match=r"'b.gif' has 2 frames of 5 x 6 and 'a.gif' 3"):
        read_file(two)
    (two / "b.gif").write_bytes(b"GIF89a")
    with pytest.raises(DataError, match="not a readable GIF"):
        read_file(two)
