"""Watching queues and keeping their workers: what is decided, and who does it."""
