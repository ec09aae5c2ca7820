"""Put beside the installed packages and imported at every start of their Python: faults that nothing outside can cause.

`/run/edge-faults/hang`: the next call of the model never returns. `/run/edge-faults/clock_s`: UTC is wrong by so many
seconds, for this Python only, because a container shares its machine's clock.
"""

import datetime
import importlib.abc
import importlib.machinery
import os
import sys
import time

_FOLDER = "/run/edge-faults/"
_time_ns = time.time_ns


def _wrong_by_s() -> int:
    try:
        with open(_FOLDER + "clock_s") as file:
            return int(file.read() or 0)
    except FileNotFoundError:
        return 0


class _Datetime(datetime.datetime):
    @classmethod
    def now(cls, tz=None):
        return super().now(tz) + datetime.timedelta(seconds=_wrong_by_s())


class _Hangs(importlib.abc.MetaPathFinder):
    def find_spec(self, fullname, path, target=None):
        if fullname != "ai_edge_litert.interpreter":
            return None
        spec = importlib.machinery.PathFinder.find_spec(fullname, path)
        if spec is None or spec.loader is None:
            return None
        run = spec.loader.exec_module

        def exec_module(module) -> None:
            run(module)
            invoke = module.Interpreter.invoke

            def stuck(interpreter) -> None:
                if os.path.exists(_FOLDER + "hang"):
                    time.sleep(1e6)
                invoke(interpreter)

            module.Interpreter.invoke = stuck

        spec.loader.exec_module = exec_module
        return spec


time.time_ns = lambda: _time_ns() + _wrong_by_s() * 1_000_000_000
time.time = lambda: time.time_ns() / 1e9
datetime.datetime = _Datetime
sys.meta_path.insert(0, _Hangs())
