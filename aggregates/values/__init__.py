"""Pure values that several aggregates share."""
