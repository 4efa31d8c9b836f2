"""What is kept: cells, fits, arrays, and the messages between the parent and its workers."""
