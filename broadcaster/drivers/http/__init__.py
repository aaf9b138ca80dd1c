"""Publishing over HTTP to any server that speaks the Pusher Channels HTTP API."""
