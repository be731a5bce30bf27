"""The security actor of the node, and what it decides of keys, users, their sessions and revocations."""
