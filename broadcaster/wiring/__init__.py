"""Composition roots: settings in, running parts out."""
