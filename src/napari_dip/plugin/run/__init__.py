"""A run: the worker, and what is shown while it works and after."""
