"""When `compile="auto"` compiles: by measured time, once, and in the same way after a run was resumed."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jaxtyping
import pytest
import torch
from torch import Tensor, nn

from lowerbound.gradients import Pathwise
from lowerbound.losses import LossOutput, VariationalLoss
from lowerbound.models import vae
from lowerbound.objectives import ELBO, IWAE, BetaELBO
from lowerbound.training import compiling
from lowerbound.training.checkpoint import Checkpoint
from lowerbound.training.compiling import WORTH, AutoCompile, graph_folder, keep_graphs
from lowerbound.training.engine import Engine
from lowerbound.training.held_out import HeldOut, held_out_terms
from lowerbound.training.loop import train
from lowerbound.training.starts import GraphStart, in_words
from lowerbound.training.steps import CannotCompile

RAW = (torch.zeros(2, 3),)


class Fake:
    """A step that takes a known time."""

    def __init__(self, seconds: float = 0.0, refuses: bool = False):
        self.own, self.refuses = seconds, refuses
        self.optimizer = torch.optim.Adam([nn.Parameter(torch.zeros(2))])

    def prepare(self, raw: tuple[Tensor, ...]) -> None:
        if self.refuses:
            raise CannotCompile("This loss cannot be compiled as one graph (a reason).")

    def seconds(self, raw: tuple[Tensor, ...]) -> float:
        return self.own


@pytest.fixture(autouse=True)
def _a_cache_of_its_own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)  # it would refuse the fakes
    monkeypatch.setattr(compiling, "cache_folder", lambda: tmp_path / "cache")
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path / "chosen"))


def chosen(
    eager: Any, compiled: Any, seconds: float, steps_left: int, what: str = "", raw: tuple[Tensor, ...] = RAW
) -> tuple[Any, str | None, bool | None]:
    auto = AutoCompile(lambda: compiled, lambda: what)
    step, note = auto.choose(eager, seconds, steps_left, raw)
    return step, note, auto.decided


def test_a_short_rest_is_not_worth_a_graph() -> None:
    eager = Fake()
    assert chosen(eager, Fake(refuses=True), 0.99 * WORTH / 1000, 1000) == (eager, None, False)


def test_a_graph_that_is_kept_pays_in_a_shorter_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    def now(took: float) -> None:
        clock = iter([100.0, 100.0 + took])
        monkeypatch.setattr(compiling, "computing_seconds", lambda: next(clock))

    eager, fast, slow = Fake(), Fake(4e-3), Fake(1.0)  # which saves three fifths
    rest = {"seconds": 1e-2, "steps_left": 700, "what": "a loss"}
    assert chosen(eager, fast, **rest)[2] is False  # 7 s, and no graph was made here
    now(8.0)
    assert chosen(eager, fast, **{**rest, "steps_left": 3000})[2] is True
    assert chosen(eager, fast, **{**rest, "steps_left": 490})[2] is False  # 2.9 s are less than 1.5 times 2 s
    now(4.0)
    assert chosen(eager, fast, **rest)[2] is True  # 4.2 s are more; what the start takes is not known before
    assert chosen(eager, fast, **rest)[2] is False  # 4.2 s are less than 1.5 times 4 s
    longer = {**rest, "steps_left": 1100}  # 6.6 s
    assert chosen(eager, fast, **{**longer, "what": "another loss"})[2] is False
    assert chosen(eager, fast, **{**longer, "raw": (torch.zeros(3, 3),)})[2] is False
    now(4.0)
    assert chosen(eager, slow, **longer)[2] is False  # tried, and it saves nothing
    assert chosen(eager, fast, **longer)[2] is False


def test_a_graph_is_known_again_by_all_that_is_compiled() -> None:
    def words(objective: Any, num_samples: int = 2) -> str:
        return in_words(VariationalLoss(vae((3,), hidden=[2]), objective, Pathwise(), num_samples))

    objectives = [IWAE(), ELBO(rate="kl"), ELBO(rate="sampled"), BetaELBO(beta=2.0), BetaELBO(beta=3.0)]
    assert words(IWAE()) == words(IWAE())
    assert words(IWAE()) != words(IWAE(), num_samples=3)
    assert len({words(objective) for objective in objectives}) == len(objectives)


@pytest.mark.parametrize("said", ["", "soon", "nan 0.6", "-1 0.6", "inf 0.6", "1 nan", "1", "1 0.6 3"])
def test_a_start_that_says_nothing_does_not_pay(said: str, tmp_path: Path) -> None:
    start = GraphStart(tmp_path, "a loss", ((2, 3),))
    start.remember(8.0, 0.6)
    assert start.pays(5.1)  # the start of what is kept is not known yet
    start.remember(8.0, 0.6)
    assert not start.pays(19.9)
    assert start.pays(20.1)
    start.path.write_text(said)
    assert not start.pays(1e3)
    start.path.unlink()
    start.path.mkdir()
    assert not start.pays(1e3)
    start.remember(8.0, 0.6)  # it cannot be written, and nothing is left
    assert [path.name for path in start.path.parent.iterdir()] == [start.path.name]
    (tmp_path / "file").write_text("")
    GraphStart(tmp_path / "file", "a loss", ()).remember(8.0, 0.6)  # nor is there a folder to remember it in


def test_a_long_rest_goes_on_in_the_faster_form() -> None:
    eager, fast, slow = Fake(), Fake(0.02), Fake(0.04)
    (parameter,) = eager.optimizer.param_groups[0]["params"]
    parameter.grad = torch.tensor([3.0, 4.0])
    eager.optimizer.step()
    step, note, decided = chosen(eager, fast, 0.03, 1000)
    assert (step, decided) == (fast, True)
    assert note == "The steps are compiled from here on: 20 ms in place of 30."
    (state,) = fast.optimizer.state.values()
    torch.testing.assert_close(state["exp_avg"], torch.tensor([0.3, 0.4]))
    step, note, decided = chosen(eager, slow, 0.03, 1000)
    assert (step, decided) == (eager, False)
    assert note == "The steps stay uncompiled: a compiled one takes 40 ms in place of 30."


def test_what_cannot_be_compiled_goes_on_with_a_warning() -> None:
    eager = Fake()
    with pytest.warns(UserWarning, match=r"\(a reason\)\. Training goes on uncompiled"):
        assert chosen(eager, Fake(refuses=True), 0.03, 1000) == (eager, None, False)


def test_graphs_lie_in_a_folder_that_the_owner_alone_reads(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    keep_graphs()
    assert os.environ["TORCHINDUCTOR_CACHE_DIR"] == str(tmp_path / "chosen")  # what the user chose stays
    monkeypatch.delenv("TORCHINDUCTOR_CACHE_DIR")
    keep_graphs()
    folder = Path(os.environ["TORCHINDUCTOR_CACHE_DIR"])
    assert folder == graph_folder()
    assert folder.is_relative_to(tmp_path / "cache")
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    monkeypatch.setattr(compiling, "_instructions", lambda: {"avx512_bf16": "of another processor"})
    assert graph_folder() != folder


def test_the_choice_of_torch_is_not_that_of_the_user(monkeypatch: pytest.MonkeyPatch) -> None:
    """torch sets the variable when its compiler is imported, which the first step of an optimiser does."""
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", f"{tempfile.gettempdir()}/torchinductor_somebody")
    keep_graphs()
    assert os.environ["TORCHINDUCTOR_CACHE_DIR"] == str(graph_folder())


def _file(folder: Path) -> None:
    folder.parent.parent.mkdir(parents=True)
    folder.parent.write_text("")


def _link(folder: Path) -> None:
    (folder.parent.parent / "of another").mkdir(parents=True)
    folder.parent.symlink_to(folder.parent.parent / "of another")


def _open_to_all(folder: Path) -> None:
    folder.mkdir(parents=True)
    folder.parent.parent.chmod(0o777)


def _open_to_its_group(folder: Path) -> None:
    folder.mkdir(parents=True)
    folder.parent.parent.chmod(0o770)


def _anothers(folder: Path) -> None:
    folder.mkdir(parents=True)
    os.chown(folder, 65534, -1) if os.geteuid() == 0 else folder.chmod(0o500)


@pytest.mark.parametrize("hostile", [_file, _link, _open_to_all, _open_to_its_group, _anothers])
def test_graphs_are_not_taken_from_where_others_write(
    hostile: Callable[[Path], None], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv("TORCHINDUCTOR_CACHE_DIR")
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    compiling._of_this_process.cache_clear()
    hostile(graph_folder())
    if hostile is _anothers and os.geteuid() != 0:
        monkeypatch.setattr(os, "geteuid", lambda: -1)
    keep_graphs()
    folder = Path(os.environ["TORCHINDUCTOR_CACHE_DIR"])
    assert folder.parent == tmp_path
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    compiling._of_this_process.cache_clear()


def test_without_any_folder_training_goes_on_uncompiled(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse() -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(compiling, "keep_graphs", refuse)
    with pytest.warns(UserWarning, match="No space left on device.* Training goes on uncompiled"):
        assert chosen(Fake(), Fake(0.0), 0.03, 1000)[2] is False


class Regression(nn.Module):
    """A small net with noise."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(3, 5), nn.Tanh(), nn.Linear(5, 1))

    def forward(self, x: Tensor) -> LossOutput:
        loss = (self.net(x + 0.1 * torch.randn_like(x))[:, 0] - x.sum(-1)).square().mean()
        return LossOutput(loss, {"bound": -loss.detach()})


