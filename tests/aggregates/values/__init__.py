"""Checks of the values that commands and events are made of."""
