"""Who may enter which channel: rules, endpoints and grants."""
