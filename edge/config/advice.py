"""What is allowed in a configuration, and seldom meant."""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterator
from typing import Optional

from edge.cameras import CameraSettings, can_be_lost
from edge.config import outlet_advice
from edge.config.secret_files import doubts
from edge.config.settings import Config, value_of
from edge.errors import CameraError, EdgeError, ModelError
from edge.model import bundle, tflite_file
from edge.model.loading import prepare
from edge.privacy import without_passwords
from edge.runtimes.settings import RuntimeSettings

_USER = re.compile(r"^(\w+://)[^\s:/?#@]+@")
"""Of an address, which is no password."""
_KEY = re.compile(r"[a-z_]+(?:\.[a-z_]+)*")
"""What may be one, in a sentence."""
_WITHOUT_EFFECT = {
    "motion.": ("gate", "gate: motion"),
    "review.": ("review.keep_pictures", "review.keep_pictures: true"),
    "journal.": ("journal.path", "journal.path"),
    "mqtt.": ("mqtt.enabled", "mqtt.enabled: true"),
    "prometheus.": ("prometheus.enabled", "prometheus.enabled: true"),
    "web.": ("web.enabled", "web.enabled: true"),
}
"""Keys that begin so mean nothing unless another one is set."""
_OF_EDGETPU = {f"runtime.{name}" for name in RuntimeSettings.__struct_fields__} - {"runtime.name", "runtime.threads"}


def warnings(config: Config, given: Collection[str], wrong: Collection[str] = ()) -> Iterator[str]:
    """A sentence for each thing that somebody should look at.

    Args:
        config: the configuration.
        given: the keys that are not left to their defaults.
        wrong: keys that were given a value that cannot be, and have their defaults: nothing is said of these.
    """
    for sentence in _all(config, given, wrong):
        if not any(key in wrong for key in _KEY.findall(sentence)):
            yield sentence


def _all(config: Config, given: Collection[str], wrong: Collection[str]) -> Iterator[str]:
    yield from _of_camera(config.camera)
    if not any(key.startswith(("model.", "runtime.")) for key in wrong):
        yield from _of_model(config, given)
    for key in given:
        for prefix, (other, needed) in _WITHOUT_EFFECT.items():
            if (
                key.startswith(prefix)
                and not value_of(config, other)
                and value_of(config, key) != value_of(Config(), key)
            ):
                yield f"{key} has no effect without {needed}."
    yield from outlet_advice.missing(config)
    yield from outlet_advice.warnings(config)


def _of_model(config: Config, given: Collection[str]) -> Iterator[str]:
    try:
        bundle.locate(config.model.path)
    except ModelError as error:
        yield f"model.path: {error}"
    else:
        yield from _of_runtime(config, given)
        yield from without_effect(config, given)


def _of_runtime(config: Config, given: Collection[str]) -> Iterator[str]:
    runtime = config.runtime
    try:
        planned = prepare(config.model.path, runtime, config.model.bare, look=False).planned
    except EdgeError as error:
        yield f"{'runtime.twin' if runtime.twin and runtime.twin in str(error) else 'model.path'}: {error}"
        needed = runtime.name == "edgetpu"
    else:
        needed = planned.edgetpu is not None
    if needed and os.sep in runtime.library and not os.path.exists(runtime.library):
        yield f"runtime.library: there is no {runtime.library}: correct it, or leave it out."
    if runtime.name == "edgetpu" and "runtime.retry_s" in given and runtime.fallback is None:
        yield "runtime.retry_s has no effect without runtime.fallback: cpu."


def without_effect(config: Config, given: Collection[str]) -> Iterator[str]:
    """A sentence for each key that is for an Edge TPU, where none will run the model; see `warnings`."""
    runtime = config.runtime
    if runtime.name == "edgetpu":
        return
    if runtime.name != "auto":
        reason = f"runtime.name is {runtime.name}, which runs on the CPU"
    elif _compiled(config.model.path) is False:
        reason = f"{config.model.path} was not compiled for one, and the CPU runs it"
    else:
        return
    for key in given:
        if key in _OF_EDGETPU and value_of(config, key) != value_of(Config(), key):
            yield f"{key} is for an Edge TPU, and has no effect: {reason}."


def _compiled(model: str) -> Optional[bool]:
    """Whether a model is there for an Edge TPU too; None where it cannot be read."""
    try:
        path = bundle.locate(model)
        return bundle.read_contract(path).edgetpu is not None if path.is_dir() else tflite_file.read(path).edgetpu
    except ModelError:
        return None


def _of_camera(camera: CameraSettings) -> Iterator[str]:
    try:
        can_be_lost(camera.source)
    except CameraError as error:
        yield f"camera.source: {error}"
    if 0 < camera.give_up_s < camera.stall_s:
        yield (
            f"camera.give_up_s ({camera.give_up_s:g}) is shorter than camera.stall_s ({camera.stall_s:g}): a camera "
            "that is opened again is given up before it has had its time to give a picture."
        )
    rest = _USER.sub(r"\1", camera.source)
    if without_passwords(rest) != rest:
        yield (
            "camera.source holds a password: write it alone into a file that only the service may read, and name that "
            "file in camera.password_file."
        )
    if camera.password_file is not None:
        if rest == camera.source:
            yield (
                "camera.password_file is for an address with a user and no password, such as "
                "rtsp://user@camera/stream, and camera.source is none."
            )
        yield from doubts("camera.password_file", camera.password_file)
