"""What a trunk makes of pictures, and the store that keeps it; the trunks here are the tiny models."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Callable

import cv2
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from deploy.pictures import augment
from deploy.training import features
from deploy.training.features import Item, Rows, Trunk, View
from edge.errors import ConfigError, ImageError
from edge.images import read_rgb
from edge.tensors import InputSpec, Preprocessor
from tests.conftest import ROOT, TinyModels, full_disk

SPEC = InputSpec(height_px=16, width_px=16, dtype="float32", mean=(127.5,), std=(127.5,))


class Trunks:
    """Trunks of the tiny models, which count how often they are converted."""

    def __init__(self, tiny: TinyModels) -> None:
        self.tiny = tiny
        self.conversions = 0

    def pooled(self, name: str = "pooled") -> Trunk:
        return Trunk(name, SPEC, (3,), self._content("logits_float32"))

    def wide(self) -> Trunk:
        return Trunk("wide", SPEC, (16, 16, 3), self._content("segmenter"))

    def _content(self, name: str) -> Callable[[], bytes]:
        def convert() -> bytes:
            self.conversions += 1
            return self.tiny[name].read_bytes()

        return convert


@pytest.fixture
def trunks(tiny: TinyModels) -> Trunks:
    return Trunks(tiny)


@pytest.fixture(scope="module")
def items(photos: dict[str, np.ndarray], tmp_path_factory: pytest.TempPathFactory) -> list[Item]:
    """Twelve pictures of several sizes."""
    folder = tmp_path_factory.mktemp("items")
    found = []
    for number in range(12):
        pixels = list(photos.values())[number % 3][20 * number : 20 * number + 60, : 50 + number]
        path = folder / f"{number}.png"
        cv2.imwrite(str(path), pixels)
        found.append(Item(path, hashlib.sha256(path.read_bytes()).hexdigest()))
    return found


def rows(trunk: Trunk, items: list[Item], folder: Path, view: View = View()) -> np.ndarray:  # noqa: B008
    return everything(features.features(trunk, items, view, folder, lambda done: None))


def everything(found: Rows) -> np.ndarray:
    return found.take(np.arange(len(found.places)))


def expected(item: Item, view: View = View()) -> np.ndarray:  # noqa: B008
    """What the tiny model with the name logits_float32 stands for: six times the mean of each channel."""
    tensor = np.empty((1, 16, 16, 3), np.float32)
    Preprocessor(SPEC).fill(augment.view(read_rgb(item.path), view.kinds, view.number, item.sha256), tensor)
    return 6 * tensor.mean(axis=(0, 1, 2))


def test_features_are_the_trunks_for_each_picture_and_view(trunks: Trunks, items: list[Item], tmp_path: Path) -> None:
    for view in (View(), View(("flip", "crop", "colour"), 1), View(("flip", "crop", "colour"), 2), View(("crop",), 1)):
        found = rows(trunks.pooled(), items, tmp_path, view)
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, [expected(item, view) for item in items], atol=1e-4)
    assert len(list(tmp_path.iterdir())) == 4
    wide = rows(trunks.wide(), items, tmp_path)
    assert wide.shape == (12, 16, 16, 3)
    np.testing.assert_allclose(wide.sum(axis=3), 1, atol=2e-3)  # a softmax, in float16


def test_stores_of_different_trunks_are_apart(trunks: Trunks, items: list[Item], tmp_path: Path) -> None:
    plain = trunks.pooled()
    others = [trunks.pooled("other"), plain._replace(input=SPEC.__class__(16, 16, "float32", (0.0,), (255.0,)))]
    assert len({features.key(trunk, View()) for trunk in (plain, *others)}) == 3
    first = rows(plain, items, tmp_path)
    assert not np.allclose(rows(others[1], items, tmp_path), first)
    assert np.array_equal(rows(plain, items, tmp_path), first)


@given(st.data())
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=25)
def test_any_order_repetition_and_damage_gives_the_same(
    trunks: Trunks, items: list[Item], tmp_path_factory: pytest.TempPathFactory, draw: st.DataObject
) -> None:
    folder = tmp_path_factory.mktemp("store")
    right = {item: expected(item) for item in items}
    for _ in range(draw.draw(st.integers(1, 3))):
        asked = draw.draw(st.lists(st.sampled_from(items), min_size=1, max_size=20))
        told: list[int] = []
        found = features.features(trunks.pooled(), asked, View(), folder, told.append)
        assert sum(told) == len(asked)
        np.testing.assert_allclose(everything(found), [right[item] for item in asked], atol=1e-4)
        (store,) = folder.iterdir()
        content = bytearray(store.read_bytes())
        for _ in range(draw.draw(st.integers(0, 2))):
            place = draw.draw(st.integers(0, len(content) - 1))
            kind = draw.draw(st.sampled_from(("cut", "flip", "zero", "remove")))
            if kind == "cut":
                del content[max(1, place) :]
            elif kind == "flip":
                content[place] ^= 0xFF
            elif kind == "zero":
                content[place:] = bytes(len(content) - place)
            elif len(content) > 1:
                del content[place]
        store.write_bytes(content)


def test_what_is_kept_is_not_computed_again(trunks: Trunks, items: list[Item], tmp_path: Path) -> None:
    trunk = trunks.pooled()
    told: list[int] = []
    features.features(trunk, items[:5], View(), tmp_path, told.append)
    assert told == [0, 1, 1, 1, 1, 1]
    told.clear()
    features.features(trunk, [*items, *items[:3]], View(), tmp_path, told.append)
    assert told == [8, *[1] * 7]
    told.clear()
    features.features(trunk, items[::-1], View(), tmp_path, told.append)
    assert told == [12]
    assert trunks.conversions == 2


@pytest.mark.usefixtures("ctrl_c")
def test_an_interruption_keeps_what_was_done(trunks: Trunks, items: list[Item], tmp_path: Path) -> None:
    def interrupt(done: int) -> None:
        seen.append(done)
        if len(seen) == 5:
            signal.raise_signal(signal.SIGINT)

    seen: list[int] = []
    threads = threading.active_count()
    with pytest.raises(KeyboardInterrupt):
        features.features(trunks.pooled(), items, View(), tmp_path, interrupt)
    assert threading.active_count() == threads
    told: list[int] = []
    found = features.features(trunks.pooled(), items, View(), tmp_path, told.append)
    assert told == [4, *[1] * 8]
    np.testing.assert_allclose(everything(found), [expected(item) for item in items], atol=1e-4)
    assert [path.suffix for path in tmp_path.iterdir()] == [".features"]


def test_a_full_disk_spoils_nothing(trunks: Trunks, items: list[Item], tmp_path: Path) -> None:
    rows(trunks.pooled(), items, tmp_path)
    sentence = r"Cannot keep features in .*: File too large; give another --cache\."
    with full_disk(), pytest.raises(ConfigError, match=sentence):
        rows(trunks.wide(), items, tmp_path)  # its trunk fits, twelve records of 1.5 kB do not
    told: list[int] = []
    features.features(trunks.pooled(), items, View(), tmp_path, told.append)
    assert told == [12]
    features.features(trunks.wide(), items[:1], View(), tmp_path, told.append)
    assert sorted(path.suffix for path in tmp_path.iterdir()) == [".features", ".features"]


def test_pictures_that_went_or_changed_are_named(trunks: Trunks, items: list[Item], tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    copy = tmp_path / "copy.png"
    copy.write_bytes(items[0].path.read_bytes())
    asked = [*items[1:4], Item(copy, items[0].sha256)]
    copy.write_bytes(items[5].path.read_bytes())
    with pytest.raises(ImageError, match=r"copy\.png has changed since the pictures were divided"):
        rows(trunks.pooled(), asked, cache)
    copy.unlink()
    with pytest.raises(ImageError, match=r"Cannot read the picture .*copy\.png: No such file or directory\."):
        rows(trunks.pooled(), asked, cache)
    copy.write_bytes(items[0].path.read_bytes())
    np.testing.assert_allclose(rows(trunks.pooled(), asked, cache)[3], expected(items[0]), atol=1e-4)


def test_folders_that_cannot_be_written(trunks: Trunks, items: list[Item], tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for folder in (tmp_path / "file", tmp_path / "file" / "below", Path("/proc/nothing")):
        with pytest.raises(ConfigError, match=r"Cannot keep features in .*; give another --cache\."):
            rows(trunks.pooled(), items, folder)


def test_the_users_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert features.cache_folder() == tmp_path / "edge-deploy"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert features.cache_folder() == tmp_path / "home" / ".cache" / "edge-deploy"


TWO_AT_ONCE = """
import sys, time
from pathlib import Path
from deploy.training import features
from deploy.training.features import Item, Trunk, View
from tests.test_deploy_features import SPEC
model, folder, *given = sys.argv[1:]
items = [Item(Path(given[n]), given[n + 1]) for n in range(0, len(given), 2)]
done = []
def progress(count):
    done.append(count)
    time.sleep(0.03)
