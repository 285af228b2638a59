"""`lowerbound compress`: rows as a file, without loss but for rate–distortion autoencoders."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from lowerbound.cli.options import force_option
from lowerbound.cli.text import say

if TYPE_CHECKING:
    from lowerbound.verbs.lossless import Compressed
    from lowerbound.verbs.lossy import CompressedWithLoss

__all__ = ["compress"]

_NOTABLE = 0.1  # percent


@click.command(short_help="Write rows to a file in few bits.")
@click.argument("run")
@click.argument("data")
@click.option("--out", required=True, metavar="FILE", help="A .lb file.")
@click.option(
    "--refine",
    type=click.IntRange(0, 10_000),
    default=0,
    metavar="STEPS",
    help="Improve each q(z | x) by optimisation: a shorter file, which takes longer to write and to read.",
)
@click.option(
    "--samples",
    type=click.IntRange(1, 1000),
    default=1,
    show_default=True,
    metavar="K",
    help="Latents for each row: the file takes the importance-weighted bound L_K in place of the ELBO, and K times as "
    "long to write and to read.",
)
@force_option
def compress(run: str, data: str, out: str, refine: int, samples: int, force: bool) -> None:
    """Write the rows of DATA to a file from which `decompress` gives them back to the last bit.

    A row takes as many bits as its negative ELBO under RUN, which is printed beside what was reached, and beside what
    gzip, bz2, lzma and PNG make of the same rows. The file holds no model, so that RUN must be kept.

    A run of the recipe rate-distortion writes the codes of pictures, with loss: what comes back is near to them, and
    bits per pixel, PSNR and MS-SSIM are printed.

    Labels and columns that are no part of the model are not in the file.
    """
    from pathlib import Path

    from lowerbound.cli.opened import fitted_of
    from lowerbound.cli.output import check_out
    from lowerbound.cli.progress import CountProgress
    from lowerbound.cli.terminal import open_console
    from lowerbound.runs import Run

    path, opened = Path(out), Run.open(run)
    check_out(path, opened, data, ".lb", force=force)
    fitted = fitted_of(opened)
    with CountProgress(open_console(), "rows") as progress:
        found = fitted.compress(data, path, refine=refine, samples=samples, force=force, progress=progress)
    say("\n".join(lines_of(found)))
    say(f"Wrote {found.num_rows} rows to {path}")


def lines_of(found: Compressed | CompressedWithLoss) -> list[str]:
    """What is printed of a file."""
    from lowerbound.verbs.lossy import CompressedWithLoss

    return _lines_with_loss(found) if isinstance(found, CompressedWithLoss) else _lines_without_loss(found)


def _lines_with_loss(found: CompressedWithLoss) -> list[str]:
    """Bits for each pixel, and bytes in all, and how near what comes back is."""
    each, part = found.num_pixels, 100 * (found.bits / found.rate_bits - 1)
    near = "" if found.ms_ssim is None else f", MS-SSIM {found.ms_ssim:.4f}"
    lines = [
        f"{found.num_bytes:>12,} bytes  {found.bits_per_pixel:9.4f} bits per pixel  the file, WITH LOSS",
        f"{found.bits / 8:>12,.0f}        {found.bits / each:9.4f}                 its codes ({part:+.3f} % of rate)",
    ]
    if found.above_bits:
        above = found.above_bits
        lines.append(
            f"{above / 8:>12,.0f}        {above / each:9.4f}                 of these, those that the others depend on"
        )
    if found.model_bits > found.rate_bits * (1 + _NOTABLE / 100):
        lines.append(
            f"The rate by `evaluate` is {100 * (found.model_bits / found.rate_bits - 1):.2f} % more: the model all but "
            "excludes some codes, and none takes over 30 bits."
        )
    lines.append(f"What comes back is not the data but near to it: PSNR {found.psnr:.2f} dB{near}. Without loss:")
    return lines + [
        f"{size:>12,}        {8 * size / each:9.4f}                  {name}" for name, size in found.others.items()
    ]


def _lines_without_loss(found: Compressed) -> list[str]:
    """What is printed: bits for each number, and bytes in all."""
    each, part = found.num_numbers, 100 * (found.bits / found.elbo_bits - 1)
    error, drawn = 100 * found.standard_error / abs(found.elbo_bits), 100 * (found.bits / found.drawn_bits - 1)
    bound = "-ELBO" if found.num_samples == 1 else f"-L_{found.num_samples}"
    parts = [
        (found.bits, "its rows"),
        (found.drawn_bits, f"{bound} at the latents of the file ({drawn:+.3f} %)"),
        (found.elbo_bits, f"{bound} at other draws ({part:+.2f} % ± {error:.2f})"),
    ]
    if found.encoder_bits != found.elbo_bits:
        saved = 100 * (1 - found.elbo_bits / found.encoder_bits)
        by = "refining" if found.num_samples == 1 else f"{bound} of q"
        parts.append((found.encoder_bits, f"-ELBO of the encoder alone ({by} saves {saved:.2f} %)"))
    lines = [
        f"{found.num_bytes:>12,} bytes  {8 * found.num_bytes / each:9.4f} bits per number  the file",
        *(f"{bits / 8:>12,.0f}        {bits / each:9.4f}                  {name}" for bits, name in parts),
        f"{found.start_bits / 8:>12,.0f}                                   start and header",
    ]
    if found.rest_bits:
        rest = f"{found.rest_bits / 8:>12,.0f}        {found.rest_bits / each:9.4f}"
        lines.append(f"{rest}                  digits below the grid, as they are")
    if drawn < -_NOTABLE:
        lines.append(f"Shorter than {bound}: the model all but excludes some values, and none takes over 30 bits.")
    if found.num_held:
        lines.append(
            f"{found.num_held:>12,} of the {found.num_rows:,} lines stand in the file as they were given, because the "
            "model writes them otherwise or not at all"
        )
    return lines + [
        f"{size:>12,}        {8 * size / each:9.4f}                  {name}" for name, size in found.others.items()
    ]
