"""The generators of inputs: each makes one `Case` from a seeded generator and the material that all share."""

from __future__ import annotations

import importlib
import inspect
import random
from collections.abc import Callable
from pathlib import Path

import click

from lowerbound.cli.fit import fit
from lowerbound.recipes import recipes
from lowerbound.spelling import choices

from .altered import altered_run
from .case import Case
from .every import words_of
from .files import hostile_file
from .lossless import altered_file
from .material import Material
from .newer import newer

__all__ = ["KINDS", "case"]

VALUES = (
    "nan", "inf", "-inf", "1e308", "-1e308", "1e-320", "0", "-0", "-1", "1", "2", "0.5", "1000000000", "9" * 19,
    "9" * 400, "", " ", "x", "ä", "[", "[[", "[" * 3000, "-" * 1900, "None", "True", "1e3", "[1,[2]]", "()", "{}", "''",
    "a=b", "a:b=c", "../x", "\x1b[2J", "$(id)", "%s%n", "x" * 5000, "8,0", "8,,8", "8,1000000000", "normal:", ":", "=",
    "lambda: 0",
)  # fmt: skip
ENDLESS = ("nan", "inf", "-1", "0", "1e-320", "1e30", "1e308", "1" + "0" * 12, "9" * 19, "9" * 400, "", "x", "2")
AXES = {
    "prior": "priors",
    "likelihood": "likelihoods",
    "missingness": "missingness",
    "posterior": "posteriors",
    "objective": "objectives",
    "gradient": "gradients",
    "penalty": "penalties",
    "loss": "losses",
    "inference": "inference",
    "optimizer": "optimizers",
}
TINY = ["--hidden", "4", "--latent-dim", "2", "--num-samples", "2", "--steps", "1", "--device", "cpu", "--no-evaluate"]


def case(seed: int, index: int, material: Material) -> Case:
    """The input of this number: the same for the same seed."""
    rng = random.Random(f"{seed}/{index}")
    kind = rng.choices(list(KINDS), [weight for _, weight in KINDS.values()])[0]
    return KINDS[kind][0](rng, material)


def _fit(rng: random.Random, material: Material, *words: str) -> list[str]:
    return ["fit", *words, *TINY, "--out", str(material.folder / f"out-{rng.randrange(10**12)}")]


def options(rng: random.Random, material: Material) -> Case:
    """An option of `fit` with a value from the list; a later word wins, so that training stays short."""
    words = _fit(rng, material, str(material.table), "--recipe", "vae")
    for parameter in rng.sample([p for p in fit.params if isinstance(p, click.Option)], rng.choice([1, 1, 2])):
        if parameter.name in ("evaluate", "devices", "resume", "start_from", "out", "compile"):
            continue
        if parameter.name in ("epochs", "steps"):  # one of both, and none that is long and sensible
            words += ["--steps", rng.choice(ENDLESS)] if parameter.name == "steps" else []
            if parameter.name == "epochs":
                words[words.index("--steps") : words.index("--steps") + 2] = ["--epochs", rng.choice(ENDLESS)]
            continue
        words += [parameter.opts[0], *([] if parameter.is_flag else [rng.choice(VALUES)])]
    return Case(kind="options", words=words)


def spelled(rng: random.Random, material: Material) -> Case:
    """A choice on some axis, with options of its own and values of any kind."""
    axis = rng.choice([*AXES, "recipe"])
    known = {n: r.make for n, r in recipes().items()} if axis == "recipe" else _choices(axis)
    name = rng.choice(sorted(known))
    names = [n for n in inspect.signature(known[name]).parameters if n not in ("net", "event_shape")] or ["x"]
    chosen = rng.sample(names, min(len(names), rng.choice([1, 1, 2])))
    text = f"{name}:" + ",".join(f"{n}={rng.choice(VALUES)}" for n in chosen)
    words = [str(material.table), f"--{axis}", text]
    small = ["--steps", "1", "--device", "cpu", "--no-evaluate", "--batch-size", "8"]
    return Case(kind="spelled", words=["fit", *words, *small, "--out", str(material.folder / f"s{rng.random()}")])


