"""Reads and prepares the next frames of a file or folder on another thread while the model runs."""

from __future__ import annotations

import queue
import threading
import time
from typing import Optional, Union

import numpy as np
from numpy.typing import NDArray

from edge.cameras import Camera
from edge.classifier import Prepared
from edge.records import Frame
from edge.tensors import InputSpec, Preprocessor

_TENSORS = 3  # one with the consumer, one ready, one being filled


class ReadAhead:
    """A camera's frames in order, each with its input tensor filled. Nothing is dropped.

    Not for live cameras: there a frame read ahead would be a stale one.
    """

    def __init__(self, camera: Camera, spec: InputSpec) -> None:
        self._camera = camera
        self._preprocessor = Preprocessor(spec)
        self._free: queue.SimpleQueue[Optional[NDArray[np.generic]]] = queue.SimpleQueue()
        self._ready: queue.SimpleQueue[Union[Prepared, BaseException, None]] = queue.SimpleQueue()
        self._held: Optional[NDArray[np.generic]] = None
        self._closing = False
        self.ended = False
        for _ in range(_TENSORS):
            self._free.put(np.empty((1, spec.height_px, spec.width_px, 3), spec.dtype))
        self._thread = threading.Thread(target=self._fill, name="read-ahead", daemon=True)
        self._thread.start()

    def read(self, timeout_s: float = 1.0) -> Optional[Prepared]:
        """The next frame, or None when none came in time or the source ended; valid until the next call.

        Raises:
            EdgeError: what reading or preparing raised.
        """
        if self._held is not None:
            self._free.put(self._held)
            self._held = None
        if self.ended:
            return None
        try:
            item = self._ready.get(timeout=timeout_s)
        except queue.Empty:
            return None
        if isinstance(item, Prepared):
            self._held = item.tensor
            return item
        self.ended = True
        if item is not None:
            raise item
        return None

    def close(self) -> None:
        """End the thread. The camera stays open."""
        self._closing = True
        self._free.put(None)
        self._thread.join(timeout=2.0)

    def _fill(self) -> None:
        try:
            while (tensor := self._free.get()) is not None and (frame := self._next()) is not None:
                started_ns = time.monotonic_ns()
                self._preprocessor.fill(frame.pixels, tensor)
                self._ready.put(Prepared(frame, tensor, time.monotonic_ns() - started_ns))
            self._ready.put(None)
        except BaseException as error:
            self._ready.put(error)

    def _next(self) -> Optional[Frame]:
        """The camera's next frame; None at its end or when closing."""
        while not self._closing:
            frame = self._camera.read()
            if frame is not None or self._camera.ended:
                return frame
        return None
