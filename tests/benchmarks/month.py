"""How long reports of a month of journal take: python -m tests.benchmarks.month [--days N] [--keep JOURNAL]."""

from __future__ import annotations

import argparse
import importlib.util
import resource
import subprocess
import sys
import tempfile
import time
from contextlib import closing
from pathlib import Path

from edge.journal import schema
from tests.journals import BOOTED_NS, NS, insert, insert_many, make_journal, utc_ns

DAYS = 30
FPS = 10.0
KEEP_EVERY = 13  # two million rows in a month
_DAY_NS = 86_400 * NS


def make_month(path: Path, days: int = DAYS, minutes_a_day: int = 1440) -> Path:
    """A journal of so many days: one varied day, again and again, with hours that were labelled since.

    Args:
        path: of the new journal.
        days: its length.
        minutes_a_day: less for a short one.
    """
    make_journal(path, minutes=minutes_a_day, fps=FPS, keep_every=KEEP_EVERY, seed=1, reviewed=False)
    with closing(schema.connect(path)) as connection:
        connection.execute("PRAGMA journal_mode = OFF")
        connection.execute("PRAGMA synchronous = OFF")
        connection.execute("BEGIN")
        for table, times in (
            ("frames", ("monotonic_ns",)),
            ("windows", ("began_ns", "ended_ns")),
            ("pictures", ("monotonic_ns",)),
        ):
            (last,) = connection.execute(f"SELECT max(id) FROM {table}").fetchone()
            (frames,) = connection.execute("SELECT sum(frames) + 10 * count(*) FROM windows").fetchone()
            columns = [row[1] for row in connection.execute(f"PRAGMA table_info({table})") if row[1] != "id"]
            for day in range(1, days):
                changed = dict.fromkeys(columns, "")
                changed.update(dict.fromkeys(times, f" + {day * _DAY_NS}"))
                if "sequence" in changed:
                    changed["sequence"] = f" + {day * frames}"
                values = ", ".join(column + change for column, change in changed.items())
                connection.execute(
                    f"INSERT INTO {table} ({', '.join(columns)}) SELECT {values} FROM {table} WHERE id <= ?", (last,)
                )
        connection.execute("UPDATE runs SET ended_ns = ?", (BOOTED_NS + days * _DAY_NS,))
        for day in range(days):  # an hour of each
            began_s = day * 86_400 + minutes_a_day * 30
            insert(connection, "labels", from_utc_ns=utc_ns(began_s), to_utc_ns=utc_ns(began_s + 3_600), truth="daisy")
        seen = connection.execute("SELECT run_id, sequence FROM pictures WHERE id % 40 = 0").fetchall()
        insert_many(
            connection, "labels", [{"run_id": run_id, "sequence": number, "truth": "robin"} for run_id, number in seen]
        )
        connection.execute("COMMIT")
        connection.execute("PRAGMA journal_mode = WAL")
    return path


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--days", type=int, default=DAYS)
    parser.add_argument("--keep", type=Path, help="Where the journal is to stay.")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = options.keep or Path(folder) / "month.db"
        if not path.exists():
            began = time.perf_counter()
            make_month(path, options.days)
            print(f"made {path.stat().st_size / 1e6:.0f} MB in {time.perf_counter() - began:.1f} s")
        gather = f"from pathlib import Path; from edge.report.gather import gather; gather([Path({str(path)!r})])"
        _measure("gather", [sys.executable, "-c", gather])
        _measure("edge compare, two months", [sys.executable, "-m", "edge", "compare", str(path), str(path)])
        if all(importlib.util.find_spec(name) for name in ("edge.report.drawn.page", "matplotlib", "jinja2")):
            out = Path(folder) / "report.html"
            _measure("edge report", [sys.executable, "-m", "edge", "report", str(path), "--out", str(out)])


def _measure(name: str, command: list[str]) -> None:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    began = time.perf_counter()
    subprocess.run(command, check=True)
    seconds = time.perf_counter() - began
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    # The most of all children so far; the second is larger, or this is its bound.
    print(f"{name}: {seconds:.1f} s ({cpu_s:.1f} s of processor), at most {after.ru_maxrss / 1024:.0f} MB")


if __name__ == "__main__":
    main()
