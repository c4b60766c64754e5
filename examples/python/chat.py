#!/usr/bin/env python3
"""Send a message to agentbus, print the answer while it is written, and survive every dropped connection.

    AGENTBUS_TOKEN=… python3 chat.py "Hello"

Needs Python 3.10 and the websockets library (Debian: apt-get install python3-websockets).
"""

import argparse
import asyncio
import hashlib
import json
import os
import random
import sys
import uuid

import websockets

# After these the gateway wants to see the client again; every other close code means: do not come back.
COMES_BACK = {1001, 1006, 1011, 1012, 1013, 4008, 4029, 4030}
ENDS = {"run.completed", "run.failed", "run.aborted", "run.interrupted"}


class Refused(Exception):
    """The gateway said no; the text says why."""


class Answer:
    """The fold of one run: its messages, its end, and how much of the text was printed."""

    def __init__(self):
        self.run_id = None
        self.run = None
        self.messages = {}  # message_id → {"parts": {index: [kind, text]}, "status": …}
        self.printed = 0

    def text(self):
        return "".join(text_of(message) for message in self.messages.values())

    def show(self):
        text = self.text()
        print(text[self.printed :], end="", flush=True)
        self.printed = max(self.printed, len(text))

    def put(self, message):
        parts = {i: [part["type"], part.get("text", "")] for i, part in enumerate(message.get("parts", []))}
        self.messages[message["message_id"]] = {"parts": parts, "status": message["status"]}

    def replace(self, snapshot):
        """A snapshot takes the place of everything that was known. False: the run is not in it."""
        self.messages = {}
        for message in snapshot["messages"]:
            if message.get("run_id") == self.run_id and message["role"] == "assistant":
                self.put(message)
        run = next((run for run in snapshot["runs"] if run["run_id"] == self.run_id), None)
        if run is not None and run["status"] not in ("queued", "running"):
            self.run = run
        return run is not None

    def apply(self, frame):
        """One event of the log. False: something before it is missing."""
        event, payload = frame["event"], frame["payload"]
        if frame.get("run_id") != self.run_id:
            return True
        if event == "message.started":
            self.messages[payload["message_id"]] = {"parts": {}, "status": "streaming"}
        elif event == "message.delta":
            return self.append(payload)
        elif event == "message.completed":
            return self.complete(payload)
        elif event == "message.discarded":
            self.messages.pop(payload["message_id"], None)
        elif event in ENDS:
            self.run = payload["run"]
        return True

    def append(self, delta):
        message = self.messages.get(delta["message_id"])
        if message is None:
            return False
        if message["status"] != "streaming":
            return True
        part = message["parts"].setdefault(delta["part"], [delta["kind"], ""])
        known = utf16_length(part[1]) - delta["off"]
        if known < 0:
            return False
        part[1] += delta["text"].encode("utf-16-le")[2 * known :].decode("utf-16-le")
        return True

    def complete(self, payload):
        final = payload["message"]
        held = self.messages.get(final["message_id"])
        if held is None:
            if payload.get("content_omitted"):
                return False
            self.put(final)
            return True
        held["status"] = final["status"]
        return hashlib.sha256(text_of(held).encode()).hexdigest() == payload["sha256"]


def text_of(message):
    return "".join(text for _, (kind, text) in sorted(message["parts"].items()) if kind == "text")


def utf16_length(text):
    return len(text.encode("utf-16-le")) // 2


