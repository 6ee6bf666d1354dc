"""What is measured beside the training runs: each a command that leaves one record."""
