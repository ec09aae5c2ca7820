"""The live page in a real browser: what a person sees, clicks and types, and what becomes of it."""

from __future__ import annotations

import hashlib
import socket
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
import yaml

from edge import Classifier
from edge.journal import pictures_folder
from tests.browser import DESKTOP_PX, PHONE_PX, SMALLEST_PX, Browser, browser
from tests.journaling import rows
from tests.test_service import daemon_in
from tests.web import Page, served

__all__ = ["browser"]  # the fixture

PICTURES = 12
DASH = "\N{EN DASH}"
"""Where there is nothing to tell."""
_PICTURE = "return document.getElementById('picture').toDataURL()"
_COLOURS = """
const {width, height} = chart;
const seen = new Uint32Array(chart.getContext("2d").getImageData(0, 0, width, height).data.buffer);
return new Set(seen).size;
"""
_TOO_SMALL = """
return [...document.querySelectorAll("button, input, [role=option]")].filter((each) => each.checkVisibility())
  .filter((each) => each.getBoundingClientRect().height < 44 || each.getBoundingClientRect().width < 44)
  .map((each) => each.outerHTML)
"""
_BUTTONS = "return document.querySelectorAll('main:not([hidden]) button')"
_SEEN = "document.querySelector('#review-picture:not([hidden], .away)')?.dataset.id"
_KEPT = f"return {_SEEN}"
"""The kept picture that is shown."""
_IDLE = f"return document.getElementById('review-view').ariaBusy === 'false' && {_SEEN}"
_HOLD = """
const fetch = window.fetch;
window.held = [];
window.fetch = async (path, ...options) => {
  if (path.startsWith("/api/review/picture/")) await new Promise((resolve) => held.push(resolve));
  return fetch(path, ...options);
};
"""
"""A link on which kept pictures take until they are let go."""
_LOSE = """
const fetch = window.fetch;
window.fetch = async (path, ...options) => {
  const answer = await fetch(path, ...options);
  if (path !== "/api/review/undo") return answer;
  window.fetch = fetch;
  throw new TypeError("Failed to fetch");
};
"""
"""A link that loses the answer to one undo."""
_NO_PICTURES = """
const fetch = window.fetch;
window.fetch = async (path, ...options) => {
  if (path.startsWith("/picture.jpg")) throw new TypeError("Failed to fetch");
  return fetch(path, ...options);
};
"""
_CHOICES = "return [...document.querySelectorAll('#truth-choices button')].map((each) => each.textContent)"
_BEST = "return document.querySelector('#answers .name')?.textContent ?? ''"


@pytest.fixture(autouse=True)
def _calm(browser: Browser) -> Iterator[None]:
    """Each test begins on a desk, and ends without a complaint of the browser's."""
    browser.size(*DESKTOP_PX)
    browser.complaints()
    yield
    complaints = browser.complaints()
    browser.open("about:blank")
    assert complaints == []


@pytest.fixture
def page(classifier: Classifier, tmp_path: Path, browser: Browser) -> Iterator[Page]:
    """A run with pictures that wait for a label, and the browser at its page."""
    with served(classifier, tmp_path, pictures=PICTURES) as found:
        browser.open(found.url)
        browser.until_text("connection", "Connected")
        yield found
        browser.open("about:blank")  # before the server is gone, which the browser would tell


def frames(browser: Browser) -> int:
    return int(browser.run("return Number(document.querySelectorAll('#tiles dd')[2].textContent.replace(',', ''))"))


def test_it_shows_the_run_as_it_goes(page: Page, browser: Browser) -> None:
    first_frames, first_best = frames(browser), browser.until(lambda: browser.run(_BEST), "an answer")
    first_picture = browser.until(lambda: not browser.shown("no-picture") and browser.run(_PICTURE), "a picture")
    browser.until(lambda: browser.run(_PICTURE) != first_picture, "another picture")
    browser.until(lambda: frames(browser) > first_frames, "more frames")
    widths = "return [...document.querySelectorAll('.bar i')].map((each) => parseFloat(each.style.width))"
    first_widths = browser.run(widths)
    assert first_widths == sorted(first_widths, reverse=True)
    assert len(first_widths) == 5
    assert browser.run(_COLOURS) > 4  # the stages' columns on the axes
    browser.until(lambda: browser.run(_BEST) != first_best, "another answer, as the scene has changed")
    assert browser.run(widths) != first_widths
    assert browser.text("stages").startswith("wait")
    browser.until(lambda: DASH not in browser.text("stages"), "p90 of all stages, which takes 64 frames")
    assert "efficientnet_lite0_int8" in browser.text("facts")
    assert str(page.journal) in browser.text("facts")
    assert browser.run("return document.title").endswith(f"{DASH} edge-runner")
    browser.run(_NO_PICTURES)
    browser.until_text("no-picture", "The picture does not come.")
    assert "old" in browser.run("return document.getElementById('picture').className")
    assert browser.text("connection") == "Connected"


