"""The pure modules of the page, run in the browser: the stream parser, the link, the offsets."""

from __future__ import annotations

from playwright.sync_api import expect

from tests.web.conftest import Opener


def test_events_survive_any_cut_of_the_bytes(open_page: Opener) -> None:
    page = open_page()
    wanted = page.evaluate(
        """async () => {
          const { events } = await import("/static/server/stream.js");
          const text = "event: start\\r\\ndata: {\\"a\\":\\"é\\u{1F600}\\"}\\r\\n\\r\\n: beat\\n\\n"
            + "event: token\\ndata: 1\\ndata: 2\\n\\ndata: [DONE]\\n\\n";
          const bytes = new TextEncoder().encode(text);
          const seen = new Set();
          for (let cut = 1; cut < bytes.length; cut += 1) {
            const body = new ReadableStream({ start(controller) {
              controller.enqueue(bytes.slice(0, cut));
              controller.enqueue(bytes.slice(cut));
              controller.close();
            } });
            const out = [];
            for await (const event of events(body)) out.push(event);
            seen.add(JSON.stringify(out));
          }
          return [...seen];
        }"""
    )
    assert wanted == [
        '[{"name":"start","data":"{\\"a\\":\\"é\U0001f600\\"}"},{"name":"token","data":"1\\n2"},'
        '{"name":"message","data":"[DONE]"}]'
    ]


def test_a_link_read_back_gives_the_same_settings(open_page: Opener) -> None:
    page = open_page()
    assert page.evaluate(
        """async () => {
          const { DEFAULTS, VIEWS, read, write } = await import("/static/settings/link.js");
          const some = { number: [0, 1, -1, 0.3, 9007199254740991], boolean: [true, false],
            string: ["", "demo@40", "a&b=c #?%é 1\\n2"] };
          let state = 1;
          const pick = (list) => list[(state = (state * 48271) % 2147483647) % list.length];
          for (let i = 0; i < 500; i += 1) {
            const settings = { ...DEFAULTS };
            for (const name of Object.keys(DEFAULTS)) {
              settings[name] = pick(name === "view" ? VIEWS : some[typeof DEFAULTS[name]]);
            }
            if (JSON.stringify(read(write(settings))) !== JSON.stringify(settings)) return write(settings);
          }
          return "same";
        }"""
    ) == "same"  # fmt: skip


def test_a_damaged_link_falls_back_to_the_defaults(open_page: Opener) -> None:
    page = open_page("#nowhere?op=many&seed=&constructor=1&__proto__=2&heat=yes")
    expect(page.get_by_role("heading", level=1)).to_be_visible()
    expect(page.get_by_label("Op", exact=True)).to_have_value("4")


def test_offsets_count_code_points(open_page: Opener) -> None:
    page = open_page()
    assert page.evaluate(
        """async () => {
          const { Answer } = await import("/static/answer/answer.js");
          const answer = new Answer({ graph: { nodes: [] } });
          answer.start({ policy: null, prefix: "\\u{1F600} " });
          const tokens = [{ text: "ab\\u{1F601}", start: 2, end: 5 }, { text: "cd", start: 5, end: 7 }];
          answer.add(tokens);
          answer.step({ node: "x", status: "right", start: 3, end: 6 });
          return [answer.pieces.map((p) => answer.slice(p.start, p.end)), answer.tokensIn(3, 6).map((t) => t.part)];
        }"""
    ) == [["\U0001f600 a", "b\U0001f601c", "d"], ["b\U0001f601", "c"]]


def test_a_recording_answers_as_it_was_answered_whatever_the_cut_of_the_bytes(open_page: Opener) -> None:
    page = open_page()
    assert page.evaluate(
        """async () => {
          const { Recording } = await import("/static/server/recording.js");
          const text = '{"said":"é\\u{1F600}"}';
          const bytes = new TextEncoder().encode(text);
          const wrong = [];
          for (let cut = 1; cut < bytes.length; cut += 1) {
            const recording = new Recording();
            const body = new ReadableStream({ start(controller) {
              controller.enqueue(bytes.slice(0, cut));
              controller.enqueue(bytes.slice(cut));
              controller.close();
            } });
            const read = await recording.note("GET a ", new Response(body)).text();
            const again = new Recording(JSON.parse(JSON.stringify(recording)));
            if (read !== text || (await again.response("GET a ").text()) !== text) wrong.push(cut);
          }
          return wrong;
        }"""
    ) == []  # fmt: skip


