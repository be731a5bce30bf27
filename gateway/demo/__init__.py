"""The demo: agents in processes of their own bid for real problems, solve, check each other, lose one of their number, and are proven."""
