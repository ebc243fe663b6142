"""The page's parser of server-sent events, in the browser it runs in."""

import pytest

from tests.page.visitor import Visitor

EVENTS = (
    ": keep-alive\n\n"
    'event: a\r\ndata: {"x":\r\ndata: 1}\r\n\r\n'
    "data:two ü\rdata\r\r"
    "id: 7\nevent: b\n\n"
    "event: c\ndata: cut"
)


@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000])
def test_events_are_read_however_they_are_cut_into_parts(stranger: Visitor, size: int) -> None:
    stranger.open()
    events = stranger.page.evaluate(
        """async ([text, size]) => {
          const {readEvents} = await import("/page/events.js");
          const bytes = new TextEncoder().encode(text);
          const body = new ReadableStream({start(controller) {
            for (let at = 0; at < bytes.length; at += size) controller.enqueue(bytes.slice(at, at + size));
            controller.close();
          }});
          const read = [];
          for await (const event of readEvents(body)) read.push(event);
          return read;
        }""",
        [EVENTS, size],
    )
    assert events == [{"event": "a", "data": '{"x":\n1}'}, {"event": "message", "data": "two ü\n"}]
