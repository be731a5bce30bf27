"""What commands share: how settings are read from the options."""

import argparse
import os
import re
from pathlib import Path

from msgspec.structs import replace

from aggregates.journal import SHARED
from aggregates.values.ids import TENANT_NAME
from gateway.settings import PREFIX, GavelSettings, resolved
from gateway.storage.folder import DataFolder
from gateway.verdicts import Wrong
from runtime.settings import Resolved, SettingsFaulty
from runtime.telemetry import configure


def add_settings(parser: argparse.ArgumentParser) -> None:
    """The options that say where settings come from and where the data lies."""
    parser.add_argument("--data", type=Path, metavar="DIR", help="the data folder (GAVEL_DATA)")
    parser.add_argument(
        "--config",
        type=Path,
        metavar="FILE",
        action="append",
        default=[],
        help="a settings file, TOML or YAML; repeatable",
    )


def add_journal(parser: argparse.ArgumentParser) -> None:
    """The option that names the journal of an isolated tenant."""
    parser.add_argument("--journal", metavar="NAME", default=SHARED, help="a named journal; by default the shared one")


def read_journal_settings(options: argparse.Namespace) -> GavelSettings:
    """The settings that hold for the files of the journal that the options name. Raises Wrong where it is not there."""
    settings = read_settings(options, log_level="warning")
    if options.journal == SHARED:
        return settings
    master = settings.master_key_file or DataFolder(settings.data).master_key  # the node's, for all its journals
    named = named_folder(settings, options.journal).path
    return replace(settings, data=named, journal="", read_models="", master_key_file=master)


def named_folder(settings: GavelSettings, journal: str) -> DataFolder:
    """The folder of a journal. Raises Wrong where it is not there."""
    folder = DataFolder(settings.data)
    if journal == SHARED:
        return folder
    if not (re.fullmatch(TENANT_NAME, journal) and folder.named(journal).journal.is_file()):
        raise Wrong(f"there is no journal {journal} in {settings.data}")
    return folder.named(journal)


def read_settings(options: argparse.Namespace, **given: object) -> GavelSettings:
    """The settings that hold, those `given` (None: not given) over all others; logs go to stderr from here on."""
    return read_resolved(options, **given).settings


def read_resolved(options: argparse.Namespace, **given: object) -> Resolved[GavelSettings]:
    """The same, with who has said them."""
    named = {name: value for name, value in {"data": options.data, **given}.items() if value is not None}
    environment = dict(os.environ) | {f"{PREFIX}{name.upper()}": _text(value) for name, value in named.items()}
    try:
        found = resolved(environment, config_paths=options.config)
    except (SettingsFaulty, OSError) as error:
        raise Wrong(f"settings: {error}") from error
    configure(found.settings.log_format, found.settings.log_level)
    return found


def _text(value: object) -> str:
    """As the environment would have it."""
    return ",".join(value) if isinstance(value, list) else str(value)
