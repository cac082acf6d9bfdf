"""A run: its worker, and what the window shows during and after it."""
