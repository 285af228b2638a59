"""Everything that a run needs to continue exactly, in one file that is replaced as a whole.

A checkpoint is one safetensors file: the tensors of the loss (model included) and of the optimiser, the best weights so
far, and the loop's own numbers as JSON in the header. It is written to a file beside, flushed to the disk and then
renamed in one step, so that a process killed at any moment leaves a complete checkpoint. It contains no pickle.
"""

from __future__ import annotations

import errno
import json
import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import safetensors
import torch
from safetensors.torch import save
from torch import Tensor, nn

from lowerbound.training.sharded_state import load_state_here, state_here

__all__ = [
    "BestWeights",
    "Checkpoint",
    "CheckpointError",
    "put_in_place",
    "remove_partial_files",
    "require_readable",
    "umask",
    "unshared",
    "write_atomically",
]

_PARTIAL, _SUFFIX = ".lowerbound-", ".partial"
_NO_LINKS = (errno.EPERM, errno.ENOTSUP, errno.ENOSYS)
_UNREADABLE = (safetensors.SafetensorError, OSError, KeyError, ValueError, RecursionError)


class CheckpointError(ValueError):
    """A checkpoint that cannot be written or read, in one sentence."""


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """Where and how often to save.

    Arguments:
        path: the file.
        every: seconds that must have passed since the last save; the results of a run do not depend on when it saves.
    """

    path: Path
    every: float = 10.0

    def save(self, groups: dict[str, dict[str, Tensor]], state: dict[str, Any]) -> None:
        """Write groups of named tensors and a JSON-able state; the old file is replaced only when the new one is
        complete.

        Raises:
            CheckpointError: the disk refused; the old checkpoint is still there.
        """
        tensors = unshared({f"{group}/{name}": t for group, items in groups.items() for name, t in items.items()})
        try:
            write_atomically(self.path, save(tensors, metadata={"state": json.dumps(state)}))
        except OSError as error:
            kept = "the checkpoint before it is whole" if self.exists() else "nothing was saved before"
            raise CheckpointError(
                f"Could not save {self.path} ({error.strerror or error}); {kept}. Free some space and resume."
            ) from error

    def load(self) -> tuple[dict[str, dict[str, Tensor]], dict[str, Any]]:
        """Read back what `save` was given, on the CPU.

        Raises:
            CheckpointError: the file is missing or is not a checkpoint.
        """
        try:
            require_readable(self.path)
            with safetensors.safe_open(str(self.path), framework="pt") as file:
                state = _state_of(file)
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  # not a dictionary
        except _UNREADABLE as error:
            raise self._unreadable(error) from None
        groups: dict[str, dict[str, Tensor]] = {}
        for key, tensor in tensors.items():
            group, _, name = key.partition("/")
            groups.setdefault(group, {})[name] = tensor
        return groups, state

    def state(self) -> dict[str, Any]:
        """The numbers alone, without the tensors; the file is opened again only if it has changed.

        Raises:
            CheckpointError: the file is missing or is not a checkpoint.
        """
        try:
            require_readable(self.path)
            found = self.path.stat()
            return dict(_read_state(str(self.path), (found.st_ino, found.st_mtime_ns, found.st_size)))
        except _UNREADABLE as error:
            raise self._unreadable(error) from None

    def exists(self) -> bool:
        """Whether there is something to resume from."""
        return self.path.exists()

    def _unreadable(self, error: Exception) -> CheckpointError:
        if isinstance(error, FileNotFoundError):
            return CheckpointError(f"There is no checkpoint at {self.path}; start the run anew.")
        if isinstance(error, PermissionError):
            return CheckpointError(f"{self.path} is not readable ({error.strerror or error}).")
        return CheckpointError(
            f"{self.path} is not a checkpoint of this library ({str(error)[:100]}); start the run anew."
        )


@lru_cache(maxsize=8)
def _read_state(path: str, version: tuple[int, ...]) -> dict[str, Any]:
    """The numbers of a checkpoint of this inode, time and size."""
    with safetensors.safe_open(path, framework="pt") as file:
        return _state_of(file)


def _state_of(file: Any) -> dict[str, Any]:
    state = json.loads((file.metadata() or {})["state"])
    if not isinstance(state, dict) or not isinstance(state.get("step"), int):
        raise ValueError("its numbers were altered")
    return state


def unshared(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors as a file takes them: contiguous, and a copy where two names share memory."""
    seen: set[int] = set()
    found = {}
    for name, tensor in tensors.items():
        own = tensor.detach().contiguous()
        place = own.untyped_storage().data_ptr()
        found[name] = own.clone() if place in seen else own
        seen.add(place)
    return found


class BestWeights:
    """The weights that had the best held-out bound, in buffers made once and overwritten in place; of a divided module
    those that lie in this process.
    """

    def __init__(self, module: nn.Module):
        self._module = module
        self.tensors = {name: torch.empty_like(t, device="cpu") for name, t in state_here(module).items()}
        self.bound = float("-inf")

    @torch.no_grad()
    def offer(self, bound: float) -> bool:
        """Keep the module's weights if this bound (nats, larger is better) beats the best so far."""
        if not bound > self.bound:
            return False
        self.bound = bound
        for name, tensor in state_here(self._module).items():
            self.tensors[name].copy_(tensor)
        return True

    @torch.no_grad()
    def restore(self) -> None:
        """Load the best weights into the module, if any were offered."""
        if self.bound > float("-inf"):
            load_state_here(self._module, self.tensors)


def write_atomically(path: Path, content: bytes, *, new: bool = False) -> None:
    """Write a file in one step: after a kill or a power cut it is the complete old or the complete new one.

    The content first goes to a new file beside it with an unpredictable name, so that no link is followed and no two
    processes share the file.

    Arguments:
        path: the file.
        content: what it will hold.
        new: refuse to replace a file that is there.

    Raises:
        FileExistsError: `new`, and it is there.
        OSError: the disk refused.
    """
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=_PARTIAL, suffix=_SUFFIX)
    temporary = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o666 & ~umask())
        put_in_place(temporary, path, new=new)
    finally:
        temporary.unlink(missing_ok=True)


def put_in_place(temporary: Path, path: Path, *, new: bool) -> None:
    """Give a file its name in one step; with `new`, of two processes that want a name one gets it.

    A disk without hard links keeps the name with an empty file first.

    Raises:
        FileExistsError: `new`, and it is there.
        OSError: the disk refused.
    """
    if new:
        try:
            os.link(temporary, path)
            return
        except OSError as error:
            if error.errno not in _NO_LINKS:
                raise
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY))
    os.replace(temporary, path)


def require_readable(file: Path) -> None:
    """Open and close a file, as safetensors says of one without permission that it is not there.

    Raises:
        OSError: it cannot be opened.
    """
    file.open("rb").close()


def remove_partial_files(folder: Path) -> None:
    """Remove files left by writers that were killed; only for a folder in which no process writes."""
    for left in folder.glob(f"{_PARTIAL}*{_SUFFIX}"):
        left.unlink(missing_ok=True)


def umask() -> int:
    """The bits that this process leaves out of the modes of new files."""
    mask = os.umask(0)
    os.umask(mask)
    return mask
