"""What people see: read models, one module a table or a few."""
