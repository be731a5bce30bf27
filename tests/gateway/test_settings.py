"""Gavel's settings: every name that people have in files and environments is read, and the listing is honest."""

import re
from pathlib import Path

import pytest
from msgspec.structs import replace

from gateway.scoring import score_weights
from gateway.settings import GavelSettings, load, page, rows
from runtime.settings import SettingsFaulty

ROOT = Path(__file__).parents[2]
CONFIG = Path(__file__).parent / "config"
CONFIG_PATHS = tuple(
    CONFIG / name for name in ("multi-agent.yaml", "adaptive-learning.yaml", "production-optimizer.yaml")
)
STOREYS = ("runtime", "aggregates", "agents", "solvers", "projections", "gateway")

# Each environment name that deployments set, with a value other than the default, and the setting that it sets.
ENVIRONMENT = {
    "REDIS_HOST": ("redis.example", "redis_host", "redis.example"),
    "REDIS_PORT": ("6380", "redis_port", 6380),
    "POSTGRES_HOST": ("db.example", "postgres_host", "db.example"),
    "POSTGRES_PORT": ("5433", "postgres_port", 5433),
    "POSTGRES_DB": ("nexus_architect", "postgres_database", "nexus_architect"),
    "POSTGRES_USER": ("nexus_user", "postgres_user", "nexus_user"),
    "POSTGRES_PASSWORD": ("sesame", "postgres_password", "sesame"),
    "COORDINATION_INTERVAL": ("31", "coordination_interval_seconds", 31.0),
    "MAX_TASK_RETRIES": ("4", "task_retries_max", 4),
    "TASK_TIMEOUT": ("60", "task_timeout_seconds", 60.0),
    "GAVEL_TASKS_AGING_FACTOR": ("0.2", "priority_aging_factor", 0.2),
    "GAVEL_MAX_CONCURRENT_TASKS": ("7", "tasks_running_max", 7),
    "GAVEL_TENANT_CONCURRENT_TASKS_MAX": ("5", "tasks_running_per_tenant_max", 5),
    "LEARNING_RATE": ("0.2", "learning_rate", 0.2),
    "ADAPTATION_THRESHOLD": ("0.9", "adaptation_threshold", 0.9),
    "RETRAINING_INTERVAL": ("12", "retraining_interval_hours", 12.0),
    "OPTIMIZATION_INTERVAL": ("301", "optimization_interval_seconds", 301.0),
    "RELIABILITY_CHECK_INTERVAL": ("3601", "reliability_interval_seconds", 3601.0),
    "MONITORING_ENABLED": ("false", "monitoring_enabled", False),
    "PHASE2_ENABLED": ("false", "phase2_enabled", False),
    "MAX_TENANTS": ("7", "tenants_max", 7),
    "QUANTUM_BACKEND": ("dynex", "quantum_backend", "dynex"),
    "ENTERPRISE_SSO_PROVIDER": ("saml", "sso_provider", "saml"),
    "SSO_PROVIDER": ("saml", "sso_provider", "saml"),
    "SAML_CERT_PATH": ("/path/to/saml/cert.pem", "saml_certificate", Path("/path/to/saml/cert.pem")),
    "COMPLIANCE_FRAMEWORKS": ("SOC2,ISO27001,GDPR", "compliance_frameworks", ("SOC2", "ISO27001", "GDPR")),
    "ML_MODEL_PATH": ("/path/to/scaling/models", "scaling_models", Path("/path/to/scaling/models")),
    "PREDICTION_HORIZON": ("48", "scaling_horizon_hours", 48.0),
    "SCALING_OPTIMIZATION_ALGORITHM": ("tabu", "scaling_algorithm", "tabu"),
    "MARKETPLACE_ENABLED": ("false", "marketplace_enabled", False),
    "ALGORITHM_STORAGE_PATH": ("/path/to/algorithms", "marketplace_files", Path("/path/to/algorithms")),
    "COMMUNITY_FORUM_ENABLED": ("false", "forum_enabled", False),
}


@pytest.mark.parametrize("name", ENVIRONMENT)
def test_each_environment_name_sets_its_setting(name: str):
    text, setting, value = ENVIRONMENT[name]
    assert getattr(load({name: text}), setting) == value
    assert getattr(load({}), setting) != value


def test_no_environment_alias_is_left_untested():
    assert {alias for row in rows({}) for alias in row.environment[1:]} == set(ENVIRONMENT)


def test_the_three_yaml_files_are_read_as_they_stand_and_hold_the_defaults_but_for_the_bound_of_running_tasks():
    found = load({}, config_paths=CONFIG_PATHS)
    assert (found.tasks_running_max, load({}).tasks_running_max) == (100, 0)
    assert replace(found, tasks_running_max=0) == load({})


@pytest.mark.parametrize("text", ["acme", "acme=", "acme=0", "acme=0.000", "acme=-1", "=1", "acme=1000", "acme=1e3"])
def test_what_is_no_weight_of_a_tenant_is_refused(text: str):
    with pytest.raises(SettingsFaulty, match="GAVEL_TENANT_WEIGHTS"):
        load({"GAVEL_TENANT_WEIGHTS": text})
    assert load({"GAVEL_TENANT_WEIGHTS": "acme=2.5, b=0.01"}).tenant_weights == ("acme=2.5", "b=0.01")


def test_each_key_of_the_yaml_files_is_in_the_listing():
    listing = rows({}, config_paths=CONFIG_PATHS)
    named = {key for row in listing for key in row.keys if row.source.endswith(f"({key})")}
    assert named == {key for row in listing for key in row.keys}


