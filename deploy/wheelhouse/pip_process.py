"""pip in a process of its own, for this machine or as another one, and its errors in one sentence."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Optional

from deploy.wheelhouse.targets import Target
from edge.errors import WheelhouseError

_NEED_BYTES = 200_000_000
"""Measured in November 2026: 89 to 160 MB with the extra report; and what pip needs beside them."""
_AS_TARGET = Path(__file__).with_name("as_target.py")


def run(
    arguments: Sequence[object],
    scratch: Path,
    target: Optional[Target] = None,
    configured: bool = True,
    environment: Optional[Mapping[str, str]] = None,
) -> None:
    """Run pip to its end.

    Args:
        arguments: a subcommand and what it takes.
        scratch: an existing folder for pip's temporary files.
        target: whose wheels to choose and whose markers to evaluate; this machine when None.
        configured: whether pip's configuration and environment variables count, such as the address of a mirror.
        environment: variables to add.

    Raises:
        WheelhouseError: pip failed.
    """
    command = [sys.executable, "-m", "pip"]
    options = ["--disable-pip-version-check", "--no-input", "--no-color"]
    if target:
        command = [sys.executable, str(_AS_TARGET), target.system.python, target.arch]
        options += ["--only-binary=:all:", "--implementation", "cp", "--python-version", target.system.python]
        options += [part for tag in target.platforms for part in ("--platform", tag)]
    variables = {name: value for name, value in os.environ.items() if configured or not name.startswith("PIP_")}
    variables.update({"TMPDIR": str(scratch), "LC_ALL": "C.UTF-8", **(environment or {})})
    if not configured:
        variables["PIP_CONFIG_FILE"] = os.devnull
    command += [*map(str, arguments), *options]
    done = subprocess.run(command, check=False, capture_output=True, text=True, errors="replace", env=variables)
    if done.returncode:
        raise WheelhouseError(_sentence(done.stderr + done.stdout, scratch.parent, target))


def _sentence(said: str, out: Path, target: Optional[Target]) -> str:
    errors = [line.partition("ERROR: ")[2] for line in said.splitlines() if line.startswith("ERROR: ")]
    return _of_pip(said) or _of_the_disk(said, out) or _of_wheels(said, errors, target) or _in_its_words(said, errors)


def _of_pip(said: str) -> Optional[str]:
    if "No module named pip" in said:
        return f"{sys.executable} has no pip: install it with `{sys.executable} -m ensurepip`."
    if "no such option" in said:
        return f"The pip of {sys.executable} is older than 22.2: `{sys.executable} -m pip install --upgrade pip`."
    if "Retry(total=0" in said:
        reason = re.findall(r"\[Errno -?\d+\] ([^'\")]+)", said)
        why = f" ({reason[-1]})" if reason else ""
        return f"The package index does not answer{why}: connect this machine, or name a mirror in pip's configuration."
    return None


def _of_the_disk(said: str, out: Path) -> Optional[str]:
    if "No space left" in said or "File too large" in said or "Disk quota exceeded" in said:
        return f"Cannot write {out}: the disk is full; the wheels of one system take about {_NEED_BYTES // 10**6} MB."
    free_bytes = shutil.disk_usage(out).free
    if "incomplete-download" in said and free_bytes < _NEED_BYTES:  # a full disk looks so to pip 26
        return (
            f"A download was cut short with {free_bytes / 1e6:.0f} MB free below {out}: make room, the wheels of one "
            f"system take about {_NEED_BYTES // 10**6} MB."
        )
    return None


def _of_wheels(said: str, errors: list[str], target: Optional[Target]) -> Optional[str]:
    missing = [found for line in errors if (found := re.match(r"No matching distribution found for (\S+)", line))]
    if missing and target:
        return f"No wheel of {missing[0][1]} that fits {target.name} was found in the package index."
    conflict = re.search(r"The conflict is caused by:\n(.*?)\n\n", said, re.DOTALL)
    if conflict:
        return f"No versions go together: {'; '.join(line.strip() for line in conflict[1].splitlines())}."
    return None


def _in_its_words(said: str, errors: list[str]) -> str:
    words = errors or [line.strip() for line in said.splitlines() if line.strip()] or ["it said nothing"]
    return f"pip failed: {words[-1].rstrip('.')}."
