"""The quantum circuit Born machine (task 3)."""
