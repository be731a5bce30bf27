"""Webhooks: a courier for each, what it sends, and how that is signed."""
