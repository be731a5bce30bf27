"""What may happen: pure decisions over recorded events, one module a concept."""
