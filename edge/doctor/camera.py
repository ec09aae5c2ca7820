"""Whether there is a camera, and whether it is free, ours to open, and within this Python's reach."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Optional

from edge import device
from edge.cameras import v4l2
from edge.doctor.case import Case
from edge.doctor.findings import Finding, blocks, note, ok, warning
from edge.doctor.processes import python
from edge.errors import CameraError
from edge.runtimes.edgetpu.attached import holders

_LIST_S = 20.0
_LIST = "import json; from edge.cameras.picamera import csi_cameras; print(json.dumps(csi_cameras()))"
_MOST_FORMATS, _MOST_FORBIDDEN = 8, 4
_SYSTEM_PACKAGES = "usr/lib/python3/dist-packages"
_CONNECT = (
    "connect one: a CSI camera's cable with the power off, both ends the right way round, then `rpicam-hello "
    "--list-cameras`; for a USB camera see `lsusb`. Or name another camera.source."
)
_NUMPY = "give the environment the system's numpy: `rm -rf .venv && make run` does."
_PACKAGE = "`sudo apt install python3-picamera2`, then make the environment anew: `rm -rf .venv && make run`."


def examine(case: Case) -> Iterator[Finding]:
    """What is connected, then whether that is what is configured."""
    source = case.config.camera.source
    found: list[str] = []
    for finding, is_camera in (*_csi(case), *_v4l2(case)):
        found += [finding.what] if is_camera else []
        yield finding
    yield from _configured(case, source, found)


def _csi(case: Case) -> Iterator[tuple[Finding, bool]]:
    """Cameras at the CSI connector, and what keeps picamera2 from telling; each with whether it is a camera."""
    wanted = case.config.camera.source.partition(":")[0] == "picamera"
    grave = blocks if wanted else warning
    module = case.imports.of("picamera2")
    if not module.installed:
        if (case.root / _SYSTEM_PACKAGES / "picamera2").is_dir():
            why, fix = _out_of_reach(case)
            yield grave(f"picamera2 is installed for the system, and this Python cannot use it: {why}.", fix), False
        elif wanted:
            yield blocks("picamera2 is not installed, and camera.source asks for it.", _PACKAGE), False
        elif case.is_raspberry_pi:
            yield note("picamera2 is not installed: a CSI camera would not be seen.", _PACKAGE), False
        return
    if module.why:
        fix = _NUMPY if module.other_numpy else _PACKAGE
        yield grave(f"picamera2 is installed but cannot be imported ({module.why}).", fix), False
        return
    yield ok(f"picamera2{f' {module.version}' if module.version else ''} can be imported."), False
    if case.root == device.ROOT:
        yield from _listed()


def _listed() -> Iterator[tuple[Finding, bool]]:
    """What libcamera lists, asked in a process of its own, which it may end."""
    ended = python(["-c", _LIST], _LIST_S)
    try:
        sensors = json.loads(ended.out) if ended.code == 0 else None
    except ValueError:
        sensors = None
    if sensors is None:
        last = ended.err.strip().rpartition("\n")[2]
        yield (
            warning(
                f"libcamera does not list its cameras ({ended.how}{f': {last}' if last else ''}).",
                "see what `rpicam-hello --list-cameras` says, and whether another program holds the camera.",
            ),
            False,
        )
        return
    for _, model, place in sensors:
        yield ok(f"CSI camera {model}, at {place}."), True


def _out_of_reach(case: Case) -> tuple[str, str]:
    """Why this Python does not see the system's picamera2, and what to do."""
    tags = {path.name.split(".")[1] for path in (case.root / _SYSTEM_PACKAGES).glob("libcamera/_libcamera.*.so")}
    own = f"cpython-{sys.version_info.major}{sys.version_info.minor}-"
    if tags and not any(tag.startswith(own) for tag in tags):
        number = next(iter(tags)).split("-")[1]
        named = f"{number[:1]}.{number[1:]}"
        return (
            f"it was compiled for Python {named}, and this is {sys.version_info.major}.{sys.version_info.minor}",
            "make the environment with the system's Python: `rm -rf .venv && make run PYTHON=/usr/bin/python3`.",
        )
    return (
        "the virtual environment does not see the system's packages",
        "make it anew: `rm -rf .venv && make run`, or `python3 -m venv --system-site-packages .venv`.",
    )


