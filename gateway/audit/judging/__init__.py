"""The judges of an audit: whether the facts of each kind of command were so."""