def test_a_truth_that_is_clicked_or_typed_reaches_the_journal(
    classifier: Classifier, tmp_path: Path, browser: Browser
) -> None:
    with served(classifier, tmp_path) as page:
        browser.open(page.url)
        browser.until_text("truth", "Nobody has said.")
        button = "return document.querySelector('#truth-choices button')"
        browser.until(lambda: browser.run(button), "a class to choose")
        clicked = browser.run(f"{button}.textContent")
        browser.run(f"{button}.click()")
        browser.until_text("truth", f"{clicked}, said on this page")
        assert browser.run(f"{button}.ariaPressed") == "true"

        browser.click("truth-search")
        browser.keys("great grey")
        browser.until(lambda: browser.shown("picker-1"), "the classes that are called so")
        browser.keys("\ue007")
        browser.until_text("truth", "great grey owl, said on this page")

        browser.keys("no such thing\ue007")
        browser.until_text("truth-trouble", "none of the model's 1000 classes")
        (complaint,) = browser.complaints()
        assert "400" in complaint
        browser.click("truth-clear")
        browser.until_text("truth", "Nobody has said.")
        browser.until(lambda: "great grey owl" in browser.text("truth-choices"), "the recent truths")
        browser.open("about:blank")
    truth = "json_extract(detail, '$.truth'), json_extract(detail, '$.by')"
    said = rows(tmp_path / "field.db", f"SELECT kind, {truth} FROM events WHERE kind LIKE 'truth%'")
    assert said == [
        ("truth set", clicked, "page"),
        ("truth set", "great grey owl", "page"),
        ("truth cleared", None, "page"),
    ]
    truths = rows(tmp_path / "field.db", "SELECT DISTINCT truth FROM frames WHERE run_id = 1 AND truth IS NOT NULL")
    assert {clicked, "great grey owl"} >= {truth for (truth,) in truths} != set()


def press(browser: Browser, key: str) -> None:
    """A key of the review's, as soon as the page listens."""
    browser.until(lambda: browser.run(_IDLE), "a picture")
    browser.keys(key)


def test_labels_change_the_accuracy_and_can_be_undone_all_by_keyboard(page: Page, browser: Browser) -> None:
    def share() -> float:
        return float(browser.run("return parseFloat(document.querySelector('#accuracy dd').textContent)"))

    browser.run("document.getElementById('tab-live').focus()")
    browser.keys("\ue014")  # to the right
    browser.until_text("review-progress", f"0 of {PICTURES}")
    browser.until(lambda: browser.run(_KEPT), "a picture")
    assert browser.run("return document.activeElement.id") == "tab-review"
    assert browser.text("accuracy").count(DASH) == 2

    press(browser, "1")
    browser.until_text("review-progress", f"1 of {PICTURES}")
    browser.until_text("accuracy", "1 of 1 labelled pictures right")
    assert share() == 100
    press(browser, "2")
    browser.until_text("accuracy", "1 of 2 labelled pictures right")
    assert 0 < share() < 100
    assert "95 % interval " in browser.text("accuracy")
    press(browser, "u")
    browser.until_text("accuracy", "1 of 1 labelled pictures right")
    assert share() == 100
    browser.until_text("review-progress", f"1 of {PICTURES}")
    press(browser, "s")
    browser.until_text("review-said", "Skipped")
    press(browser, "n")
    browser.until_text("review-said", "(no class)")
    press(browser, "o")
    browser.until(lambda: browser.shown("review-search"), "the box for another class")
    browser.keys("espresso")
    browser.until(lambda: browser.shown("picker-2"), "the classes that are called so")
    browser.keys("\ue015\ue007")  # the one below, Enter
    browser.until_text("review-said", "espresso")
    browser.until_text("review-progress", f"3 of {PICTURES}")
    assert not browser.shown("review-search")

    browser.run("document.querySelector('#review-choices button').click()")
    browser.until_text("review-progress", f"4 of {PICTURES}")
    press(browser, "u")
    browser.until_text("review-said", "Undone")
    assert page.journal is not None
    said = rows(page.journal, "SELECT said_by, count(*) FROM labels GROUP BY said_by")
    assert said == [("page", 3)]


