"""What the runs of a job go through: limits, locks, transactions."""
