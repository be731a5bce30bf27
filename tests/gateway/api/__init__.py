"""What every request of the API shares."""
