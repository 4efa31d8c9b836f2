"""What pictures are made of: one style for all figures, and what a task's picture is given."""
