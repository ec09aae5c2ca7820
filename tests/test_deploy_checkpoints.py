"""PyTorch checkpoints read without PyTorch, and what must never run."""

from __future__ import annotations

import collections
import io
import os
import pickle
import struct
import sys
import types
import zipfile
from pathlib import Path

import numpy as np
import pytest

from deploy.backbones import checkpoints
from edge.errors import ModelError

NUMBERS = np.arange(24, dtype=np.float32).reshape(2, 3, 4)


class FloatStorage:
    """Stands in for torch.FloatStorage while a checkpoint is written."""

    def __init__(self, values: np.ndarray) -> None:
        self.values = values


class Tensor:
    """Is pickled as torch pickles a tensor."""

    def __init__(self, values: np.ndarray, offset=0, size=None, stride=None) -> None:
        steps = tuple(step // values.itemsize for step in values.strides)
        self.arguments = (FloatStorage(values), offset, size or values.shape, stride or steps)

    def __reduce__(self):
        storage, *rest = self.arguments
        return sys.modules["torch._utils"]._rebuild_tensor_v2, (storage, *rest, False, collections.OrderedDict())


@pytest.fixture
def torch(monkeypatch: pytest.MonkeyPatch) -> None:
    """A module by the name of torch with as much as pickling looks up."""

    def _rebuild_tensor_v2(*_: object) -> None:
        raise AssertionError("the reader must use its own")

    module, utils = types.ModuleType("torch"), types.ModuleType("torch._utils")
    utils._rebuild_tensor_v2, module.FloatStorage = _rebuild_tensor_v2, FloatStorage
    _rebuild_tensor_v2.__module__, _rebuild_tensor_v2.__qualname__ = "torch._utils", "_rebuild_tensor_v2"
    monkeypatch.setattr(FloatStorage, "__module__", "torch")
    monkeypatch.setitem(sys.modules, "torch", module)
    monkeypatch.setitem(sys.modules, "torch._utils", utils)


def dump(state: object, legacy: bool) -> tuple[bytes, list[np.ndarray]]:
    storages: list[np.ndarray] = []

    class Pickler(pickle.Pickler):
        def persistent_id(self, value):
            if not isinstance(value, FloatStorage):
                return None
            storages.append(value.values)
            view = (None,) if legacy else ()
            return ("storage", FloatStorage, str(len(storages) - 1), "cpu", value.values.size, *view)

    file = io.BytesIO()
    Pickler(file, protocol=2).dump(state)
    return file.getvalue(), storages


def as_zip(state: object) -> bytes:
    content, storages = dump(state, legacy=False)
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("archive/data.pkl", content)
        for number, values in enumerate(storages):
            archive.writestr(f"archive/data/{number}", values.tobytes())
    return file.getvalue()


def as_legacy(state: object) -> bytes:
    content, storages = dump(state, legacy=True)
    head = [0x1950A86A20F9469CFC6C, 1001, {"little_endian": True}]
    parts = [pickle.dumps(part, protocol=2) for part in head] + [content]
    parts.append(pickle.dumps([str(number) for number in range(len(storages))], protocol=2))
    parts += [struct.pack("<q", values.size) + values.tobytes() for values in storages]
    return b"".join(parts)


formats = pytest.mark.parametrize("write", [as_zip, as_legacy])


@formats
@pytest.mark.usefixtures("torch")
def test_tensors_come_back_as_they_were(write) -> None:
    given = collections.OrderedDict(plain=Tensor(NUMBERS), bias=Tensor(NUMBERS[0, 0].copy()))
    given["part"] = Tensor(NUMBERS, offset=4, size=(4, 2), stride=(1, 12))
    read = checkpoints.read(write(given), "some.pth")
    np.testing.assert_array_equal(read["plain"], NUMBERS)
    np.testing.assert_array_equal(read["bias"], NUMBERS[0, 0])
    np.testing.assert_array_equal(read["part"], NUMBERS.reshape(2, 12)[:, 4:8].T)
    assert list(read) == ["plain", "bias", "part"]


class Payload:
    """Would run a command when unpickled by the usual means."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return os.system, (f"touch {self.path}",)


@formats
@pytest.mark.usefixtures("torch")
def test_a_payload_is_refused_and_not_run(write, tmp_path: Path) -> None:
    trace = tmp_path / "it-ran"
    data = write({"weight": Tensor(NUMBERS), "evil": Payload(trace)})
    with pytest.raises(ModelError, match=r"evil\.pth .* asks for (posix|nt)\.system"):
        checkpoints.read(data, "evil.pth")
    assert not trace.exists()


@pytest.mark.parametrize("part", range(3))
def test_a_payload_in_the_head_of_the_old_format_is_not_run(part: int, tmp_path: Path) -> None:
    trace = tmp_path / "it-ran"
    head: list[object] = [0x1950A86A20F9469CFC6C, 1001, {}]
    head[part] = Payload(trace)
    with pytest.raises(ModelError):
        checkpoints.read(b"".join(pickle.dumps(value, protocol=2) for value in head), "evil.pth")
    assert not trace.exists()


@formats
@pytest.mark.usefixtures("torch")
@pytest.mark.parametrize(
    ("offset", "size", "stride"),
    [(0, (25,), (1,)), (23, (2,), (1,)), (0, (2,), (24,)), (-1, (2,), (1,)), (4, (2,), (-1,))],
)
def test_memory_outside_the_data_is_out_of_reach(write, offset: int, size: tuple, stride: tuple) -> None:
    with pytest.raises(ModelError, match="describes a tensor"):
        checkpoints.read(write({"weight": Tensor(NUMBERS, offset, size, stride)}), "bad.pth")


@formats
@pytest.mark.usefixtures("torch")
def test_every_truncation_is_one_sentence(write) -> None:
    data = write({"weight": Tensor(NUMBERS)})
    for length in range(len(data)):
        with pytest.raises(ModelError, match=r"some\.pth is not a checkpoint"):
            checkpoints.read(data[:length], "some.pth")


@pytest.mark.parametrize("data", [b"", b"<html>not found</html>", pickle.dumps([1, 2]), b"\x80\x02}q\x00."])
def test_what_is_no_checkpoint_is_refused(data: bytes) -> None:
    with pytest.raises(ModelError, match=r"expected a \.pth file"):
        checkpoints.read(data, "some.pth")


@formats
@pytest.mark.usefixtures("torch")
def test_an_empty_tensor_is_a_tensor(write) -> None:
    assert checkpoints.read(write({"none": Tensor(NUMBERS[:0])}), "some.pth")["none"].shape == (0, 3, 4)


@pytest.mark.usefixtures("torch")
def test_a_dictionary_of_other_things_is_refused() -> None:
    with pytest.raises(ModelError, match="holds a int where a tensor is expected"):
        checkpoints.read(as_zip({"epoch": 3}), "training.pth")
