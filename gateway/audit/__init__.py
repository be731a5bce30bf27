"""What an auditor recomputes from a journal: decisions, the facts that they rested on, solver runs, and what would have followed."""
