"""The loop with all that it needs, which a reload replaces part by part, and which the schedule puts to sleep."""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Sequence
from typing import Any, Callable, Optional

from edge.cameras import can_be_lost, open_camera
from edge.cameras.lasting import Lasting
from edge.classifier import Classifier
from edge.config import Config
from edge.journal import journal_path
from edge.loop import daemon
from edge.motion import Gate
from edge.notify import Notifier
from edge.overview import Overview
from edge.privacy import without_passwords
from edge.recording import Heritage, Recording
from edge.schedule import Schedule
from edge.service.events import Events
from edge.service.outlets import Outlets
from edge.service.parts import Begun, Output, health, open_beside, open_model, rhythm_s, sentence
from edge.service.pulse import Pulse
from edge.service.reloading import Next, Reloader, sha256_of_model
from edge.signals import Signals
from edge.sinks import Sink
from edge.tensors import native_size_px

_OPENING_S = 120.0
_FLUSH_S = 3.0
"""For the loop to end by itself where a journal is written; then the journal is ended without it."""
_LAST_S = 1.5
"""For that, out of the five seconds that are promised; a card that takes longer loses what came last."""
_SLEEP_S = 1.0
_log = logging.getLogger(__name__)


class Service:
    """Runs what a configuration asks for until it is told to stop."""

    def __init__(
        self,
        read: Callable[[], Config],
        signals: Signals,
        output: Output,
        limits: tuple[Optional[int], Optional[float]] = (None, None),
        waits: bool = False,
    ) -> None:
        """Read the configuration.

        Args:
            read: reads and checks the configuration; called again for each reload.
            signals: stop and reload.
            output: where records go beside the journal.
            limits: end after so many frames, or so many seconds.
            waits: wait for a camera that is not there at the start.

        Raises:
            ConfigError: the configuration cannot be used.
        """
        self.totals = daemon.Totals()
        self._signals, self._output, self._limits, self._waits = signals, output, limits, waits
        self._turn = threading.Event()
        """Ends the loop: to stop, to take over a configuration, or to go to sleep."""
        self.pulse = Pulse(Notifier(), lambda: _log.info("Classifying: %s.", self.pulse.camera), self._check)
        self._recording: Optional[Recording] = None
        self._outlets = Outlets()
        self._events = Events(self._outlets, self.pulse)
        turn, refused = self._turn.set, self._events.refused
        self._reloader = Reloader(read, self._open_next, self._require_camera, self.pulse, turn, refused)
        signals.on_stop, signals.on_reload, signals.overdue = turn, self._reloader.request_soon, self._abandon
        self._config = read()
        self._schedule = Schedule.parse(self._config.schedule)
        self._model: Classifier
        self._opened_ns = 0
        self._camera: Optional[Lasting] = None
        self._heritage: Optional[Heritage] = None
        self._overview: Optional[Overview] = None
        self._sinks: Sequence[Sink] = ()
        self._run_before: Optional[Overview] = None
        self._asleep: Optional[str] = None
        self._slept = False

    def open(self) -> None:
        """Open the model.

        Raises:
            ModelError, RuntimeUnavailableError, ConfigError: it cannot be run.
        """
        opening_s = _OPENING_S + 2 * self._config.runtime.open_s  # an accelerator gets a second chance
        self.pulse.opening(f"the model {self._config.model.path}", opening_s)
        began_ns = time.monotonic_ns()
        self._model = open_model(self._config)
        self._opened_ns = time.monotonic_ns() - began_ns

    def run(self) -> None:
        """Run, once the model is open, until a limit, the end of the source or a signal.

        Raises:
            EdgeError: the camera or an accelerator was lost for too long, or the model failed.
        """
        self._outlets.open(self._config)
        try:
            self._run()
        except BaseException as error:
            self._end(str(error) or type(error).__name__)
            raise

    def _run(self) -> None:
        because = None
        while because is None:
            self._turn.clear()
            ready = self._reloader.take()
            if self._signals.stop.is_set():
                because = "asked to stop"
            elif ready is not None:
                self._take_over(ready)
            elif self._schedule.awake(time.localtime()):
                because = self._classify()
            else:
                because = self._sleep()
        self._end(because)

    def _classify(self) -> Optional[str]:
        """Run the loop; why the service ends, None where it goes on."""
        config, camera = self._config, self._camera or self._opened_camera()
        self._camera = camera
        overview = self._begun()
        if self._slept:
            self._slept = False
            self._events.tell("awake")
        recordings = [self._recording] if self._recording else []
        daemon.run(
            camera,
            self._model,
            [overview, *recordings, *self._sinks, self._outlets],
            daemon.Limits(*self._limits, config.fps),
            self._turn,
            self.totals,
            overview,
            self.pulse,
            Gate(config.motion) if config.gate else None,
            [overview, *recordings, self._outlets],
            keep_pixels=config.review.keep_pictures or (config.web.enabled and config.web.preview),
        )
        if self._turn.is_set():
            return None
        return "end of the source" if camera.ended else "limit"

    def _begun(self) -> Overview:
        """The present run; one begins where none goes on."""
        config, camera = self._config, self._camera_name()
        if self._overview is None:
            self._overview = self._begin_run(camera)
            begun = Begun(config, camera, self._model, self._recording, self._outlets.status())
            self._sinks = self._output.began(begun)
            self._reloader.runs(config, sha256_of_model(self._model.bundle))
            self._model.runtime.listen(self._events.of_equipment)
        self.pulse.camera = camera
        self.pulse.expect(*rhythm_s(config, self._model))
        return self._overview

    def _begin_run(self, camera: str) -> Overview:
        config, model, before = self._config, self._model, self._run_before
        path = None if config.journal.path is None else journal_path(config.journal)
        overview = Overview(model.run, model.ran, model.bundle.labels, camera, path, self._events.newest)
        if path is not None:
            heritage, self._heritage = self._heritage, None
            answers = {"reload": self._reloader.answer}
            self._recording = recording = Recording(config, model, overview, self._opened_ns, heritage, answers)
            self._events.journal = recording.journal
            self.pulse.trouble = lambda: recording.journal.status().why
            self._signals.grace_s = _FLUSH_S
        overview.told_by += [self._told, self._outlets.told]
        if before:
            self._outlets.change(config)
        board = self._recording is not None or self._outlets.any or self._output.wants_board
        # From one moment to the next: what somebody says is said to the one run or the other.
        said = before.truths.hand_over() if before else None
        overview.begin(said, watches_board=board)
        overview.on_truth.append(self._events.truth)  # not before: a truth that goes on is no news
        self._outlets.begin(overview)
        if self._recording:
            self._recording.answer()
        if before:
            before.close()
        return overview

    def _take_over(self, ready: Next) -> None:
        """Go on with another configuration, in a run of its own; without an interruption where nothing has changed."""
        if ready.changed:
            self._begin_anew(ready)
        self._events.tell("reloaded", changed=list(ready.changed))
        _log.info("%s", sentence("reloaded", {"changed": ready.changed}))
        self._reloader.done(ready.changed)

    def _begin_anew(self, ready: Next) -> None:
        before, config = self._config, ready.config
        self._close_sinks()
        self._run_before, self._overview = self._overview, None
        if self._recording:
            self._heritage = self._recording.hand_over("reloaded")
        size_px = native_size_px(self._model.input)
        if ready.classifier:
            self._model.close()
            self._model, self._opened_ns = ready.classifier, ready.opened_ns
        else:
            self._model.begin_run()
        resized = config.camera.isp_resize and native_size_px(self._model.input) != size_px
        if before.camera != config.camera or resized:
            self._let_go_of_camera()
        self._config, self._schedule = config, Schedule.parse(config.schedule)
        self._waits = True  # what runs must not end because the new camera is not there yet
        self._begun()

    def _sleep(self) -> Optional[str]:
        """Let go of the camera until the schedule says that it is time; why the service ends, None where it goes on."""
        if can_be_lost(self._config.camera.source):
            self._let_go_of_camera()
        else:
            self.totals.next_sequence = None  # what it gives meanwhile is not counted as lost
        self._begun()
        until = self._schedule.next_change(time.localtime())
        self._asleep, self._slept = f"asleep until {until}", True
        self._events.tell("asleep", until=until)
        _log.warning("By its schedule it is %s.", self._asleep)
        seconds = self._limits[1]
        until_s = math.inf if seconds is None else time.monotonic() + seconds - self.totals.seconds
        while not (self._turn.is_set() or time.monotonic() >= until_s or self._schedule.awake(time.localtime())):
            self.pulse.asleep(self._asleep)
            self._turn.wait(min(_SLEEP_S, max(0.0, until_s - time.monotonic())))
        self._asleep = None
        return "limit" if time.monotonic() >= until_s else None

    def _check(self) -> None:
        """What is looked after about once a second."""
        if self._recording:
            self._recording.listen()
        if self._asleep is None and not self._schedule.awake(time.localtime()):
            self._turn.set()

    def _opened_camera(self) -> Lasting:
        settings, size_px = self._config.camera, native_size_px(self._model.input)
        if not can_be_lost(settings.source):
            self.totals.next_sequence = None  # a file begins anew
        first = self.totals.next_sequence or 0
        on_event, waits = self._events.of_equipment, self._waits
        return Lasting(lambda each: open_camera(each, size_px), settings, on_event, wait=waits, first_sequence=first)

    def _camera_name(self) -> str:
        return self._camera.name if self._camera else f"camera {without_passwords(self._config.camera.source)}"

    def _require_camera(self, config: Config) -> None:
        """Make sure that a file or folder can be a camera; a real one may come later."""
        if config.camera != self._config.camera and not can_be_lost(config.camera.source):
            open_camera(config.camera, native_size_px(self._model.input)).close()

    def _open_next(self, config: Config) -> Classifier:
        return open_beside(self._model, config)

    def _let_go_of_camera(self) -> None:
        if self._camera:
            self._camera.close()
        self._camera = None

    def _close_sinks(self) -> None:
        for sink in self._sinks:
            sink.close()
        self._sinks = ()

    def _told(self) -> dict[str, Any]:
        """What `edge status` tells beside the run."""
        told = {"camera": self._camera_name(), **health(self._camera, self._model)}
        return {**told, "last_fault": self.pulse.last_fault, "asleep": self._asleep}

    def _end(self, because: str) -> None:
        self.pulse.stopping(because)
        self._outlets.end()
        try:
            if self._recording:
                self._recording.close(because)
        finally:
            if self._overview:
                self._overview.close()
            self._close_sinks()
            self._let_go_of_camera()
            self._model.close()
            self._outlets.close()

    def _abandon(self) -> None:
        recording = self._recording
        if recording:
            closing = threading.Thread(target=recording.close, args=("asked to stop, and stuck",), daemon=True)
            closing.start()
            closing.join(_LAST_S)
        self._output.abandoned(recording is not None and not recording.closed)
