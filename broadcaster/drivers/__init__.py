"""Implementations of the contracts."""
