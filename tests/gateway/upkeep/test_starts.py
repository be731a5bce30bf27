"""The settings that a node was started with are on record, secrets as digests, and only where they have changed."""

from pathlib import Path

from msgspec.structs import replace

from aggregates.trail import SETTINGS, SettingsChanged
from gateway.node import Node, open_node
from gateway.settings import GavelSettings
from gateway.upkeep.starts import settings_facts
from tests.gateway.clients import settings_of


def changes(node: Node) -> list[SettingsChanged]:
    return [record.event for record in node.store.read_stream(SETTINGS) if isinstance(record.event, SettingsChanged)]


async def test_a_start_with_other_settings_is_on_record_and_one_with_the_same_adds_nothing(tmp_path: Path) -> None:
    settings = settings_of(tmp_path)
    for given, passing, count in (
        (settings, False, 1),
        (settings, False, 1),
        (replace(settings, lease_seconds=7.0), True, 1),
        (replace(settings, lease_seconds=7.0), False, 2),
    ):
        async with open_node(given, door=False, passing=passing) as node:
            found = changes(node)
            assert len(found) == count
    assert found[-1].changed == ("lease_seconds",)
    assert found[-1].settings["lease_seconds"] == "7.0"


def test_a_secret_is_a_digest_under_the_nodes_own_and_the_folder_is_nowhere(tmp_path: Path) -> None:
    settings = GavelSettings(data=tmp_path, journal="postgresql://gavel:pass@db/gavel")
    facts, again, other = (settings_facts(settings, secret) for secret in (b"s", b"s", b"t"))
    assert facts == again
    assert facts["journal"].startswith("digest ")
    assert facts["journal"] != other["journal"]
    assert "gavel:pass" not in str(facts)
    assert str(tmp_path) not in str(facts)
    assert settings_facts(GavelSettings(data=tmp_path), b"s")["journal"] == '""'
