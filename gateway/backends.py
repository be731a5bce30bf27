"""The backends of solves that a node's settings set it up for."""

from gateway.settings import GavelSettings
from solvers.backends import LOCAL, Backend, Dynex


def backends_of(settings: GavelSettings) -> tuple[Backend, ...]:
    """All there are, ready or not."""
    is_named = settings.quantum_backend == Dynex.name
    return LOCAL, Dynex(is_named=is_named, api_key=settings.dynex_api_key, api_secret=settings.dynex_api_secret)
