"""Shells around other people's frameworks."""
