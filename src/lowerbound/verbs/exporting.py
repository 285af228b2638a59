"""Encoder and decoder of a fitted model as programs: `torch.export` (.pt2), and ONNX where it is installed.

    encoder   rows in the units of the data ↦ E_q[z | x], sd_q[z | x]          standardisation is inside
    decoder   z ↦ E[x | z] in the units of the data

Each is loaded again from what will be written, run on rows of the data, and compared with what the model itself gives;
a file is written only if they agree:

    max |program − run| ≤ 1e-6 · max(1, max |run|),    of all rows at once, and of the first alone

Numbers inside are float32, as in the run. A .pt2 makes the same sums and differs by 0; ONNX sums in another order, so
that its last digits differ as those of the run do between rows that are encoded alone and together. Pixels that a fit
makes 0 or 1 at random are cut at ½ instead, since a program draws nothing.
"""

from __future__ import annotations

import contextlib
import importlib.util
import io
import json
import os
import tempfile
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeAlias, cast

import numpy as np
import torch
from torch import Tensor, nn

from lowerbound.data import Rows
from lowerbound.data.transform import Pixels, Transform
from lowerbound.fitted import Fitted
from lowerbound.fitting.defaults import facts_of
from lowerbound.latent_space import LatentVectors, taken, vectors_of
from lowerbound.shown import shown
from lowerbound.whole_folder import write_folder

__all__ = ["TOLERANCE", "export", "onnx_is_there"]

TOLERANCE = 1e-6

_Run: TypeAlias = Callable[[int], Sequence[Tensor]]
"""From a number of rows to what the run itself gives for the first so many."""

_ROWS = 33
_FORMAT = 1


