"""The engine: actors, the journal, projections' engine, the clock; nothing of the domain."""
