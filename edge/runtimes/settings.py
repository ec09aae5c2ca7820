"""What can be said about running a model."""

from __future__ import annotations

from typing import Annotated, Literal, Optional, Union

import msgspec
from msgspec import Meta


class RuntimeSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What runs the model, and how an Edge TPU is treated."""

    name: str = "auto"
    """auto, litert, tflite or edgetpu. auto takes an Edge TPU only for a model that was compiled for one."""
    threads: Optional[Annotated[int, Meta(ge=1, le=1024)]] = None
    """null: as many as there are processors, at most 4."""
    device: Union[str, tuple[str, ...]] = "any"
    """Which Edge TPU: any, usb:N or pci:N, N from 0 in the order of their ports, or a list of several used at once."""
    performance: Optional[Literal["low", "medium", "high", "max"]] = None
    """Clock of an Edge TPU; null: as its library has it."""
    fallback: Optional[Literal["cpu"]] = None
    """What answers while no Edge TPU does; null: nothing, the run waits and then ends. auto always has the CPU."""
    twin: Optional[str] = None
    """The uncompiled .tflite for the CPU; null: x.tflite beside x_edgetpu.tflite."""
    interpreter: Literal["auto", "litert", "tflite"] = "auto"
    """TensorFlow Lite under the Edge TPU."""
    library: str = "libedgetpu.so.1"
    """The Edge TPU's library, a name or a path."""
    open_s: Annotated[float, Meta(ge=1, le=600)] = 60.0
    """To open an Edge TPU and run the model once on it, before it counts as stuck."""
    invoke_s: Annotated[float, Meta(ge=0.05, le=600)] = 2.0
    """For one inference on an Edge TPU, before it counts as stuck."""
    restarts: Annotated[int, Meta(ge=0, le=10_000)] = 5
    """So many crashes of an Edge TPU within `restarts_within_s` are answered by opening it again soon."""
    restarts_within_s: Annotated[float, Meta(ge=1, le=1_000_000)] = 600.0
    """One that is not there, or in use, is looked for so long."""
    retry_s: Annotated[float, Meta(ge=1, le=1_000_000)] = 600.0
    """After that the fallback answers for so long before the Edge TPU is tried again; without one the run ends."""

    @classmethod
    def of(cls, runtime: Union[str, RuntimeSettings], threads: Optional[int] = None) -> RuntimeSettings:
        """Settings from no more than a runtime's name; `threads` replaces theirs where it is given."""
        settings = cls(name=runtime) if isinstance(runtime, str) else runtime
        return settings if threads is None else msgspec.structs.replace(settings, threads=threads)

    @property
    def devices(self) -> tuple[str, ...]:
        """Each Edge TPU that is asked for."""
        return (self.device,) if isinstance(self.device, str) else self.device
