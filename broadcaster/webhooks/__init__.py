"""What becomes of facts: requests to receivers, and events for listeners in a worker."""
