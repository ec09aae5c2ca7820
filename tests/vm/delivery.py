"""What is carried to a machine without a network: the wheel of this checkout, later ones, and what they need."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

from tests.vm.nspawn import VM, MachineError

ROOT = Path(__file__).resolve().parent.parent.parent
OUTLETS = ("mqtt", "prometheus", "web")
"""Extras whose packages are carried there too."""
_CODE = ("edge", "deploy", "models", "systemd")
_FILES = ("setup.cfg", "pyproject.toml", "README.md", "LICENSE")
_PLATFORMS = ["manylinux2014", *(f"manylinux_2_{minor}" for minor in (17, 24, 26, 27, 28, 31, 34, 35, 36))]


def build_wheel(folder: Path) -> Path:
    """The wheel of the working tree as it is, uncommitted changes included; the tree is not touched.

    Raises:
        MachineError: it could not be built.
    """
    source = folder / "source"
    for name in _CODE:
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in _FILES:
        shutil.copy(ROOT / name, source)
    _pip("wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", str(folder), str(source))
    shutil.rmtree(source)
    (wheel,) = folder.glob("edge_runner-*.whl")
    return wheel


def gather_wheels(python: str, machine: str, folder: Path) -> None:
    """Put what the wheel depends on into a folder, from the network once for each set of requirements.

    Args:
        python: of the machine that installs them, such as "3.11".
        machine: its processor, such as "x86_64".
        folder: to put them into.

    Raises:
        MachineError: they are not here from an earlier run and cannot be had.
    """
    wanted = hashlib.sha256("\n".join(_requirements()).encode()).hexdigest()[:12]
    kept = VM / f"wheelhouse-{python}-{machine}-{wanted}"
    if not kept.is_dir():
        print(f"gathering wheels into {kept} ...", flush=True)
        making = VM / f"{kept.name}.making-{os.getpid()}"
        making.mkdir(parents=True)
        platforms = [part for name in _PLATFORMS for part in ("--platform", f"{name}_{machine}")]
        target = ["--only-binary=:all:", "--implementation", "cp", "--python-version", python, *platforms]
        try:
            _pip("download", "--dest", str(making), *target, *_requirements())
            making.rename(kept)
        except BaseException:
            shutil.rmtree(making, ignore_errors=True)
            raise
    folder.mkdir(exist_ok=True)
    for wheel in kept.iterdir():
        if not (folder / wheel.name).exists():
            shutil.copy(wheel, folder)


def later_wheel(wheel: Path, version: str, starts: bool = True) -> Path:
    """A copy of a wheel with another version, beside it; one that does not start raises when its daemon is imported."""
    name, old, tags = wheel.name.split("-", 2)
    facts, its_facts = (f"{name}-{each}.dist-info/" for each in (old, version))
    later = wheel.with_name(f"{name}-{version}-{tags}")
    with zipfile.ZipFile(wheel) as reads, zipfile.ZipFile(later, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as writes:
        for entry in reads.namelist():
            content = reads.read(entry)
            moved = entry.replace(facts, its_facts)
            if entry.endswith(".dist-info/METADATA"):
                content = re.sub(rb"(?m)^Version: .*$", f"Version: {version}".encode(), content, count=1)
            elif entry.endswith(".dist-info/RECORD"):
                lines = content.decode().replace(facts, its_facts).splitlines()
                content = "".join(f"{line.split(',')[0]},,\n" for line in lines).encode()  # pip wants no hashes
            elif entry == "edge/__init__.py":
                content = content.replace(f'"{old}"'.encode(), f'"{version}"'.encode())
            elif entry == "edge/loop/daemon.py" and not starts:
                content += b'\nraise RuntimeError("this version does not start")\n'
            writes.writestr(moved, content)
    return later


def _requirements() -> list[str]:
    import configparser

    settings = configparser.ConfigParser()
    settings.read(ROOT / "setup.cfg")
    wanted = [settings["options"]["install_requires"], *(settings["options.extras_require"][name] for name in OUTLETS)]
    lines = "\n".join(wanted).splitlines()
    return [line for line in map(str.strip, lines) if line and not line.startswith("#")]


def _pip(*arguments: str) -> None:
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", *arguments]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    if done.returncode:
        raise MachineError(f"pip {arguments[0]}: {(done.stderr or done.stdout).strip()[-1500:]}")
