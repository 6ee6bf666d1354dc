"""The study: which runs it has, what has been run, and what the book makes of it."""
