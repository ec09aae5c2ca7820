"""TensorFlow and Keras, imported by what needs them and kept from talking."""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
from collections.abc import Iterator
from typing import Any

from edge.errors import RuntimeUnavailableError

HOW_TO_INSTALL = "in the checkout `.venv/bin/pip install -e '.[convert]'`"
"""For sentences that tell of a package which is not there. No name that PyPI is asked for: edge-runner is not there."""


def require_tensorflow() -> Any:
    """TensorFlow, imported with its chatter turned down.

    Raises:
        RuntimeUnavailableError: it or Keras is not installed.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")  # the same numbers with and without a GPU
    try:
        with quiet():
            import keras  # noqa: F401
            import tensorflow as tf
    except ModuleNotFoundError as error:
        raise RuntimeUnavailableError(
            f"Building a model needs TensorFlow and Keras, and {error.name} is not installed: {HOW_TO_INSTALL}."
        ) from None
    tf.get_logger().setLevel("ERROR")
    with contextlib.suppress(RuntimeError):  # raised when something was computed already
        # sums do not depend on the number of processors then, so that a build can be repeated to the byte
        tf.config.threading.set_intra_op_parallelism_threads(1)
        tf.config.threading.set_inter_op_parallelism_threads(1)
    return tf


@contextlib.contextmanager
def quiet() -> Iterator[Any]:
    """Keep what C++ writes to file descriptors 1 and 2 away from the terminal; gives a function that reads it.

    TensorFlow prints pages that no flag turns off, on descriptors that Python's `sys.stderr` does not reach.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    kept = os.dup(1), os.dup(2)
    with tempfile.TemporaryFile() as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)

        def said() -> str:
            file.seek(0)
            return file.read().decode("utf-8", "replace")

        try:
            yield said
        finally:
            for descriptor, saved in enumerate(kept, start=1):
                os.dup2(saved, descriptor)
                os.close(saved)
