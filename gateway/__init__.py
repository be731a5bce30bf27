"""The door: routes, authentication, limits, the live feed, the command line."""
