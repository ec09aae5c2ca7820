"""The systems that wheels are gathered for, by their Python."""

from __future__ import annotations

from typing import NamedTuple, Optional

from edge.errors import ConfigError


class System(NamedTuple):
    """What is known of a system whose own Python has a certain version."""

    python: str
    """Its Python's full version: markers may compare it."""
    glibc_minor: int
    """Of glibc 2: the newest manylinux wheels that it can load."""
    numpy: Optional[str]
    """The numpy of its apt, where picamera2 from apt goes with it and edge-runner can use it."""
    name: str


# https://packages.debian.org and https://packages.ubuntu.com: python3, libc6, python3-numpy of the release.
# Bullseye's numpy, 1.19.5, is older than edge-runner needs.
SYSTEMS = {
    "3.9": System("3.9.2", 31, None, "Debian 11"),
    "3.10": System("3.10.4", 35, None, "Ubuntu 22.04"),
    "3.11": System("3.11.2", 36, "1.24.2", "Debian 12, Raspberry Pi OS Bookworm"),
    "3.12": System("3.12.3", 39, None, "Ubuntu 24.04"),
    "3.13": System("3.13.5", 41, "2.2.4", "Debian 13, Raspberry Pi OS Trixie"),
}
ARCHITECTURES = ("aarch64", "x86_64")
_OLDEST_GLIBC_MINOR = {"aarch64": 17, "x86_64": 5}


class Target(NamedTuple):
    """What wheels must fit."""

    system: System
    arch: str

    @property
    def name(self) -> str:
        """For people."""
        return f"Python {self.system.python} on {self.arch} ({self.system.name}, glibc 2.{self.system.glibc_minor})"

    @property
    def platforms(self) -> list[str]:
        """The platform tags that it can load, the preferred ones first, as PEP 600 and its forerunners name them."""
        minors = range(self.system.glibc_minor, _OLDEST_GLIBC_MINOR[self.arch] - 1, -1)
        forerunners = ["manylinux2014"] if self.arch == "aarch64" else ["manylinux2014", "manylinux2010", "manylinux1"]
        return [f"{name}_{self.arch}" for name in [*(f"manylinux_2_{minor}" for minor in minors), *forerunners]]

    @property
    def numpy(self) -> Optional[str]:
        """The version of the system's numpy that an installation with picamera2 keeps; picamera2 is the Pi's alone."""
        return self.system.numpy if self.arch == "aarch64" else None


def target(python: str, arch: str) -> Target:
    """The target with this Python, such as "3.11", and this processor.

    Raises:
        ConfigError: there is none.
    """
    if python not in SYSTEMS:
        raise ConfigError(f"Python {python!r} was given: expected one of {', '.join(SYSTEMS)}.")
    if arch not in ARCHITECTURES:
        raise ConfigError(
            f"The processor {arch!r} was given: expected {' or '.join(ARCHITECTURES)}, as `uname -m` tells on a 64-bit "
            "system; for others there are no wheels of numpy, OpenCV and LiteRT."
        )
    return Target(SYSTEMS[python], arch)
