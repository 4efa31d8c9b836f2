"""The page of a run's cells on a GPU."""
