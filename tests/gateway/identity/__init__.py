"""What identity providers say, and what is made of it."""
