"""The tensor renormalisation group (task 4)."""
