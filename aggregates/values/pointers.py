"""JSON pointers (RFC 6901): where in a document something stands."""


def child(pointer: str, name: object) -> str:
    """One step down."""
    return f"{pointer}/{str(name).replace('~', '~0').replace('/', '~1')}"