def run(path: Path, leave_at: int = 0, precision: Any = "fp32") -> tuple[nn.Module, list[Any]]:
    torch.manual_seed(0)
    loss, records = Regression(), []
    for record in train(
        loss,
        torch.randn(40, 3, generator=torch.Generator().manual_seed(1)),
        num_steps=15,
        batch_size=8,
        log_every=5,
        checkpoint=Checkpoint(path=path, every=0.0),
        engine=Engine(device="cpu", precision=precision),
    ):
        records.append(record)
        if record.step == leave_at:
            break
    return loss, records


def test_the_decision_is_saved_and_followed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    run(tmp_path / "state", leave_at=5)
    assert Checkpoint(path=tmp_path / "state").state()["compiled"] is False
    monkeypatch.setattr(compiling, "WORTH", 0.0)  # a run that began now would be compiled
    monkeypatch.setattr(AutoCompile, "choose", None)
    run(tmp_path / "state")
    assert Checkpoint(path=tmp_path / "state").state()["compiled"] is False


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:`torch.jit.script_method` is deprecated:DeprecationWarning")
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_run_that_was_compiled_on_the_way_is_resumed_with_the_same_bits(
    precision: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(compiling, "WORTH", -1.0)
    monkeypatch.setattr(compiling.CompiledStep, "seconds", lambda *_: -1.0)
    whole, records = run(tmp_path / "whole", precision=precision)
    assert [record.note is not None for record in records] == [True, False, False]
    run(tmp_path / "state", leave_at=10, precision=precision)
    rest, _ = run(tmp_path / "state", precision=precision)
    assert all(torch.equal(a, b) for a, b in zip(whole.parameters(), rest.parameters(), strict=True))


@pytest.mark.slow
def test_a_run_that_is_compiled_on_the_way_leaves_nothing_in_the_folder_for_temporary_files(tmp_path: Path) -> None:
    places = {"XDG_CACHE_HOME": tmp_path / "cache", "TMPDIR": tmp_path / "temporary"}
    places["TMPDIR"].mkdir()
    code = (
        "from pathlib import Path; from lowerbound.training import compiling; from test_compiling import run; "
        "compiling.WORTH = -1.0; run(Path('state'))"
    )
    said = {k: v for k, v in os.environ.items() if k != "TORCHINDUCTOR_CACHE_DIR"} | {
        k: str(v) for k, v in places.items()
    }
    said["PYTHONPATH"] = os.pathsep.join([str(Path(__file__).parent), *sys.path])
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=said, check=True)
    assert not [file for file in places["TMPDIR"].rglob("*") if file.is_file()]  # torch makes an empty folder
    assert list((places["XDG_CACHE_HOME"] / "lowerbound" / "graphs").rglob("*.so"))


def test_the_held_out_bound_is_that_of_fp32() -> None:
    torch.manual_seed(0)
    loss = VariationalLoss(vae((10,), latent_dim=2, hidden=(16,)), ELBO(), Pathwise())
    held_out = HeldOut(source=torch.rand(50, 10).round(), every=1)
    full, low = (held_out_terms(loss, held_out, 0, Engine(device="cpu", precision=p)) for p in ("fp32", "bf16"))
    assert full == low
