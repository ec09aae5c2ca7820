"""`edge review` as a person uses it."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result

from edge.cli import cli
from edge.journal import JournalSettings, pictures_folder, schema
from edge.journal.ledger import RunFacts
from edge.journal.sink import Journal
from edge.privacy import PrivacySettings
from edge.records import Frame, Prediction, Ran, Record, Timings
from edge.review import store
from edge.review.sampler import Sampler
from edge.review.settings import ReviewSettings
from tests.journals import insert

LABELS = ("tabby, tabby cat", "tiger cat", "tiger shark", "espresso", "s", "2")
RUN = "00ff"


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Path]:
    """The journal of a daemon that runs and has kept three pictures."""
    path = tmp_path / "field.db"
    ran = Ran("tiny", "00", "litert", "2", "cpu", 1)
    journal = Journal(JournalSettings(path=str(path), commit_s=0.1), RunFacts(RUN, ran, LABELS, "scene"))
    settings = ReviewSettings(keep_pictures=True)
    folder = pictures_folder(path)
    sampler = Sampler(folder, settings, PrivacySettings(), journal.picture, rng=random.Random(1))
    now_ns = time.monotonic_ns()
    for sequence, (class_id, score) in enumerate([(0, 0.9), (0, 0.3), (3, 0.8)]):
        others = tuple(Prediction(each, LABELS[each], 0.01) for each in (1, 2))
        record = Record(
            run=RUN,
            sequence=sequence,
            utc="2026-01-01T00:00:00.000+00:00",
            monotonic_ns=now_ns + sequence,
            timings=Timings(1, 1, 1, 1),
            predictions=(Prediction(class_id, LABELS[class_id], score), *others),
            backend="cpu",
        )
        sampler.see(Frame(np.full((9, 9, 3), 40 * sequence, np.uint8), sequence, now_ns), record)
        journal.write(record)
    sampler.close()
    journal.event("pictures kept")  # written at once
    for _ in range(500):
        if path.is_file() and len(labels(path)) == 3:
            break
        time.sleep(0.01)
    yield path
    journal.close()


def labels(path: Path) -> list[str | None]:
    with closing(schema.connect_to_read(path)) as connection:
        return [each.label for each in store.pictures(connection)]


def edge_review(path: Path, *arguments: str, said: str = "") -> Result:
    return CliRunner().invoke(cli, ["review", "--journal", str(path), *arguments], input=said)


def test_a_person_goes_through_the_pictures_beside_a_running_daemon(running: Path) -> None:
    result = edge_review(running, "--by", "ann", said="1\nesp\no\n")
    assert result.exit_code == 0, result.output
    assert "3 pictures to label." in result.output
    assert f"1 of 3: {pictures_folder(running)}/" in result.output
    assert " UTC (" in result.output
    assert "  1  0." in result.output
    assert "  3  0.01  tiger shark" in result.output
    assert "3 labelled, 0 still wait." in result.output
    said = labels(running)
    assert said.count("espresso") + said.count("tabby, tabby cat") == 2
    assert said.count(store.NO_CLASS) == 1
    again = edge_review(running)
    assert again.exit_code == 0
    assert again.output == "No pictures wait for a label.\n"
    listed = edge_review(running, "--list").output
    assert listed.count("(said by ann)") == 3
    assert "3 pictures, 3 labelled." in listed


def test_names_that_are_not_clear_are_asked_again(running: Path) -> None:
    result = edge_review(running, said="tiger\nespreso\n\n=s\n=2\nti sh\nTiger_Shark\n")
    assert result.exit_code == 0, result.output
    assert "'tiger' begins 'tiger cat', 'tiger shark': type more of it." in result.output
    assert "'espreso' is none of the model's 6 classes: did you mean 'espresso'?" in result.output
    assert "'ti sh' is none" in result.output
    assert sorted(each or "" for each in labels(running)) == ["2", "s", "tiger shark"]


def test_skip_and_undo(running: Path) -> None:
    result = edge_review(running, said="u\ns\nespresso\nu\nu\nesp\nu\ntabby\nq\n")
    assert result.exit_code == 0, result.output
    assert "Nothing to undo." in result.output
    assert "1 labelled, 2 still wait." in result.output
    assert sorted(labels(running), key=str) == [None, None, "tabby, tabby cat"]
    with closing(schema.connect_to_read(running)) as connection:
        assert connection.execute("SELECT count(*) FROM labels").fetchone() == (1,)


def test_the_end_of_the_input_is_a_good_end(running: Path) -> None:
    result = edge_review(running, said="esp\n")
    assert result.exit_code == 0, result.output
    assert result.output.endswith("1 labelled, 2 still wait.\n")
    assert labels(running).count("espresso") == 1


def test_ctrl_c_in_a_terminal_is_a_good_end(running: Path, tmp_path: Path, ctrl_c: None) -> None:
    viewer = tmp_path / "xdg-open"
    viewer.write_text(f'#!/bin/sh\necho "$1" >> {tmp_path}/opened\n')
    viewer.chmod(0o755)
    master, terminal = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "edge", "review", "--journal", str(running), "--open"],
        stdin=terminal,
        stdout=terminal,
        stderr=terminal,
        env={**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"},
    )
    os.close(terminal)
    output = b""
    with os.fdopen(master, "rb", buffering=0) as screen:
        while b"What is it?" not in output:
            output += screen.read(4096)
        os.write(master, b"esp\n")
        while output.count(b"What is it?") < 2:
            output += screen.read(4096)
        # One that comes between the question and the wait for its answer is seen by Python only after the answer.
        time.sleep(0.1)
        until_s = time.monotonic() + 30
        while process.poll() is None and time.monotonic() < until_s:
            process.send_signal(signal.SIGINT)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(3)
        assert process.returncode == 0
        while b"still wait" not in output:
            output += screen.read(4096)
    assert b"1 labelled, 2 still wait." in output
    assert b"Traceback" not in output
    assert labels(running).count("espresso") == 1
    opened = (tmp_path / "opened").read_text().splitlines()
    assert opened
    assert all(Path(path).is_file() for path in opened)


def test_no_viewer_is_told(running: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    result = edge_review(running, "--open", said="q\n")
    assert result.exit_code == 0
    assert "Warning: There is no xdg-open here" in result.output


def test_scripts_list_and_set(running: Path) -> None:
    listed = json.loads(edge_review(running, "--list", "--json").output)
    assert [each["stratum"] for each in listed] == ["changed", "unsure", "ordinary"]
    assert all(Path(each["path"]).is_file() and each["label"] is None for each in listed)
    assert listed[2]["predictions"][0] == {"class_id": 0, "label": "tabby, tabby cat", "score": 0.9}
    (pictures_folder(running) / listed[2]["file"]).unlink()
    result = edge_review(running, "--set", str(listed[2]["id"]), "Tabby")
    assert (result.exit_code, result.output) == (0, f"{listed[2]['id']}: tabby, tabby cat\n")
    edge_review(running, "--set", str(listed[1]["id"]), store.NO_CLASS, "--by", "script")
    listed = json.loads(edge_review(running, "--list", "--json").output)
    assert [each["label"] for each in listed] == [None, store.NO_CLASS, "tabby, tabby cat"]
    assert listed[1]["said_by"] == "script"
    assert listed[2]["path"] is None
    assert "picture deleted" in edge_review(running, "--list").output


def test_mistakes_are_told(running: Path, tmp_path: Path) -> None:
    for arguments, words in (
        (("--set", "9", "tabby"), "No picture 9"),
        (("--set", "1", "zebra"), "'zebra' is none"),
    ):
        result = edge_review(running, *arguments)
        assert words in str(result.exception)
    for arguments in (("--list", "--open"), ("--json",), ("--set", "x", "tabby"), ("--set", "1")):
        assert edge_review(running, *arguments).exit_code == 2
    assert labels(running) == [None] * 3
    assert "No journal" in str(edge_review(tmp_path / "none.db").exception)


def test_a_journal_without_pictures(tmp_path: Path) -> None:
    with closing(schema.connect(tmp_path / "field.db")) as connection:
        insert(connection, "models")
    assert edge_review(tmp_path / "field.db").output == "No pictures wait for a label.\n"
    assert edge_review(tmp_path / "field.db", "--list").output == "No pictures were kept: see review.keep_pictures.\n"
    assert edge_review(tmp_path / "field.db", "--list", "--json").output == "[]\n"
