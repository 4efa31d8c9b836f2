"""What happens inside a worker: one process that computes and times the cells of one task on one backend."""
