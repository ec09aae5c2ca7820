"""Ends the program in good order when it is told to, whatever it is doing then."""

from __future__ import annotations

import logging
import os
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Callable

GRACE_S = 0.8
"""For the loop to end by itself, out of the one second that is promised."""


def _nothing() -> None: ...


class Signals:
    """What happens when a signal comes; the members may be set while it waits for one."""

    def __init__(self) -> None:
        self.stop = threading.Event()
        """Set when the program is to end."""
        self.on_stop: Callable[[], object] = _nothing
        """Called after that."""
        self.on_reload: Callable[[], object] = _nothing
        """Called when the configuration is to be read again."""
        self.overdue: Callable[[], object] = _nothing
        """Called when the program has not ended in time, before it is ended."""
        self.grace_s = GRACE_S
        """How long it may take."""


@contextmanager
def caught(hang_up: bool = False) -> Iterator[Signals]:
    """SIGINT and SIGTERM stop; handlers are restored at the end. For the main thread only.

    Python runs signal handlers between its own instructions, so a main thread that waits in a camera's driver or for
    a full pipe never would. The signal's number comes through a socket to a thread instead, which sets `stop` and,
    when the block below has not ended `grace_s` later, calls `overdue` and ends the process with exit code 0.

    Args:
        hang_up: SIGHUP asks for a reload; else it ends the process, as a closed terminal wants it to.
    """
    signals, ended = Signals(), threading.Event()
    numbers = (signal.SIGINT, signal.SIGTERM, *((signal.SIGHUP,) if hang_up else ()))
    reader, writer = socket.socketpair()
    writer.setblocking(False)

    def watch() -> None:
        while not signals.stop.is_set():
            received = reader.recv(1)
            if not received:
                return
            if received[0] == signal.SIGHUP:
                try:
                    signals.on_reload()
                except Exception:  # this thread must live to see the program end
                    logging.getLogger(__name__).exception("A reload could not begin.")
            else:
                signals.stop.set()
        signals.on_stop()
        if not ended.wait(signals.grace_s):
            try:
                signals.overdue()
            finally:
                os._exit(0)

    before = {number: signal.signal(number, lambda *_: None) for number in numbers}
    wakeup = signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)
    watcher = threading.Thread(target=watch, name="signals", daemon=True)
    watcher.start()
    try:
        yield signals
    finally:
        ended.set()
        signal.set_wakeup_fd(wakeup)
        for number in numbers:
            signal.signal(number, before[number])
        writer.close()
        watcher.join()
        reader.close()
