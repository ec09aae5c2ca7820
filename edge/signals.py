"""Ends the program in good order when it is told to, whatever it is doing then."""

from __future__ import annotations

import os
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Callable

GRACE_S = 0.8  # for the loop to end by itself, out of the one second that is promised
_NUMBERS = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def stop_on_signals(overdue: Callable[[], None]) -> Iterator[threading.Event]:
    """An event that SIGINT and SIGTERM set; handlers are restored at the end. For the main thread only.

    Python runs signal handlers between its own instructions, so a main thread that waits in a camera's driver or for
    a full pipe never would. The signal's number comes through a socket to a thread instead, which sets the event and,
    when the block below has not ended `GRACE_S` later, calls `overdue` and ends the process with exit code 0.
    """
    stop, ended = threading.Event(), threading.Event()
    reader, writer = socket.socketpair()
    writer.setblocking(False)

    def watch() -> None:
        if not reader.recv(1):
            return
        stop.set()
        if not ended.wait(GRACE_S):
            try:
                overdue()
            finally:
                os._exit(0)

    before = {number: signal.signal(number, lambda *_: None) for number in _NUMBERS}
    wakeup = signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)
    watcher = threading.Thread(target=watch, name="signals", daemon=True)
    watcher.start()
    try:
        yield stop
    finally:
        ended.set()
        signal.set_wakeup_fd(wakeup)
        for number in _NUMBERS:
            signal.signal(number, before[number])
        writer.close()
        watcher.join()
        reader.close()
