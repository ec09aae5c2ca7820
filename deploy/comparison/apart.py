"""Work in a process of its own: its memory is its own, and so are TensorFlow's settings."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import threading
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from typing import Any, Callable, NoReturn, Optional, TypeVar

from edge.errors import EdgeError, ModelError

_Made = TypeVar("_Made")


def run(function: Callable[..., _Made], *arguments: Any) -> _Made:
    """What a function gives, called in a new process; Ctrl-C interrupts the function there, and then this one.

    Args:
        function: of a module, so that the other process can import it.
        arguments: can be pickled, and so can what the function gives.

    Raises:
        EdgeError, OSError: as the function raised it.
        ModelError: the process came to a bad end.
        KeyboardInterrupt: it was interrupted; it has ended.
    """
    context = multiprocessing.get_context("spawn")  # a fork would begin with what is in memory here
    receiver, sender = context.Pipe(duplex=False)
    child = context.Process(target=_work, args=(sender, function, arguments), daemon=True)
    try:
        _start(child)
        sender.close()
        made, error = receiver.recv()
    except EOFError:
        child.join()
        _refuse(child.exitcode)
    except KeyboardInterrupt:
        if child.pid is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(child.pid, signal.SIGINT)  # a terminal sends it to both, `kill` to one
            child.join()
        raise
    child.join()
    if error is not None:
        raise error
    return made  # type: ignore[no-any-return]


def _start(child: Any) -> None:
    """Start a process that finds Ctrl-C held back: while it imports, Python could answer with a traceback only."""
    resource_tracker.ensure_running()  # else the start begins it, and ends with Ctrl-C let through
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        child.start()
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})


def _refuse(code: Optional[int]) -> NoReturn:
    if not code:  # it was interrupted alone
        raise KeyboardInterrupt
    ended = f"was ended by signal {-code}" if code < 0 else f"ended with code {code}"
    raise ModelError(f"The process that did the work {ended}: expected it to finish; is there enough memory?")


def _work(sender: Connection, function: Callable[..., object], arguments: tuple[Any, ...]) -> None:
    working, interrupted = True, False

    def interrupt(*_: object) -> None:
        nonlocal interrupted
        if working and not interrupted:  # once: what is cleaned up then is left in peace
            interrupted = True
            raise KeyboardInterrupt

    threading.Thread(target=_end_with_parent, daemon=True).start()
    try:
        if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:  # a shell may have asked to ignore it
            signal.signal(signal.SIGINT, interrupt)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
        outcome: tuple[object, object] = function(*arguments), None
    except (EdgeError, OSError) as error:
        outcome = None, error
    except BaseException:
        if interrupted:  # libraries turn it into what they like
            return
        raise
    finally:
        working = False
    if not interrupted:
        sender.send(outcome)


def _end_with_parent() -> None:
    """A process whose result nobody waits for any more is not to go on for hours."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    wait([parent.sentinel])
    os.kill(os.getpid(), signal.SIGTERM)
