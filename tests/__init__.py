"""What is tested, in the same folders as what it tests."""
