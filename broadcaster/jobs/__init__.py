"""Jobs as the backend sees them."""
