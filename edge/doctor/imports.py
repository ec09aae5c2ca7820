"""Which Python packages are here and can be used, tried in processes of their own, side by side."""

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
from edge.resources import shipped

IMPORT_S = 60.0
"""A Pi 3 takes some seconds from a slow card."""
_PACKAGES = (
    *("numpy", "opencv-python-headless", "opencv-python", "msgspec", "click", "PyYAML"),
    *("ai-edge-litert", "tflite-runtime", "pycoral", "paho-mqtt", "prometheus-client", "aiohttp"),
)
_CODE = """
import importlib, sys
name, use, model = sys.argv[1:]
module = importlib.import_module(name)
exec(use)
print(getattr(sys.modules[name.partition(".")[0]], "__version__", ""))
"""
_INTERPRETER = """
try:
    module.Interpreter(model_path=model)
except ValueError:
    pass  # the model's own fault, which is told elsewhere
"""
_USES = {
    "cv2": "import numpy; module.resize(numpy.zeros((2, 2, 3), numpy.uint8), (1, 1))",
    "ai_edge_litert.interpreter": _INTERPRETER,
    "tflite_runtime.interpreter": _INTERPRETER,
}
"""What else to try with a module: tflite-runtime can be imported beside numpy 2, and fails when it is used."""
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
    """Import a module in a process of its own, and use it a little."""
    if not is_installed(module):
        return Imported(False)
    model = next(shipped("models").glob("*/model.tflite"), "")
    ended = python(["-c", _CODE, module, _USES.get(module, ""), str(model)], IMPORT_S)
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
        lines = [line for line in ended.err.splitlines() if line.strip()]
        why = next((line for line in reversed(lines) if _ABI.search(line)), lines[-1] if lines else ended.how)
        why = why.strip().rstrip(".")
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