features.features(Trunk("pooled", SPEC, (3,), Path(model).read_bytes), items, View(), Path(folder), progress)
print(len(done) - 1)
"""


def test_two_processes_share_a_store(trunks: Trunks, items: list[Item], tiny: TinyModels, tmp_path: Path) -> None:
    given = [str(part) for item in items for part in item]
    command = [sys.executable, "-c", TWO_AT_ONCE, str(tiny["logits_float32"]), str(tmp_path), *given]
    running = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) for _ in range(2)]
    computed = [int(process.communicate()[0]) for process in running]
    assert sorted(computed) == [0, 12]  # the second waits, and finds all
    np.testing.assert_allclose(rows(trunks.pooled(), items, tmp_path), [expected(item) for item in items], atol=1e-4)


MEMORY = """
import hashlib, sys
from pathlib import Path
import cv2, numpy as np
from deploy.training import features
from deploy.training.features import Item, Trunk, View
from tests.test_deploy_features import SPEC
model, folder = Path(sys.argv[1]), Path(sys.argv[2])
items = []
for number in range(4000):
    path = folder / f"{number}.bmp"
    cv2.imwrite(str(path), np.random.default_rng(number).integers(0, 256, (4, 4, 3), np.uint8))
    items.append(Item(path, hashlib.sha256(path.read_bytes()).hexdigest()))
def resident_mb():
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096 / 1e6
rows = features.features(Trunk("wide", SPEC, (16, 16, 3), model.read_bytes), items, View(), folder / "c", lambda _: 0)
before, most = resident_mb(), 0.0
for start in range(0, 4000, 32):
    rows.take(np.arange(start, min(start + 32, 4000)))
    most = max(most, resident_mb() - before)
print(most)
"""


@pytest.mark.skipif(not os.path.exists("/proc/self/statm"), reason="no /proc/self/statm")
def test_reading_a_store_takes_no_memory_to_speak_of(tiny: TinyModels, tmp_path: Path) -> None:
    command = [sys.executable, "-c", MEMORY, str(tiny["segmenter"]), str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=True)
    assert float(done.stdout) < 2  # of 6 MB in the store
