"""Speed and size against named baselines; `python -m tests.benchmarks`."""
