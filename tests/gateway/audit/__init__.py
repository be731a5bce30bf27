"""What an auditor recomputes."""
