"""Makes ready what a changed configuration asks for, beside the loop that goes on meanwhile."""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections import deque
from typing import Any, Callable, NamedTuple, Optional

import msgspec

from edge.classifier import Classifier
from edge.config import Config
from edge.errors import ConfigError, ControlError, EdgeError
from edge.model.bundle import Bundle, Contract, locate, read_contract, sha256_of
from edge.service.pulse import Pulse

_OUTCOMES = 8
"""So many are kept for those who ask later."""
_log = logging.getLogger(__name__)


class Next(NamedTuple):
    """What the service is to go on with."""

    config: Config
    classifier: Optional[Classifier]
    """None: the one that it has."""
    opened_ns: int
    changed: tuple[str, ...]
    """Paths of the keys that changed; "model file" for a model that was replaced under the same name."""


class Reloader:
    """Reads the configuration again when asked to; one request at a time.

    A configuration that cannot be used is refused, and nothing changes.
    """

    def __init__(
        self,
        read: Callable[[], Config],
        open_model: Callable[[Config], Classifier],
        require_camera: Callable[[Config], object],
        pulse: Pulse,
        on_ready: Callable[[], object],
        on_refused: Callable[[str], object],
    ) -> None:
        """Wait for requests.

        Args:
            read: reads and checks the configuration.
            open_model: opens the model that a configuration names.
            require_camera: makes sure that a configuration's camera can be one.
            pulse: tells systemd.
            on_ready: called, on another thread, when `take` has something.
            on_refused: called with a sentence, on another thread, when a configuration cannot be used.
        """
        self._read, self._open_model, self._require_camera, self._pulse = read, open_model, require_camera, pulse
        self._on_ready, self._on_refused = on_ready, on_refused
        self._lock = threading.Lock()
        self._number = 0
        self._under_way = self._again = False
        self._outcomes: deque[tuple[int, dict[str, Any]]] = deque(maxlen=_OUTCOMES)
        self._next: Optional[Next] = None
        self._config: Optional[Config] = None
        self._sha256 = ""

    def runs(self, config: Config, sha256: str) -> None:
        """Tell what the service goes by at present, and the `sha256_of_model` of its model."""
        with self._lock:
            self._config, self._sha256 = config, sha256
        self._go_on()

    def request(self) -> int:
        """Begin; the request's number.

        Raises:
            ControlError: one is under way, or the service is still starting.
        """
        with self._lock:
            if self._config is None:
                raise ControlError("The daemon is starting: try again in a moment.")
            if self._under_way:
                raise ControlError("A reload is under way: try again in a moment.")
            self._number += 1
            self._under_way, self._again = True, False
            number = self._number
        threading.Thread(target=self._prepare, name="reload", daemon=True).start()
        return number

    def request_soon(self) -> None:
        """Begin, at once or as soon as that can be: what is under way may have read what is older."""
        self._again = True
        self._go_on()

    def answer(self, request: dict[str, Any]) -> dict[str, Any]:
        """Answer the request "reload" of `edge.control`: begin one, or tell of that with `number` how it went."""
        number = request.get("number")
        if number is None:
            return {"number": self.request()}
        for each, outcome in tuple(self._outcomes):
            if each == number:
                return {"number": number, "outcome": outcome}
        if number != self._number:
            raise ControlError(f"There is no reload {number!r} to ask for: the last was {self._number}.")
        return {"number": number, "outcome": None}

    def take(self) -> Optional[Next]:
        """What is ready to be taken over; its taker calls `done`."""
        with self._lock:
            taken, self._next = self._next, None
        return taken

    def done(self, changed: tuple[str, ...]) -> None:
        """What was taken is what runs now."""
        self._over({"changed": list(changed)})

    def _over(self, outcome: dict[str, Any]) -> None:
        self._pulse.reloaded()
        with self._lock:
            self._outcomes.append((self._number, outcome))
            self._under_way = False
        self._go_on()

    def _go_on(self) -> None:
        if self._again:
            with contextlib.suppress(ControlError):  # then it is asked for again when that is over
                self.request()

    def _prepare(self) -> None:
        self._pulse.reloading()
        try:
            ready = self._made_ready()
        except EdgeError as error:
            self._refuse(str(error))
        except Exception as error:  # the service must go on, and whoever asked be told
            _log.exception("A reload failed in a way that nobody thought of.")
            self._refuse(f"{type(error).__name__}: {' '.join(str(error).split())} (unexpected).")
        else:
            with self._lock:
                self._next = ready
            self._on_ready()

    def _refuse(self, why: str) -> None:
        self._on_refused(why)
        self._over({"refused": why})

    def _made_ready(self) -> Next:
        before, config = self._config, self._read()
        assert before is not None  # `request` made sure
        changed = differences(msgspec.to_builtins(before), msgspec.to_builtins(config))
        if before.journal.path != config.journal.path:
            raise ConfigError("journal.path cannot change while the daemon runs: restart it.")
        self._require_camera(config)
        renewed = _sha256(config) != self._sha256
        classifier, opened_ns = None, 0
        if renewed or before.model != config.model or before.runtime != config.runtime:
            began_ns = time.monotonic_ns()
            classifier = self._open_model(config)
            opened_ns = time.monotonic_ns() - began_ns
        if renewed and before.model.path == config.model.path:
            changed = (*changed, "model file")
        return Next(config, classifier, opened_ns, changed)


def _sha256(config: Config) -> str:
    """Of the model that a configuration names, without opening it."""
    path = locate(config.model.path)
    return _of_files(read_contract(path)) if path.is_dir() else sha256_of(path)


def sha256_of_model(bundle: Bundle) -> str:
    """Of the file of an open model; of a bundle, with that of its compiled twin."""
    return _of_files(bundle.contract) if bundle.contract else bundle.sha256


def _of_files(contract: Contract) -> str:
    return contract.sha256 + (contract.edgetpu.sha256 if contract.edgetpu else "")


def differences(before: Any, after: Any, path: str = "") -> tuple[str, ...]:
    """Paths of the values in which two nested mappings differ."""
    if isinstance(before, dict) and isinstance(after, dict):
        names = sorted({*before, *after})
        inner = [differences(before.get(name), after.get(name), f"{path}.{name}" if path else name) for name in names]
        return tuple(each for found in inner for each in found)
    return () if before == after else (path,)
