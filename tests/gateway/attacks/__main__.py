"""Prints the page of attacks."""

from tests.gateway.attacks.page import page

print(page(), end="")
