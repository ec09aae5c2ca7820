"""Runs pip with the environment markers of another machine: `python as_target.py PYTHON ARCH PIP-ARGUMENT…`.

pip's --platform and --python-version choose among wheels, but markers such as `python_version < "3.10"` it evaluates
for the interpreter that it runs in. PEP 508 defines each marker by a function of the standard library; here those
answer for the target. Run as a file, in a process of its own.
"""

from __future__ import annotations

import os
import platform
import runpy
import sys


def _main(python: str, arch: str, *arguments: str) -> None:
    platform.machine = lambda: arch
    platform.system = lambda: "Linux"
    platform.python_version = lambda: python
    platform.python_version_tuple = lambda: tuple(python.split("."))  # type: ignore[assignment,return-value]
    sys.platform = "linux"
    here = os.path.dirname(os.path.abspath(__file__))
    sys.path[:] = [folder for folder in sys.path if os.path.abspath(folder) != here]
    sys.argv = ["pip", *arguments]
    runpy.run_module("pip", run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    _main(*sys.argv[1:])
