"""Certificates for servers that tests start; openssl makes them."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

_KEY = [*("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"), *("-days", "2")]


def certify(folder: Path, name: str = "localhost") -> Path:
    """Make an authority, and a certificate of it: authority.pem, server.pem and server.key; gives the first.

    Args:
        folder: for the files.
        name: of the server.
    """
    if not shutil.which("openssl"):
        pytest.skip("openssl is not installed (Debian: apt-get install openssl)")
    authority = ["-subj", "/CN=authority", "-keyout", "authority.key", "-out", "authority.pem"]
    server = ["-subj", f"/CN={name}", "-addext", f"subjectAltName=DNS:{name}", "-keyout", "server.key"]
    server += ["-CA", "authority.pem", "-CAkey", "authority.key", "-out", "server.pem"]
    for arguments in (authority, server):
        command = ["openssl", "req", "-x509", *_KEY, *arguments]
        subprocess.run(command, cwd=folder, check=True, capture_output=True)
    return folder / "authority.pem"
