"""The other end of `edge.runtimes.edgetpu.child`: starts it, talks to it, ends it."""

from __future__ import annotations

import contextlib
import mmap
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple, Optional, Union

import msgspec
import numpy as np
from numpy.typing import NDArray

from edge.runtimes import TensorDetails
from edge.runtimes.edgetpu.words import DONE, JOB, MOST_BYTES, Failure, Opened, Order, Reached, Stage, word

_LOG_BYTES = 4000
"""Of what libedgetpu wrote last, which tells why it died."""
_GOODBYE_S = 0.3
"""For a process to let go of its Edge TPU when it is told to end."""
_REAP_S = 0.1
"""For one that was killed to be gone; one that the kernel cannot end is left behind."""
_SIGNALS = {each.value: each.name for each in signal.Signals}
"""Without those for real time, which have no names."""
_PIPE_BYTES = 65_536
"""What a pipe holds: pipe(7)."""
_MANY_BYTES = 8 * 1024 * 1024
"""Of a log that somebody wants whole."""


class Over(NamedTuple):
    """A job that is done; its output stands in the memory until the next one."""

    ticket: int
    inner_ns: int
    """What it took in the child."""
    done_ns: int
    """When it was done, on the monotonic clock."""


class Child:
    """A process that opens an Edge TPU, or says why it cannot, and then runs the model on what it is given."""

    def __init__(self, order: Order, keep_log: bool = False) -> None:
        """Start it; what it says is read with `hear`.

        Args:
            order: what it is to open.
            keep_log: keep all that libedgetpu writes, not only the end.
        """
        with contextlib.ExitStack() as always, contextlib.ExitStack() as on_error:
            ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            always.callback(theirs.close)
            on_error.callback(ours.close)
            lifeline, self._lifeline = os.pipe()
            always.callback(os.close, lifeline)
            on_error.callback(os.close, self._lifeline)
            self.log_fd, log = os.pipe()
            always.callback(os.close, log)
            on_error.callback(os.close, self.log_fd)
            for descriptor in (self.log_fd, log):
                os.set_blocking(descriptor, False)  # who writes more than anybody reads must not wait for it
            command = [sys.executable, "-m", "edge.runtimes.edgetpu.child", str(theirs.fileno()), str(lifeline)]
            self._process = subprocess.Popen(
                [*command, msgspec.json.encode(order).decode()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=log,
                pass_fds=(theirs.fileno(), lifeline),
                cwd=Path(__file__).resolve().parents[3],
                start_new_session=True,  # Ctrl-C is for this process
            )
            on_error.pop_all()
        ours.setblocking(False)
        self._socket = ours
        self._keep_bytes = _MANY_BYTES if keep_log else _LOG_BYTES
        self._log = b""
        self._given: Any = None
        self._answer: Any = None
        self.stage: Stage = "start"
        """What it does, or did last."""

    def fileno(self) -> int:
        """To be polled for reading."""
        return self._socket.fileno()

    @property
    def log(self) -> str:
        """What libedgetpu wrote so far, or the end of it."""
        if self._socket.fileno() >= 0:
            self.read_log()
        return self._log.decode("utf-8", "replace")

    def read_log(self) -> None:
        """Take in what libedgetpu wrote; what finds the pipe full is lost. Once, as it may write without end."""
        with contextlib.suppress(OSError):  # nothing there
            self._log = (self._log + os.read(self.log_fd, _PIPE_BYTES))[-self._keep_bytes :]

    def hear(self) -> Union[Opened, Over, Failure, None]:
        """What it says, if anything; its death is a `Failure` too. After one it is to be ended."""
        while True:
            descriptors: list[int] = []
            try:
                if self.stage == "inference":
                    packet = self._socket.recv(MOST_BYTES)
                else:
                    packet, descriptors, _, _ = socket.recv_fds(self._socket, MOST_BYTES, 1)
            except BlockingIOError:
                return None
            except OSError as error:
                return self._dead(str(error))
            if len(packet) == DONE.size:
                return Over(*DONE.unpack(packet))
            if not packet:
                return self._dead("its process ended")
            said = word(packet)
            if isinstance(said, Opened):
                self._map(descriptors[0], said.inputs[0], said.outputs[0])
                self.stage = "inference"
            if not isinstance(said, Reached):
                return said
            self.stage = said.stage

    def give(self, ticket: int, tensor: NDArray[np.generic]) -> None:
        """Hand over an input of the model's shape and dtype."""
        self._given[:] = tensor.reshape(-1).view(np.uint8)
        with contextlib.suppress(OSError):  # when nobody is there any more, `hear` tells
            self._socket.send(JOB.pack(ticket))
        self.read_log()  # while the child is at work

    @property
    def output(self) -> NDArray[np.generic]:
        """The output of the job that is over, a copy."""
        return self._answer.copy()  # type: ignore[no-any-return]

    def end(self, at_once: bool = False) -> Optional[subprocess.Popen[bytes]]:
        """End it, by force if need be; the process, where not even that helps."""
        self.read_log()
        self._socket.close()  # at which it ends by itself, unless it is stuck
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(0 if at_once or self.stage != "inference" else _GOODBYE_S)
        self._process.kill()
        os.close(self._lifeline)
        os.close(self.log_fd)
        try:
            self._process.wait(_REAP_S)
        except subprocess.TimeoutExpired:
            return self._process
        return None

    def _dead(self, otherwise: str) -> Failure:
        """How it died, and what it wrote last."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(_REAP_S)
        status = self._process.returncode
        if status is not None and status < 0:
            otherwise = f"its process died of {_SIGNALS.get(-status, f'signal {-status}')}"
        lines = [line for line in self.log.splitlines() if line.strip() and not line.startswith("INFO:")]
        return Failure(self.stage, "died", f"{otherwise} ({lines[-1].strip()})" if lines else otherwise)

    def _map(self, descriptor: int, given: TensorDetails, answer: TensorDetails) -> None:
        try:
            size_bytes = os.fstat(descriptor).st_size
            memory = mmap.mmap(descriptor, size_bytes)
        finally:
            os.close(descriptor)
        split = int(np.prod(given.shape)) * np.dtype(given.dtype).itemsize
        self._given = np.frombuffer(memory, np.uint8, split)
        self._answer = np.frombuffer(memory, np.dtype(answer.dtype), offset=split).reshape(answer.shape)
