"""Certificates for servers that tests start; openssl makes them."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

_KEY = [*("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"), *("-days", "2")]


def certify(folder: Path, name: str = "localhost", *, expired: bool = False) -> Path:
    """Make an authority, and a certificate of it: authority.pem, server.pem and server.key; gives the first.

    Args:
        folder: for the files.
        name: of the server.
        expired: the server's certificate, since yesterday.
    """
    if not shutil.which("openssl"):
        pytest.skip("openssl is not installed (Debian: apt-get install openssl)")
    authority = ["-subj", "/CN=authority", "-keyout", "authority.key", "-out", "authority.pem"]
    server = ["-subj", f"/CN={name}", "-addext", f"subjectAltName=DNS:{name}", "-keyout", "server.key"]
    server += ["-CA", "authority.pem", "-CAkey", "authority.key", "-out", "server.pem"]
    for arguments in (authority, server):
        command = ["openssl", "req", "-x509", *_KEY, *arguments]
        subprocess.run(command, cwd=folder, check=True, capture_output=True)
    if expired:
        _expire(folder, name)
    return folder / "authority.pem"


def _expire(folder: Path, name: str) -> None:
    """Have the server's certificate end before it began."""
    (folder / "names").write_text(f"subjectAltName=DNS:{name}\n")
    request = ["x509", "-x509toreq", "-in", "server.pem", "-signkey", "server.key", "-out", "request.pem"]
    signing = ["-CA", "authority.pem", "-CAkey", "authority.key", "-CAcreateserial", "-extfile", "names"]
    for arguments in (request, ["x509", "-req", "-in", "request.pem", *signing, "-days", "-1", "-out", "server.pem"]):
        subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True)