class _Encoder(nn.Module):
    """Stored rows to the moments of q."""

    def __init__(self, fitted: Fitted, transform: nn.Module):
        super().__init__()
        self.transform, self.model = transform, fitted.model

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation (row, latent)."""
        q = self.model.infer(self.transform(x))
        return q.mean.flatten(1), q.stddev.flatten(1)


class _Decoder(nn.Module):
    """Latents to stored rows."""

    def __init__(self, fitted: Fitted, shape: tuple[int, ...]):
        super().__init__()
        self.transform, self.model, self.shape = cast(Transform, fitted.transform), fitted.model, shape

    def forward(self, z: Tensor) -> Tensor:
        """E[x | z] (row, *event)."""
        return self.transform.inverse(shown(self.model.decode(z.unflatten(1, self.shape))).values)


def onnx_is_there() -> bool:
    """Whether all that ONNX needs is installed."""
    return all(importlib.util.find_spec(name) is not None for name in ("onnx", "onnxscript", "onnxruntime"))


@torch.no_grad()
def export(fitted: Fitted, path: Path, *, force: bool = False) -> dict[str, Any]:
    """Write encoder.pt2, decoder.pt2, the same as .onnx where it is installed, and export.json. See `Fitted.export`.

    Raises:
        ValueError: a part that cannot be exported, a program that gives other numbers, or files that are there.
    """
    names = ["encoder.pt2", "decoder.pt2", *(["encoder.onnx", "decoder.onnx"] if onnx_is_there() else [])]
    there = [name for name in (*names, "export.json") if os.path.exists(path / name)]
    if os.path.exists(path / "run.json"):
        raise ValueError(f"{path} holds a run; choose another folder.")
    if there and not force:
        raise ValueError(f"{path} already holds {there[0]}; choose another folder, or overwrite it with --force.")
    _check(fitted)
    rows = taken(fitted.test_rows(), np.arange(min(_ROWS, len(fitted.test_rows().x))))
    transform, cut = _without_draws(fitted)
    latents = vectors_of(fitted, rows)
    raw = torch.from_numpy(np.ascontiguousarray(rows.x))
    _check_moments(fitted, transform(raw[:2]))
    modules = {"encoder": _Encoder(fitted, transform), "decoder": _Decoder(fitted, latents.shape)}
    inputs = {"encoder": raw, "decoder": latents.mean}
    known = {"encoder": _encodes(fitted, rows, transform if cut else None), "decoder": _decodes(fitted, latents)}
    files: dict[str, bytes] = {}
    apart: dict[str, float] = {}
    for part, module in modules.items():
        made = _programs(fitted, part, module.eval(), inputs[part], known[part])
        files |= {name: content for name, (content, _) in made.items()}
        apart |= {name: difference for name, (_, difference) in made.items()}
    description = _description(fitted, raw, latents.shape, cut=cut, differences=apart)
    files["export.json"] = (json.dumps(description, indent=2) + "\n").encode()
    try:
        write_folder(path, files, force=force)
    except OSError as error:
        raise ValueError(f"Could not write to {path} ({error.strerror or error}); choose another folder.") from error
    return description


def _check(fitted: Fitted) -> None:
    """Refuse what has no program.

    Raises:
        ValueError: naming it.
    """
    if fitted.is_conditional or fitted.schema.covariates:
        raise ValueError(f"{fitted.called} is given classes or covariates, which export does not take; fit without.")
    if fitted.schema.is_written or not facts_of(fitted.model.likelihood).has_mean:
        name = type(fitted.model.likelihood).__name__
        raise ValueError(
            f"The likelihood {name} is written one element after another and E[x | z] is no program; fit another "
            "likelihood to export it."
        )
    if not isinstance(fitted.transform, Transform):
        raise ValueError(f"The transform {type(fitted.transform).__name__} has no inverse; use one of lowerbound.data.")


def _check_moments(fitted: Fitted, x: Tensor) -> None:
    """Refuse a posterior whose mean and standard deviation are not known in closed form, which the encoder gives.

    Raises:
        ValueError: naming it.
    """
    q = fitted.model.infer(x)
    try:
        _ = q.mean, q.stddev
    except NotImplementedError as error:
        raise ValueError(
            f"The posterior {type(fitted.model.posterior).__name__} has no mean and standard deviation in closed form, "
            "which an exported encoder gives; fit diagonal-normal or full-normal to export it."
        ) from error


def _without_draws(fitted: Fitted) -> tuple[nn.Module, bool]:
    """The transform, and whether it cuts pixels that the run draws."""
    own = fitted.transform
    if isinstance(own, Pixels) and own.binarization == "dynamic":
        return Pixels(scale=own.scale, binarization="threshold"), True
    return own, False


def _encodes(fitted: Fitted, rows: Rows, cut: nn.Module | None) -> _Run:
    """Moments of q of the first rows as `encode` gives them; of pixels that are cut, as the likelihood scores them."""
    from lowerbound.evaluate import latent_moments

    def run(count: int) -> Sequence[Tensor]:
        some = taken(rows, np.arange(count))
        if cut is not None:
            return latent_moments(fitted.model, cut(torch.from_numpy(np.ascontiguousarray(some.x))))
        latents = vectors_of(fitted, some)
        return latents.mean, latents.scale

    return run


def _decodes(fitted: Fitted, latents: LatentVectors) -> _Run:
    """E[x | z] of the first latents, in the units of the data."""
    inverse = cast(Transform, fitted.transform).inverse

    def run(count: int) -> Sequence[Tensor]:
        z = latents.mean[:count].reshape(-1, *latents.shape)
        return (inverse(shown(fitted.model.decode(z)).values),)

    return run


def _programs(fitted: Fitted, part: str, module: nn.Module, given: Tensor, run: _Run) -> dict[str, tuple[bytes, float]]:
    """The files of a part with their largest difference from the run.

    Raises:
        ValueError: it cannot be exported, or gives other numbers.
    """
    try:
        with warnings.catch_warnings(), contextlib.redirect_stderr(io.StringIO()):
            warnings.simplefilter("ignore")  # of torch's own exporter, which prints a graph where it fails
            program = torch.export.export(module, (given,), dynamic_shapes=({0: torch.export.Dim("rows")},))
            buffer = io.BytesIO()
            torch.export.save(program, buffer)
            buffer.seek(0)
            again = torch.export.load(buffer).module()
            found = {f"{part}.pt2": (buffer.getvalue(), _apart(again, given, run))}
            if onnx_is_there():
                found[f"{part}.onnx"] = _onnx(program, given, run)
    except Exception as error:  # the exporter raises errors of many kinds
        words = " ".join(str(error).split())[:100]
        who = type(fitted.model.posterior if part == "encoder" else fitted.model.likelihood).__name__
        raise ValueError(
            f"The {part} ({who}) cannot be exported, as torch.export refuses it: {type(error).__name__}: {words}."
        ) from error
    for name, (_, difference) in found.items():
        if not difference <= TOLERANCE:
            raise ValueError(
                f"{name} differs from the run by {difference:.2g} of its largest number and {TOLERANCE:g} is allowed; "
                "nothing was written."
            )
    return found


def _apart(program: Any, given: Tensor, run: _Run) -> float:
    """The largest difference, of all rows at once and of the first alone, relative to the largest number of all."""
    worst = 0.0
    largest = [float(known.double().abs().max().clamp_min(1)) for known in run(len(given))]
    for count in (len(given), 1):
        out = program(given[:count])
        outs = out if isinstance(out, tuple | list) else (out,)
        for made, known, scale in zip(outs, run(count), largest, strict=True):
            if made.shape != known.shape:
                return float("inf")
            worst = max(worst, float((made.double() - known.double()).abs().max()) / scale)
    return worst


def _onnx(program: Any, given: Tensor, run: _Run) -> tuple[bytes, float]:
    """The program as ONNX, and its largest difference under onnxruntime."""
    import logging

    import onnxruntime  # type: ignore[import-not-found]

    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder) / "program.onnx"
        made = torch.onnx.export(program, dynamo=True, verbose=False)
        assert made is not None
        made.save(str(place), external_data=False)
        content = place.read_bytes()
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name

    def again(x: Tensor) -> tuple[Tensor, ...]:
        return tuple(torch.from_numpy(out) for out in session.run(None, {name: x.numpy()}))

    return content, _apart(again, given, run)


def _description(
    fitted: Fitted, raw: Tensor, shape: tuple[int, ...], *, cut: bool, differences: dict[str, float]
) -> dict[str, Any]:
    """What goes in and comes out, in plain values."""
    schema, latent = fitted.schema, int(np.prod(shape))
    columns = None
    if schema.columns is not None:
        columns = [
            {"name": c.name, "kind": c.kind, **({"categories": list(c.categories)} if c.categories else {})}
            for c in schema.columns
        ]
    units = "as stored: numbers of categories from 0, NaN for a gap" if columns else "as in the data"
    event = ["rows", *schema.event_shape]
    return {
        "format": _FORMAT,
        "kind": schema.kind,
        "computed_in": "float32",
        "encoder": {
            "input": {"shape": event, "dtype": str(raw.dtype).removeprefix("torch."), "units": units},
            "outputs": [
                {"name": "mean", "what": "E_q[z | x]", "shape": ["rows", latent]},
                {"name": "scale", "what": "standard deviation of q(z | x)", "shape": ["rows", latent]},
            ],
            "pixels": "cut at 1/2, where the run draws them 0 or 1" if cut else None,
        },
        "decoder": {
            "input": {"shape": ["rows", latent], "dtype": "float32", "units": "latents"},
            "outputs": [{"name": "mean", "what": "E[x | z]", "shape": event, "units": units}],
        },
        "columns": columns,
        "pixel_levels": schema.pixel_levels,
        "largest_difference_from_the_run": differences,
        "tolerance": TOLERANCE,
    }
