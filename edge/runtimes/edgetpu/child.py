"""The process that holds one Edge TPU, for libedgetpu may abort, crash or hang whatever process it is in.

`python -m edge.runtimes.edgetpu.child SOCKET LIFELINE ORDER`: two descriptors, and an `Order` as JSON. What goes over
the socket is in `edge.runtimes.edgetpu.words`.
"""

from __future__ import annotations

import ctypes
import fcntl
import mmap
import os
import select
import signal
import socket
import sys
import time
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from edge.errors import EdgeError
from edge.runtimes import Runtime, require
from edge.runtimes.edgetpu.listing import devices
from edge.runtimes.edgetpu.options import by_place
from edge.runtimes.edgetpu.words import DONE, JOB, Failure, Opened, Order, Stage, backend_of, failed, opened, reached

_MEMORY_NAME = "edge-runner frame"


class _FailedError(Exception):
    """Something went wrong at a stage, in words that came from below."""

    def __init__(self, stage: Stage, said: object) -> None:
        super().__init__(stage, said)
        self.failure = Failure(stage, "refused", " ".join(str(said).split()))


def _die_with_parent(lifeline: int) -> None:
    """Have the kernel end this process when the other end of a pipe closes, also while libedgetpu holds the GIL.

    Not PR_SET_PDEATHSIG: that follows the thread that started this process, which may end long before its process.
    """
    signal.signal(signal.SIGIO, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGIO])
    fcntl.fcntl(lifeline, fcntl.F_SETOWN, os.getpid())
    fcntl.fcntl(lifeline, fcntl.F_SETFL, fcntl.fcntl(lifeline, fcntl.F_GETFL) | os.O_ASYNC)
    poll = select.poll()
    poll.register(lifeline, select.POLLIN)
    if poll.poll(0):  # it closed before that
        os._exit(1)


def _main(socket_fd: int, lifeline: int, order: Order) -> None:
    _die_with_parent(lifeline)
    with socket.socket(fileno=socket_fd) as parent:
        try:
            runtime, told = _open(parent, order)
        except _FailedError as error:
            parent.send(failed(error.failure))
            return
        memory = _share(parent, runtime, told)
        try:
            _serve(parent, runtime, memory)
        except EdgeError as error:
            # What the output holds now is the answer to the input before: nobody gets it, and this process ends.
            parent.send(failed(Failure("inference", "error", " ".join(str(error).split()))))
            return
        runtime.close()  # lets go of the Edge TPU in good order


def _open(parent: socket.socket, order: Order) -> tuple[Runtime, Opened]:
    interpreters: Any = require(order.interpreter)
    parent.send(reached("library"))
    try:
        library = ctypes.CDLL(order.library)
    except OSError as error:
        raise _FailedError("library", error) from None
    version = _version(library, order.verbosity)
    parent.send(reached("delegate"))
    began_ns = time.monotonic_ns()
    try:
        delegate = interpreters.require().load_delegate(order.library, _by_place(library, order.options))
    except (ValueError, OSError) as error:
        raise _FailedError("delegate", error) from None
    parent.send(reached("allocate"))
    try:
        runtime = interpreters(Path(order.model), order.threads, delegate)
    except EdgeError as error:
        raise _FailedError("allocate", error) from None
    parent.send(reached("first inference"))
    first_ns = time.monotonic_ns()
    try:
        runtime.invoke()
    except EdgeError as error:
        raise _FailedError("first inference", error) from None
    done_ns = time.monotonic_ns()
    return runtime, Opened(
        interpreter=runtime.name,
        interpreter_version=runtime.version,
        library_version=version,
        backend=backend_of(version),
        inputs=runtime.input_details,
        outputs=runtime.output_details,
        open_ns=first_ns - began_ns,
        first_ns=done_ns - first_ns,
    )


def _by_place(library: ctypes.CDLL, options: dict[str, str]) -> dict[str, str]:
    try:
        return by_place(options, devices(library))
    except AttributeError:  # it cannot list, which real ones can
        return options


def _version(library: ctypes.CDLL, verbosity: int) -> str:
    """What libedgetpu calls itself; what it lacks is left out."""
    try:
        if verbosity:
            library.edgetpu_verbosity(ctypes.c_int(verbosity))
        library.edgetpu_version.restype = ctypes.c_char_p
        return str((library.edgetpu_version() or b"").decode("utf-8", "replace"))
    except AttributeError:
        return ""


def _share(parent: socket.socket, runtime: Runtime, told: Opened) -> mmap.mmap:
    """Memory for an input, followed by an output, which the parent sees too."""
    size_bytes = runtime.input().nbytes + runtime.output().nbytes
    descriptor = os.memfd_create(_MEMORY_NAME)
    os.ftruncate(descriptor, size_bytes)
    memory = mmap.mmap(descriptor, size_bytes)
    socket.send_fds(parent, [opened(told)], [descriptor])
    os.close(descriptor)
    return memory


def _serve(parent: socket.socket, runtime: Runtime, memory: mmap.mmap) -> None:
    """Run the model on whatever lies in the memory, as often as it is asked to."""
    split = runtime.input().nbytes
    given = np.frombuffer(memory, np.uint8, split)
    answer = np.frombuffer(memory, np.uint8, len(memory) - split, split)
    while request := parent.recv(JOB.size):
        began_ns = time.monotonic_ns()
        runtime.input().reshape(-1).view(np.uint8)[:] = given
        runtime.invoke()
        answer[:] = runtime.output().reshape(-1).view(np.uint8)
        done_ns = time.monotonic_ns()
        parent.send(DONE.pack(*JOB.unpack(request), done_ns - began_ns, done_ns))


if __name__ == "__main__":
    _main(int(sys.argv[1]), int(sys.argv[2]), msgspec.json.decode(sys.argv[3], type=Order))
    os._exit(0)  # no winding down, in which what libedgetpu leaves behind may crash
