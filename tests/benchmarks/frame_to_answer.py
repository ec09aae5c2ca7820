"""A 640x480 frame in memory to its five best classes: edge-runner and MediaPipe Tasks, frame by frame in turn.

Usage: frame_to_answer.py MODEL FRAMES. Both are held to one processor, because MediaPipe has no setting for its
threads. Prints the median nanoseconds of each as JSON.
"""

import json
import os
import statistics
import sys
import time

from edge import Classifier
from edge.model.bundle import golden_picture


def main(model: str, frames: int) -> None:
    # Before MediaPipe is loaded, which makes its threads then.
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    try:
        import mediapipe
        from mediapipe.tasks.python import vision
        from mediapipe.tasks.python.core.base_options import BaseOptions
    except ImportError as error:
        print(json.dumps({"missing": f"MediaPipe cannot be imported: {error}"}))
        return
    ours = Classifier.open(model, threads=1, top=5)
    options = vision.ImageClassifierOptions(
        base_options=BaseOptions(model_asset_path=str(ours.bundle.path)), max_results=5
    )
    theirs = vision.ImageClassifier.create_from_options(options)
    pixels = golden_picture(0, 480, 640)

    def mediapipe_answers() -> object:
        image = mediapipe.Image(image_format=mediapipe.ImageFormat.SRGB, data=pixels)
        return theirs.classify(image).classifications[0].categories[:5]

    times_ns: dict[str, list[int]] = {"edge": [], "mediapipe": []}
    for number in range(-20, frames):
        started_ns = time.monotonic_ns()
        mediapipe_answers()
        between_ns = time.monotonic_ns()
        ours.classify(pixels)
        done_ns = time.monotonic_ns()
        if number >= 0:
            times_ns["mediapipe"].append(between_ns - started_ns)
            times_ns["edge"].append(done_ns - between_ns)
    theirs.close()
    ours.close()
    print(json.dumps({name: statistics.median(values) for name, values in times_ns.items()}))


main(sys.argv[1], int(sys.argv[2]))