def pairs(rng: random.Random, material: Material) -> Case:
    """Choices of several axes that may not go together."""
    words = _fit(rng, material, str(material.table), "--recipe", "vae")
    for axis in rng.sample(sorted(AXES), rng.choice([2, 2, 3, 4])):
        words += [f"--{axis}", rng.choice(sorted(_choices(axis)))]
    return Case(kind="pairs", words=words)


def files(rng: random.Random, material: Material) -> Case:
    """A strange file as data of `fit` or of another command."""
    path = str(hostile_file(material.folder, rng))
    said = rng.choice([[], [], ["--label", "label"], ["--kind", "counts"], ["--array", "x"], ["--columns", "a=count"]])
    if rng.random() < 0.6:
        recipe = rng.choice([[], [], ["--recipe", "factor-analysis"], ["--recipe", "cvae"]])
        return Case(kind="files", words=[*_fit(rng, material, path), *said, *recipe])
    run, out = str(rng.choice(material.runs)), str(material.folder / f"z-{rng.randrange(10**12)}.npz")
    command = rng.choice([
        ["evaluate", run, "--limit", "2"], ["encode", run, "--out", out], ["diagnose", run],
        ["impute", run, "--out", out], ["score", run, "--out", out, "--num-samples", "2"],
    ])  # fmt: skip
    if rng.random() < 0.2:
        word, ending = rng.choice([("compress", ".lb"), ("decompress", ".npz")])
        return Case(kind="files", words=[word, run, path, "--out", out.removesuffix(".npz") + ending])
    data = ["--against" if command[0] == "diagnose" else "--data", path]
    return Case(kind="files", words=[*command, *data])


def runs(rng: random.Random, material: Material) -> Case:
    """An altered run folder, given to any command that reads one."""
    run = str(altered_run(rng.choice(list(material.named.values())), material.folder, rng))
    out = ["--out", str(material.folder / f"o-{rng.randrange(10**12)}.npz")]
    command = rng.choice(
        [
            "evaluate",
            "sample",
            "score",
            "impute",
            "encode",
            "reconstruct",
            "diagnose",
            "check",
            "report",
            "gradients",
            "resume",
            "branch",
            "from",
        ]
    )
    if command == "resume":
        return Case(kind="runs", words=["fit", "--resume", run, "--no-evaluate"])
    if command == "branch":
        return Case(
            kind="runs", words=["fit", "--resume", run, "--lr", "0.001", *out[:1], out[1][:-4], "--no-evaluate"]
        )
    if command == "from":
        return Case(
            kind="runs",
            words=["fit", str(material.table), "--from", run, "--steps", "1", "--no-evaluate", "--out", out[1]],
        )
    extra = {"evaluate": ["--num-samples", "2", "--limit", "3"], "report": [], "gradients": ["--num-repeats", "4"]}
    extra |= {"diagnose": ["--num-rows", "3"], "check": ["--limit", "5", "--num-replicates", "20"]}
    return Case(kind="runs", words=[command, run, *extra.get(command, out)])


