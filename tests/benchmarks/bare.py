"""The least that a Python program can do: import the same libraries, open the model, invoke it.

Usage: bare.py MODEL.tflite THREADS INVOCATIONS [WARM_UP]. Prints the mean nanoseconds of an invocation.
"""

import sys
import time

import click  # noqa: F401
import cv2  # noqa: F401
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
for _ in range(int(rest[0]) if rest else 0):
    interpreter.invoke()
started_ns = time.monotonic_ns()
for _ in range(int(count)):
    interpreter.invoke()
print((time.monotonic_ns() - started_ns) / int(count))
