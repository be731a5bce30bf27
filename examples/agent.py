"""An agent for Gavel: bids on calls for its skills, and runs a program for each task it wins (award in, result out, as JSON).

Needs the package `websockets`, and an enrolment key in GAVEL_KEY (`gavel keys create --role agent`); the program finds the agent's own
key there. What it says it says again, until the node acknowledges it: the node knows what it has heard before.
"""

import argparse
import json
import os
import shlex
import subprocess
import sys
import threading
import time
from urllib.request import Request, urlopen

from websockets.exceptions import WebSocketException
from websockets.sync.client import connect

parser = argparse.ArgumentParser()
defaults = {"url": "http://127.0.0.1:8070", "id": "echo", "skills": "echo", "price": 1.0, "pace": 0.5, "exec": "cat"}
for option, default in defaults.items():
    parser.add_argument(f"--{option}", default=os.environ.get(f"GAVEL_{option.upper()}", default), type=type(default))
me = parser.parse_args(namespace=argparse.Namespace(beat=5.0))
key, position, programs, answers = "", "", {}, {}


def register():
    profile = {"id": me.id, "name": me.id, "agent_type": "performance", "capabilities": me.skills.split(",")}
    headers = {"Authorization": f"Bearer {os.environ['GAVEL_KEY']}", "Idempotency-Key": f"register-{me.id}"}
    body = json.dumps(profile | {"price": me.price}).encode()
    with urlopen(Request(f"{me.url}/v1/agents", body, headers | {"Content-Type": "application/json"})) as reply:
        return json.load(reply)["key"]


def work(award, name):
    pipe, environment = subprocess.PIPE, os.environ | {"GAVEL_URL": me.url, "GAVEL_KEY": key}
    about = {"type": "start", "id": f"{name}/start", "task_id": award["task_id"], "token": award["token"]}
    answers[f"{name}/start"] = about
    try:
        programs[name] = program = subprocess.Popen(shlex.split(me.exec), stdin=pipe, stdout=pipe, env=environment)
        output, _ = program.communicate(json.dumps(award).encode())
        if program.returncode:
            raise ValueError(f"its program ended with {program.returncode}")
        answers[name] = about | {"type": "complete", "id": name, "result": dict(json.loads(output))}
    except (OSError, ValueError, TypeError) as error:
        answers[name] = about | {"type": "fail", "id": name, "reason": str(error)[:500]}


def hear(frame):
    match frame:
        case {"type": "call", "task_id": task, "budget_seconds": budget}:
            bid = {"price": me.price, "eta_seconds": me.pace * budget, "confidence": 0.9}
            answers[task] = {"type": "bid", "id": task, "task_id": task} | bid
        case {"type": "award", "task_id": task, "token": token} if f"{task}/{token}" not in programs:
            programs[f"{task}/{token}"] = None
            threading.Thread(target=work, args=(frame, f"{task}/{token}"), daemon=True).start()
        case {"type": "welcome", "leases": leases, "heartbeat_seconds": beat}:
            me.beat = beat
            for award in leases:  # what an earlier run of this agent was awarded and did not finish
                hear(award | {"type": "award"})
        case {"type": "revoked", "task_id": task, "token": token} if programs.get(f"{task}/{token}"):
            programs[f"{task}/{token}"].kill()
        case {"type": "ack" | "problem", "id": name} if frame.get("status", 0) < 500:
            answers.pop(name, None)


def talk(socket):
    global position
    told, beat_at = {}, 0.0
    while True:
        if time.monotonic() >= beat_at:
            answers["beat"], beat_at = {"type": "heartbeat", "id": "beat"}, time.monotonic() + me.beat
            told.clear()
        for name, frame in list(answers.items()):
            if told.get(name) is not frame:
                socket.send(json.dumps(frame))
                told[name] = frame
        try:
            frame = json.loads(socket.recv(timeout=0.2))
            hear(frame)
            position = frame.get("position", position)
        except (TimeoutError, ValueError, TypeError, AttributeError):
            continue


while True:
    try:
        key = key or register()
        address = f"{me.url.replace('http', 'ws', 1)}/v1/agents/{me.id}/ws{position and f'?after={position}'}"
        bearer = {"Authorization": f"Bearer {key}"}
        with connect(address, subprotocols=["gavel.v1.json"], additional_headers=bearer) as socket:
            talk(socket)
    except (OSError, WebSocketException) as error:
        if "HTTP Error 4" in str(error) or "HTTP 4" in str(error):
            sys.exit(f"{me.id}: the node says no: {error}")
    time.sleep(1)
