"""What identity providers say of those who call and of those who sign in: whose tokens are taken, by which keys, and for whom."""
