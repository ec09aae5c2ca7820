"""What happens to a service beside its frames, and who is told of it."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from datetime import datetime, timezone
from typing import Any, Optional

from edge.journal.sink import Journal
from edge.notify import NOTICE
from edge.overview import KEPT_EVENTS
from edge.records import Event
from edge.service.outlets import Outlets
from edge.service.parts import sentence
from edge.service.pulse import Pulse

_log = logging.getLogger(__name__)


class Events:
    """Tells the journal and the outlets."""

    def __init__(self, outlets: Outlets, pulse: Pulse) -> None:
        """Begin with none.

        Args:
            outlets: are told of all.
            pulse: is told of the last fault.
        """
        self.newest: deque[Event] = deque(maxlen=KEPT_EVENTS)
        self.journal: Optional[Journal] = None
        """Of the present run."""
        self._outlets, self._pulse = outlets, pulse
        self._telling, self._count = threading.Lock(), 0

    def tell(self, kind: str, **detail: Any) -> None:
        """Something happened."""
        if self.journal:
            self.journal.event(kind, **detail)
        self._hand_on(kind, detail)

    def truth(self, name: Optional[str], by: str) -> None:
        """Somebody said what is before the camera; the journal is told by the recording."""
        self._hand_on(*(("truth cleared", {"by": by}) if name is None else ("truth set", {"truth": name, "by": by})))

    def refused(self, why: str) -> None:
        """A reload was."""
        _log.warning("%s", sentence("reload refused", {"why": why}))
        self.tell("reload refused", why=why)

    def of_equipment(self, kind: str, detail: dict[str, Any]) -> None:
        """Something happened to the camera or an accelerator; called on the thread that classifies."""
        over = kind.endswith((" found", " over"))
        _log.log(NOTICE if over else logging.WARNING, "%s", sentence(kind, detail))
        if over:
            self._pulse.camera = str(detail.get("camera", self._pulse.camera))
        else:
            self._pulse.last_fault = f"{kind}, {time.strftime('%Y-%m-%d %H:%M:%S')}"
        self.tell(kind, **detail)

    def _hand_on(self, kind: str, detail: dict[str, Any]) -> None:
        utc, now_ns = datetime.now(timezone.utc).isoformat(timespec="milliseconds"), time.monotonic_ns()
        with self._telling:  # events come from several threads, and their numbers are to tell their order
            event = Event(self._count, utc, now_ns, kind, detail, sentence(kind, detail))
            self._count += 1
            self.newest.append(event)
            self._outlets.event(event)
