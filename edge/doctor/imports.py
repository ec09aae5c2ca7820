"""Which Python packages are here and can be imported, tried in processes of their own, side by side."""

from __future__ import annotations

import contextlib
import importlib.util
import re
import threading
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, version
from typing import NamedTuple, Optional

from edge import __version__
from edge.doctor.processes import python

IMPORT_S = 60.0
"""A Pi 3 takes some seconds from a slow card."""
_PACKAGES = (
    *("numpy", "opencv-python-headless", "opencv-python", "msgspec", "click", "PyYAML"),
    *("ai-edge-litert", "tflite-runtime", "pycoral"),
)
_CODE = """
import importlib, sys
name = sys.argv[1]
importlib.import_module(name)
print(getattr(sys.modules[name.partition(".")[0]], "__version__", ""))
"""
_ABI = re.compile(
    r"compiled using NumPy 1\.x|numpy\.dtype size changed|_ARRAY_API not found|multiarray failed to import"
    r"|compiled against A[BP]I version|numpy\.ufunc size changed"
)
"""What compiled modules say of a numpy that they were not made for."""


class Imported(NamedTuple):
    """What became of an attempt to import a module."""

    installed: bool
    version: Optional[str] = None
    why: Optional[str] = None
    """Why it cannot be imported, or what is wrong though it can be; None where all is well."""
    other_numpy: bool = False
    """That is because it was compiled for another numpy."""


class Imports:
    """Tries modules, each in a process of its own; who asks for a result waits for it."""

    def __init__(self, modules: Iterable[str]) -> None:
        """Remember them."""
        self._found: dict[str, Imported] = {}
        self._threads = {
            # Daemons: an import that never ends must not keep the program.
            name: threading.Thread(target=self._try, args=(name,), name=f"import {name}", daemon=True)
            for name in modules
        }
        self._lock = threading.Lock()

    def begin(self) -> None:
        """Try them all now, and do not wait."""
        for module in self._threads:
            self._start(module)

    def of(self, module: str) -> Imported:
        """How it went for one of the modules."""
        self._start(module)
        self._threads[module].join()
        return self._found[module]

    def _start(self, module: str) -> None:
        with self._lock:
            if self._threads[module].ident is None:
                self._threads[module].start()

    def _try(self, module: str) -> None:
        try:
            self._found[module] = try_import(module)
        except Exception as error:  # whoever asks is to get an answer
            self._found[module] = Imported(True, why=f"it cannot be tried: {type(error).__name__}: {error}")


def try_import(module: str) -> Imported:
    """Import a module in a process of its own."""
    if not is_installed(module):
        return Imported(False)
    ended = python(["-c", _CODE, module], IMPORT_S)
    other_numpy = bool(_ABI.search(ended.err))
    if ended.code == 0 and not other_numpy:
        return Imported(True, ended.out.strip() or None)
    if ended.code == 0:
        return Imported(True, ended.out.strip() or None, "it was compiled for another numpy", other_numpy)
    if ended.code is None:
        why = f"its import does not end within {IMPORT_S:g} s"
    elif ended.code < 0:
        why = f"its import ends with {ended.how}"
    else:
        why = _last_line(ended.err) or ended.how
    return Imported(True, why=why, other_numpy=other_numpy)


def is_installed(module: str) -> bool:
    """Whether Python would find a module's package."""
    with contextlib.suppress(ValueError):  # of a package that was taken out of sys.modules, or has no spec
        return importlib.util.find_spec(module.partition(".")[0]) is not None
    return False


def versions() -> dict[str, str]:
    """The packages that matter here, with their versions."""
    found = {"edge-runner": __version__}
    for name in _PACKAGES:
        with contextlib.suppress(PackageNotFoundError):  # not here, or from apt under another name
            found[name] = version(name)
    return found


def _last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1].rstrip(".") if lines else ""