def open_review(page: Page, browser: Browser) -> str:
    """Go on to the review; the id of the picture that is shown."""
    browser.click("tab-review")
    browser.until_text("review-progress", f"0 of {PICTURES}")
    return str(browser.until(lambda: browser.run(_KEPT), "a picture"))


def test_what_was_to_be_labelled_is_forgotten_with_its_journal(
    page: Page, bundle_copy: Path, tmp_path_factory: pytest.TempPathFactory, browser: Browser
) -> None:
    browser.until(lambda: browser.run(_CHOICES), "classes to choose")
    mark_labels(bundle_copy, "other", every=1)
    open_review(page, browser)
    press(browser, "1")
    browser.until_text("review-progress", f"1 of {PICTURES}")
    with (
        Classifier.open(str(bundle_copy), threads=1) as classifier,
        served(classifier, tmp_path_factory.mktemp("other"), pictures=3) as other,
    ):
        page.web.begin(other.overview)
        browser.until_text("review-progress", "0 of 3")
        assert browser.run("return document.getElementById('review-undo').ariaDisabled") == "true"
        assert browser.text("review-said") == ""
        browser.until(lambda: browser.run(_IDLE), "a picture of the other")
        browser.until(
            lambda: all(name.startswith("other ") for name in browser.run(_CHOICES)), "no class of an earlier model"
        )
        browser.keys("u1")
        browser.until_text("review-progress", "1 of 3")
        for run, labels in ((page, 1), (other, 1)):
            assert run.journal is not None
            assert rows(run.journal, "SELECT count(*) FROM labels") == [(labels,)]
        browser.open("about:blank")


def test_a_journal_that_was_replaced_gets_no_label_meant_for_another(page: Page, browser: Browser) -> None:
    shown = open_review(page, browser)
    assert page.journal is not None
    with closing(sqlite3.connect(page.journal)) as journal, journal:
        (file,) = journal.execute("SELECT file FROM pictures WHERE id != ? LIMIT 1", (shown,)).fetchone()
        journal.execute("UPDATE pictures SET file = ? WHERE id = ?", (file, shown))
    press(browser, "1")
    browser.until(lambda: browser.text("review-trouble"), "why it is not noted")
    (complaint,) = browser.complaints()
    assert "409" in complaint
    browser.until(lambda: browser.run(_KEPT), "what is to be labelled now")
    assert rows(page.journal, "SELECT count(*) FROM labels") == [(0,)]
    press(browser, "1")
    browser.until_text("review-progress", f"1 of {PICTURES}")
    assert browser.text("review-trouble") == ""


def test_only_what_is_shown_can_be_labelled(page: Page, browser: Browser) -> None:
    first = open_review(page, browser)
    browser.run(_HOLD)
    press(browser, "s")
    browser.until(lambda: browser.run(f"{_KEPT} ?? ''") != first, "the old picture to be gone")
    if browser.run(_KEPT):  # it was there already; that after it is not
        press(browser, "s")
    browser.until(lambda: browser.run(_KEPT) is None, "the old picture to be gone")
    browser.until_text("review-empty", "Loading")
    button = "document.querySelector('#review-choices button')"
    assert browser.run(f"return {button}.ariaDisabled") == "true"
    browser.keys("1n")
    browser.run(f"{button}.click()")
    browser.run("held.splice(0).forEach((go) => go())")
    browser.until(lambda: browser.run(_KEPT), "the picture")
    assert browser.run(f"return {button}.ariaDisabled") == "false"
    browser.until_text("review-progress", f"0 of {PICTURES}")
    press(browser, "1")
    browser.until_text("review-progress", f"1 of {PICTURES}")


def test_a_picture_that_was_deleted_is_left_out(page: Page, browser: Browser) -> None:
    shown = open_review(page, browser)
    assert page.journal is not None
    folder = pictures_folder(page.journal)
    for (file,) in rows(page.journal, f"SELECT file FROM pictures WHERE id != {int(shown)}"):
        (folder / file).unlink()
    press(browser, "s")
    browser.until(lambda: browser.run(_IDLE), "a picture")
    if not browser.text("review-trouble"):  # the next one was loaded already
        press(browser, "s")
    browser.until_text("review-trouble", "cannot be shown")
    complaints = browser.complaints()
    assert complaints
    assert all("404" in each for each in complaints), complaints
    browser.until(lambda: browser.run(_KEPT) == shown, "the only one that is left")
    press(browser, "1")
    browser.until_text("review-empty", "None of the pictures that wait can be shown.")
    with closing(sqlite3.connect(page.journal)) as journal, journal:
        assert journal.execute("DELETE FROM labels").rowcount == 1
    browser.until(lambda: browser.run(_KEPT) == shown, "it to look again")


