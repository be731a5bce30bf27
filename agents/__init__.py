"""Who does it: the actors, and the roster that lists them."""
