"""Everything that can go wrong, as one tree. Each message is one sentence: given, expected, what to do."""

from __future__ import annotations

import threading
from typing import Literal, Optional

LossCause = Literal["stalled", "read error", "gone", "frozen", "refused"]
"""What became of a camera: no frames; the driver failed; it is not there; the same picture again and again; it is
there and will not be opened, or gives no pictures."""


class EdgeError(Exception):
    """Base of every error that edge-runner raises on purpose; the command line prints it and exits 1."""


class ConfigError(EdgeError):
    """A configuration file or option that cannot be used: a sentence for each problem."""

    @property
    def problems(self) -> tuple[str, ...]:
        """The sentences."""
        return self.args

    def __str__(self) -> str:
        return " ".join(self.args)


class ModelError(EdgeError):
    """A model file, bundle or contract that cannot be used."""


class LabelError(ModelError):
    """A label file that does not fit its model."""


class RuntimeUnavailableError(EdgeError):
    """A runtime or backend that was asked for and is not there, or refused the model."""


class AcceleratorError(RuntimeUnavailableError):
    """An accelerator that is not there, failed, or is in use: what may pass, or be mended from outside."""


class CameraError(EdgeError):
    """A camera that cannot be opened, or stopped giving frames."""

    def __init__(self, message: str, cause: Optional[LossCause] = None, *, needs_restart: bool = False) -> None:
        super().__init__(message)
        self.cause: Optional[LossCause] = cause
        """None where it is not known."""
        self.stuck: Optional[threading.Thread] = None
        """What could not let go of the device in time."""
        self.needs_restart = needs_restart
        """This process can never open it again; a new one can."""


class ImageError(EdgeError):
    """A picture that cannot be read or is not one."""


class JournalError(EdgeError):
    """A journal cannot be opened, read or written."""


class OutletError(EdgeError):
    """What an outlet needs is not there: a package, a file with a secret."""


class ControlError(EdgeError):
    """A running daemon cannot be asked, or cannot do what it was asked."""


class NoDaemonError(ControlError):
    """No daemon runs on a journal."""


class AlreadyRunningError(ControlError):
    """Another daemon runs on the same journal."""


class WheelhouseError(EdgeError):
    """Wheels cannot be gathered, or are not enough to install from."""
