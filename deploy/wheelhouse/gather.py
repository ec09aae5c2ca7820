"""From a target to a folder of wheels from which it can be installed, and the proof that it can."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Callable, Optional

import msgspec

from deploy import files
from deploy.wheelhouse import own, pip_process
from deploy.wheelhouse.targets import Target
from edge.errors import ConfigError, WheelhouseError
from edge.model.bundle import sha256_of

SUMS = "SHA256SUMS"
ALWAYS = ("mqtt", "prometheus", "web")
"""Extras that are gathered unasked, 3 MB together, so that an outlet can be switched on far from a network."""
_SCRATCH = ".gathering"


class Request(msgspec.Struct, frozen=True):
    """What to gather."""

    target: Target
    out: Path
    extras: tuple[str, ...] = ()
    """Beside `ALWAYS`."""
    numpy: Optional[str] = None
    """The system's version, which an installation that sees the system's packages keeps; None: there is none."""
    wheel: Optional[Path] = None
    """edge-runner's own; None builds it."""


class Wheel(msgspec.Struct, frozen=True):
    """A wheel in the folder that this target installs."""

    file: str
    bytes: int
    sha256: str
    own_numpy: bool
    """Whether an installation takes it that brings its own numpy."""
    system_numpy: bool
    """Whether one takes it that keeps the system's numpy."""


class Report(msgspec.Struct, frozen=True):
    """What is in the folder."""

    out: str
    python: str
    arch: str
    system: str
    glibc: str
    version: str
    """Of edge-runner."""
    extras: tuple[str, ...]
    numpy: Optional[str]
    """The system's version that was thought of."""
    wheels: tuple[Wheel, ...]
    bytes: int
    """Of these wheels."""
    new: int
    """Wheels that were not in the folder before."""
    removed: tuple[str, ...]
    """Other wheels of edge-runner: an installer must find one."""
    others: int
    """Wheels in the folder that this target does not install, from earlier or for another target."""


def gather(request: Request, say: Callable[[str], None]) -> Report:
    """Fill the folder, whole or not at all; what else is in it stays, but for other versions of edge-runner.

    Args:
        request: what to gather.
        say: is told which step begins.

    Raises:
        ConfigError: the wheel of edge-runner, an extra or the folder cannot be used.
        WheelhouseError: a wheel cannot be had, or they are not enough.
    """
    out, target = request.out, request.target
    with _scratch(out) as scratch:
        if not request.wheel:
            say("building edge-runner's wheel")
        wheel = own.find(request.wheel, scratch)
        extras = _known(request.extras, wheel)
        found = scratch / "wheels"
        numpys = (None, request.numpy) if request.numpy else (None,)
        for numpy in numpys:
            say(f"gathering for {target.name}{f', numpy {numpy} of the system kept' if numpy else ''}")
            source = f"{wheel.path}{_bracketed(extras)}"
            pip_process.run(["download", "--dest", found, *_constraint(numpy, scratch), source], scratch, target)
        say("checking that they are enough")
        requirement = f"edge-runner{_bracketed(extras)}=={wheel.version}"
        uses = [_installed(requirement, numpy, found, target) for numpy in numpys]
        _require_tflite(extras, uses[0], target)
        wheels = tuple(_wheel(path, uses) for path in sorted(found.iterdir()))
        removed = sorted({path.name for path in out.glob("edge_runner-*.whl")} - {wheel.path.name})
        new = _move(wheels, found, out)
        for name in removed:
            (out / name).unlink()
    digests = {each.file: each.sha256 for each in wheels}
    everything = sorted(path.name for path in out.glob("*.whl"))
    lines = [f"{digests.get(name) or sha256_of(out / name)}  {name}\n" for name in everything]
    files.write(out / SUMS, "".join(lines))
    return Report(
        out=str(out),
        python=target.system.python,
        arch=target.arch,
        system=target.system.name,
        glibc=f"2.{target.system.glibc_minor}",
        version=wheel.version,
        extras=extras,
        numpy=request.numpy,
        wheels=wheels,
        bytes=sum(each.bytes for each in wheels),
        new=new,
        removed=tuple(removed),
        others=len(everything) - len(wheels),
    )


@contextlib.contextmanager
def _scratch(out: Path) -> Iterator[Path]:
    """A folder in the target's: on the same disk, so that files are renamed into place. An abandoned one is removed."""
    if out.exists() and not out.is_dir():
        raise ConfigError(f"{out} is a file: expected a folder for the wheels, a new or an existing one.")
    scratch = (out / _SCRATCH).absolute()
    was_there = out.exists()
    try:
        shutil.rmtree(scratch, ignore_errors=True)
        scratch.mkdir(parents=True)
    except OSError as error:
        raise ConfigError(f"Cannot write {out}: {error.strerror or error}.") from None
    try:
        yield scratch
    except OSError as error:
        raise WheelhouseError(f"Cannot write {out}: {error.strerror or error}.") from None
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
        if not was_there:
            with contextlib.suppress(OSError):  # it holds the wheels
                out.rmdir()


def _known(extras: tuple[str, ...], wheel: own.Wheel) -> tuple[str, ...]:
    """Those to gather."""
    for extra in extras:
        if extra not in wheel.extras:
            raise ConfigError(f"--extra {extra}: edge-runner {wheel.version} has {', '.join(wheel.extras) or 'none'}.")
    return tuple(dict.fromkeys([*(extra for extra in ALWAYS if extra in wheel.extras), *extras]))


def _bracketed(extras: tuple[str, ...]) -> str:
    return f"[{','.join(extras)}]" if extras else ""


def _constraint(numpy: Optional[str], scratch: Path) -> list[object]:
    if numpy is None:
        return []
    file = scratch / "constraints.txt"
    file.write_text(f"numpy=={numpy}\n")
    return ["--constraint", file]


def _installed(requirement: str, numpy: Optional[str], found: Path, target: Target) -> set[str]:
    """Names of the wheels that pip would install, as on the device: from this folder alone, and nothing else set."""
    scratch = found.parent
    # Not `install --dry-run`: the pip that comes with Python 3.11 compares there with the Python that it runs in.
    with tempfile.TemporaryDirectory(dir=scratch) as enough:
        arguments = ["download", "--no-index", "--find-links", found, "--dest", enough, *_constraint(numpy, scratch)]
        pip_process.run([*arguments, requirement], scratch, target, configured=False)
        return set(os.listdir(enough))


def _require_tflite(extras: tuple[str, ...], names: set[str], target: Target) -> None:
    """Refuse what its markers leave out: pip would say nothing."""
    if "tflite" in extras and not any(name.startswith("tflite_runtime-") for name in names):
        raise WheelhouseError(
            f"There is no tflite-runtime for {target.name}: leave --tflite out, or take Python 3.11 or older."
        )


def _wheel(path: Path, uses: list[set[str]]) -> Wheel:
    in_use = [path.name in names for names in uses]
    return Wheel(path.name, path.stat().st_size, sha256_of(path), in_use[0], in_use[-1])


def _move(wheels: tuple[Wheel, ...], found: Path, out: Path) -> int:
    """Rename the wheels into place and give how many were not there; a file that is as it should be is left alone."""
    new = 0
    for wheel in wheels:
        place = out / wheel.file
        new += not place.exists()
        if not place.exists() or sha256_of(place) != wheel.sha256:
            os.replace(found / wheel.file, place)
    return new
