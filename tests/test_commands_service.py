"""`edge service`: what it runs, and what becomes of its exit code."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest


def service(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "edge", "service", *arguments],
        env={**os.environ, "PATH": str(folder)},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize(
    ("arguments", "command"),
    [
        (["status"], "systemctl --no-pager status edge-runner"),
        (["restart"], "systemctl --no-block restart edge-runner"),
        (["logs"], "journalctl --no-pager --unit edge-runner --lines 50"),
        (["logs", "-f", "-n", "3"], "journalctl --no-pager --unit edge-runner --lines 3 --follow"),
    ],
)
def test_it_tells_the_command_and_gives_what_that_gives(tmp_path: Path, arguments: list[str], command: str) -> None:
    program = tmp_path / command.split(maxsplit=1)[0]
    program.write_text('#!/bin/sh\necho "$0 $*"\nexit 3\n')
    program.chmod(0o755)
    result = service(tmp_path, *arguments)
    assert result.stderr == f"+ {command}\n"
    assert result.stdout == f"{tmp_path}/{command}\n"
    assert result.returncode == 3


def test_without_systemd_it_is_one_sentence(tmp_path: Path) -> None:
    result = service(tmp_path, "status")
    assert result.returncode == 1
    assert "systemctl cannot be run (No such file or directory): the service runs on systems" in result.stderr
    assert len(result.stderr.splitlines()) == 2
