"""What the user says: which image, what is wrong with it, and how it is to be restored."""
