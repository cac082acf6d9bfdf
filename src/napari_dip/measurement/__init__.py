"""What we know: what was measured, which pixels are missing, what the task is."""
