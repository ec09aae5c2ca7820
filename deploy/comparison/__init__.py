"""Several backbones in one table."""
