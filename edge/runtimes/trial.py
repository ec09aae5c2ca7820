"""Opens and runs a model in a process of its own, because a damaged file can crash TensorFlow Lite.

`python -m edge.runtimes.trial RUNTIME MODEL`; only how it ends matters, not what it prints.
"""

from __future__ import annotations

import signal
import subprocess
import sys
from functools import lru_cache
from pathlib import Path

from edge.errors import EdgeError, ModelError

_TIMEOUT_S = 120.0  # a large float model on a slow Pi takes seconds


def require_sound(runtime: str, model: Path) -> None:
    """Make sure that a model of unknown origin does not take this process down; once for each file, until it changes.

    Args:
        runtime: a runtime's name, or "auto".
        model: a .tflite file.

    Raises:
        ModelError: it crashes the runtime or never ends. Errors that the runtime reports are left to be reported again.
        OSError: the file cannot be looked at.
    """
    found = model.stat()
    _try(runtime, model, (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns))


@lru_cache(maxsize=8)
def _try(runtime: str, model: Path, _: tuple[int, ...]) -> None:
    command = [sys.executable, "-m", "edge.runtimes.trial", runtime, str(model)]
    try:
        status = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd=Path(__file__).resolve().parents[2],
            timeout=_TIMEOUT_S,
            check=False,
        ).returncode
    except subprocess.TimeoutExpired:
        raise ModelError(f"{model} does not end within {_TIMEOUT_S:g} s: the file is damaged.") from None
    if status == -signal.SIGKILL:  # the kernel's way when memory is short
        raise ModelError(f"{model} could not be tried: something killed the process, as for want of memory.") from (
            MemoryError()
        )
    if status < 0:
        name = signal.Signals(-status).name
        raise ModelError(f"{model} crashes the TensorFlow Lite runtime ({name}): the file is damaged; copy it again.")


def _main(runtime: str, model: str) -> None:
    from edge.runtimes import open_runtime

    try:
        opened = open_runtime(runtime, Path(model), 1)
        opened.invoke()
        opened.close()
    except EdgeError:
        return


if __name__ == "__main__":
    _main(*sys.argv[1:])
