"""`edge-deploy` that tries few golden inputs and times as few rounds as tell p90: `python -m tests.quick_deploy …`.

For tests to which the number does not matter; the processes that a comparison starts import this module, too.
"""

from __future__ import annotations

from deploy.cli import main
from deploy.comparison import latency
from deploy.conversion import build, convert
from edge.stats import minimum_samples

build.GOLDEN_SEEDS = convert.GOLDEN_SEEDS = 8
latency.WARM_UP_ROUNDS, latency.ROUNDS = 1, minimum_samples(0.9)

if __name__ == "__main__":
    main()