def _v4l2(case: Case) -> Iterator[tuple[Finding, bool]]:
    """The nodes /dev/video* that are cameras, and those that cannot be asked; each with whether it is a camera."""
    folder = case.root / "dev"
    numbers = sorted(int(path.name[5:]) for path in folder.glob("video*") if path.name[5:].isdecimal())
    forbidden: list[str] = []
    for number in numbers:
        path = f"/dev/video{number}"
        try:
            node = v4l2.query(str(folder / f"video{number}"))
            formats = v4l2.formats(str(folder / f"video{number}"), node)
        except PermissionError:
            forbidden.append(f"{path}{_card(case, number)}")
            continue
        except OSError as error:
            yield note(f"{path}{_card(case, number)} cannot be asked ({error.strerror or error})."), False
            continue
        if not v4l2.is_camera(node):
            continue  # a codec, an image processor, a camera's second node
        users = [each for each in holders(path, case.root) if each.pid != os.getpid()]
        held = f"; {', '.join(f'{each.name} ({each.pid})' for each in users)} has it open" if users else ""
        yield ok(f"{path}: {node.card}, formats {_shortened(formats)}{held}."), True

    if forbidden:
        which = ", ".join(forbidden[:_MOST_FORBIDDEN])
        more = f" and {len(forbidden) - _MOST_FORBIDDEN} others" if len(forbidden) > _MOST_FORBIDDEN else ""
        fix = "`sudo usermod -aG video $USER`, then log in again; or ask with `sudo edge doctor`."
        yield warning(f"this user may not open {which}{more}.", fix), False


def _shortened(formats: Sequence[str]) -> str:
    """The first ones, which drivers name first because they are best, and those that are asked for."""
    shown = [name for number, name in enumerate(formats) if number < _MOST_FORMATS or name in ("MJPG", "YUYV")]
    left = len(formats) - len(shown)
    return (", ".join(shown) or "none") + (f" and {left} others" if left else "")


def _card(case: Case, number: int) -> str:
    name = (case.text(f"sys/class/video4linux/video{number}/name") or "").strip()
    return f" ({name})" if name else ""


def _configured(case: Case, source: str, found: list[str]) -> Iterator[Finding]:
    """Whether what is configured is there."""
    from edge.cameras import can_be_lost

    try:
        live = can_be_lost(source)
    except CameraError as error:
        yield blocks(str(error), "correct camera.source (--camera).")
        return
    if source in ("auto", "camera"):
        if not found and source == "auto":
            yield warning("no camera was found: camera.source is auto, so that a drawn scene is classified.", _CONNECT)
        elif not found:
            yield blocks("no camera was found that this user may open.", _CONNECT)
    elif "://" in source:
        yield note("camera.source is an address; whether it answers was not tried.", "`edge run --frames 1` tries it.")
    elif source == "scene":
        yield note("camera.source is the drawn scene: no camera is used.")
    elif source.partition(":")[0] == "picamera":
        if case.imports.of("picamera2").installed and not any(what.startswith("CSI camera") for what in found):
            yield blocks("no CSI camera was found, and camera.source asks for one.", _CONNECT)
    elif not live:
        yield ok(f"{source} is there.")
    elif why := _refused(case, source):
        yield blocks(why, _CONNECT)


def _refused(case: Case, source: str) -> Optional[str]:
    """Why a V4L2 camera that is named cannot be used."""
    path = f"/dev/video{int(source)}" if source.isdecimal() else source
    try:
        v4l2.require_camera(str(Path(case.root) / path.lstrip("/")))
    except CameraError as error:
        return str(error)
    return None
