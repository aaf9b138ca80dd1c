"""The Pusher protocol as pure functions and values: no I/O, clock, log or asyncio."""
