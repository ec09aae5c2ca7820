"""What the frozen part of a network makes of pictures, computed once on the device's runtime and kept on disk.

Training the part behind it then costs seconds instead of minutes. A store is a file of records of one length, to which
new ones are appended: a run that is interrupted keeps what it has done. Each record has a checksum; one that was cut
short or damaged is ignored and computed again.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import itertools
import mmap
import os
import queue
import tempfile
import threading
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Any, Callable, NamedTuple, Optional

import msgspec
import numpy as np
from numpy.typing import NDArray

from deploy.pictures import augment
from edge import images
from edge.errors import ConfigError, ImageError
from edge.runtimes import default_threads, open_runtime
from edge.tensors import InputSpec, Preprocessor

_FORMAT = 2  # part of every key: a change of what is computed makes the old files unused
_CHECKSUM_BYTES, _SHA256_BYTES = 4, 32


class Trunk(NamedTuple):
    """The frozen part of a network."""

    name: str
    """Tells it from every other: the backbone, where it is cut, and which weights are in it."""
    input: InputSpec
    shape: tuple[int, ...]
    """Of what it puts out for one picture."""
    convert: Callable[[], bytes]
    """Makes its .tflite with float32 input and output; only called when there is something to compute."""


class View(NamedTuple):
    """How pictures are varied; the plain view is `View()`."""

    kinds: tuple[str, ...] = ()
    number: int = 0


class Item(NamedTuple):
    """A picture file and what is in it."""

    path: Path
    sha256: str


class Rows(NamedTuple):
    """Features of pictures in a store, read from its file as they are asked for."""

    mapped: mmap.mmap
    """The store's file."""
    stored: NDArray[Any]
    """View of it, shape (records, *trunk.shape): float32 for pooled features, float16 for larger ones."""
    places: NDArray[np.int64]
    """Where in the store each picture is."""

    def take(self, chosen: NDArray[np.int64]) -> NDArray[np.float32]:
        """Features of the chosen pictures, shape (chosen, *trunk.shape)."""
        rows: NDArray[np.float32] = self.stored[self.places[chosen]].astype(np.float32)
        self.mapped.madvise(mmap.MADV_DONTNEED)  # what was read stays in the system's cache, not in this process
        return rows

    def of(self, chosen: NDArray[np.int64]) -> Rows:
        """The chosen pictures' own."""
        return self._replace(places=self.places[chosen])


def cache_folder() -> Path:
    """Where features are kept: edge-deploy below $XDG_CACHE_HOME or ~/.cache."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "edge-deploy"


def features(trunk: Trunk, items: Sequence[Item], view: View, folder: Path, progress: Callable[[int], object]) -> Rows:
    """What a trunk makes of pictures, from the store where it has them.

    Args:
        trunk: what to run.
        items: the pictures, in any order, with repetitions.
        view: how to vary them.
        folder: of the store; made where it is missing.
        progress: called with the number of pictures done since it was last called, kept ones first.

    Raises:
        ImageError: a picture cannot be read, or is not the one that its SHA-256 says.
        ConfigError: the folder cannot be written.
    """
    record = _record(trunk.shape)
    path = folder / f"{key(trunk, view)}.features"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with path.open("a+b") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            known = _known(file, record)
            missing = list({item.sha256: item for item in items if item.sha256 not in known}.values())
            progress(len(items) - len(missing))
            places = itertools.count(file.seek(0, os.SEEK_END) // record.itemsize)
            for sha256, values in _compute(trunk, missing, view, folder):
                file.write(_packed(sha256, values, record))
                known[sha256] = next(places)
                progress(1)
            file.flush()
            fcntl.flock(file, fcntl.LOCK_UN)  # the mapping keeps the file open
            mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    except OSError as error:
        raise ConfigError(f"Cannot keep features in {path}: {error.strerror or error}; give another --cache.") from None
    stored = np.frombuffer(mapped, record)["values"]
    return Rows(mapped, stored, np.array([known[item.sha256] for item in items]))


def _record(shape: tuple[int, ...]) -> np.dtype[Any]:
    kind = np.float32 if len(shape) == 1 else np.float16
    return np.dtype([("crc32", "<u4"), ("picture", "V32"), ("values", kind, shape)])


def key(trunk: Trunk, view: View) -> str:
    """What tells a trunk's features of a view from all others, in hexadecimal."""
    parts = (str(_FORMAT), trunk.name, msgspec.json.encode(trunk.input).decode(), repr(tuple(view)))
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:32]


