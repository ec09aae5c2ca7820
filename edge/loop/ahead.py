"""Keeps the model busy with a file's or folder's frames: reading, inference and the rest run side by side."""

from __future__ import annotations

import contextlib
import queue
import threading
import time
from typing import Optional, Union

import msgspec
import numpy as np
from numpy.typing import NDArray

from edge.cameras import Camera
from edge.classifier import Answer, Classifier, Prepared
from edge.records import Frame
from edge.tensors import Preprocessor

_SEEN = np.empty((0, 0, 3), np.uint8)
_TENSORS = 3  # one with the model, one ready, one being filled
_POLL_S = 0.25  # how often a reader that gets nothing looks whether it is to end
_CLOSE_S = 2.0  # for the threads to end; one that is stuck is left behind, a daemon
_ANSWERS = 2  # so many may wait for the consumer before the model waits too


class Reading:
    """A camera's frames as input tensors, in order, none left out: a thread reads and fills them.

    The frames have no pixels any more, unless asked for. Not for live cameras: there a frame read ahead would be a
    stale one.
    """

    def __init__(self, camera: Camera, classifier: Classifier, tensors: int, keep_pixels: bool = False) -> None:
        """Begin.

        Args:
            camera: stays open.
            classifier: has the model that the tensors are for.
            tensors: so many are used, and filled again when they are free.
            keep_pixels: of the frames.
        """
        self.ended = False
        self._camera, self._keep_pixels = camera, keep_pixels
        self._preprocessor = Preprocessor(classifier.input)
        self._closing = False
        self._free: queue.SimpleQueue[NDArray[np.generic]] = queue.SimpleQueue()
        self._prepared: queue.SimpleQueue[Union[Prepared, BaseException, None]] = queue.SimpleQueue()
        for _ in range(tensors):
            self._free.put(classifier.tensor())
        self._thread = threading.Thread(target=self._read, name="reading ahead", daemon=True)
        self._thread.start()

    def get(self) -> Union[Prepared, BaseException, None]:
        """Wait for the next frame; what was raised instead, or None at the end or after `stop`."""
        return self._prepared.get()

    def read(self, timeout_s: float) -> Optional[Prepared]:
        """The next frame, or None when none came in time or the source ended.

        Raises:
            EdgeError: what the camera or the frame raised.
        """
        if self.ended:
            return None
        try:
            item = self._prepared.get(timeout=timeout_s) if timeout_s else self._prepared.get_nowait()
        except queue.Empty:
            return None
        if isinstance(item, Prepared):
            return item
        self.ended = True
        if item is not None:
            raise item
        return None

    def free(self, tensor: NDArray[np.generic]) -> None:
        """Give a tensor back that is not needed any more."""
        self._free.put(tensor)

    def stop(self) -> None:
        """Have the thread end, and wake whoever waits in `get`, also when the reader is stuck in its camera."""
        self._closing = True
        self._free.put(np.empty(0))
        self._prepared.put(None)

    def close(self, within_s: float = _CLOSE_S) -> None:
        """End the thread; what was read ahead is thrown away."""
        self.stop()
        self._thread.join(within_s)

    def _read(self) -> None:
        try:
            while (frame := self._next()) is not None:
                tensor = self._free.get()
                if self._closing:
                    break
                started_ns = time.monotonic_ns()
                self._preprocessor.fill(frame.pixels, tensor)
                preprocess_ns = time.monotonic_ns() - started_ns
                if not self._keep_pixels:  # the queues need what is known of the frame, not a megabyte of pixels each
                    frame = msgspec.structs.replace(frame, pixels=_SEEN)
                self._prepared.put(Prepared(frame, tensor, preprocess_ns))
            self._prepared.put(None)
        except BaseException as error:
            self._prepared.put(error)

    def _next(self) -> Optional[Frame]:
        """The camera's next frame; None at its end or when closing."""
        while not self._closing:
            frame = self._camera.read(_POLL_S)
            if frame is not None or self._camera.ended:
                return frame
        return None


class Ahead:
    """The answers to a camera's frames, in order, none left out.

    One thread reads and fills input tensors, another runs the model, and the caller has what remains: ranking the
    scores and writing records. See `Reading` for what becomes of the frames.
    """

    def __init__(self, camera: Camera, classifier: Classifier, keep_pixels: bool = False) -> None:
        self.ended = False
        self._classifier = classifier
        self._closing = False
        self._reading = Reading(camera, classifier, _TENSORS, keep_pixels)
        self._answers: queue.Queue[Union[Answer, BaseException, None]] = queue.Queue(_ANSWERS)
        self._thread = threading.Thread(target=self._infer, name="inference", daemon=True)
        self._thread.start()

    def read(self, timeout_s: float = 1.0) -> Optional[Answer]:
        """The next answer, or None when none came in time or the source ended.

        Raises:
            EdgeError: what the camera, the frame or the model raised.
        """
        if self.ended:
            return None
        try:
            item = self._answers.get(timeout=timeout_s)
        except queue.Empty:
            return None
        if isinstance(item, Answer):
            return item
        self.ended = True
        if item is not None:
            raise item
        return None

    def close(self) -> None:
        """End the threads; what they hold is thrown away. The camera and the classifier stay open."""
        self._closing = True
        self._reading.stop()
        deadline_s = time.monotonic() + _CLOSE_S
        while self._thread.is_alive() and time.monotonic() < deadline_s:
            with contextlib.suppress(queue.Empty):
                self._answers.get(timeout=0.05)  # makes room for what it may be waiting to hand over
        self._reading.close(max(0.0, deadline_s - time.monotonic()))

    def _infer(self) -> None:
        try:
            while isinstance(item := self._reading.get(), Prepared) and not self._closing:
                answer = self._classifier.infer_prepared(*item)
                self._reading.free(item.tensor)
                self._answers.put(answer)
            self._answers.put(item if isinstance(item, BaseException) else None)
        except BaseException as error:
            self._answers.put(error)
