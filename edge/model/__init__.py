"""A model before it runs: its files, what they promise, and which of them runs where."""
