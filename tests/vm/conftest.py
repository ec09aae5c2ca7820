"""A system in a container with the service in it, for the tests of `make test-system`, which share it.

EDGE_SYSTEM names the systems: "machine" (an overlay of this machine's own root) or Debian suites ("bookworm,trixie").
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest

from tests.vm.delivery import OUTLETS
from tests.vm.installed import CONFIG, CONFIGURATION, UNIT, Installed, deliver
from tests.vm.nspawn import Machine, MachineError, why_not

SYSTEMS = os.environ.get("EDGE_SYSTEM", "machine").split(",")
EXTRAS = ",".join(OUTLETS)
"""With which the service is installed."""


class Row(NamedTuple):
    """A line of the table at the end."""

    system: str
    fault: str
    seen: str
    recovery: str


class Story:
    """Prints what happens as it happens, and remembers what the table is to tell."""

    def __init__(self, rows: list[Row], system: str) -> None:
        self._rows, self._system = rows, system
        self._began_s = time.monotonic()

    def say(self, text: str) -> None:
        print(f"{time.monotonic() - self._began_s:7.1f} s  {text}", flush=True)

    def tell(self, fault: str, seen: str, recovery: str) -> None:
        self._rows.append(Row(self._system, fault, seen, recovery))
        self.say(f"-> {seen}; {recovery}")


@pytest.fixture(scope="session")
def rows() -> Iterator[list[Row]]:
    told: list[Row] = []
    yield told
    print("\n\n| system | what was done | what was seen | recovery |\n|---|---|---|---|")
    for row in told:
        print(f"| {' | '.join(row)} |")


@pytest.fixture(scope="session", params=SYSTEMS)
def system(request: pytest.FixtureRequest) -> str:
    reason = why_not()
    if reason:
        pytest.skip(reason)
    return str(request.param)


@pytest.fixture(scope="session")
def story(rows: list[Row], system: str) -> Story:
    print()
    return Story(rows, system)


@pytest.fixture(scope="session")
def machine(system: str, story: Story, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    """A booted container with an empty delivery."""
    folder = tmp_path_factory.mktemp("delivery")
    try:
        machine = Machine(system, folder)
    except MachineError as error:
        if "debootstrap" in str(error):
            pytest.skip(str(error))
        raise
    try:
        story.say(f"{system}: systemd {machine.systemd()} booted in {machine.boot_s:.1f} s")
        yield machine
    finally:
        machine.close()
        story.say(f"{system}: gone")


@pytest.fixture(scope="session")
def before(machine: Machine) -> dict[str, Any]:
    """What is there before anything is installed."""
    assert not machine.run("ip", "route"), "the container has a network"
    return {"files": files(machine)}


@pytest.fixture(scope="session")
def service(machine: Machine, story: Story, before: dict[str, Any]) -> Installed:
    """The service, installed from a folder of wheels."""
    python = machine.run("/usr/bin/python3", "-c", "import sys; print('%d.%d' % sys.version_info[:2])").strip()
    wheel = deliver(machine.delivery, python)
    service = Installed(machine, wheel)
    service.write(CONFIG, CONFIGURATION)
    code, said, took_s = service.install("--extras", EXTRAS, wheel=wheel)
    assert code == 0, said
    ready_s = service.ready_at_s()
    cold_s = ready_s - service.started_at_s()
    story.tell(
        f"install.sh without a network (Python {python}, systemd {machine.systemd()})",
        "READY, the configuration that was there untouched",
        f"{took_s:.0f} s, of which {cold_s:.1f} s from the start of the process",
    )
    assert machine.path(CONFIG).read_text() == CONFIGURATION
    service.prepare()
    service.systemctl("restart", UNIT)
    return service


@pytest.fixture
def healthy(service: Installed) -> Installed:
    """A service that runs, whatever the test before left."""
    service.mend()
    return service


def files(machine: Machine) -> set[str]:
    """What was added to the system, but for logs, caches and what is forgotten at the next boot."""
    passing = ("/run/", "/tmp/", "/var/tmp/", "/var/log/", "/var/cache/", "/root/")
    return {each for each in machine.added() if not each.startswith(passing)}
