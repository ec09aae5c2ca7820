"""Why an Edge TPU cannot be used, and what to do about it: one sentence.

libedgetpu gives no reason itself (TensorFlow Lite only says "Failed to load delegate"), so the reason is put together
from what the kernel knows, what libedgetpu lists, and how the process that held the device ended.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Optional

from edge.runtimes.edgetpu import attached, library
from edge.runtimes.edgetpu.attached import PciAccelerator, UsbAccelerator
from edge.runtimes.edgetpu.build import Reason, advice, mismatch, not_loaded, packaged
from edge.runtimes.edgetpu.hardware import clause, crashed, hanging, name, of_device, pages, too_hot
from edge.runtimes.edgetpu.library import Package
from edge.runtimes.edgetpu.options import numbered
from edge.runtimes.settings import RuntimeSettings

ROOT = Path("/")
_ABI_WORDS = re.compile(
    "unresolved custom op: edgetpu-custom-op"
    "|Unsupported data type in custom op handler"
    "|single_input_size != input->bytes"
)
"""Of TensorFlow Lite about a delegate whose structures are others; google-coral/edgetpu issues 71, 192, 259, 812."""
_RUNTIME_WORDS = re.compile(r"requires runtime version \((\d+)\), which is newer than this runtime version \((\d+)\)")


def why(stage: str, said: str, settings: RuntimeSettings, device: str, root: Path = ROOT) -> str:
    """Why the Edge TPU could not be opened or failed, and what to do: one sentence; see `explain`."""
    problem, fix = explain(stage, said, settings, device, root)
    doing = "failed" if stage == "inference" else "cannot be opened"
    named = "Edge TPU" if device == "any" else f"Edge TPU {numbered(device)}"
    return f"The {named} {doing} because {problem}: {fix}."


def explain(stage: str, said: str, settings: RuntimeSettings, device: str, root: Path = ROOT) -> Reason:
    """Why the Edge TPU could not be opened or failed, and what to do.

    Starts a process and looks into /proc: takes some 50 ms, up to 12 s when libedgetpu hangs. To be called when the
    process that held the device is gone.

    Args:
        stage: "start", "library", "delegate", "allocate", "first inference" or "inference".
        said: what the process that held it told, or how it died.
        settings: as it was to be opened.
        device: "any", "usb:N" or "pci:N".
        root: where /sys, /dev, /proc, /etc and /var are found.
    """
    said = " ".join(said.split()).rstrip(".")
    interpreter = library.interpreter(settings)
    if stage == "library":
        return not_loaded(said, settings.library, interpreter, root)
    if stage == "start":
        return Reason(clause(said), "look at the log; it did not come to load libedgetpu")
    runtime = _RUNTIME_WORDS.search(said)
    if runtime:
        return Reason(
            f"the model is compiled for Edge TPU runtime {runtime[1]} and this libedgetpu has {runtime[2]}",
            "install a newer libedgetpu, or compile the model again with "
            f"`edgetpu_compiler --min_runtime_version {runtime[2]}`",
        )
    listed = library.list_devices(settings.library)
    if stage in ("allocate", "first inference") and (_ABI_WORDS.search(said) or crashed(said)):
        known = mismatch(listed.version, packaged(settings.library, root), interpreter, root)
        if known:
            return known
        if stage == "allocate":
            package = f"{interpreter.package} {interpreter.version}" if interpreter else "this TensorFlow Lite"
            return Reason(
                f"{clause(said)}, as when libedgetpu is built on another TensorFlow than {package}",
                advice(interpreter, root),
            )
    return of_device(stage, said, device, listed, root)


def slow_link(accelerator: UsbAccelerator) -> Optional[str]:
    """What an Edge TPU on USB 2 is worth a warning for; None on USB 3, and before its firmware is loaded."""
    speed = accelerator.speed_mbit_s
    if not accelerator.loaded or speed is None or speed >= attached.USB_3_MBIT_S:
        return None
    return (
        f"The Edge TPU at {accelerator.path} is on USB 2 ({speed} Mbit/s) and works slower: "
        "put it into a USB 3 port, a blue one, with the cable that came with it."
    )


def ailing(accelerator: PciAccelerator) -> Optional[str]:
    """That an Edge TPU on PCIe hangs, or slows itself down for its heat; None when its driver tells neither."""
    reason = hanging(accelerator) or too_hot(accelerator)
    return f"Of {name(accelerator)} the driver tells that {reason.problem}: {reason.fix}." if reason else None


def held_back(settings: RuntimeSettings, package: Optional[Package]) -> Optional[str]:
    """That this package of libedgetpu does not give the clock that is asked for; None when it does.

    The package -std takes "Max" for "High" on USB, silently: tflite/edgetpu_context_direct.cc of libedgetpu.

    Args:
        settings: as it is to be opened.
        package: that brought libedgetpu, where one did.
    """
    if settings.performance != "max" or package is None or package.name != "libedgetpu1-std":
        return None
    return (
        "Performance max is asked for, and libedgetpu1-std gives an Edge TPU on USB no more than high, half its clock: "
        "install libedgetpu1-max, and keep the air around it at 25 °C or less, or ask for high."
    )


def large_pages(root: Path = ROOT) -> Optional[str]:
    """Why this kernel cannot drive an Edge TPU on PCIe; None when its pages are of 4 KiB or their size is not known."""
    reason = pages(root)
    return f"No Edge TPU on PCIe works here because {reason.problem}: {reason.fix}." if reason else None
