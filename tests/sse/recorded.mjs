// What a running service sends of a run that has all in it that is hard to send, and what its pages say should have come.
const TEXT = "cr \r lf \n crlf \r\n nul \0 bom \ufeff 😀 é e\u0301 日本 ls \u2028 ps \u2029 nel \u0085 esc \u001b[31m del \u007f : data: id: 9 \" \\ ";

/** The events of a run, and the lines of its log. */
export async function recorded(service) {
  const ask = async (path, body, headers = {}) => {
    const answer = await fetch(`${service}/v1/runs${path}`, body && { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(body) } || { headers });
    if (!answer.ok) throw new Error(`${path}: ${answer.status} ${await answer.text()}`);
    return answer;
  };
  const { evidence_id: run } = await (await ask("", { project: "p", run_id: "r" })).json();
  await ask(`/${run}/gates`, { gate_id: "ship", reason: TEXT });
  await ask(`/${run}/gates/ship`, { decision: "approved", comment: TEXT });
  await ask(`/${run}/entries`, { type: "step", step_id: "unit", kind: "test", status: "passed", message: TEXT });
  await ask(`/${run}/entries`, { type: "observation", observation_id: "o", name: "large", value: TEXT.repeat(60), basis_artifact_ids: [] });
  await ask(`/${run}/entries`, { type: "step_started", step_id: "logged", kind: "test" });
  const log = [Buffer.from(TEXT + "\n"), Buffer.from([0xff, 0xfe, 0x0a, 0xef, 0xbb, 0xbf, 0x0a]), Buffer.from(TEXT.replaceAll("\n", " ").repeat(1200) + "\n"), Buffer.from("no end")];
  const sent = { method: "POST", headers: { "content-type": "text/plain" }, body: Buffer.concat(log) };
  const logged = await fetch(`${service}/v1/runs/${run}/logs?step_id=logged`, sent);
  if (!logged.ok) throw new Error(`${logged.status} ${await logged.text()}`);
  await ask(`/${run}/entries`, { type: "step", step_id: "logged", kind: "test", status: "passed" });
  await ask(`/${run}/finalize`, { result: "succeeded" });

  // A sealed run is sent to its end.
  const stream = await (await ask(`/${run}/events`, undefined, { accept: "text/event-stream" })).text();
  const [opening] = /(?<=^event: stream_open\ndata: ).*$/m.exec(stream);
  const page = await (await ask(`/${run}/events?limit=1000`, undefined, { accept: "application/json" })).json();
  // Canonical JSON is what this writes of members that are in order.
  const events = page.events.map((data) => [String(data.pos), data.type, JSON.stringify(data)]);
  const told = page.events.map((data) => data.reason ?? data.message ?? data.value).filter((text) => text?.startsWith(TEXT));
  if (told.length < 3) throw new Error(`what was recorded is not told: ${JSON.stringify(page)}`);
  const ofRun = {
    name: "what a service sends",
    stream: stream.replace(/^retry: \d+/, "retry: 1"),
    events: [["", "stream_open", opening], ...events],
    cursor: events.at(-1)[0],
  };
  return [ofRun, await recordedLog(ask, run)];
}

/** The lines of its log, to the end of the stream, and as its pages have them. */
async function recordedLog(ask, run) {
  const stream = await (await ask(`/${run}/logs/stream?from=earliest`)).text();
  const [opening] = /(?<=^event: stream_open\ndata: ).*$/m.exec(stream);
  const lines = (await (await ask(`/${run}/logs?limit=1000`)).text()).trimEnd().split("\n").map((line) => JSON.parse(line));
  const of = { type: "log", run_id: "r", evidence_id: run, project: "p" };
  const inOrder = (object) => Object.fromEntries(Object.entries(object).sort(([a], [b]) => (a < b ? -1 : 1)));
  // A page tells a line's number in its log too.
  const told = ({ line: _, ...shown }) => JSON.stringify(inOrder({ ...of, ...shown }));
  const events = lines.map((line) => [String(line.log_pos), "log", told(line)]);
  if (!lines.some((line) => line.text.length > 100_000)) throw new Error("the long line is not told");
  return {
    name: "the log that a service sends",
    stream: stream.replace(/^retry: \d+/, "retry: 1"),
    events: [["-1", "stream_open", opening], ...events],
    cursor: events.at(-1)[0],
  };
}
