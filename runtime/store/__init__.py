"""Where records rest: recorders of the `eventsourcing` library, tuned by subclassing."""
