"""The things of the drawn scene. All lengths are fractions of the frame's shorter side, so that any size will do.

How large a thing is drawn, its colours and what is around it were chosen by trying them with EfficientNet-Lite0:
a clock that fills the frame is an "analog clock" to it, and one with wall around it a "wall clock".
"""

from __future__ import annotations

import copy
import math
import random
import time

import cv2
import numpy as np
from numpy.typing import NDArray

Color = tuple[int, int, int]
_SHIFT = 4  # OpenCV's fixed-point coordinates: sixteenths of a pixel, so that motion is smooth
_KEY_WIDTHS: tuple[tuple[float, ...], ...] = (
    (1,) * 13 + (2,),
    (1.5,) + (1,) * 12 + (1.5,),
    (1.8,) + (1,) * 11 + (2.2,),
    (2.3,) + (1,) * 10 + (2.7,),
    (1.3, 1.3, 1.3, 6.2, 1.3, 1.3, 1.3, 1),
)
_KEY_ROWS = ("1234567890-=", "QWERTYUIOP[]", "ASDFGHJKL;'#", "ZXCVBNM,./")


class _Canvas:
    """Draws on a picture with coordinates from its centre, in units of its shorter side times `zoom`."""

    def __init__(self, height_px: int, width_px: int, top: Color, bottom: Color, zoom: float = 1.0) -> None:
        """A background that runs from one colour to the other."""
        share = np.linspace(0.0, 1.0, height_px)[:, None, None]
        rows = (np.asarray(top) * (1 - share) + np.asarray(bottom) * share).astype(np.uint8)
        self.pixels: NDArray[np.uint8] = np.repeat(rows, width_px, axis=1)
        self.unit = min(height_px, width_px) * zoom
        self.half_width = width_px / 2 / self.unit
        self.half_height = height_px / 2 / self.unit

    def copy(self) -> _Canvas:
        """One to draw on without changing this one."""
        other = copy.copy(self)
        other.pixels = self.pixels.copy()
        return other

    def point(self, x: float, y: float) -> tuple[int, int]:
        return (
            round((x + self.half_width) * self.unit * (1 << _SHIFT)),
            round((y + self.half_height) * self.unit * (1 << _SHIFT)),
        )

    def px(self, length: float) -> int:
        return max(1, round(length * self.unit))

    def disc(self, x: float, y: float, radius: float, color: Color) -> None:
        scaled = round(radius * self.unit * (1 << _SHIFT))
        cv2.circle(self.pixels, self.point(x, y), scaled, color, -1, cv2.LINE_AA, _SHIFT)

    def line(self, start: tuple[float, float], end: tuple[float, float], color: Color, width: float) -> None:
        cv2.line(self.pixels, self.point(*start), self.point(*end), color, self.px(width), cv2.LINE_AA, _SHIFT)

    def box(self, left: float, top: float, right: float, bottom: float, color: Color, corner: float = 0.0) -> None:
        """A filled rectangle with rounded corners."""
        inner = ((left + corner, top, right - corner, bottom), (left, top + corner, right, bottom - corner))
        for x0, y0, x1, y1 in inner:
            cv2.rectangle(self.pixels, self.point(x0, y0), self.point(x1, y1), color, -1, cv2.LINE_AA, _SHIFT)
        if corner:
            for x, y in ((left, top), (right, top), (left, bottom), (right, bottom)):
                self.disc(x + corner * (1 if x == left else -1), y + corner * (1 if y == top else -1), corner, color)

    def text(self, x: float, y: float, text: str, height: float, color: Color, width: float) -> None:
        """Text with its middle at a point."""
        font, thickness = cv2.FONT_HERSHEY_SIMPLEX, self.px(width)
        scale = height * self.unit / 22  # this font's capitals are 22 px high at scale 1
        (text_width, text_height), _ = cv2.getTextSize(text, font, scale, thickness)
        column, row = self.point(x, y)
        origin = ((column >> _SHIFT) - text_width // 2, (row >> _SHIFT) + text_height // 2)
        cv2.putText(self.pixels, text, origin, font, scale, color, thickness, cv2.LINE_AA)


def _around(radius: float, turn: float) -> tuple[float, float]:
    """The point at a fraction of a turn, clockwise from the top."""
    return radius * math.sin(math.tau * turn), -radius * math.cos(math.tau * turn)


def clock_face(height_px: int, width_px: int) -> _Canvas:
    """A round clock in a wooden frame on a wall, without its hands."""
    canvas = _Canvas(height_px, width_px, (196, 186, 168), (170, 160, 142), zoom=0.62)
    canvas.disc(0.015, 0.026, 0.43, (141, 134, 121))  # its shadow
    canvas.disc(0, 0, 0.43, (120, 76, 40))
    canvas.disc(0, 0, 0.36, (246, 244, 236))
    for minute in range(60):
        hour_mark, turn = minute % 5 == 0, minute / 60
        start, width = (0.313, 0.011) if hour_mark else (0.33, 0.004)
        canvas.line(_around(start, turn), _around(0.346, turn), (30, 30, 30), width)
    for hour in range(1, 13):
        canvas.text(*_around(0.256, hour / 12), str(hour), 0.052, (24, 24, 24), 0.0075)
    return canvas


def with_hands(face: _Canvas, now: time.struct_time) -> NDArray[np.uint8]:
    """A copy of the clock that shows a time."""
    canvas = face.copy()
    minutes = now.tm_min + now.tm_sec / 60
    hands = (
        ((now.tm_hour % 12 + minutes / 60) / 12, 0.20, 0.022, (20, 20, 20)),
        (minutes / 60, 0.30, 0.015, (20, 20, 20)),
        (now.tm_sec / 60, 0.32, 0.005, (200, 30, 30)),
    )
    for turn, length, width, color in hands:
        canvas.line(_around(-0.05, turn), _around(length, turn), color, width)
    canvas.disc(0, 0, 0.018, (20, 20, 20))
    return canvas.pixels


def traffic_lights(height_px: int, width_px: int) -> tuple[NDArray[np.uint8], ...]:
    """A traffic light before trees and sky, at red, at green and at yellow."""
    lamps: tuple[tuple[Color, Color], ...] = (
        ((255, 40, 30), (70, 16, 14)),
        ((255, 200, 30), (76, 60, 14)),
        ((40, 240, 120), (14, 66, 34)),
    )
    base = _Canvas(height_px, width_px, (120, 168, 218), (206, 222, 236), zoom=0.65)
    chance = random.Random(3)
    for tree in range(60):
        base.disc(base.half_width * (tree / 30 - 1), base.half_height, 0.09 + 0.09 * chance.random(), (60, 84, 56))
    base.box(-0.03, 0.3, 0.03, base.half_height * 1.1, (70, 72, 74))
    base.box(-0.24, -0.52, 0.24, 0.48, (10, 10, 10), 0.03)
    base.box(-0.225, -0.505, 0.225, 0.465, (44, 46, 44), 0.03)
    base.box(-0.185, -0.46, 0.185, 0.42, (16, 16, 16), 0.04)
    base.box(-0.17, -0.445, 0.17, 0.405, (34, 36, 34), 0.035)
    pictures = []
    for lit in (0, 2, 1):
        canvas = base.copy()
        for index, (bright, dark) in enumerate(lamps):
            _lamp(canvas, -0.30 + 0.28 * index, bright if index == lit else dark, index == lit)
        pictures.append(canvas.pixels)
    return tuple(pictures)


def _lamp(canvas: _Canvas, y: float, color: Color, lit: bool) -> None:
    canvas.disc(0, y, 0.128, (10, 10, 10))
    canvas.disc(0, y + 0.006, 0.115, color)
    if lit:
        red, green, blue = (min(255, value + 60) for value in color)
        canvas.disc(0, y + 0.006, 0.07, (red, green, blue))
    canvas.box(-0.14, y - 0.15, 0.14, y - 0.118, (8, 8, 8), 0.012)  # its hood, from the front
    canvas.box(-0.145, y - 0.14, -0.125, y + 0.01, (8, 8, 8), 0.009)
    canvas.box(0.125, y - 0.14, 0.145, y + 0.01, (8, 8, 8), 0.009)


def keyboard(height_px: int, width_px: int) -> NDArray[np.uint8]:
    """A keyboard on a desk, from above."""
    canvas = _Canvas(height_px, width_px, (176, 146, 112), (150, 120, 90))
    half, key = canvas.half_width * 0.97, canvas.half_width * 2 * 0.97 / 15.5
    top = -2.6 * key
    canvas.box(-half, top - 0.3 * key, half, top + 5.6 * key, (44, 45, 48), 0.03)
    for row, widths in enumerate(_KEY_WIDTHS):
        names = list(_KEY_ROWS[row]) if row < 4 else []
        x = -half + 0.25 * key
        for index, width in enumerate(widths):
            y = top + row * 1.06 * key
            canvas.box(x + 0.05 * key, y, x + width * key - 0.05 * key, y + 0.94 * key, (22, 23, 25), 0.1 * key)
            canvas.box(x + 0.1 * key, y, x + width * key - 0.1 * key, y + 0.82 * key, (70, 72, 76), 0.1 * key)
            name_at = index - (0 if row == 0 else 1)
            if width == 1 and 0 <= name_at < len(names):
                canvas.text(x + 0.42 * key, y + 0.36 * key, names[name_at], 0.3 * key, (236, 236, 236), 0.004)
            x += width * key
    return canvas.pixels


def crossword(height_px: int, width_px: int, seed: int) -> NDArray[np.uint8]:
    """A crossword, half filled in; black squares lie symmetrically, as the rule is."""
    canvas = _Canvas(height_px, width_px, (244, 242, 236), (236, 234, 226))
    chance = random.Random(seed)
    cells = 13
    side = 0.92 / cells
    black = {(row, column) for row in range(cells) for column in range(cells) if row % 2 and column % 2}
    for _ in range(12):
        cell = (chance.randrange(cells), chance.randrange(cells))
        black |= {cell, (cells - 1 - cell[0], cells - 1 - cell[1])}
    canvas.box(-0.465, -0.465, 0.465, 0.465, (20, 20, 20))
    number = 0
    for row in range(cells):
        for column in range(cells):
            if (row, column) in black:
                continue
            x, y = -0.46 + column * side, -0.46 + row * side
            canvas.box(x + 0.0025, y + 0.0025, x + side - 0.0025, y + side - 0.0025, (252, 252, 250))
            starts = (row, column - 1) in black or (row - 1, column) in black or not row or not column
            if starts and (row * cells + column) % 2 == 0:
                number += 1
                canvas.text(x + 0.3 * side, y + 0.22 * side, str(number), 0.014, (40, 40, 40), 0.002)
            if chance.random() < 0.5:
                letter = chance.choice("AEIORSTLNDCMPUBGHK")
                canvas.text(x + 0.55 * side, y + 0.6 * side, letter, 0.034, (30, 40, 110), 0.005)
    return canvas.pixels
