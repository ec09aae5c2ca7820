"""Other programs, each with a time-out: what does not fit, hangs or crashes does so there."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, Optional

from edge.device import ROOT

_KILLED_S = 1.0
_TOLD_S = 5.0
_PACKAGE_PARENT = Path(__file__).resolve().parents[2]


class Ended(NamedTuple):
    """How a program ended."""

    code: Optional[int]
    """Its exit code, minus a signal's number, or None where it was ended because it took too long."""
    out: str
    err: str

    @property
    def how(self) -> str:
        """In words, for what did not end well: "SIGSEGV", "exit code 1", "no end"."""
        if self.code is None:
            return "no end"
        if self.code < 0:
            with contextlib.suppress(ValueError):  # a real-time signal has no name
                return signal.Signals(-self.code).name
            return f"signal {-self.code}"
        return f"exit code {self.code}"


def run(command: Sequence[str], timeout_s: float, given: str = "", folder: str = "/") -> Ended:
    """Run a program to its end, or end it, with all that it started, when it takes longer than `timeout_s`.

    Raises:
        OSError: it is not there or cannot be started.
    """
    process = subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
        cwd=folder,
        env={**os.environ, "LC_ALL": "C.UTF-8"},
        start_new_session=True,
    )
    try:
        out, err = process.communicate(given, timeout=timeout_s)
    except subprocess.TimeoutExpired:
        with contextlib.suppress(OSError):  # it ended just now
            os.killpg(process.pid, signal.SIGKILL)
        try:
            out, err = process.communicate(timeout=_KILLED_S)
        except subprocess.TimeoutExpired:  # in a driver, where no signal reaches it
            out = err = ""
        return Ended(None, out, err)
    return Ended(process.returncode, out, err)


def python(arguments: Sequence[str], timeout_s: float, given: str = "") -> Ended:
    """Run this Python, which finds this very edge; see `run`."""
    return run([sys.executable, *arguments], timeout_s, given, str(_PACKAGE_PARENT))


def told(root: Path, *command: str) -> Optional[str]:
    """What a program of the system says; None where it is not there, fails or hangs, and of another root than "/"."""
    if root != ROOT:
        return None
    try:
        ended = run(command, _TOLD_S)
    except OSError:
        return None
    return ended.out if ended.code == 0 else None


def properties(text: str) -> dict[str, str]:
    """`Name=value` lines, as systemctl and timedatectl show them."""
    pairs = (line.partition("=") for line in text.splitlines())
    return {name: value for name, equals, value in pairs if equals}
