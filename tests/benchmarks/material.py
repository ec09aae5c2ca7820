"""Makes a folder with a picture and a video; tells what is measured on, as JSON. Usage: material.py MODEL FOLDER."""

import json
import sys
from importlib.metadata import distributions
from pathlib import Path

import cv2
import numpy as np

from edge import device
from edge.model.bundle import golden_picture, locate, open_bundle

PACKAGES = ("edge-runner", "ai-edge-litert", "mediapipe", "opencv-python-headless", "opencv-contrib-python", "numpy")
WIDTH_PX, HEIGHT_PX, FRAMES = 640, 480, 300


def frame(number: int, noise: np.ndarray) -> np.ndarray:
    """A coloured pattern that moves, with noise, as BGR."""
    picture = np.roll(golden_picture(0, HEIGHT_PX, WIDTH_PX), 3 * number, axis=1)
    return cv2.add(picture, noise[number % len(noise)])


def main(model: str, folder: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 12, (8, HEIGHT_PX, WIDTH_PX, 3)).astype(np.uint8)
    video = cv2.VideoWriter(str(folder / "video.mp4"), cv2.VideoWriter_fourcc(*"mp4v"), 30.0, (WIDTH_PX, HEIGHT_PX))
    if not video.isOpened():
        sys.exit("OpenCV cannot write an MPEG-4 video here.")
    for number in range(FRAMES):
        video.write(frame(number, noise))
    video.release()
    (folder / "pictures").mkdir()
    cv2.imwrite(str(folder / "pictures" / "picture.jpg"), frame(0, noise))
    bundle = open_bundle(locate(model))
    installed = {found.metadata["Name"]: found.version for found in distributions()}
    versions = {"Python": sys.version.split()[0], **{name: installed[name] for name in PACKAGES if name in installed}}
    told = {"path": str(bundle.path.resolve()), "name": bundle.name, "sha256": bundle.sha256}
    print(json.dumps({"model": told, "versions": versions, "device": device.read().as_json()}))


main(sys.argv[1], Path(sys.argv[2]))
