"""The least that a Python program can do: import the same libraries, open the model, invoke it.

Usage: bare.py MODEL.tflite THREADS INVOCATIONS [WARM_UP [VIDEO]]. Prints the mean nanoseconds of an invocation.
With VIDEO, a frame of it is decoded before each invocation of the warm-up.
"""

import sys
import time

import click  # noqa: F401
import cv2
import msgspec  # noqa: F401
import numpy as np
import yaml  # noqa: F401
from ai_edge_litert.interpreter import Interpreter

path, threads, count, *rest = sys.argv[1:]
interpreter = Interpreter(model_path=path, num_threads=int(threads))
interpreter.allocate_tensors()
details = interpreter.get_input_details()[0]
picture = np.random.default_rng(0).integers(0, 255, details["shape"]).astype(details["dtype"])
interpreter.set_tensor(details["index"], picture)
video = cv2.VideoCapture(rest[1]) if len(rest) > 1 else None
for _ in range(int(rest[0]) if rest else 0):
    if video is not None:
        video.read()
    interpreter.invoke()
started_ns = time.monotonic_ns()
for _ in range(int(count)):
    interpreter.invoke()
print((time.monotonic_ns() - started_ns) / int(count))
