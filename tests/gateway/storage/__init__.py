"""Where a node keeps what it keeps: its folder, its journals, and the keys of both."""
