// Sends each stream of the corpus in two pieces, cut anywhere, or byte by byte; and hears with which cursor a reader comes back.
import { createServer } from "node:http";

const SMALL = 2500;
const PAUSE_MS = 2;

const whole = (pieces) =>
  [pieces].flat().map((piece) => (typeof piece === "string" ? piece : piece.repeat.repeat(piece.times))).join("");

/** The cases of a corpus, with their bytes and where these are cut. */
export function streams(cases) {
  return cases.map(({ name, stream, events, cursor, but = {} }) => {
    const bytes = Buffer.from(whole(stream), "utf8");
    return { name, bytes, cuts: cuts(bytes), events, cursor, but };
  });
}

export const expected = (events) => events.map(([id, event, data]) => [id, event, whole(data)]);

/** Every place in a small stream; in a large one those beside bytes that mean something, and where buffers end. */
function cuts(bytes) {
  const all = Array.from({ length: bytes.length - 1 }, (_, at) => at + 1);
  if (bytes.length <= SMALL) return ["each", ...all];
  const near = (at, byte) => [at - 1, at, at + 1].some((i) => byte(bytes[i]));
  const ends = all.filter((at) => near(at, (byte) => byte === 10 || byte === 13));
  const beyond = all.filter((at) => bytes[at] > 127 || bytes[at - 1] > 127);
  const buffers = all.filter((at) => [-1, 0, 1].some((by) => (at + by) % 65536 === 0));
  return [...new Set([...ends, ...beyond.slice(0, 24), ...beyond.slice(-24), ...buffers])];
}

/**
 * The cursors with which each reader came back stand in `cursors`, by `reader/case/cut`. It finds a stream that tells no id and ends
 * too, as ours do that are cut off at once: it has to come back where it was.
 */
export function replay(cases) {
  const cursors = new Map();
  const pause = () => new Promise((resolve) => setTimeout(resolve, PAUSE_MS));
  const server = createServer(async (request, response) => {
    const path = request.url.slice(1);
    const [, number, cut] = path.split("/");
    if (number === undefined) return response.writeHead(200, { "content-type": "text/html" }).end("<!doctype html>");
    const came = cursors.get(path);
    came?.push(request.headers["last-event-id"] ?? "");
    if (came?.length === 2) return response.writeHead(204).end();
    response.writeHead(200, { "content-type": "text/event-stream", "cache-control": "no-store" });
    if (came) return response.end("retry: 1\n\nevent: opened_again\ndata: {}\n\n");
    cursors.set(path, []);
    const { bytes } = cases[Number(number)];
    if (cut === "each") {
      for (const byte of bytes) {
        response.write(Buffer.of(byte));
        await new Promise(setImmediate);
      }
    } else {
      response.write(bytes.subarray(0, Number(cut)));
      await pause();
      response.write(bytes.subarray(Number(cut)));
    }
    response.end();
  });
  return new Promise((resolve) => {
    server.listen(0, "127.0.0.1", () => {
      resolve({ url: `http://127.0.0.1:${server.address().port}`, cursors, close: () => server.closeAllConnections() ?? server.close() });
    });
  });
}
