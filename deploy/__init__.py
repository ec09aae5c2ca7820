"""The host side: makes, verifies and compares the models that `edge` runs."""
