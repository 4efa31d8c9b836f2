"""The process that computes: it measures what a task's functions do, and answers the parent."""
