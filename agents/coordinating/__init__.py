"""The coordinator of a tenant, what it keeps in mind, and how it comes to its decisions."""
