"""Encoder and decoder of a fitted model as programs: `torch.export` (.pt2), and ONNX where it is installed.

    encoder   rows in the units of the data ↦ E_q[z | x], sd_q[z | x]          standardisation is inside
    decoder   z ↦ E[x | z] in the units of the data

Each is loaded again from what will be written, run on rows of the data, and compared with what the model itself gives;
a file is written only if they agree:

    max |program − run| ≤ tolerance · max(1, max |run|),    1e-6 for .pt2, 1e-5 for ONNX, which sums in another order

Numbers inside are float32, as in the run. Pixels that a fit makes 0 or 1 at random are cut at ½ instead, since a
program draws nothing.
"""

from __future__ import annotations

import contextlib
import importlib.util
import io
import json
import os
import tempfile
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn

from lowerbound.data.transform import Pixels, Transform
from lowerbound.defaults import facts_of
from lowerbound.fitted import Fitted
from lowerbound.latent_space import taken, vectors_of
from lowerbound.shown import shown
from lowerbound.whole_folder import write_folder

__all__ = ["TOLERANCE", "TOLERANCE_OF_ONNX", "export", "onnx_is_there"]

TOLERANCE, TOLERANCE_OF_ONNX = 1e-6, 1e-5
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
    z = latents.mean
    expected = {
        "encoder": _own(fitted, transform(raw)) if cut else (latents.mean, latents.scale),
        "decoder": (fitted.transform.inverse(shown(fitted.model.decode(z.reshape(-1, *latents.shape))).values),),  # type: ignore[operator]
    }
    modules = {"encoder": _Encoder(fitted, transform), "decoder": _Decoder(fitted, latents.shape)}
    inputs = {"encoder": raw, "decoder": z}
    files: dict[str, bytes] = {}
    apart: dict[str, float] = {}
    for part, module in modules.items():
        made = _programs(fitted, part, module.eval(), inputs[part], expected[part])
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


def _without_draws(fitted: Fitted) -> tuple[nn.Module, bool]:
    """The transform, and whether it cuts pixels that the run draws."""
    own = fitted.transform
    if isinstance(own, Pixels) and own.binarization == "dynamic":
        return Pixels(scale=own.scale, binarization="threshold"), True
    return own, False


def _own(fitted: Fitted, x: Tensor) -> tuple[Tensor, Tensor]:
    """The moments of q of rows as the likelihood scores them, by the road of `encode`."""
    from lowerbound.evaluate import latent_moments

    return latent_moments(fitted.model, x)


def _programs(
    fitted: Fitted, part: str, module: nn.Module, given: Tensor, expected: Sequence[Tensor]
) -> dict[str, tuple[bytes, float]]:
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
            found = {f"{part}.pt2": (buffer.getvalue(), _apart(again, given, expected))}
            if onnx_is_there():
                found[f"{part}.onnx"] = _onnx(program, given, expected)
    except Exception as error:  # the exporter raises errors of many kinds
        words = " ".join(str(error).split())[:100]
        who = type(fitted.model.posterior if part == "encoder" else fitted.model.likelihood).__name__
        raise ValueError(
            f"The {part} ({who}) cannot be exported, as torch.export refuses it: {type(error).__name__}: {words}."
        ) from error
    for name, (_, difference) in found.items():
        allowed = TOLERANCE if name.endswith(".pt2") else TOLERANCE_OF_ONNX
        if not difference <= allowed:
            raise ValueError(
                f"{name} differs from the run by {difference:.2g} of its largest number and {allowed:g} is allowed; "
                "nothing was written."
            )
    return found


def _apart(program: Any, given: Tensor, expected: Sequence[Tensor]) -> float:
    """The largest difference, for all rows at once and for the first alone, relative to the largest number."""
    worst = 0.0
    for count in (len(given), 1):
        out = program(given[:count])
        for made, known in zip(out if isinstance(out, tuple | list) else (out,), expected, strict=True):
            worst = max(worst, _relative(made, known[:count]))
    return worst


def _relative(made: Tensor, known: Tensor) -> float:
    if made.shape != known.shape:
        return float("inf")
    same = (made.double() - known.double()).abs() / known.double().abs().max().clamp_min(1)
    return float(same.max())


def _onnx(program: Any, given: Tensor, expected: Sequence[Tensor]) -> tuple[bytes, float]:
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

    def run(x: Tensor) -> tuple[Tensor, ...]:
        return tuple(torch.from_numpy(out) for out in session.run(None, {name: x.numpy()}))

    return content, _apart(run, given, expected)


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
        "tolerance": {".pt2": TOLERANCE, ".onnx": TOLERANCE_OF_ONNX},
    }
