"""Abstract tasks, whose trials are a few numbers at each step. Every module here is imported with `cordstasks.tasks`."""