def _packed(sha256: str, values: NDArray[np.float32], record: np.dtype[Any]) -> bytes:
    """A record: the checksum of all that is behind it, the picture's SHA-256, the features."""
    row = np.zeros((), record)
    row["picture"], row["values"] = bytes.fromhex(sha256), values
    row["crc32"] = zlib.crc32(row.tobytes()[_CHECKSUM_BYTES:])
    return row.tobytes()


def _known(file: IO[bytes], record: np.dtype[Any]) -> dict[str, int]:
    """Place of each picture in a store; what is behind the last whole record is cut off."""
    count = os.fstat(file.fileno()).st_size // record.itemsize
    file.truncate(count * record.itemsize)
    file.seek(0)
    known = {}
    for place in range(count):
        content = memoryview(file.read(record.itemsize))
        if zlib.crc32(content[_CHECKSUM_BYTES:]) == int.from_bytes(content[:_CHECKSUM_BYTES], "little"):
            known[content[_CHECKSUM_BYTES : _CHECKSUM_BYTES + _SHA256_BYTES].hex()] = place
    return known


def _compute(
    trunk: Trunk, items: Sequence[Item], view: View, folder: Path
) -> Iterator[tuple[str, NDArray[np.float32]]]:
    """Run the trunk over pictures, one interpreter for each processor: faster than one with several threads."""
    if not items:
        return
    workers = min(default_threads(), len(items))
    with tempfile.TemporaryDirectory(prefix=".trunk-", dir=folder) as scratch:
        path = Path(scratch, "trunk.tflite")
        path.write_bytes(trunk.convert())
        runtimes = [open_runtime("auto", path, 1) for _ in range(workers)]
        todo: queue.SimpleQueue[Optional[Item]] = queue.SimpleQueue()
        done: queue.SimpleQueue[Any] = queue.SimpleQueue()
        for item in (*items, *(None,) * workers):
            todo.put(item)

        def work(runtime: Any) -> None:
            preprocessor = Preprocessor(trunk.input)
            try:
                while (item := todo.get()) is not None:
                    pixels = augment.view(_pixels(item), view.kinds, view.number, item.sha256)
                    preprocessor.fill(pixels, runtime.input())
                    runtime.invoke()
                    done.put((item.sha256, np.array(runtime.output()).reshape(trunk.shape)))
            except BaseException as error:  # raised again where it can be seen
                done.put(error)

        with _running([threading.Thread(target=work, args=(runtime,)) for runtime in runtimes], todo):
            for _ in items:
                result = done.get()
                if isinstance(result, BaseException):
                    raise result
                yield result
        for runtime in runtimes:
            runtime.close()


def _pixels(item: Item) -> NDArray[np.uint8]:
    name = images.path_text(item.path)
    try:
        content = item.path.read_bytes()
    except OSError as error:
        raise ImageError(f"Cannot read the picture {name}: {error.strerror or error}.") from None
    if hashlib.sha256(content).hexdigest() != item.sha256:
        raise ImageError(f"{name} has changed since the pictures were divided: bring it back, or begin anew.")
    return images.decode_rgb(content, name)


@contextlib.contextmanager
def _running(threads: Sequence[threading.Thread], todo: queue.SimpleQueue[Any]) -> Iterator[None]:
    """Threads that end with the block, also when it is left early."""
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        with contextlib.suppress(queue.Empty):
            while True:
                todo.get_nowait()
        for _ in threads:
            todo.put(None)
        for thread in threads:
            thread.join()
