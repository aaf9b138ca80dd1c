"""Jobs that are due at times: `schedule` says which and when, one runner queues them."""

from broadcaster.scheduling.entries import ScheduledJob, schedule

__all__ = ["ScheduledJob", "schedule"]
