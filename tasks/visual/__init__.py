"""Visual tasks, whose trials are movies: one per module. Every module here is imported with `cordstasks.tasks`."""
