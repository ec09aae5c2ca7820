"""Reads PyTorch checkpoints without PyTorch and without running any code that a pickle asks for.

Both of torch's formats: the zip archive (since 1.6) and the older stream of pickles. Only what a plain
`state_dict` needs is allowed: ordered dictionaries and tensors over numbers.
"""

from __future__ import annotations

import collections
import io
import pickle
import struct
import zipfile
from typing import Any, Callable, Optional

import numpy as np
from numpy.typing import DTypeLike, NDArray

from edge.errors import ModelError

_STORAGES = {
    "FloatStorage": np.float32,
    "DoubleStorage": np.float64,
    "HalfStorage": np.float16,
    "LongStorage": np.int64,
    "IntStorage": np.int32,
}
_LEGACY_MAGIC = 0x1950A86A20F9469CFC6C  # torch/serialization.py, MAGIC_NUMBER
_LEGACY_PROTOCOL = 1001  # the same, PROTOCOL_VERSION
_DAMAGE = (
    pickle.UnpicklingError,
    zipfile.BadZipFile,
    struct.error,
    ArithmeticError,
    AttributeError,
    EOFError,
    LookupError,
    NotImplementedError,
    RecursionError,
    TypeError,
    ValueError,
)
"""What the standard library raises for malformed input; all of it means that the file is no good."""


def read(data: bytes, source: str) -> dict[str, NDArray[np.generic]]:
    """The tensors of a checkpoint by name.

    Args:
        data: the whole .pth file.
        source: what to call it in errors.

    Raises:
        ModelError: it is not a checkpoint of plain tensors, is damaged, or asks for code to be run.
    """
    try:
        state = _read_zip(data) if zipfile.is_zipfile(io.BytesIO(data)) else _read_legacy(data)
        if not isinstance(state, dict) or not state:
            raise pickle.UnpicklingError(f"it holds a {type(state).__name__}, not a dictionary of tensors")
        # copies, because views of one storage would keep all of it alive, and the legacy format fills them last
        return {_name(name): _tensor(value).copy() for name, value in state.items()}
    except _DAMAGE as error:
        detail = " ".join(str(error).split()) or type(error).__name__
        raise ModelError(
            f"{source} is not a checkpoint that can be read safely: {detail}; expected a .pth file made by "
            "torch.save(model.state_dict())."
        ) from None


def _name(name: object) -> str:
    if not isinstance(name, str):
        raise pickle.UnpicklingError(f"it names a tensor {name!r}")
    return name


def _tensor(value: object) -> NDArray[np.generic]:
    if not isinstance(value, np.ndarray):
        raise pickle.UnpicklingError(f"it holds a {type(value).__name__} where a tensor is expected")
    return value


class _Unpickler(pickle.Unpickler):
    """Knows three names and nothing else; storages come from `storage(dtype, key, items)`."""

    def __init__(self, file: io.BytesIO, storage: Optional[Callable[[DTypeLike, str, int], Any]] = None) -> None:
        super().__init__(file)
        self._storage = storage

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("collections", "OrderedDict"):
            return collections.OrderedDict
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return _rebuild_tensor
        if module == "torch" and name in _STORAGES:
            return _STORAGES[name]
        raise pickle.UnpicklingError(f"it asks for {module}.{name}, which no plain checkpoint needs")

    def persistent_load(self, pid: Any) -> Any:
        kind, dtype, key, _location, items = pid[:5]
        if kind != "storage" or self._storage is None or not isinstance(items, int):
            raise pickle.UnpicklingError("it refers to data in an unknown way")
        return self._storage(dtype, str(key), items)


def _rebuild_tensor(storage: Any, offset: Any, size: Any, stride: Any, *_: Any) -> NDArray[np.generic]:
    """A view of a storage, as torch._utils._rebuild_tensor_v2 makes it; nothing outside the storage is reachable."""
    if not isinstance(storage, np.ndarray) or len(size) != len(stride) or min(offset, *size, *stride, 0) < 0:
        raise pickle.UnpicklingError("it describes a tensor that cannot be")
    end = offset + sum((length - 1) * step for length, step in zip(size, stride)) + 1
    if 0 not in size and end > storage.size:
        raise pickle.UnpicklingError("it describes a tensor larger than its data")
    steps = [step * storage.itemsize for step in stride]
    return np.lib.stride_tricks.as_strided(storage[offset:], tuple(size), steps)


def _read_zip(data: bytes) -> Any:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        pickles = [name for name in archive.namelist() if name.endswith("/data.pkl")]
        if len(pickles) != 1:
            raise pickle.UnpicklingError("it is a zip archive without one data.pkl")
        root = pickles[0][: -len("data.pkl")]

        def storage(dtype: DTypeLike, key: str, items: int) -> NDArray[np.generic]:
            return _numbers(archive.read(f"{root}data/{key}"), dtype, items)

        return _Unpickler(io.BytesIO(archive.read(pickles[0])), storage).load()


def _read_legacy(data: bytes) -> Any:
    file = io.BytesIO(data)
    if _Unpickler(file).load() != _LEGACY_MAGIC or _Unpickler(file).load() != _LEGACY_PROTOCOL:
        raise pickle.UnpicklingError("it lacks torch's magic number")
    _Unpickler(file).load()  # sizes of C types where it was written
    storages: dict[str, NDArray[np.generic]] = {}

    def storage(dtype: DTypeLike, key: str, items: int) -> NDArray[np.generic]:
        """Memory that is filled below: here the data follow the objects that refer to them."""
        if key not in storages:
            if not 0 <= items * np.dtype(dtype).itemsize <= len(data):
                raise pickle.UnpicklingError("it promises more data than it holds")
            storages[key] = np.zeros(items, dtype)
        return storages[key]

    state = _Unpickler(file, storage).load()
    for key in _Unpickler(file).load():
        target = storages[key]
        (items,) = struct.unpack("<q", file.read(8))
        if items != target.size:
            raise pickle.UnpicklingError(f"storage {key} has {items} items, expected {target.size}")
        target[:] = _numbers(file.read(target.nbytes), target.dtype, items)
    return state


def _numbers(data: bytes, dtype: DTypeLike, items: int) -> NDArray[np.generic]:
    if len(data) != items * np.dtype(dtype).itemsize:
        raise pickle.UnpicklingError(f"a storage has {len(data)} bytes where {items} items are promised")
    return np.frombuffer(data, dtype) if items else np.empty(0, dtype)
