"""The backend's side: events, what becomes of them, and the verbs that send them."""
