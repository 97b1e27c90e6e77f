"""A server that costs next to nothing, and counts: `python -m benchmarks.server`.

It speaks just enough HTTP/1.1 for keep-alive clients that send one request at a time with a `Content-Length`:

    PATCH /amazon/v2/process/masterlist   takes a batch, and makes the bytes of its final answer at once
    GET   /amazon/v2/batch/{id}           hands them out, once, and forgets the batch
    GET   /counts                         what was counted since the last reset, as JSON
    POST  /reset                          forgets everything

It prints its URL, and runs until its standard input ends, so that it cannot outlive the command that started
it. To tell distinct items it keeps one number for each item of a run, and nothing else that grows.

Not looked at: headers other than `Content-Length`, and the values of an item that are not part of its key.
"""

from __future__ import annotations

import argparse
import asyncio
import re
import sys
import threading
import time
from dataclasses import dataclass
from http import HTTPStatus
from operator import itemgetter

import orjson

from .pinning import pin
from .work import BATCH_PATH, CHUNK_SIZE, PATH

_SUBMIT = f"PATCH {PATH} ".encode()
_ASK = f"GET {BATCH_PATH}".encode()
_LENGTH = re.compile(rb"\r\ncontent-length:[ \t]*(\d+)", re.IGNORECASE)

_natural_key = itemgetter("asin", "countryCode")
_target = itemgetter("percACoS")
_STATUS = {"success": True, "message": "successfully", "process": "INSERT"}
_ID_ENDS = [f"-0000-4000-8000-{position:012x}" for position in range(CHUNK_SIZE)]

_UNFINISHED = b'{"detail":"processing","status":"RUNNING"}'


@dataclass(slots=True)
class Reply:
    """An answer, and how long it is held back."""

    status: HTTPStatus
    body: bytes
    delay: float = 0.0

    def to_bytes(self) -> bytes:
        return (
            b"HTTP/1.1 %d %b\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
            % (self.status, self.status.phrase.encode(), len(self.body))
        ) + self.body


@dataclass(slots=True)
class Batch:
    """A batch whose result nobody has fetched yet."""

    answer: bytes
    size: int
    done_at: float


class Service:
    """The batches and the counts. No I/O.

    Args:
        processing: seconds after which a batch has ended, from the answer to its submit on.
        submit_latency: seconds for which the answer to a submit is held back.
    """

    def __init__(self, *, processing: float = 0.0, submit_latency: float = 0.0) -> None:
        self._processing = processing
        self._submit_latency = submit_latency
        self._submitted = 0
        self.reset()

    def reset(self) -> None:
        """Forgets what was counted, and every batch. Ids go on, so that none comes twice."""
        self._batches: dict[bytes, Batch] = {}
        self._seen: set[int] = set()  # hashes of keys, which are smaller than the keys
        self._received = 0
        self._handed_out = 0
        self._batches_received = 0
        self._asked = 0
        self._cpu_before = time.process_time()

    def counts(self) -> dict[str, float]:
        """Items that came, how many distinct, and those whose results were fetched; requests; own CPU."""
        return {
            "received": self._received,
            "distinct": len(self._seen),
            "handed_out": self._handed_out,
            "batches": self._batches_received,
            "asked": self._asked,
            "cpu": time.process_time() - self._cpu_before,
        }

    def reply(self, line: bytes, body: bytes) -> Reply:
        """The answer to a request; `line` is its first line."""
        if line.startswith(_ASK):
            return self._ask(line[len(_ASK) : line.rindex(b" ")])
        if line.startswith(_SUBMIT):
            return self._submit(body)
        if line.startswith(b"GET /counts "):
            return Reply(HTTPStatus.OK, orjson.dumps(self.counts()))
        if line.startswith(b"POST /reset "):
            self.reset()
            return Reply(HTTPStatus.OK, b"{}")
        return _refusal(HTTPStatus.NOT_FOUND, "there is no such path")

    def _submit(self, body: bytes) -> Reply:
        try:
            items = orjson.loads(body)
            keys = list(map(_natural_key, items))
            list(map(_target, items))  # a KeyError where an item is not whole
        except (ValueError, KeyError, TypeError) as error:
            return _refusal(HTTPStatus.UNPROCESSABLE_ENTITY, f"not a list of masterlist items: {error!r}")
        if not 1 <= len(items) <= CHUNK_SIZE:
            return _refusal(HTTPStatus.UNPROCESSABLE_ENTITY, f"{len(items)} items are not 1 to {CHUNK_SIZE}")
        self._received += len(items)
        self._seen.update(map(hash, keys))
        self._batches_received += 1
        self._submitted += 1
        batch_id = b"%024x" % self._submitted
        done_at = time.monotonic() + self._submit_latency + self._processing if self._processing else 0.0
        answer = final_answer(batch_id.decode(), self._submitted, items)
        self._batches[batch_id] = Batch(answer, len(items), done_at)
        return Reply(HTTPStatus.OK, b'{"batchId":"%b"}' % batch_id, self._submit_latency)

    def _ask(self, batch_id: bytes) -> Reply:
        self._asked += 1
        batch = self._batches.get(batch_id)
        if batch is None:
            return _refusal(HTTPStatus.NOT_FOUND, "there is no such batch, or its result has been fetched")
        if batch.done_at and time.monotonic() < batch.done_at:
            return Reply(HTTPStatus.PARTIAL_CONTENT, _UNFINISHED)
        del self._batches[batch_id]
        self._handed_out += batch.size
        return Reply(HTTPStatus.OK, batch.answer)