def others(rng: random.Random, material: Material) -> Case:
    """The other commands, with values and outputs of any kind."""
    run = str(rng.choice(material.runs))
    place = str(rng.choice([
        material.folder / ("n" * 300 + ".npz"), material.folder, material.folder / "none" / "x.npz", "/dev/full", "",
        material.folder / f"\x1b{rng.random()}.npz", Path(run) / "run.json", Path(run) / "x.npz", material.table,
        material.folder / f"{rng.random()}.csv", material.folder / f"{rng.random()}.png", "/proc/x.npz",
    ]))  # fmt: skip
    value = rng.choice(VALUES)
    words = rng.choice([
        ["evaluate", run, "--limit", rng.choice(["1", "2", value]), "--num-samples", "2"],
        ["evaluate", run, "--limit", "2", "--num-samples", rng.choice(["1", "3", "nan", "-1", "0", "x"]), "--json"],
        ["sample", run, "--out", place, "--count", rng.choice(["1", "2", value])],
        ["sample", run, "--out", place, "--class", value],
        ["sample", run, "--out", place, "--count", "2", "--given", rng.choice([value, f"{value}=1", f"a={value}"])],
        ["impute", run, "--out", place, rng.choice(["--statistic", "--draws", "--num-samples", "--data"]), value],
        ["score", run, "--out", place, "--cells", "--num-samples", rng.choice(["2", value])],
        ["encode", run, "--out", place], ["reconstruct", run, "--out", place, "--count", "2"],
        ["report", run, "--out", place], ["gradients", run, "--out", place, "--num-repeats", "4"],
        ["gradients", run, "--estimator", value, "--num-repeats", "4"],
        ["gradients", run, rng.choice(["--num-repeats", "--num-samples", "--batch-size"]), value],
        ["diagnose", run, "--num-rows", rng.choice(["2", "3", value])],
        ["check", run, rng.choice(["--limit", "--num-replicates", "--seed"]), rng.choice(["2", "20", value])],
        ["evaluate", run, "--limit", "2", "--num-samples", value],
        ["compare", run, str(rng.choice(material.runs)), "--limit", "2", "--num-samples", rng.choice(["2", value])],
        ["encode", run, "--out", place, "--refine", value],
        ["encode", run, "--out", place, "--inference", f"local:num_steps={value}"],
        ["traverse", run, "--out", place, rng.choice(["--row", "--steps", "--sd", "--latents"]), value],
        ["traverse", run, "--out", place, "--steps", "3"], ["traverse", run, "--data", value],
        ["interpolate", run, rng.choice(["0", value]), value, "--out", place, "--steps", rng.choice(["2", value])],
        ["neighbours", run, rng.choice(["0", "0,1", value]), "--out", place, "--count", rng.choice(["1", value])],
        ["neighbours", run, "0", "--distance", rng.choice(["symmetric-kl", value])],
        ["attribute", run, rng.choice(["a", "label", value, f"label={value}"]), "--add", rng.choice(["1", value])],
        ["attribute", run, "a", "--out", place, rng.choice(["--row", "--steps", "--how"]), value],
        ["export", run, "--out", rng.choice([place, value or "x", str(material.folder / f"e-{rng.random()}")])],
        ["choices", value], ["choices", rng.choice(sorted(AXES)), value], ["datasets", value], [value],
        ["fit", value], ["evaluate", value], ["fit", "--resume", value], ["fit", value, "--from", run],
        ["fit", str(material.table), "--from", run, "--freeze", value, "--steps", "1", "--no-evaluate"],
    ])  # fmt: skip
    if words[0] == "fit":
        words += ["--out", str(material.folder / f"f-{rng.randrange(10**12)}")] if "--resume" not in words else []
    return Case(kind="others", words=words)


def every(rng: random.Random, material: Material) -> Case:
    """Any command but `fit`, with any of its options."""
    named = material.named
    fitting = {"search": named["molecules"], "predict": named["clips"]}
    fitting |= dict.fromkeys(("cross-generate", "coherence"), named["modalities"])
    fitting |= dict.fromkeys(("expression", "differential-expression"), named["cells"])
    fitting["interpolate"] = named[rng.choice(["text", "molecules", "pairs"])]
    return Case(kind="every", words=words_of(rng, list(named.values()), fitting, material.folder, VALUES))


def sweeps(rng: random.Random, material: Material) -> Case:
    """A small grid with values of any kind."""
    names = [p.opts[0][2:] for p in fit.params if isinstance(p, click.Option) and p.name not in ("epochs", "steps")]
    value = rng.choice(VALUES)
    over = rng.choice([value, f"lr={value}", f"lr=0.1,{value}", f"{rng.choice(names)}={value}", "latent-dim=1,2"])
    small = ["--hidden", "4", "--num-samples", "2", "--steps", "1", "--device", "cpu", "--recipe", "vae"]
    words = ["sweep", str(material.table), "--over", over, "--out", str(material.folder / f"w-{rng.randrange(10**12)}")]
    return Case(kind="sweeps", words=[*words, "--num-evidence-samples", "2", *small])


