"""Everything that can go wrong, as one tree. Each message is one sentence: given, expected, what to do."""

from __future__ import annotations


class EdgeError(Exception):
    """Base of every error that edge-runner raises on purpose; the command line prints it and exits 1."""


class ConfigError(EdgeError):
    """A configuration file or option that cannot be used."""


class ModelError(EdgeError):
    """A model file, bundle or contract that cannot be used."""


class LabelError(ModelError):
    """A label file that does not fit its model."""


class RuntimeUnavailableError(EdgeError):
    """A runtime or backend that was asked for and is not there, or refused the model."""


class CameraError(EdgeError):
    """A camera that cannot be opened, or stopped giving frames."""


class ImageError(EdgeError):
    """A picture that cannot be read or is not one."""


class JournalError(EdgeError):
    """A journal cannot be opened, read or written."""


class ControlError(EdgeError):
    """A running daemon cannot be asked, or cannot do what it was asked."""


class AlreadyRunningError(ControlError):
    """Another daemon runs on the same journal."""