def test_a_complete_stream_is_recorded_without_what_its_end_repeats(open_page: Opener) -> None:
    page = open_page()
    whole, cut = page.evaluate(
        """async () => {
          const { Recording } = await import("/static/server/recording.js");
          const recorded = async (text) => {
            const recording = new Recording();
            const headers = { "content-type": "text/event-stream" };
            await recording.note("POST a {}", new Response(text, { headers })).text();
            return recording.toJSON()[0][1].text;
          };
          const events = ["start", "token", "step", "sample", "estimate"].map((name) => `event: ${name}\\ndata: 1`);
          const text = events.join("\\n\\n") + "\\n\\n";
          return [await recorded(text + "event: done\\ndata: 2\\n\\ndata: [DONE]\\n\\n"), await recorded(text)];
        }"""
    )
    kept = ["event: start\ndata: 1", "event: sample\ndata: 1", "event: done\ndata: 2", "data: [DONE]"]
    assert whole.strip().split("\n\n") == kept
    assert cut.count("event: ") == 5


def test_an_error_passes_if_the_server_may_answer_later_and_not_if_the_request_is_wrong(open_page: Opener) -> None:
    page = open_page()
    errors = [[0, ""], [401, ""], [404, ""], [429, "rate_limit_error"], [500, "server_error"]]
    errors += [[500, "overloaded_error"], [500, "invalid_request_error"], [502, ""], [503, "overloaded_error"]]
    passes = page.evaluate(
        """async (errors) => {
          const { ApiError } = await import("/static/server/api.js");
          return errors.map(([status, type]) => new ApiError(status, { type }).passes);
        }""",
        errors,
    )
    assert passes == [True, False, False, True, True, True, False, True, True]


FOLLOWING = """async ({ saved, events, error }) => {
  const { Following } = await import("/static/runs/following.js");
  const { ApiError } = await import("/static/server/api.js");
  const called = [];
  const client = { saved, answers: () => true, async *follow(path) {
    called.push(path);
    yield* events;
    if (error) throw new ApiError(error);
    await new Promise((done) => setTimeout(done, 20));
  } };
  const on = Object.fromEntries(["steps", "changed", "told", "refused"].map((name) => [name, () => called.push(name)]));
  const history = { run: "demo", stage: "rl", last: 5 };
  let looks = 0;
  const following = new Following(client, () => (looks += 1) < 9, on);
  following.follow([history]);
  const pause = (ms) => new Promise((done) => setTimeout(done, ms));
  const ended = () => looks >= 9 || called.includes("changed") || called.includes("refused");
  while (!saved && !ended()) await pause(10);
  await pause(500); // nothing more comes
  return [called.filter((name) => name !== "told"), following.follows(history), following.trouble([history])];
}"""
STREAM = "v1/runs/demo/events?stage=rl&after=5"


def test_a_run_is_followed_until_it_is_quiet_changed_or_refused(open_page: Opener) -> None:
    page = open_page()
    nothing = {"name": "steps", "data": {"steps": []}}
    calm = page.evaluate(FOLLOWING, {"saved": False, "events": [nothing]})
    assert calm == [[STREAM] * 7, False, ""]  # one look to begin, and one before and after each stream
    changed = page.evaluate(FOLLOWING, {"saved": False, "events": [nothing, {"name": "changed", "data": {}}]})
    assert changed == [[STREAM, "changed"], False, ""]
    refused = page.evaluate(FOLLOWING, {"saved": False, "events": [], "error": 404})
    assert refused == [[STREAM, "refused"], True, ", not followed now. Not found."]


def test_a_saved_page_tells_each_stream_once(open_page: Opener) -> None:
    page = open_page()
    nothing = {"name": "steps", "data": {"steps": []}}
    for error in (None, 500):
        assert page.evaluate(FOLLOWING, {"saved": True, "events": [nothing], "error": error})[0] == [STREAM]
