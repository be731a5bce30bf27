"""The document of the older paths (OpenAPI 3.1): made as that of the table is, and apart from it.

Apart, because most of these paths are second names: in one document each such operation would stand twice, and clients that are made of
it would offer both. Whoever has a program that calls the older paths finds here what they answer today.
"""

import re
from collections.abc import Sequence
from typing import Any

from gateway.api.aliases import ALIAS_BY_ROUTE, Family
from gateway.api.calls import Endpoint
from gateway.api.openapi import PATH_PARAMETER
from gateway.api.openapi import document as document_of
from gateway.api.schemas import Schema

MEANING_BY_FAMILY = {
    Family.PHASE_2: "Paths below `/phase2`.",
    Family.PHASE_2_1: "Paths below `/phase2.1`.",
    Family.SERVICES: "Paths of the services that once had a port each: coordinator, learning, optimizer.",
}
DESCRIPTION = """\
Second names for operations of `/openapi.json`, and paths that nothing answers yet (501, `not_served`). What has a successor says so
with each answer: `Deprecation`, `Sunset`, and a `Link` to it.
"""


def document(lines: Sequence[Endpoint], version: str) -> Schema:
    """The document of these lines. An operation is called by its path, and grouped by what it came with."""
    made = dict(document_of(lines, version))
    del made["x-problems"]
    families = {ALIAS_BY_ROUTE[line.route].family for line in lines}
    made["tags"] = [{"name": one, "description": MEANING_BY_FAMILY[one]} for one in Family if one in families]
    made["info"] |= {"title": "Gavel's older paths", "description": DESCRIPTION}
    for line in lines:
        operation = made["paths"][PATH_PARAMETER.sub(r"{\1}", line.path)][line.method.lower()]
        operation |= _named(line, operation)
    return made


def _named(line: Endpoint, operation: Schema) -> dict[str, Any]:
    alias = ALIAS_BY_ROUTE[line.route]
    words = re.findall(r"[a-z0-9]+", line.path.lower())
    named = {"operationId": "_".join([line.method.lower(), *words]), "tags": [alias.family]}
    return named if alias.is_served else named | {"description": f"{operation['description']}\n\n{alias.sentence}."}