def test_undoing_once_more_after_an_answer_was_lost_undoes_nothing_else(page: Page, browser: Browser) -> None:
    open_review(page, browser)
    for number in (1, 2):
        shown = browser.until(lambda: browser.run(_KEPT), "a picture")
        press(browser, "1")
        browser.until_text("review-progress", f"{number} of {PICTURES}")
        browser.until(lambda shown=shown: browser.run(_KEPT) not in (None, shown), "the next")
    browser.run(_LOSE)
    press(browser, "u")
    browser.until_text("review-trouble", "does not answer")
    assert browser.text("review-said") == ""  # of what was noted before
    press(browser, "u")
    browser.until_text("review-said", "Undone")
    browser.until(lambda: browser.run(_KEPT) == shown, "the picture again")
    browser.until_text("review-progress", f"1 of {PICTURES}")
    assert browser.text("review-trouble") == ""
    (complaint,) = browser.complaints()
    assert "409" in complaint
    assert page.journal is not None
    assert rows(page.journal, "SELECT count(*) FROM labels") == [(1,)]


def test_keys_that_are_held_or_belong_to_an_input_method_label_nothing(page: Page, browser: Browser) -> None:
    open_review(page, browser)
    browser.run("document.querySelector('#review-choices button').focus()")
    enter = {"key": "Enter", "code": "Enter", "windowsVirtualKeyCode": 13, "text": "\r"}
    for repeated in range(4):
        down = {"type": "keyDown", "autoRepeat": repeated > 0, **enter}
        browser.driver.execute_cdp_cmd("Input.dispatchKeyEvent", down)
        browser.until_text("review-progress", f"1 of {PICTURES}")
        browser.until(lambda: browser.run(_IDLE), "the next picture")
    browser.driver.execute_cdp_cmd("Input.dispatchKeyEvent", {"type": "keyUp", **enter})
    press(browser, "N")  # as with caps lock
    browser.until_text("review-said", "(no class)")
    browser.until(lambda: browser.run(_IDLE), "the next picture")

    press(browser, "O")
    browser.keys("espresso")
    browser.until(lambda: browser.shown("picker-2"), "the classes that are called so")
    browser.run("document.activeElement.dispatchEvent(new KeyboardEvent('keydown', {key: 'Enter', isComposing: true}))")
    assert browser.shown("picker-2")
    browser.keys("\ue00c")  # Escape
    assert browser.run("return document.activeElement.id") == "review-other"
    press(browser, "o")
    browser.keys("espresso\ue007")
    browser.until_text("review-said", "espresso")
    assert browser.run("return document.activeElement.id") == "review-other"
    browser.until_text("review-progress", f"3 of {PICTURES}")


def test_what_to_do_where_no_pictures_are_kept(classifier: Classifier, tmp_path: Path, browser: Browser) -> None:
    with served(classifier, tmp_path) as page:
        browser.open(f"{page.url}/#review")
        browser.until_text("review-empty", "keep_pictures: true")
        browser.open("about:blank")


def test_a_preview_that_is_switched_off(classifier: Classifier, tmp_path: Path, browser: Browser) -> None:
    with served(classifier, tmp_path, journal=False, preview=False) as page:
        browser.open(page.url)
        browser.until_text("no-picture", "switched off (web.preview)")
        browser.until_text("facts", "nothing is recorded")
        browser.open("about:blank")


def test_it_fits_a_phone_and_fingers(page: Page, browser: Browser) -> None:
    browser.size(*SMALLEST_PX)
    for view in ("", "#review"):
        browser.open(f"{page.url}/{view}")
        browser.until_text("connection", "Connected")
        browser.until(lambda: browser.run(f"{_BUTTONS}.length") > 3, "what is to be touched")
        width = browser.run("return [document.documentElement.scrollWidth, window.innerWidth]")
        assert width == [SMALLEST_PX[0], SMALLEST_PX[0]]
        assert browser.run(_TOO_SMALL) == []
    browser.size(*PHONE_PX)
    assert browser.run("return document.documentElement.scrollWidth") == PHONE_PX[0]


