"""The process that speaks the Pusher protocol."""
