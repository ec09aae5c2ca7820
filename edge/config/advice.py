"""What is allowed in a configuration, and seldom meant."""

from __future__ import annotations

import os
import stat
from collections.abc import Collection, Iterator

from edge import bundle
from edge.cameras import CameraSettings, can_be_lost
from edge.config.document import shown
from edge.config.settings import Config, value_of
from edge.errors import CameraError, ModelError
from edge.privacy import without_passwords

_WITHOUT_EFFECT = {
    "motion.": ("gate", "gate: motion"),
    "review.": ("review.keep_pictures", "review.keep_pictures: true"),
    "journal.": ("journal.path", "journal.path"),
}
"""Keys that begin so mean nothing unless another one is set."""


def warnings(config: Config, given: Collection[str]) -> Iterator[str]:
    """A sentence for each thing that somebody should look at.

    Args:
        config: the configuration.
        given: the keys that are not left to their defaults.
    """
    yield from _of_camera(config.camera)
    try:
        bundle.locate(config.model.path)
    except ModelError as error:
        yield f"model.path: {error}"
    for key in given:
        for prefix, (other, needed) in _WITHOUT_EFFECT.items():
            if (
                key.startswith(prefix)
                and not value_of(config, other)
                and value_of(config, key) != value_of(Config(), key)
            ):
                yield f"{key} has no effect without {needed}."


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
    if without_passwords(camera.source) != camera.source:
        yield (
            "camera.source holds a password: write it alone into a file that only the service may read, and name that "
            "file in camera.password_file."
        )
    if camera.password_file is not None:
        yield from _of_password_file(camera.password_file, "://" in camera.source)


def _of_password_file(path: str, is_address: bool) -> Iterator[str]:
    if not is_address:
        yield "camera.password_file has no effect: camera.source is no address such as rtsp://user@camera/stream."
    try:
        mode = os.stat(path).st_mode
    except (OSError, ValueError) as error:
        yield f"camera.password_file {shown(path)} cannot be read: {getattr(error, 'strerror', None) or error}."
    else:
        if not stat.S_ISREG(mode):
            yield f"camera.password_file {shown(path)} is no file."
        elif mode & stat.S_IROTH:
            yield f"camera.password_file {shown(path)} can be read by everybody: chmod o-r it."
