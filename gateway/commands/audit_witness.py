"""`gavel audit witness`: cosigns the checkpoints of logs that it trusts, by files: no node needs to run.

`--log` is a journal's file, of which the newest checkpoint is cosigned, or a folder into which nodes drop their requests. `--state` is
what this witness remembers, with its key: whoever loses it is another witness.
"""

import argparse
import time
from pathlib import Path
from typing import Any

from gateway.commands.answers import add_json, print_json
from gateway.commands.asking import argument_text
from gateway.commands.audit_proofs import FileLog, newest_note
from gateway.upkeep.witnesses import ANSWER, REQUEST
from gateway.verdicts import FINE, NO, Wrong
from runtime.cosignatures import Cosigner, WitnessKey, cosigned
from runtime.evidence import Unreadable, read_evidence
from runtime.proving import NotThere, linked
from runtime.store.copies import write_whole
from runtime.transparency import NOTE_CHARACTERS_MAX, NotANote, PublicKey, Signer, read_note
from runtime.witness import REQUEST_BYTES_MAX, Answer, Request, Witness, written_request

REQUESTS_MAX = 1000


def arguments(questions: Any) -> None:
    own = questions.add_parser("witness", help="cosign checkpoints of logs that you trust, as a witness")
    own.add_argument(
        "--log", type=Path, required=True, metavar="FILE|DIR", help="a journal's file, or a folder of requests"
    )
    own.add_argument("--state", type=Path, required=True, metavar="DIR", help="what the witness remembers, and its key")
    own.add_argument(
        "--trust",
        action="append",
        required=True,
        metavar="VKEY",
        help="the key of a log, or a file that holds it; repeatable",
    )
    own.add_argument("--out", type=Path, metavar="NOTE", help="where the cosigned checkpoint of a journal's file goes")
    add_json(own)
    own.set_defaults(act=_witness)


def _witness(options: argparse.Namespace) -> int:
    try:
        options.state.mkdir(mode=0o700, parents=True, exist_ok=True)
        trusted = [PublicKey(argument_text(one, characters_max=NOTE_CHARACTERS_MAX) or "") for one in options.trust]
        cosigner = Cosigner(Signer.load_or_make(options.state / "witness-key"))
        witness = Witness(options.state, cosigner, trusted, time.time)
        answers = _answer_all(witness, options.log) if options.log.is_dir() else _answer_file(witness, options)
    except (OSError, ValueError, NotANote, NotThere, Unreadable) as error:
        raise Wrong(str(error)) from error
    if options.json:
        print_json({"key": cosigner.vkey, "answers": [{"status": one.status, "text": one.text} for one in answers]})
    else:
        print(f"witness {cosigner.vkey}")
        for one in answers:
            print(f"  {'cosigned' if one.status == 200 else f'refused, {one.status}: {one.text.strip()}'}")
    return FINE if all(one.status in (200, 409) for one in answers) else NO


def _answer_all(witness: Witness, folder: Path) -> list[Answer]:
    """Answers the requests of a folder that have no answer yet."""
    answers = []
    for request in sorted(folder.glob(f"*{REQUEST}"))[:REQUESTS_MAX]:
        answered = request.with_suffix(ANSWER)
        if not answered.exists():
            with request.open(encoding="utf-8", newline="") as file:
                answer = witness.add_checkpoint(file.read(REQUEST_BYTES_MAX + 1))
            write_whole(answered, f"{answer.status}\n{answer.text}")
            answers.append(answer)
    return answers


def _answer_file(witness: Witness, options: argparse.Namespace) -> list[Answer]:
    """Cosigns the newest checkpoint of a journal's file, which proves itself that it continues what was seen."""
    request = read_evidence(options.log, lambda connection: _request(witness, FileLog(str(options.log), connection)))
    answer = request if isinstance(request, Answer) else witness.add_checkpoint(written_request(request))
    if isinstance(request, Request) and answer.status == 200 and options.out is not None:
        write_whole(options.out, cosigned(request.note, answer.text, [WitnessKey(witness.cosigner.vkey)]))
    return [answer]


def _request(witness: Witness, log: FileLog) -> Request | Answer:
    note = newest_note(log)
    checkpoint = read_note(note)[0]
    last = witness.last(checkpoint.origin)
    seen = read_note(last)[0].size if last else 0
    if seen > checkpoint.size:
        return Answer(
            422, f"the witness has seen {seen} records, and the file holds {checkpoint.size}: it was set back"
        )
    return Request(seen, linked(log, seen, checkpoint.size)[0] if seen else [], note)
