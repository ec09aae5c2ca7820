"""A real Chromium without a window, for the live page.

`python -m tests.browser ADDRESS FOLDER` looks at a page and leaves its pictures in a folder.
"""

from __future__ import annotations

import base64
import io
import os
import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Callable

import pytest

DESKTOP_PX, PHONE_PX, SMALLEST_PX = (1280, 800), (390, 844), (360, 640)
_LOADED = "return document.querySelector('[aria-busy=false] #review-picture:not([hidden], .away)') !== null"
_INSTALL = "sudo apt install chromium chromium-driver"


class Browser:
    """One tab. Elements are named by their ids."""

    def __init__(self, driver: Any) -> None:
        self.driver = driver

    def open(self, address: str) -> None:
        self.driver.get("about:blank")  # else another view of the same page would not be loaded anew
        self.driver.get(address)

    def run(self, script: str, *values: Any) -> Any:
        """What a function body returns in the page."""
        return self.driver.execute_script(script, *values)

    def text(self, element: str) -> str:
        """As it is in the document, also where it is not shown."""
        return str(self.run("return document.getElementById(arguments[0])?.textContent ?? ''", element))

    def shown(self, element: str) -> bool:
        return bool(self.run("return document.getElementById(arguments[0])?.checkVisibility() ?? false", element))

    def click(self, element: str) -> None:
        self.driver.find_element("id", element).click()

    def keys(self, *keys: str) -> None:
        """Types to whatever has the focus."""
        self.driver.switch_to.active_element.send_keys(*keys)

    def until(self, condition: Callable[[], Any], what: str, seconds: float = 20.0) -> Any:
        """Wait until something holds; what it is."""
        end_s = time.monotonic() + seconds
        while True:
            found = condition()
            if found:
                return found
            assert time.monotonic() < end_s, f"waited {seconds} s for {what}; the page: {self.page()}"
            time.sleep(0.05)

    def until_text(self, element: str, part: str) -> str:
        return str(self.until(lambda: part in self.text(element) and self.text(element), f"{part!r} in {element}"))

    def page(self) -> str:
        return str(self.run("return document.body.innerText"))

    def size(self, width_px: int, height_px: int, scale: float = 1.0) -> None:
        metrics = {"width": width_px, "height": height_px, "deviceScaleFactor": scale, "mobile": width_px < 600}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)

    def dark(self, dark: bool) -> None:
        value = "dark" if dark else "light"
        features = [{"name": "prefers-color-scheme", "value": value}]
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})

    def picture(self) -> bytes:
        """What is to be seen, as a PNG file."""
        return base64.b64decode(self.driver.execute_cdp_cmd("Page.captureScreenshot", {"format": "png"})["data"])

    def complaints(self) -> list[str]:
        """What the browser has logged since it was last asked: errors, and what the security policy forbade."""
        return [entry["message"] for entry in self.driver.get_log("browser") if entry["level"] != "DEBUG"]


@contextmanager
def chromium() -> Iterator[Browser]:
    """A browser of its own, with a new profile.

    Raises:
        FileNotFoundError: it is not installed.
    """
    from selenium import webdriver

    programs = [shutil.which(name) for name in ("chromium", "chromedriver")]
    if not all(programs):
        raise FileNotFoundError(f"chromium or chromedriver is not installed ({_INSTALL})")
    options = webdriver.ChromeOptions()
    options.binary_location = str(programs[0])
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    for each in ("headless=new", "disable-gpu", "disable-dev-shm-usage", "hide-scrollbars", "no-first-run"):
        options.add_argument(f"--{each}")
    for each in ("disable-background-networking", "disable-component-update", "force-color-profile=srgb"):
        options.add_argument(f"--{each}")
    if os.geteuid() == 0:
        options.add_argument("--no-sandbox")  # which Chromium does not do as root
    service = webdriver.ChromeService(str(programs[1]))
    driver = webdriver.Chrome(options=options, service=service)
    try:
        yield Browser(driver)
    finally:
        driver.quit()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Chromium, started once for a file's tests; skips where it cannot be."""
    pytest.importorskip("selenium", reason="selenium is not installed (extra: test)")
    try:
        with chromium() as found:
            yield found
    except FileNotFoundError as error:
        pytest.skip(str(error))


def main(address: str, folder: Path) -> None:
    """Take the pictures that edge/web/README.md shows, as soon as the run is a minute old; labels some that it kept."""
    with chromium() as found:
        found.size(DESKTOP_PX[0], 1060)
        found.open(address)
        found.until(lambda: " min" in found.text("tiles"), "a minute", 120.0)
        for thing in ("keyboard", "clock"):  # in whose turns the chart's beginning passes
            found.until(partial(_answers, found, thing), thing)
        found.until(lambda: not found.shown("no-picture"), "a picture")
        found.until_text("truth-choices", "clock")
        found.until(
            lambda: found.run("return document.querySelectorAll('#truth-choices button').length") == 5, "choices"
        )
        _save(found, folder / "page.png")
        found.size(*PHONE_PX, scale=1.5)
        found.dark(True)
        found.until(partial(_answers, found, "keyboard"), "another turn of the scene")
        time.sleep(1)  # the picture and the answers are of about the same moment again
        _save(found, folder / "phone.png")
        found.dark(False)
        found.size(*DESKTOP_PX)
        found.open(f"{address}#review")
        for number, key in enumerate("11211"):
            found.until_text("review-progress", f"{number} of ")
            found.until(lambda: found.run(_LOADED), "a picture")
            found.keys(key)
        found.until_text("review-progress", "5 of ")
        found.until(lambda: found.run(_LOADED), "a picture")
        _save(found, folder / "review.png")


def _answers(browser: Browser, part: str) -> bool:
    return part in browser.text("answers")


def _save(browser: Browser, path: Path) -> None:
    """With few colours, so that the file is small."""
    from PIL import Image

    time.sleep(0.5)  # for what moves
    picture = Image.open(io.BytesIO(browser.picture())).convert("RGB")
    # The page's own colours cover small areas, and are to be kept as well as those of the camera's picture.
    few = picture.quantize(256, Image.Quantize.MAXCOVERAGE, kmeans=2, dither=Image.Dither.NONE)
    few.save(path, optimize=True)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
