"""Real-time broadcasting for Python backends."""
