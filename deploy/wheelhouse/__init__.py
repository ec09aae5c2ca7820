"""Gathers every wheel that a device needs, so that it can be installed without a network; all resolving is pip's."""
