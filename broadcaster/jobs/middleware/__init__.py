"""What the runs of a job go through: limits, locks, transactions."""

from broadcaster.jobs.middleware.contract import Middleware, Next, SyncNext
from broadcaster.jobs.middleware.exceptions import ThrottlesExceptions
from broadcaster.jobs.middleware.limiting import Limit, RateLimited, RateLimiter, Throttle, limit
from broadcaster.jobs.middleware.overlapping import WithoutOverlapping
from broadcaster.jobs.middleware.skipping import SkipIf, SkipUnless
from broadcaster.jobs.middleware.transactions import transaction

__all__ = [
    "Limit",
    "Middleware",
    "Next",
    "RateLimited",
    "RateLimiter",
    "SkipIf",
    "SkipUnless",
    "SyncNext",
    "Throttle",
    "ThrottlesExceptions",
    "WithoutOverlapping",
    "limit",
    "transaction",
]
