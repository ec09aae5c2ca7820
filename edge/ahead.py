"""Keeps the model busy with a file's or folder's frames: reading, inference and the rest run side by side."""

from __future__ import annotations

import contextlib
import queue
import threading
import time
from typing import NamedTuple, Optional, Union

import msgspec
import numpy as np
from numpy.typing import NDArray

from edge.cameras import Camera
from edge.classifier import Answer, Classifier
from edge.records import Frame
from edge.tensors import Preprocessor

_SEEN = np.empty((0, 0, 3), np.uint8)
_TENSORS = 3  # one with the model, one ready, one being filled
_CLOSE_S = 2.0  # for the threads to end; one that is stuck is left behind, a daemon
_ANSWERS = 2  # so many may wait for the consumer before the model waits too


class _Prepared(NamedTuple):
    frame: Frame
    tensor: NDArray[np.generic]
    preprocess_ns: int


class Ahead:
    """The answers to a camera's frames, in order, none left out.

    One thread reads and fills input tensors, another runs the model, and the caller has what remains: ranking the
    scores and writing records. The answers' frames have no pixels any more, unless asked for. Not for live
    cameras: there a frame read ahead would be a stale one.
    """

    def __init__(self, camera: Camera, classifier: Classifier, keep_pixels: bool = False) -> None:
        self.ended = False
        self._camera = camera
        self._classifier = classifier
        self._keep_pixels = keep_pixels
        self._closing = False
        self._free: queue.SimpleQueue[NDArray[np.generic]] = queue.SimpleQueue()
        self._prepared: queue.SimpleQueue[Union[_Prepared, BaseException, None]] = queue.SimpleQueue()
        self._answers: queue.Queue[Union[Answer, BaseException, None]] = queue.Queue(_ANSWERS)
        spec = classifier.input
        for _ in range(_TENSORS):
            self._free.put(np.empty((1, spec.height_px, spec.width_px, 3), spec.dtype))
        self._threads = [
            threading.Thread(target=target, name=name, daemon=True)
            for target, name in ((self._read, "reading ahead"), (self._infer, "inference"))
        ]
        for thread in self._threads:
            thread.start()

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
        self._free.put(np.empty(0))  # wakes the reader
        self._prepared.put(None)  # and the model's thread, also when the reader is stuck in its camera
        deadline_s = time.monotonic() + _CLOSE_S
        while self._threads[1].is_alive() and time.monotonic() < deadline_s:
            with contextlib.suppress(queue.Empty):
                self._answers.get(timeout=0.05)  # makes room for what it may be waiting to hand over
        self._threads[0].join(max(0.0, deadline_s - time.monotonic()))

    def _read(self) -> None:
        preprocessor = Preprocessor(self._classifier.input)
        try:
            while (frame := self._next()) is not None:
                tensor = self._free.get()
                if self._closing:
                    break
                started_ns = time.monotonic_ns()
                preprocessor.fill(frame.pixels, tensor)
                preprocess_ns = time.monotonic_ns() - started_ns
                if not self._keep_pixels:  # the queues need what is known of the frame, not a megabyte of pixels each
                    frame = msgspec.structs.replace(frame, pixels=_SEEN)
                self._prepared.put(_Prepared(frame, tensor, preprocess_ns))
            self._prepared.put(None)
        except BaseException as error:
            self._prepared.put(error)

    def _next(self) -> Optional[Frame]:
        """The camera's next frame; None at its end or when closing."""
        while not self._closing:
            frame = self._camera.read()
            if frame is not None or self._camera.ended:
                return frame
        return None

    def _infer(self) -> None:
        try:
            while isinstance(item := self._prepared.get(), _Prepared) and not self._closing:
                answer = self._classifier.infer_prepared(*item)
                self._free.put(item.tensor)
                self._answers.put(answer)
            self._answers.put(item if isinstance(item, BaseException) else None)
        except BaseException as error:
            self._answers.put(error)
