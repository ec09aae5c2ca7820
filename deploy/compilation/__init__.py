"""Compiles bundles for an Edge TPU with Coral's own compiler, which decides what runs where."""
