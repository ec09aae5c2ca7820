"""The least that classifying once a second takes: draw the scene's frame, preprocess it, invoke. Nothing is read out.

Usage: bare_idle.py MODEL THREADS. Prints "ready" after the first inference, and runs until it is ended.
"""

import itertools
import sys
import time

from ai_edge_litert.interpreter import Interpreter

from edge.cameras import CameraSettings
from edge.cameras.scene import Scene
from edge.model.bundle import locate, open_bundle
from edge.tensors import Preprocessor

model, threads = sys.argv[1:]
bundle = open_bundle(locate(model))
interpreter = Interpreter(model_path=str(bundle.path), num_threads=int(threads))
interpreter.allocate_tensors()
tensor = interpreter.tensor(interpreter.get_input_details()[0]["index"])
preprocessor, scene = Preprocessor(bundle.input), Scene(CameraSettings())
began_s = time.monotonic()
for number in itertools.count():
    time.sleep(max(0.0, began_s + number - time.monotonic()))
    preprocessor.fill(scene.read().pixels, tensor())
    interpreter.invoke()
    if not number:
        print("ready", flush=True)
