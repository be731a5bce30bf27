"""An agent for Gavel: bids on calls for its skills, and runs a program for each task it wins (award in, result out, as JSON).

Needs the package `websockets`, and in the environment GAVEL_URL and GAVEL_KEY (`gavel keys create --role agent`; the program finds
the agent's own key there), GAVEL_ID, GAVEL_SKILLS (with commas), GAVEL_BID (as JSON: price, eta_seconds) and GAVEL_EXEC (the program).
What was not acknowledged is said again at the next connection; there the node tells again what the agent holds.
"""

import json
import time
from contextlib import suppress
from os import environ
from subprocess import PIPE, Popen
from threading import Thread

from websockets.exceptions import WebSocketException
from websockets.sync.client import connect

url = "{GAVEL_URL}/v1/agents/{GAVEL_ID}/ws?capabilities={GAVEL_SKILLS}&after=".format(**environ)
bid, command = json.loads(environ["GAVEL_BID"]), "exec " + environ["GAVEL_EXEC"]
runs, unheard, position = {}, {}, ""


def say(**frame):
    unheard[frame["id"]] = frame
    with suppress(WebSocketException):
        socket.send(json.dumps(frame))


def work(run, award, task, token):
    output, _ = run.communicate(json.dumps(award))
    say(type="finish", id=f"{task}/{token}", task_id=task, token=token, output=output, exit_code=run.returncode)


while True:
    try:
        bearer = {"Authorization": f"Bearer {environ['GAVEL_KEY']}"}
        with connect(f"ws{url[4:]}{position}", additional_headers=bearer) as socket:
            for frame in list(unheard.values()):
                say(**frame)
            for frame in map(json.loads, socket):
                position, environ["GAVEL_KEY"] = frame.get("position", position), frame.get("key", environ["GAVEL_KEY"])
                match frame:
                    case {"type": "call", "task_id": task}:
                        say(type="bid", id=task, task_id=task, **bid)
                    case {"type": "award", "task_id": task, "token": token} if (task, token) not in runs:
                        runs[task, token] = Popen(command, shell=True, text=True, stdin=PIPE, stdout=PIPE)
                        Thread(target=work, args=(runs[task, token], frame, task, token), daemon=True).start()
                    case {"type": "revoked", "task_id": task, "token": token} if (task, token) in runs:
                        runs[task, token].kill()
                    case {"type": "ack" | "problem", "id": name}:
                        unheard.pop(name, None)
    except (OSError, WebSocketException) as error:
        if "HTTP 4" in str(error):
            raise SystemExit(f"{error}: {error.response.body.decode()}") from error
    time.sleep(1)