def texts(rng: random.Random, material: Material) -> Case:
    """What is for models of text, on one of them or on another run, whole or altered."""
    run = material.named[rng.choice(["text", "pairs"])] if rng.random() < 0.8 else rng.choice(material.runs)
    run = run if rng.random() < 0.6 else altered_run(run, material.folder, rng)
    value, number = rng.choice(VALUES), rng.choice(ENDLESS)
    how = rng.choice([value, f"temperature={number}", f"nucleus={number}", "greedy", "sample"])
    words = rng.choice([
        ["sample", "--decoding", how, "--count", "2"],
        ["interpolate", value, rng.choice(VALUES), "--steps", rng.choice(["2", "3", number])],
        ["interpolate", "a b", "b c", "--steps", "3", "--way", rng.choice(["line", "circle", value])],
        ["reconstruct", "--count", "2"], ["gradients", "--num-repeats", "4"],
        ["evaluate", "--limit", "2", "--num-samples", "2", "--language-model"],
        ["evaluate", "--limit", "2", "--num-samples", "2", "--quality"],
    ])  # fmt: skip
    return Case(kind="texts", words=[words[0], str(run), *words[1:]])


def lossless(rng: random.Random, material: Material) -> Case:
    """A file of coded rows that was altered, with the right hash, or another place of it."""
    run, file = rng.choice(material.coded)
    if rng.random() < 0.2:
        place = material.folder / rng.choice(["n" * 300 + ".lb", "none/x.lb", f"\x1b{rng.random()}.lb"])
        return Case(kind="lossless", words=["compress", str(run), str(material.data[run.name]), "--out", str(place)])
    out = str(material.folder / f"d-{rng.randrange(10**12)}.npz")
    return Case(
        kind="lossless", words=["decompress", str(run), str(altered_file(file, material.folder, rng)), "--out", out]
    )


def _newer(rng: random.Random, material: Material) -> Case:
    return newer(rng, material, VALUES)


def environments(rng: random.Random, material: Material) -> Case:
    """A process of its own under a strange environment, whose mistake must not exit 0."""
    values = ["abc", "", "-1", "0", "1", "999999999999", "1.5", "ä"]
    names = rng.sample(["RANK", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "SLURM_NTASKS", "SLURM_PROCID"], rng.choice([1, 2]))
    environment = {name: rng.choice(values) for name in names}
    environment |= rng.choice(
        [{}, {"LANG": "C", "PYTHONUTF8": "0", "LC_ALL": "C"}, {"WORLD_SIZE": rng.choice(["x", "1", "0"])}]
    )
    environment |= rng.choice(
        [{}, {}, {"LOWERBOUND_DATA": "/none"}, {"COLUMNS": "0"}, {"HOME": "/none"}, {"TERM": "x"}]
    )
    mistake = rng.random() < 0.5
    words = _fit(rng, material, str(material.folder / "none.csv") if mistake else str(material.table))
    return Case(kind="environments", words=words, environment=environment, apart=True, must_fail=mistake)


def streams(rng: random.Random, material: Material) -> Case:
    """A process of its own whose output nobody takes."""
    run, out = str(rng.choice(material.runs)), str(material.folder / f"s-{rng.randrange(10**12)}.npz")
    words = rng.choice([["datasets"], ["choices"], ["evaluate", run, "--limit", "2", "--num-samples", "2"], ["--help"]])
    words = rng.choice([words, ["sample", run, "--count", "1", "--out", out], _fit(rng, material, str(material.table))])
    where = rng.choice(["closed", "full"])
    return Case(kind="streams", words=words, stdout=where, apart=True, must_fail=where == "full")


KINDS: dict[str, tuple[Callable[[random.Random, Material], Case], float]] = {
    "options": (options, 4),
    "spelled": (spelled, 6),
    "pairs": (pairs, 3),
    "files": (files, 5),
    "runs": (runs, 6),
    "others": (others, 4),
    "sweeps": (sweeps, 1),
    "texts": (texts, 3),
    "every": (every, 6),
    "newer": (_newer, 4),
    "lossless": (lossless, 2),
    "environments": (environments, 0.4),
    "streams": (streams, 0.3),
}


def _choices(axis: str) -> dict[str, type]:
    return choices(importlib.import_module(f"lowerbound.{AXES[axis]}"))
