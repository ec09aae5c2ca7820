"""The token that lets people in, the cookie that stands for it, and patience with wrong ones."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import ipaddress
import logging
import time
from collections import Counter
from typing import Callable, Optional

from edge.errors import OutletError
from edge.outlets import Trouble
from edge.web.messages import RefusedError

LOGGED_IN_S = 30 * 86_400
WRONG_S = 1.0
"""So long a wrong token takes to be refused, and counts against further ones."""
MOST_WRONG, MOST_WRONG_OF_ONE = 16, 4
"""At a time, of all and of one address; while so many are being refused, further ones are not looked at."""
WELCOME_S = 86_400.0
"""So long the wrong tokens of others do not concern an address that said the right one."""
_MOST_WELCOME = 1_000
READ_EVERY_S = 2.0
_TOLD_EVERY_S = 60.0
_log = logging.getLogger(__name__)


class Kept:
    """The token, read again now and then, as its file may have changed."""

    def __init__(self, read: Callable[[], bytes]) -> None:
        """Nothing is read yet.

        Args:
            read: reads it, or raises OutletError.
        """
        self._read, self._token, self._read_s = read, b"", float("-inf")
        self._trouble = Trouble("web")

    @property
    def trouble(self) -> Optional[str]:
        """Why nobody is let in; None when all is well."""
        return self._trouble.sentence

    def read(self) -> bytes:
        """The token.

        Raises:
            OutletError: there is none: nobody is let in then.
        """
        if time.monotonic() - self._read_s >= READ_EVERY_S:
            try:
                self._token = self._read()
            except OutletError as error:
                self._trouble.begins(str(error))
                raise
            self._trouble.ends("The token can be read.")
            self._read_s = time.monotonic()
        return self._token


def trimmed(token: bytes) -> bytes:
    """A token without the blanks around it that phones and copies add."""
    return token.decode("utf-8", "surrogateescape").strip().encode("utf-8", "surrogateescape")


def same(given: bytes, token: bytes) -> bool:
    """Whether somebody said the token, in a time that tells neither its length nor how much of it was right."""
    return hmac.compare_digest(hashlib.sha256(given).digest(), hashlib.sha256(token).digest())


def cookie(token: bytes, until_s: int) -> str:
    """What a browser keeps in place of the token, which cannot be found from it.

    Args:
        token: another one makes all cookies worthless.
        until_s: UTC at which it ends, in seconds since 1970.
    """
    # A key of its own, so that what is derived for other ends is no cookie.
    key = hmac.new(token, b"edge: cookie of the live page", hashlib.sha256).digest()
    return f"{until_s}.{hmac.new(key, str(until_s).encode(), hashlib.sha256).hexdigest()}"


def lets_in(value: str, token: bytes, now_s: float) -> bool:
    """Whether a cookie was made by `cookie`, and has not ended."""
    until, _, _ = value.partition(".")
    if not (until.isascii() and until.isdigit() and len(until) <= 12):
        return False
    made = cookie(token, int(until)).encode()
    return hmac.compare_digest(made, value.encode("utf-8", "surrogateescape")) and now_s < int(until)


class Guesses:
    """Makes it slow to guess a token, and hardly slower to say the right one. For one thread."""

    def __init__(self) -> None:
        """Nobody has guessed yet."""
        self._of: Counter[str] = Counter()
        self._welcome_s: dict[str, float] = {}
        """Since when, in the order of time."""
        self._told_s = -_TOLD_EVERY_S
        self._untold = 0

    async def right(self, given: bytes, token: bytes, address: str) -> bool:
        """Whether the right token was said; a wrong one takes a while.

        Args:
            given: what was said, with or without blanks around it.
            token: what is right.
            address: of whoever said it.

        Raises:
            RefusedError: so many are wrong at present that this one was not looked at.
        """
        whose = _neighbourhood(address)
        now_s = time.monotonic()
        is_welcome = now_s - self._welcome_s.get(whose, float("-inf")) < WELCOME_S
        if self._of[whose] >= MOST_WRONG_OF_ONE or (sum(self._of.values()) >= MOST_WRONG and not is_welcome):
            raise RefusedError(429, "Too many wrong tokens: try again in a moment.", {"Retry-After": "1"})
        if same(trimmed(given), token):
            self._welcome_s.pop(whose, None)
            self._welcome_s[whose] = now_s
            while len(self._welcome_s) > _MOST_WELCOME:
                del self._welcome_s[next(iter(self._welcome_s))]
            return True
        self._of[whose] += 1
        # Also when whoever guessed has hung up: else one would not wait for the answer, and guess on.
        asyncio.get_running_loop().call_later(WRONG_S, self._forget, whose)
        self._tell(address)
        await asyncio.sleep(WRONG_S)
        return False

    def _forget(self, whose: str) -> None:
        self._of[whose] -= 1
        self._of += Counter()  # keeps what is more than 0

    def _tell(self, address: str) -> None:
        self._untold += 1
        now_s = time.monotonic()
        if now_s - self._told_s >= _TOLD_EVERY_S:
            times = "once" if self._untold == 1 else f"{self._untold} times"
            _log.warning("The page was asked for with a wrong token (%s; last from %s).", times, address)
            self._told_s, self._untold = now_s, 0


def _neighbourhood(address: str) -> str:
    """An IPv4 address; of IPv6 the network, as one machine there has as many addresses as it likes."""
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return ""
    if found.version == 6 and found.ipv4_mapped is None:
        return str(ipaddress.ip_network((int(found) >> 64 << 64, 64)))
    return address