def test_a_yaml_file_with_other_numbers_is_obeyed(tmp_path: Path):
    text = (CONFIG / "multi-agent.yaml").read_text(encoding="utf-8")
    path = tmp_path / "multi-agent.yaml"
    path.write_text(text.replace("heartbeat_timeout: 120", "heartbeat_timeout: 5"), encoding="utf-8")
    assert load({}, config_paths=[path]).lease_seconds == 5.0


def test_weights_that_do_not_add_up_to_one_are_refused(tmp_path: Path):
    path = tmp_path / "a.yaml"
    path.write_text("agents:\n  performance_weight:\n    current_load: 0.4\n", encoding="utf-8")
    with pytest.raises(SettingsFaulty, match=r"agents\.performance_weight: the weights add up to 1\.1, not to 1"):
        load({}, config_paths=[path])


def test_the_weights_of_a_bid_are_set_together_and_lie_between_0_and_1():
    given = load({"GAVEL_BID_WEIGHT": '{"price": 0.7, "speed": 0.1}', "GAVEL_SCORE_AGENT_SHARE": "0"})
    weights = score_weights(given)
    assert weights is not None
    assert (weights.agent_share, weights.price, weights.speed, weights.confidence) == (0.0, 0.7, 0.1, 0.2)
    assert score_weights(load({})) is None
    with pytest.raises(SettingsFaulty, match=r"GAVEL_BID_WEIGHT: the weights add up to 1\.1, not to 1"):
        load({"GAVEL_BID_WEIGHT": '{"price": 0.5}'})
    with pytest.raises(SettingsFaulty, match="GAVEL_BID_WEIGHT"):
        load({"GAVEL_BID_WEIGHT": '{"price": 1.5, "speed": -0.7}'})


def test_all_that_is_wrong_with_a_file_is_named_in_one_error_with_key_and_line(tmp_path: Path):
    path = tmp_path / "multi-agent.yaml"
    path.write_text(
        "coordination:\n"
        "  interval_seconds: 0\n"
        "  consensus_treshold: 0.7\n"
        "agents:\n"
        "  performance_weight:\n"
        "    current_load: -0.3\n"
        "    charm: 0.2\n"
        "tasks:\n"
        "  max_retries: many\n",
        encoding="utf-8",
    )
    with pytest.raises(SettingsFaulty) as caught:
        load({}, config_paths=[path])
    assert set(caught.value.faults) == {
        f"{path}, line 2: coordination.interval_seconds: Expected `float` > 0.0",
        f"{path}, line 3: coordination.consensus_treshold: no such setting (did you mean coordination.consensus_threshold?)",
        f"{path}, line 6: agents.performance_weight.current_load: Expected `float` >= 0.0",
        f"{path}, line 7: agents.performance_weight.charm: no such setting",
        f"{path}, line 9: tasks.max_retries: Expected `int`, got `str`",
    }


def test_the_environment_may_name_the_coordination_file_which_comes_before_those_of_the_command_line(tmp_path: Path):
    named, given = tmp_path / "named.yaml", tmp_path / "given.yaml"
    named.write_text("tasks: {max_retries: 5, default_timeout: 7}\n", encoding="utf-8")
    given.write_text("tasks: {max_retries: 6}\n", encoding="utf-8")
    found = load({"GAVEL_COORDINATION_CONFIG": str(named)}, config_paths=[given])
    assert (found.task_retries_max, found.task_timeout_seconds) == (6, 7.0)


def test_the_environment_may_name_the_toml_file(tmp_path: Path):
    path = tmp_path / "gavel.toml"
    path.write_text("mailbox_max = 8\n", encoding="utf-8")
    assert load({"GAVEL_SETTINGS": str(path)}).mailbox_max == 8
    assert load({"GAVEL_SETTINGS": str(path), "GAVEL_MAILBOX_MAX": "9"}).mailbox_max == 9


@pytest.mark.parametrize(
    "bind",
    [
        "127.0.0.1:8070",
        "[::1]:0",
        "localhost:80",
        "0.0.0.0:65535",
        "unix:/run/gavel",
        "https://[::]:443",
        "web=http://a:1",
        "systemd",
    ],
)
def test_an_address_with_a_port_is_taken(bind: str):
    assert load({"GAVEL_BIND": bind}).bind == (bind,)


@pytest.mark.parametrize(
    "bind", ["127.0.0.1", "8070", ":8070", "::1:8070", "localhost:port", "a b:1", "unix:gavel", "ftp://a:1"]
)
def test_an_address_without_host_or_port_is_refused(bind: str):
    with pytest.raises(SettingsFaulty, match="GAVEL_BIND"):
        load({"GAVEL_BIND": bind})


def test_the_page_of_settings_is_up_to_date():
    assert (ROOT / "docs" / "settings.md").read_text(encoding="utf-8") == page()


def code() -> str:
    own = ROOT / "gateway" / "settings.py"
    paths = sorted(path for storey in STOREYS for path in (ROOT / storey).rglob("*.py") if path != own)
    return "\n".join(path.read_text(encoding="utf-8") for path in paths)


def test_the_listing_says_of_each_setting_whether_a_part_acts_on_it():
    read = set(re.findall(r"\bsettings\.(\w+)", code())) & set(GavelSettings.__struct_fields__)
    assert {row.name for row in rows({}) if row.used} == read
