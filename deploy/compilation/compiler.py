"""Coral's `edgetpu_compiler`: found, run under a deadline, and run again where it fails by chance.

It does fail by chance: the same model and command may end with "Internal compiler error" several times and then
succeed (google-coral/edgetpu#211).
"""

from __future__ import annotations

import contextlib
import math
import os
import platform
import shutil
import signal
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Callable, Optional

import msgspec

from deploy.compilation import log
from edge.errors import ModelError, RuntimeUnavailableError

NAME = "edgetpu_compiler"
_SECTION = 'deploy/README.md, "For an Edge TPU"'
"""Where the lines stand that install it."""
_VERSION_TIMEOUT_S = 30.0
_TELLS_TIME_OUT = 16  # the first version with --timeout_sec
_OWN_TIME_OUT_SHARE = 1.1  # its own message about the time says more than a kill does, so it goes first
_BY_CHANCE = "Internal compiler error"
_FROM_A_SHELL = 128  # what a shell adds to the number of the signal
_HINTS = (
    (
        "not quantized",
        "`edge-deploy convert MODEL.keras --recipe static_wi8_ai8 --calibrate PICTURES --out FOLDER` makes one that is",
    ),
    ("Didn't find op", "the file has operators newer than the compiler: convert it with an older TensorFlow"),
    ("large activation tensors", "a model with a smaller input has smaller ones"),
    ("Compilation timeout", "--timeout gives it longer"),
)


class Compiler(msgspec.Struct, frozen=True):
    """A compiler that answers."""

    path: str
    version: str

    @property
    def name(self) -> str:
        """With its version."""
        return f"{NAME} {self.version}"


class Compilation(msgspec.Struct, frozen=True):
    """What came out of it."""

    file: Path
    """The compiled .tflite file, in the folder for scratch."""
    log: log.Log
    failures: tuple[str, ...]
    """Of the tries before."""


def absent(system: str, machine: str) -> str:
    """Why there is no compiler and what to do, as one sentence.

    Args:
        system: as `platform.system` tells it.
        machine: as `platform.machine` tells it.
    """
    if (system, machine) == ("Linux", "x86_64"):
        return (
            f"Coral's {NAME}, a program for x86-64 Linux that makes a quantized .tflite file one for an Edge TPU, is "
            "not on PATH: `sudo apt install edgetpu-compiler` from Coral's apt repository, which is added as in "
            f"{_SECTION}, or --compiler PATH."
        )
    return (
        f"Coral's {NAME}, which makes a quantized .tflite file one for an Edge TPU, is made for x86-64 Linux only, and "
        f"this is {system} on {machine}: run `edge-deploy compile` on x86-64, where it is installed as in "
        f"{_SECTION}, and copy the bundle."
    )


def find(given: Optional[str] = None) -> Compiler:
    """The compiler that was named, or the one on PATH.

    Raises:
        RuntimeUnavailableError: there is none, or it is none, or it cannot run here.
    """
    path = shutil.which(given or NAME)
    if path is None and given is None:
        raise RuntimeUnavailableError(absent(platform.system(), platform.machine()))
    if path is None:
        raise RuntimeUnavailableError(f"--compiler {given} was given: expected a program, Coral's {NAME}.")
    code, text = _run([os.path.abspath(path), "--version"], Path.cwd(), _VERSION_TIMEOUT_S)
    version = log.parse(text).version
    if code is None or version is None:
        said = "; ".join(log.parse(text).complaints) or "nothing"
        raise RuntimeUnavailableError(
            f"{path} is not Coral's {NAME}, or does not work here: `{path} --version` said {said}."
        )
    return Compiler(os.path.abspath(path), version)


def run(
    compiler: Compiler, model: Path, scratch: Path, timeout_s: float, tries: int, say: Callable[[str], None]
) -> Compilation:
    """Compile a model, again where it fails by chance.

    Args:
        compiler: see `find`.
        model: the .tflite file.
        scratch: an empty folder.
        timeout_s: for one try.
        tries: how often at most.
        say: is told of each failure that is followed by another try.

    Raises:
        ModelError: the compiler refuses the model, takes too long, or failed every time.
    """
    program = compiler.name
    failures: list[str] = []
    while len(failures) < tries:
        folder = scratch / f"try-{len(failures) + 1}"
        folder.mkdir()
        shutil.copyfile(model, folder / "model.tflite")
        code, text = _run(_command(compiler, timeout_s), folder, timeout_s * _OWN_TIME_OUT_SHARE)
        told = log.parse(text)
        made = folder / "model_edgetpu.tflite"
        if code == 0 and told.compiled and made.is_file():
            return Compilation(made, told, tuple(failures))
        if code is None:
            raise ModelError(
                f"{program} did not finish {model} in {timeout_s:g} s and was stopped: --timeout gives it longer."
            )
        reason = _reason(code, told)
        if told.complaints and not _chance(code, text):
            hint = next((f" ({hint})" for word, hint in _HINTS if word in reason), "")
            raise ModelError(f"{program} refuses {model}: {reason}{hint}.")
        failures.append(reason)
        if len(failures) < tries:
            say(f"{reason}; trying again, {len(failures) + 1} of {tries}")
    reasons = "; ".join(dict.fromkeys(failures))
    raise ModelError(
        f"{program} failed {tries} times on {model}: {reasons}; it fails by chance now and then, --tries gives it more."
    )


def _command(compiler: Compiler, timeout_s: float) -> list[str]:
    major = compiler.version.partition(".")[0]
    own = major.isdigit() and int(major) >= _TELLS_TIME_OUT
    time_out = ["--timeout_sec", str(math.ceil(timeout_s))] if own else []
    return [compiler.path, "--show_operations", *time_out, "--out_dir", ".", "model.tflite"]


def _chance(code: int, text: str) -> bool:
    return _BY_CHANCE in text or _signal(code) is not None


def _reason(code: int, told: log.Log) -> str:
    number, said = _signal(code), "; ".join(told.complaints)
    if number is not None:
        return f"it was ended by {number}" + (f": {said}" if said else "")
    return said or f"it ended with {code} and wrote no model, without a reason"


def _signal(code: int) -> Optional[str]:
    number = -code if code < 0 else code - _FROM_A_SHELL
    try:
        return signal.Signals(number).name
    except ValueError:
        return None


def _run(command: Sequence[str], folder: Path, timeout_s: float) -> tuple[Optional[int], str]:
    """Run a program; it and its children are gone afterwards.

    Returns:
        Its exit code (None: out of time, or not a program for this machine) and all that it printed.
    """
    try:
        process = subprocess.Popen(
            command,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,  # the compiler works in a child of its own, which must be stopped with it
        )
    except OSError as error:
        return None, f"{error.strerror or error}\n"
    with process:
        try:
            said, warned = process.communicate(timeout=timeout_s)
        except BaseException as error:  # also Ctrl-C
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            if not isinstance(error, subprocess.TimeoutExpired):
                raise
            return None, ""
    # apart, so that a warning does not fall into the middle of the table
    return process.returncode, "\n".join(stream.decode("utf-8", "replace") for stream in (warned, said))
