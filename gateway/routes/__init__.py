"""The routes, one module a resource; each has a line in `gateway/app.py`."""
