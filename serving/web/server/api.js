/* The server, as verbs: get, post, stream, follow, text, file. Every failure is an ApiError that says in words what went wrong. */

import { storage } from "../settings/storage.js";
import { Recording } from "./recording.js";
import { events } from "./stream.js";

const HEADLINES = {
  0: "The server did not answer",
  400: "The server refused a field",
  401: "This server needs a key",
  403: "This key may not do that",
  404: "Not found",
  409: "Not possible now",
  413: "Too long for this server",
  429: "Too many requests with this key",
  500: "The server failed",
  503: "The server is full or not ready",
  504: "The server ran out of time",
};

/**
 * A failed request: `headline` in our words, `message` in the server's, and what is needed to report it. It `passes` if
 * the same request may be answered later.
 */
export class ApiError extends Error {
  constructor(status, body = {}, headers = new Headers()) {
    super(body.message ?? "No further details.");
    this.status = status;
    this.headline = HEADLINES[status] ?? (status >= 500 ? HEADLINES[500] : HEADLINES[400]);
    this.param = body.param ?? null;
    this.code = body.code ?? null;
    // A stream ends with an error of any kind, and its status is that of a failure.
    this.passes = status === 0 || status === 429 || (status >= 500 && body.type !== "invalid_request_error");
    this.requestId = headers.get("x-request-id");
    const seconds = Number(headers.get("retry-after"));
    this.retryAfter = seconds > 0 ? seconds : null;
  }
}

const KEY = "interplay.key";
const tab = storage("session");

/**
 * Talks to the server that served this page. The key lives in this tab's session storage and nowhere else (in the page
 * itself where the browser has no such storage for it).
 * In a saved page ({time, answers}, the time in seconds) it answers from what was recorded, and asks nobody.
 */
export class Client {
  #saved;

  constructor(saved = null) {
    this.#saved = saved;
    this.recording = new Recording(saved?.answers);
  }

  get saved() {
    return this.#saved !== null;
  }

  /** The time that the answers speak of, in seconds. */
  get now() {
    return this.#saved?.time ?? Date.now() / 1000;
  }

  get key() {
    return tab.getItem(KEY) ?? "";
  }

  set key(value) {
    const key = value.replace(/[^!-~]/g, ""); // what was copied along is in no key, and no header can carry it
    if (key) tab.setItem(KEY, key);
    else tab.removeItem(KEY);
  }

  async get(path, signal) {
    return whole(await this.#ask(path, { method: "GET", signal }));
  }

  async post(path, body, signal) {
    return whole(await this.#ask(path, this.#json(body, signal)));
  }

  /** A file of the page itself. */
  async text(path) {
    return (await this.#send(path, { method: "GET" })).text();
  }

  /** The answer as a file. */
  async file(path, body) {
    return (await this.#send(path, this.#json(body))).blob();
  }

  /** Yields {name, data} with parsed data; an `error` event or a stream cut before `done` throws. */
  async *stream(path, body, signal) {
    yield* this.#events(await this.#ask(path, this.#streamed(body, signal)));
  }

  /** The same of a stream that nothing is sent to. */
  async *follow(path, signal) {
    yield* this.#events(await this.#ask(path, { method: "GET", signal }));
  }

  /** What a stream is recorded under; without a body one that is followed. */
  keyOf(path, body = null) {
    return keyOf(path, body ? this.#streamed(body) : { method: "GET" });
  }

  /** Whether that stream can be had: a saved page has only what was recorded. */
  answers(path, body = null) {
    return !this.saved || this.recording.has(this.keyOf(path, body));
  }

  /** Leaves the answers of paths of which `stale` is true out of the recording; a saved page keeps all it has. */
  forget(stale) {
    if (!this.saved) this.recording.forget(stale);
  }

  async *#events(response) {
    let complete = false;
    for await (const event of this.#read(response)) {
      if (event.data === "[DONE]") {
        complete = true; // read on to the end: leaving early would look like a lost client
        continue;
      }
      const data = JSON.parse(event.data);
      if (event.name === "error") throw streamError(data.error, response.headers);
      yield { name: event.name, data };
    }
    if (!complete) throw streamError({ message: "The stream ended before the answer was complete." }, response.headers);
  }

  async *#read(response) {
    try {
      yield* events(response.body);
    } catch (error) {
      throw broken(error, response);
    }
  }

  #streamed(body, signal) {
    return this.#json({ ...body, stream: true }, signal);
  }

  #json(body, signal) {
    return { method: "POST", signal, body: JSON.stringify(body), headers: { "content-type": "application/json" } };
  }

  async #ask(path, options) {
    const key = keyOf(path, options);
    if (!this.saved) return this.recording.note(key, await this.#send(path, options));
    if (!this.recording.has(key)) throw notSaved();
    return this.recording.response(key);
  }

  async #send(path, options) {
    const headers = { ...options.headers };
    if (this.key) headers.authorization = `Bearer ${this.key}`;
    const response = await fetch(new URL(path, document.baseURI), { ...options, headers }).catch((error) => {
      if (error.name === "AbortError") throw error;
      throw new ApiError(0, { message: "Is it running, and reachable from here?" });
    });
    if (response.ok) return response;
    const body = await response.json().catch(() => ({}));
    throw new ApiError(response.status, body?.error ?? {}, response.headers);
  }
}

const keyOf = (path, { method, body = "" }) => `${method} ${path} ${body}`;

function notSaved() {
  const error = new ApiError(404, { message: "This was not looked at before the page was saved. Ask the server for it." });
  error.headline = "Not in this file";
  return error;
}

async function whole(response) {
  try {
    return await response.json();
  } catch (error) {
    throw broken(error, response);
  }
}

// A connection that ends in the middle of a body is a TypeError of the browser's, and a body of no JSON a SyntaxError.
function broken(error, { headers }) {
  if (error instanceof TypeError) return streamError({ message: "The connection broke off." }, headers);
  return error instanceof SyntaxError ? foreign(headers) : error;
}

function foreign(headers) {
  const message = "It is no JSON. If something before the server asks for a login, reload the page and log in there.";
  const error = new ApiError(502, { message }, headers);
  error.headline = "This is no answer of the server";
  return error;
}

function streamError(body, headers) {
  const error = new ApiError(500, body, headers);
  error.headline = "The answer broke off";
  return error;
}