def final_answer(batch_id: str, number: int, items: list[dict[str, object]]) -> bytes:
    beginning = f"{number:08x}"
    for end, item in zip(_ID_ENDS, items, strict=False):
        item["id"] = beginning + end
        item["status"] = _STATUS
    return orjson.dumps({"batchId": batch_id, "status": "SUCCESS", "data": items})


def _refusal(status: HTTPStatus, detail: str) -> Reply:
    return Reply(status, orjson.dumps({"detail": detail}))


@dataclass(slots=True)
class Request:
    """A request cut out of what has arrived, and what came after it."""

    line: bytes
    body: bytes
    rest: bytes


def cut_request(data: bytes) -> Request | None:
    """The first request in `data`; None while it is not complete."""
    head_end = data.find(b"\r\n\r\n")
    if head_end < 0:
        return None
    length = _LENGTH.search(data, 0, head_end)
    body_end = head_end + 4 + (int(length[1]) if length else 0)
    if len(data) < body_end:
        return None
    return Request(data[: data.index(b"\r\n")], data[head_end + 4 : body_end], data[body_end:])


class Connection(asyncio.Protocol):
    """One keep-alive connection; requests are answered one after the other."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._data = b""
        self._holding_back = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._data = self._data + data if self._data else data
        self._answer_what_is_complete()

    def _answer_what_is_complete(self) -> None:
        while not self._holding_back and (request := cut_request(self._data)):
            self._data = request.rest
            reply = self._service.reply(request.line, request.body)
            if reply.delay:
                self._holding_back = True
                asyncio.get_running_loop().call_later(reply.delay, self._let_go, reply)
            else:
                self._transport.write(reply.to_bytes())

    def _let_go(self, reply: Reply) -> None:
        self._holding_back = False
        if not self._transport.is_closing():
            self._transport.write(reply.to_bytes())
            self._answer_what_is_complete()


async def serve(service: Service) -> None:
    """Serves on a free port of this machine until standard input ends; prints its URL once it listens."""
    loop = asyncio.get_running_loop()
    input_ended = asyncio.Event()
    server = await loop.create_server(lambda: Connection(service), "127.0.0.1", 0, backlog=1024)
    host, port = server.sockets[0].getsockname()

    def read_to_the_end() -> None:
        sys.stdin.buffer.read()
        loop.call_soon_threadsafe(input_ended.set)

    threading.Thread(target=read_to_the_end, daemon=True).start()
    print(f"http://{host}:{port}", flush=True)
    await input_ended.wait()
    server.close()  # not waited for: a client may still hold a connection


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.server", description="A server that counts.")
    parser.add_argument("--processing", type=float, default=0.0, help="seconds until a batch has ended")
    parser.add_argument("--submit-latency", type=float, default=0.0, help="seconds until its answer")
    parser.add_argument("--core", type=int, help="the core to stay on")
    options = parser.parse_args()
    pin(options.core)
    asyncio.run(serve(Service(processing=options.processing, submit_latency=options.submit_latency)))


if __name__ == "__main__":
    main()
