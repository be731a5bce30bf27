"""What lies in `deploy/` and beside it runs: the image's command and health check, the unit, the scrape job, what dashboards ask for."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from gateway.settings import rows
from gateway.verdicts import CRASHED, WRONG
from tests.gateway.clients import Client, open_client, settings_of
from tests.gateway.prometheus import parsed

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
SECONDS_MAX = 120
METRIC = re.compile(r"\bgavel_[a-z_]+")


def instructions() -> list[tuple[str, str]]:
    """The Dockerfile's, with continued lines joined."""
    text = re.sub(r"\\\n", " ", (ROOT / "Dockerfile").read_text())
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    return [(line.partition(" ")[0], line.partition(" ")[2].strip()) for line in lines]


def of(name: str) -> list[str]:
    return [said for instruction, said in instructions() if instruction == name]


def test_the_image_copies_what_is_there_and_runs_as_nobody() -> None:
    for said in of("COPY"):
        if not said.startswith("--from"):
            assert all((ROOT / path).exists() for path in said.split()[:-1]), said
    assert of("USER") == ["10001:10001"]
    assert of("STOPSIGNAL") == ["SIGTERM"]
    packages = re.search(r"^packages = \[(.*)\]$", (ROOT / "pyproject.toml").read_text(), re.MULTILINE)
    assert packages is not None
    assert {f"{name} {name}" for name in re.findall(r'"(\w+)"', packages[1])} - {
        "benchmarks benchmarks",
        "tests tests",
    } <= set(of("COPY"))


def test_the_images_command_serves_is_healthy_by_its_own_check_and_stops_when_told(tmp_path: Path) -> None:
    named = dict(pair.split("=", 1) for said in of("ENV") for pair in said.split())
    inside = {name: value for name, value in named.items() if name.startswith("GAVEL_")}
    assert inside == {"GAVEL_DATA": "/data", "GAVEL_BIND": "0.0.0.0:8070"}
    (entry,), (command,) = ([json.loads(said) for said in of(name)] for name in ("ENTRYPOINT", "CMD"))
    kept = {name: value for name, value in os.environ.items() if not name.startswith("GAVEL_")}
    here = kept | {"GAVEL_DATA": str(tmp_path / "data"), "GAVEL_BIND": "0.0.0.0:0"}
    assert entry == ["gavel"]
    run = [sys.executable, "-P", "-m", "gateway.cli", *command]
    with subprocess.Popen(run, cwd=ROOT, env=here, stderr=subprocess.PIPE, text=True) as node:
        try:
            port = _port(node)
            (check,) = (json.loads(said.partition("CMD ")[2]) for said in of("HEALTHCHECK"))
            told = [part.replace(":8070", f":{port}") for part in check[1:]]
            assert subprocess.run([sys.executable, *told], timeout=SECONDS_MAX).returncode == 0
            node.send_signal(signal.SIGTERM)
            node.communicate(timeout=SECONDS_MAX)
        finally:
            node.kill()
    assert node.returncode == 0


def _port(node: "subprocess.Popen[str]") -> str:
    assert node.stderr is not None
    for line in node.stderr:
        if found := re.search(r"http://[^:]+:(\d+)/session", line):
            return found[1]
    raise AssertionError("it does not serve")


def test_compose_names_real_settings_and_files() -> None:
    services = yaml.safe_load((ROOT / "compose.yaml").read_text())["services"]
    known = {name for row in rows({}) for name in row.environment}
    assert set(services["gavel"]["environment"]) <= known
    for service in services.values():
        for volume in service["volumes"]:
            source = volume.partition(":")[0]
            assert not source.startswith(".") or source == "./deploy/metrics-key" or (ROOT / source).exists(), source
    assert all(port.startswith("127.0.0.1:") for service in services.values() for port in service["ports"])


def unit() -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for line in (DEPLOY / "gavel.service").read_text().splitlines():
        name, equals, said = line.partition("=")
        if equals and not line.startswith("#"):
            found.setdefault(name, []).append(said)
    return found


def test_the_unit_knows_our_exit_codes_and_stops_in_time() -> None:
    said = unit()
    assert said["RestartPreventExitStatus"] == [str(WRONG)]
    assert f"A crash is {CRASHED} " in (DEPLOY / "gavel.service").read_text()
    assert said["ExecStart"][0].split()[1:] == ["serve"]
    assert int(said["TimeoutStopSec"][0]) > 5
    assert said["StateDirectory"] == ["gavel"]
    assert "GAVEL_DATA=/var/lib/gavel" in said["Environment"]


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed")
def test_systemd_finds_nothing_wrong_with_the_unit(tmp_path: Path) -> None:
    text = (DEPLOY / "gavel.service").read_text().replace("/opt/gavel/bin/gavel", "/bin/true")
    (tmp_path / "gavel.service").write_text(re.sub(r"^(User|Group)=.*\n", "", text, flags=re.MULTILINE))
    command = ["systemd-analyze", "verify", str(tmp_path / "gavel.service")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS_MAX)
    assert (done.returncode, done.stderr) == (0, "")


def _expressions() -> Iterator[tuple[str, str]]:
    for path in sorted(DEPLOY.glob("dashboards/*.json")):
        board = json.loads(path.read_text())
        for panel in board["panels"]:
            for target in panel["targets"]:
                yield f"{path.name}: {panel['title']}", target["expr"]
    for group in yaml.safe_load((DEPLOY / "alerts.yml").read_text())["groups"]:
        for rule in group["rules"]:
            yield rule["alert"], rule["expr"]


async def test_dashboards_and_alerts_ask_for_what_the_node_tells(tmp_path: Path) -> None:
    job: Any = yaml.safe_load((DEPLOY / "prometheus.yml").read_text())["scrape_configs"][0]
    async with open_client(settings_of(tmp_path)) as admin:
        await admin.submit()
        made = (await admin.ask("POST", "/v1/keys", {"role": "read_only", "scopes": ["node:read"]})).json()
        answer = await Client(admin.node, admin.http, made["key"]).ask("GET", job["metrics_path"])
    assert answer.status_code == 200
    told = {name.partition("{")[0] for name in parsed(answer.text)}
    told |= set(re.findall(r"^# TYPE (\S+)", answer.text, re.MULTILINE))
    expressions = list(_expressions())
    assert len(expressions) > 20
    for where, expression in expressions:
        for name in METRIC.findall(expression):
            assert {name, re.sub("_(bucket|sum|count)$", "", name)} & told, (
                f"{where} asks for {name}, which /metrics does not tell"
            )


@pytest.mark.soak
def test_the_bill_of_materials_names_all_that_is_pinned() -> None:
    subprocess.run(["make", "sbom"], cwd=ROOT, check=True, capture_output=True, timeout=300)
    bill = json.loads((ROOT / "build" / "sbom.json").read_text())
    assert bill["bomFormat"] == "CycloneDX"
    named = {f"{one['name'].lower().replace('_', '-')}=={one['version']}" for one in bill["components"]}
    pinned = {line.lower().replace("_", "-") for line in (ROOT / "constraints.txt").read_text().split()}
    assert pinned <= named
    assert bill["metadata"]["component"]["name"] == "gavel-runtime"
