"""What schemathesis has to be told to ask this service well, and deeply."""

import json
import os
import re
import urllib.error
import urllib.request

import schemathesis

URL, TOKEN, OWN_ID = os.environ["URL"], os.environ.get("TOKEN"), os.environ.get("OWN_ID")
ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,127}")
KEY = re.compile(r"[!-~]{1,255}")
opened, closed = [], []  # evidence_ids, the newest last
gates = []  # (evidence_id, gate_id)
logged = []  # evidence_ids of sealed runs with a log
asked = 0


@schemathesis.serializer("application/x-ndjson")
def ndjson(context, value):
    """A list is a line each; what is none is sent as it is, to be refused."""
    lines = value if isinstance(value, list) else [value]
    return "".join(json.dumps(line) + "\n" for line in lines).encode()


@schemathesis.deserializer("application/x-ndjson")
def ndjson_lines(context, response):
    return [json.loads(line) for line in response.content.splitlines()]


def is_id(value):
    return isinstance(value, str) and ID.fullmatch(value) is not None


def post(path, body):
    """What is answered to a request of our own."""
    media_type, body = ("text/plain", body) if isinstance(body, str) else ("application/json", json.dumps(body))
    headers = {"Content-Type": media_type, **({"Authorization": f"Bearer {TOKEN}"} if TOKEN else {})}
    request = urllib.request.Request(URL + path, body.encode(), headers)
    with urllib.request.urlopen(request) as answer:
        return json.load(answer)


def start_step(run):
    step = {"type": "step_started", "step_id": "logged", "kind": "test", "allowed_to_fail": True}
    try:
        post(f"/v1/runs/{run}/entries", step)
    except urllib.error.HTTPError:
        pass  # closed by a name that is not known here


def open_run():
    if not opened:
        opened.append(post("/v1/runs", {"project": "fuzz"})["evidence_id"])
        start_step(opened[-1])
    return opened[-1]


def open_gate():
    if not gates or gates[-1][0] not in opened:
        run = open_run()
        gates.append((run, post(f"/v1/runs/{run}/gates", {"reason": "may it?"})["gate_id"]))
    return gates[-1]


def sealed_run():
    """Something is withheld in it, and a step has a log."""
    run = post("/v1/runs", {"project": "fuzz", "trigger": {"actor": "somebody"}})["evidence_id"]
    start_step(run)
    post(f"/v1/runs/{run}/logs?step_id=logged", "one\ntwo\nthree")
    post(f"/v1/runs/{run}/finalize", {"result": "succeeded"})
    return run


def logged_run():
    if not logged:
        logged.append(sealed_run())
    return logged[-1]


def aim_at_logs(query, headers):
    """Has one thing asked of one log that is there, or of all."""
    if is_id(query.get("step_id")):
        query["step_id"], query["attempt"] = "logged", 1
    others = ["from", "limit"] if "step_id" in query else ["attempt", "from_line", "lines"]
    if asked % 2 == 0:
        others += ["from_line", "lines"]
    for name in others:
        query.pop(name, None)
    if asked % 4 == 0:
        headers.pop("If-Range", None)
        headers["Range"] = ["bytes=0-2", "bytes=-1", "bytes=99999-"][asked % 3]


@schemathesis.hook
def before_call(context, case, kwargs):
    """Aims most requests at runs and gates that are there: their names are no less valid than those it made up."""
    global asked
    asked += 1
    path = case.path_parameters or {}
    if case.operation.path == "/v1/tokens/{id}" and path.get("id") == OWN_ID:
        path["id"] = "00000000-0000-0000-0000-000000000000"  # nothing else would be answered any more
    if case.query and case.query.get("wait"):
        case.query["wait"] = 0  # nobody answers here
    about = getattr(case.meta and case.meta.phase.data, "parameter", None)
    headers = case.headers if case.headers and about != "Authorization" else {}
    if headers.get("If-Match") == "" and about != "If-Match":
        del headers["If-Match"]  # what it takes for the shortest of its pattern, and hides the rest
    if asked % 5 == 0 or not all(map(is_id, path.values())):
        return
    if case.operation.path == "/v1/runs" and isinstance(case.body, dict) and is_id(case.body.get("run_id")):
        del case.body["run_id"]  # another run each time, for what is linked to it
    if case.operation.path == "/v1/session" and isinstance(case.body, dict) and TOKEN:
        if isinstance(case.body.get("token"), str):
            case.body["token"] = TOKEN
    if "gate_id" in path:
        path["run"], path["gate_id"] = open_gate()
    elif "run" in path:
        reads = case.operation.path.endswith("/logs") and case.operation.method.upper() != "POST"
        path["run"] = logged_run() if reads and asked % 3 else open_run()
        if case.operation.label == "POST /v1/runs/{run}/logs" and asked % 2:
            start_step(path["run"])  # those that were opened otherwise have no such step
    elif case.operation.path.endswith("/disclosures"):
        path["evidence_id"] = sealed_run()  # what is erased is so only once
    elif "evidence_id" in path:
        path["evidence_id"] = closed[-1] if closed else open_run()
    if case.query and is_id(case.query.get("project")) and case.operation.path != "/v1/runs":
        del case.query["project"]
    query = case.query or {}
    if case.operation.path.endswith("/logs"):
        aim_at_logs(query, headers)
    if isinstance(query.get("at"), str):
        query["at"] = "/run/trigger/actor"  # withheld where a project has settled nothing
    if ID.fullmatch(str(headers.get("Upload-Offset", ""))):
        del headers["Upload-Offset"]  # at the end, wherever that is
    if KEY.fullmatch(str(headers.get("Idempotency-Key", ""))):
        headers["Idempotency-Key"] = f"fresh-{asked}"


@schemathesis.hook
def after_call(context, case, response):
    """Remembers which runs there are, and which of them are closed."""
    run = (case.path_parameters or {}).get("run")
    closes = case.operation.path.endswith(("/finalize", "/abort")) and response.status_code < 300
    if run in opened and (closes or b'"run_closed"' in response.content):
        opened.remove(run)
        closed.append(run)
    if run in logged and case.operation.method.upper() == "DELETE" and response.status_code == 204 and asked % 2:
        logged.remove(run)  # else what was deleted is asked for again
    if response.status_code == 201 and case.operation.path == "/v1/runs":
        opened.append(response.json()["evidence_id"])
    if b'"gate_resolved"' in response.content and gates:
        gates.pop()
