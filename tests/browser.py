"""A real Chromium without a window, for the live page."""

from __future__ import annotations

import base64
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Callable, Optional

import pytest

DESKTOP_PX, PHONE_PX, SMALLEST_PX = (1280, 800), (390, 844), (360, 640)
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

    def number(self, element: str, what: str = "textContent") -> float:
        """The first number in a text."""
        return float(
            self.run(
                "const text = document.getElementById(arguments[0])?.[arguments[1]] ?? '';"
                "return parseFloat(String(text).replaceAll(',', '')) || 0",
                element,
                what,
            )
        )

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

    def picture(self, path: Path) -> None:
        """What is to be seen, as a PNG file."""
        content = self.driver.execute_cdp_cmd("Page.captureScreenshot", {"format": "png"})["data"]
        path.write_bytes(base64.b64decode(content))

    def complaints(self) -> list[str]:
        """What the browser has logged since it was last asked: errors, and what the security policy forbade."""
        return [entry["message"] for entry in self.driver.get_log("browser") if entry["level"] != "DEBUG"]


@contextmanager
def chromium(folder: Optional[Path] = None) -> Iterator[Browser]:
    """A browser of its own, with a new profile.

    Args:
        folder: for what it keeps; None: a temporary one.
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
    if folder:
        options.add_argument(f"--user-data-dir={folder}")
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
