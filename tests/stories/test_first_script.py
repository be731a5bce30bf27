"""The first script of the earlier interface's manual, letter by letter, and its sample task: what was written for it goes on."""

import json
import socket
import sys
from pathlib import Path

import httpx2
import pytest
import trio

from tests.stories.nodes import serving

PORT = 8070

SCRIPT = """
import requests
import json

# Start coordination
response = requests.post('http://localhost:8070/coordination/start')
print(f"Coordination started: {response.json()}")

# Register an agent
agent_data = {
    "id": "qa_agent_001",
    "agent_type": "qa_automation",
    "name": "QA Automation Agent",
    "capabilities": ["testing", "validation", "quality_assurance"],
    "max_capacity": 80.0,
    "specializations": ["integration_testing", "performance_testing"]
}

response = requests.post('http://localhost:8070/agents', json=agent_data)
print(f"Agent registered: {response.json()}")

# Submit a task
task_data = {
    "task_type": "testing",
    "priority": 3,
    "description": "Run integration tests for new feature",
    "requirements": {
        "test_type": "integration",
        "coverage_threshold": 0.85
    },
    "estimated_duration": 900.0
}

response = requests.post('http://localhost:8070/tasks', json=task_data)
print(f"Task submitted: {response.json()}")

# Check coordination status
response = requests.get('http://localhost:8070/coordination/status')
status = response.json()
print(f"Active agents: {status['active_agents']}")
print(f"Pending tasks: {status['pending_tasks']}")
"""

SAMPLE = """
{
  "task_type": "analysis",
  "priority": 3,
  "description": "Analyze system performance trends",
  "requirements": {
    "complexity": "high",
    "resources": {"cpu": 2.0, "memory": 4.0}
  },
  "dependencies": ["task_001", "task_002"],
  "deadline": "2024-01-15T10:00:00Z",
  "estimated_duration": 1800.0
}
"""


@pytest.fixture(autouse=True)
def _port_is_free() -> None:
    """The script names its port."""
    with socket.socket() as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            taken.bind(("127.0.0.1", PORT))
        except OSError:
            pytest.skip(f"port {PORT} is taken on this machine")


async def test_the_script_runs_unchanged_and_its_sample_is_told_all_that_is_wrong_with_it(tmp_path: Path) -> None:
    coordinator = f"coordinator=127.0.0.1:{PORT}"
    async with serving(tmp_path, extra_binds=coordinator, open_loopback="true") as served:
        await served.open()
        ran = await trio.run_process([sys.executable, "-c", SCRIPT], capture_stdout=True)
        said = ran.stdout.decode().splitlines()
        assert [line.partition(":")[0] for line in said] == [
            "Coordination started",
            "Agent registered",
            "Task submitted",
            "Active agents",
            "Pending tasks",
        ]
        assert "'running': True" in said[0]
        assert "'agent_id': 'qa_agent_001'" in said[1]
        assert said[3:] == ["Active agents: 2", "Pending tasks: 1"]  # the house has an agent of its own
        async with httpx2.AsyncClient(base_url=f"http://localhost:{PORT}") as client:
            sample = json.loads(SAMPLE)
            refused = await client.post("/tasks", json=sample)
            assert refused.status_code == 422
            assert all(what in refused.text for what in ("task_001", "task_002", "deadline_passed"))
            mended = [(await client.post("/tasks", json={"task_type": "analysis"})).json()["task_id"] for _ in range(2)]
            sample |= {"dependencies": mended, "deadline": "2999-01-15T10:00:00Z"}
            assert (await client.post("/tasks", json=sample)).status_code == 202
            assert (await client.post("/coordination/stop")).json()["running"] is False
