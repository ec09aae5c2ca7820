"""Whether numpy and the compiled modules that use it were made for each other."""

from __future__ import annotations

from collections.abc import Iterator

from edge.doctor.case import Case
from edge.doctor.findings import Finding, blocks, ok, warning

_USERS = {
    "cv2": "OpenCV",
    "ai_edge_litert.interpreter": "ai-edge-litert",
    "tflite_runtime.interpreter": "tflite-runtime",
    "picamera2": "picamera2",
}
"""Modules compiled against numpy, by what people call them."""
_NEEDED = ("cv2",)
_REINSTALL = "install it again: `rm -rf .venv && make run`, or `pip install --force-reinstall {}`."


def examine(case: Case) -> Iterator[Finding]:
    """numpy, then each module that uses it."""
    found = case.imports.of("numpy")
    if not found.installed or found.why:
        why = f"cannot be imported ({found.why})" if found.installed else "is not installed"
        yield blocks(f"numpy {why}: nothing works without it.", _REINSTALL.format("numpy"))
        return
    fits = []
    for module, name in _USERS.items():
        user = case.imports.of(module)
        level = blocks if module in _NEEDED else warning
        if user.installed and not user.why:
            fits.append(f"{name} {user.version}" if user.version else name)
        elif user.other_numpy:
            yield level(f"{name} was compiled for another numpy than {found.version} ({user.why}).", _fix(module))
        elif module in _NEEDED:
            why = f"cannot be used ({user.why})" if user.installed else "is not installed"
            yield blocks(f"{name} {why}.", _REINSTALL.format("opencv-python-headless"))
    yield ok(f"numpy {found.version}; {', '.join(fits) or 'nothing here'} can use it.")


def _fix(module: str) -> str:
    if module == "tflite_runtime.interpreter":
        return "`pip install 'numpy<2'`, as the extra [tflite] does, or leave it: ai-edge-litert needs no older numpy."
    if module == "picamera2":
        return (
            "give the environment the system's numpy: `rm -rf .venv && make run`, which keeps it (or `pip install "
            "numpy==VERSION` with what `/usr/bin/python3 -c 'import numpy; print(numpy.__version__)'` says)."
        )
    return _REINSTALL.format("opencv-python-headless")
