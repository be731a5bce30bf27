"""`gavel settings`: every setting with its type, default, meaning, other names, value, and who set it."""

import argparse
import os
from collections.abc import Sequence

from gateway.commands.answers import add_json, print_json
from gateway.commands.common import add_settings
from gateway.settings import rows
from gateway.verdicts import FINE, Wrong
from runtime.settings import Row, SettingsFaulty


def arguments(parser: argparse.ArgumentParser) -> None:
    add_settings(parser)
    add_json(parser)


def run(options: argparse.Namespace) -> int:
    environment = dict(os.environ)
    if options.data is not None:
        environment["GAVEL_DATA"] = str(options.data)
    try:
        listing = rows(environment, config_paths=options.config)
    except (SettingsFaulty, OSError) as error:
        raise Wrong(f"settings: {error}") from error
    if options.json:
        print_json({"settings": listing})
    else:
        _print_table(listing)
    return FINE


def _print_table(listing: Sequence[Row]) -> None:
    for row in listing:
        idle = "" if row.used else "; no part acts on it yet"
        over = f", over {', '.join(row.over)}" if row.over else ""
        print(f"{row.name} = {row.value}  ({row.source}{over})")
        print(f"    {row.meaning}{idle}")
        print(f"    {row.type}, default {row.default}; {', '.join((*row.environment, *row.keys))}")
