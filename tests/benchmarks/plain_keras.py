"""The baseline of training.py: Keras' own `fit` of a frozen backbone with a new head, pictures decoded in memory.

What TFLite Model Maker did. Usage: plain_keras.py DATA SPLIT BACKBONE EPOCHS.
"""

import json
import sys
import time
from pathlib import Path

import numpy as np

from deploy.backbones import backbone, weights
from deploy.pictures.split_files import read_split
from deploy.training import heads, train
from edge import images
from edge.tensors import Preprocessor


def main(data: str, split: str, name: str, epochs: int) -> None:
    started_s = time.monotonic()
    settings = train.Settings(backbone=name, data=(data,))
    row, dataset = backbone(name), read_split(Path(split), Path(data))
    train.require_tensorflow()
    import keras

    keras.utils.set_random_seed(settings.seed)
    classifier, _ = weights.pretrained(row, None)
    preprocessor = Preprocessor(row.float_input())

    def arrays(part: str) -> tuple[np.ndarray, np.ndarray]:
        pictures = dataset.part(part)
        tensors = np.empty((len(pictures), row.size_px, row.size_px, 3), np.float32)
        for tensor, picture in zip(tensors, pictures):
            preprocessor.fill(images.read_rgb(picture.path), tensor)
        return tensors, np.array([picture.class_id for picture in pictures])

    before_s = time.monotonic()
    training, validation = arrays("train"), arrays("validation")
    trunk = heads.trunk(classifier, heads.POOL)
    trunk.predict(training[0], batch_size=settings.batch, verbose=0)
    features_s = (time.monotonic() - before_s) / len(training[0])
    trunk.trainable = False
    head = heads.Head(settings.hidden, settings.dropout)
    model = heads.with_head(classifier, head, len(dataset.classes), settings.seed)
    for layer in trunk.layers:
        layer.trainable = False
    model.compile(
        keras.optimizers.Adam(settings.learning_rate), "sparse_categorical_crossentropy", metrics=["accuracy"]
    )
    excluded_s = time.monotonic() - before_s  # measured apart: fit would not need it
    before_s = time.monotonic()
    arrays("train"), arrays("validation")
    told = model.fit(*training, batch_size=settings.batch, epochs=epochs, validation_data=validation, verbose=0)
    seconds = before_s - started_s - excluded_s + time.monotonic() - before_s
    accuracy = max(told.history["val_accuracy"])
    print(json.dumps({"seconds": seconds, "accuracy": accuracy, "features_s": features_s}))


main(sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4]))
