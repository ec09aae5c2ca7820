"""How packages get here that not everybody needs: the extras of setup.cfg."""

from __future__ import annotations


def how_to_install(extra: str) -> str:
    """What to do in a checkout, and with the service. No name that PyPI is asked for: the package is not there."""
    return (
        f"in the checkout `.venv/bin/pip install -e '.[{extra}]'`, with the service `sudo systemd/install.sh --extras "
        f"{extra}`"
    )
