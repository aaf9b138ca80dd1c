"""Helpers for tests of applications."""