class Chat:
    """One message and its answer, over as many connections as it takes."""

    def __init__(self, url, token, session_id, message):
        self.url = url
        self.token = token
        self.answer = Answer()
        self.cursor = None  # (epoch, seq) of the last event that was applied
        self.send = {"message": message, "idempotency_key": str(uuid.uuid4())}
        if session_id:
            self.send["session_id"] = session_id
        self.session_id = None
        self.requests = 0

    async def ask(self, socket, method, params):
        """One request; frames that come before its answer belong to an older subscription and are skipped."""
        self.requests += 1
        request_id = str(self.requests)
        await socket.send(json.dumps({"type": "req", "id": request_id, "method": method, "params": params}))
        while True:
            frame = json.loads(await socket.recv())
            if frame["type"] != "res" or frame["id"] != request_id:
                continue
            if frame["ok"]:
                return frame["payload"]
            error = frame["error"]
            if error["retryable"]:
                raise ConnectionError(error["message"])
            raise Refused(f"{error['code']}: {error['message']}")

    async def follow(self, socket):
        """From connect to the end of the run, on one connection."""
        hello = {"client_name": "chat.py", "auth_token": self.token} if self.token else {"client_name": "chat.py"}
        await self.ask(socket, "connect", hello)
        subscribed = False
        if self.session_id is None:
            # Sent again after a lost connection, the key makes it the same message.
            sent = await self.ask(socket, "chat.send", self.send)
            self.session_id, self.answer.run_id = sent["session_id"], sent["run_id"]
            self.cursor = (sent["epoch"], sent["from"])
            subscribed = sent["subscribed"]
        if not subscribed:
            await self.subscribe(socket)
        while self.answer.run is None:
            frame = json.loads(await socket.recv())
            if frame["type"] == "event" and frame.get("session_id") == self.session_id:
                await self.take(socket, frame)

    async def subscribe(self, socket):
        params = {"session_id": self.session_id}
        if self.cursor is not None:
            params["epoch"], params["after"] = self.cursor
        opening = await self.ask(socket, "session.subscribe", params)
        self.cursor = (opening["epoch"], opening["from"])
        if opening["mode"] == "resume":
            return
        if not self.answer.replace(opening["snapshot"]):
            # Too long ago for a snapshot, or not in this log any more: then this is refused.
            self.answer.run = await self.ask(socket, "run.get", {"run_id": self.answer.run_id})
        self.answer.show()

    async def take(self, socket, frame):
        if frame["event"] == "session.unsubscribed":
            if frame["payload"]["reason"] in ("revoked", "deleted"):
                raise Refused(f"the session is gone: {frame['payload']['reason']}")
            return await self.subscribe(socket)
        if "seq" not in frame:
            return None
        epoch, seq = self.cursor
        if frame["epoch"] == epoch and frame["seq"] <= seq:
            return None
        if frame["epoch"] != epoch or frame["seq"] != seq + 1:
            return await self.subscribe(socket)
        if not self.answer.apply(frame):
            self.cursor = None  # what is held cannot be right: start over from a snapshot
            return await self.subscribe(socket)
        self.cursor = (epoch, frame["seq"])
        self.answer.show()
        return None

    async def run(self):
        attempt = 0
        while True:
            before = self.cursor
            try:
                async with websockets.connect(self.url, max_size=4 * 1024 * 1024) as socket:
                    await self.follow(socket)
                return self.answer.run
            except websockets.ConnectionClosed as closed:
                code = closed.rcvd.code if closed.rcvd else 1006
                if code not in COMES_BACK:
                    raise Refused(f"the gateway closed the connection: {code} {closed.rcvd.reason}") from None
                why = f"connection lost ({code})"
            except websockets.InvalidHandshake as error:
                status = getattr(error, "status_code", None) or getattr(
                    getattr(error, "response", None), "status_code", 503
                )
                if status < 500 and status != 429:
                    raise Refused(f"the gateway refuses the connection: HTTP {status}") from None
                why = f"the gateway is not ready: HTTP {status}"
            except (OSError, asyncio.TimeoutError) as error:
                why = str(error) or "no answer"
            attempt = 1 if self.cursor != before else attempt + 1
            print(f"[{why}; trying again]", file=sys.stderr)
            await asyncio.sleep(random.random() * min(30, 0.25 * 2**attempt))


def socket_url(url):
    """Of http(s) or ws(s); /ws is added unless a path is there."""
    url = "ws" + url[4:] if url.startswith("http") else url
    return url if url.rstrip("/").count("/") > 2 else url.rstrip("/") + "/ws"


def main():
    parser = argparse.ArgumentParser(description="one message to agentbus, and its answer")
    parser.add_argument("message")
    parser.add_argument("--url", default=os.environ.get("AGENTBUS_URL", "http://127.0.0.1:18789"))
    parser.add_argument("--session", help="the session to go on with")
    parser.add_argument("--token-file", help="else AGENTBUS_TOKEN")
    options = parser.parse_args()
    token = os.environ.get("AGENTBUS_TOKEN", "")
    if options.token_file:
        with open(options.token_file, encoding="utf-8") as file:
            token = file.read().strip()
    try:
        run = asyncio.run(Chat(socket_url(options.url), token, options.session, options.message).run())
    except Refused as refused:
        sys.exit(f"chat.py: {refused}")
    except KeyboardInterrupt:
        sys.exit(130)
    print()
    if run["status"] != "completed":
        sys.exit(f"chat.py: the run ended {run['status']}: {run.get('error', {}).get('message', '')}".rstrip(": "))


if __name__ == "__main__":
    main()
