"""The demo that `broadcaster dev` shows."""