def test_nothing_is_asked_for_while_nobody_looks(page: Page, browser: Browser) -> None:
    def still() -> bool:
        """For time enough for two ticks and six pictures."""
        before = page.web.status().delivered
        time.sleep(1.2)
        return page.web.status().delivered == before

    assert not still()
    first = browser.driver.current_window_handle
    browser.driver.switch_to.new_window("tab")
    try:
        browser.until(still, "nobody to ask")
    finally:
        browser.driver.close()
        browser.driver.switch_to.window(first)
    delivered = page.web.status().delivered
    browser.until(lambda: page.web.status().delivered > delivered, "it to go on")


def test_names_are_text_and_a_token_lets_in(bundle_copy: Path, tmp_path: Path, browser: Browser) -> None:
    marked = "<img src=x onerror=\"document.title='run'\">"
    mark_labels(bundle_copy, marked)
    with (
        Classifier.open(str(bundle_copy), threads=1) as classifier,
        served(classifier, tmp_path, token="open sesame", pictures=2) as page,
    ):
        browser.open(page.url)
        browser.until(lambda: browser.driver.current_url.endswith("/login"), "the form")
        browser.complaints()  # of the 401s that led there
        browser.keys("sesame")
        browser.click("show")
        assert browser.run("return document.getElementById('token').type") == "text"
        assert browser.run("return document.activeElement.id") == "token"
        browser.keys("\ue007")
        browser.until(lambda: "not the token" in browser.page(), "the form again")
        (complaint,) = browser.complaints()
        assert "401" in complaint
        browser.click("token")
        browser.keys("open sesame\ue007")
        browser.until_text("connection", "Connected")
        assert browser.run("return document.cookie") == ""  # scripts do not see it

        browser.until(lambda: browser.run(_BEST).startswith(marked), "a name with markup")
        browser.until(lambda: marked in browser.text("truth-choices"), "the same to choose")
        browser.click("truth-search")
        browser.keys("wall clock")
        browser.until_text("picker-1", f"{marked} wall clock")
        browser.keys("\ue007")
        browser.until_text("truth", f"{marked} wall clock, said on this page")
        browser.click("tab-review")
        browser.until_text("review-choices", marked)
        assert browser.run("return document.querySelectorAll('main img').length") == 0
        assert browser.run("return document.title").startswith(marked)

        browser.click("logout")
        browser.until(lambda: browser.driver.current_url.endswith("/login"), "the form")
        browser.open("about:blank")


def mark_labels(bundle: Path, mark: str, every: int = 9) -> None:
    """Put markup before the names of some classes: of those in the drawn scene, and each so many-th."""
    labels = bundle / "labels.txt"
    names = labels.read_text().splitlines()
    shown = {"wall clock", "traffic light", "computer keyboard", "crossword puzzle"}
    labels.write_text(
        "".join(f"{mark} {name}\n" if name in shown | set(names[::every]) else f"{name}\n" for name in names)
    )
    contract = yaml.safe_load((bundle / "model.yaml").read_text())
    contract["labels_sha256"] = hashlib.sha256(labels.read_bytes()).hexdigest()
    (bundle / "model.yaml").write_text(yaml.safe_dump(contract))


def test_the_daemons_end_is_told_and_its_return_is_noticed(tmp_path: Path, browser: Browser) -> None:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = found.getsockname()[1]
    with daemon_in(tmp_path) as daemon:
        daemon.configure(web={"enabled": True, "port": port}, fps=20)
        daemon.start()
        daemon.notices.wait_for("READY")
        browser.open(f"http://127.0.0.1:{port}")
        browser.until_text("connection", "Connected")
        browser.until_text("truth", "The camera tells it itself: ")
        browser.until_text("outlets", f"http://127.0.0.1:{port}")
        first_run = browser.text("facts")
        assert daemon.ends() == 0

        browser.until_text("connection", "No answer since ")
        assert browser.run("return getComputedStyle(document.querySelector('.answers')).opacity") == "0.6"
        daemon.configure(web={"enabled": True, "port": port}, schedule=[elsewhen()])
        daemon.start()
        daemon.notices.wait_for("READY")
        browser.until_text("connection", "Connected")
        browser.until_text("notices", "By its schedule it is asleep until ")
        browser.until_text("no-picture", "Asleep until ")
        assert browser.text("facts") != first_run
        assert browser.run("return getComputedStyle(document.querySelector('.answers')).opacity") == "1"
        complaints = browser.complaints()
        assert all("ERR_CONNECTION_REFUSED" in each or "ERR_EMPTY_RESPONSE" in each for each in complaints), complaints
        browser.open("about:blank")


def elsewhen() -> str:
    """Hours that are not now."""
    hour = (time.localtime().tm_hour + 12) % 24
    return f"{hour:02}:00-{hour:02}:30"
