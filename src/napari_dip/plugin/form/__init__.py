"""What the user chooses: which image, what is wrong with it, and how to restore it."""
