"""One visitor of a running app, without a browser.

It speaks Streamlit's protocol over a websocket: it asks for a run of the script with a page and a query, counts what
the server sends until the script has run through, and repeats fragments as often as the server asks.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from dataclasses import dataclass
from types import TracebackType
from urllib.parse import urlencode

from streamlit.proto.Alert_pb2 import Alert
from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

_LONGEST = 300  # seconds, of one turn


@dataclass(frozen=True)
class Turn:
    """What came of one request.

    Attributes:
        seconds: Until the script had run through.
        first_figure: Seconds until the first figure was here; None if none came.
        figures: How many figures came, those that the visitor still had included.
        received: Bytes.
    """

    seconds: float
    first_figure: float | None
    figures: int
    received: int


class Visitor:
    """A visitor with a session of its own, while its ``async with`` lasts.

    Args:
        address: Of the app, "http://localhost:8501".
        dark: Whether its browser is dark.

    Attributes:
        complaints: Tracebacks and error sentences that the page has shown it.
    """

    def __init__(self, address: str, *, dark: bool = False) -> None:
        self._address = address
        self._dark = dark
        self._hashes: dict[str, str] = {}  # of pages, by their paths
        self._page = ""
        self._query = ""
        self._kept: set[str] = set()  # hashes of messages that a browser would keep
        self._shown: dict[str, str] = {}  # what kept messages were: figures or not
        self._timers: dict[str, asyncio.Task[None]] = {}
        self._turn: _Counter | None = None
        self.complaints: list[str] = []

    async def __aenter__(self) -> Visitor:
        """Connect, and begin to listen."""
        address = self._address.replace("http", "ws", 1) + "/_stcore/stream"
        self._socket: ClientConnection = await connect(address, subprotocols=["streamlit"], max_size=None)
        self._listener = asyncio.create_task(self._listen())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Leave, as a closed tab does."""
        self._stop_timers()
        self._listener.cancel()
        with suppress(asyncio.CancelledError):
            await self._listener
        await self._socket.close()

    async def turn(self, page: str = "", **query: str) -> Turn:
        """Turn to a page, "" for Start, with a query; return once the script has run through.

        Raises:
            TimeoutError: If it has not, after five minutes.
            ConnectionError: If the server hung up.
        """
        self._page, self._query = page, urlencode(query)
        self._turn = counter = _Counter()
        await self._ask()
        async with asyncio.timeout(_LONGEST):
            return await counter.result

    async def _ask(self, fragment: str = "") -> None:
        message = BackMsg()
        state = message.rerun_script
        state.query_string = self._query
        state.cached_message_hashes.extend(self._kept)
        state.context_info.url = f"{self._address}/{self._page}"
        state.context_info.color_scheme = "dark" if self._dark else "light"
        if script_hash := self._hashes.get(self._page):
            state.page_script_hash = script_hash
        else:
            state.page_name = self._page
        if fragment:
            state.fragment_id, state.is_auto_rerun = fragment, True
        with suppress(ConnectionClosed):  # the listener says so
            await self._socket.send(message.SerializeToString())

    async def _listen(self) -> None:
        try:
            async for data in self._socket:
                message = ForwardMsg()
                message.ParseFromString(data)  # type: ignore[arg-type]  # the server sends no text
                self._take(message, len(data))
        except ConnectionClosed:
            pass
        if self._turn is not None:
            self._turn.fail(ConnectionError("The server closed the connection."))

    def _take(self, message: ForwardMsg, size: int) -> None:
        kind, whole = message.WhichOneof("type"), not message.metadata.run.fragment_ids
        if kind == "new_session" and whole:
            self._stop_timers()
            if self._turn is not None:
                self._turn.started = True
        elif kind == "navigation":
            pages = message.navigation.app_pages
            self._hashes = {"" if page.is_default else page.url_pathname: page.page_script_hash for page in pages}
        elif kind == "page_info_changed":
            self._query = message.page_info_changed.query_string
        elif kind == "auto_rerun":
            self._repeat(message.auto_rerun.fragment_id, message.auto_rerun.interval)
        elif kind == "stop_auto_rerun":
            self._stop_timers()
        element = self._element(message, kind)
        if self._turn is None:
            return
        self._turn.count(size, is_figure=element == "plotly_chart")
        if kind == "script_finished" and self._turn.started:
            if message.script_finished == ForwardMsg.FINISHED_WITH_COMPILE_ERROR:
                self.complaints.append("The script does not compile.")
            if whole and message.script_finished != ForwardMsg.FINISHED_EARLY_FOR_RERUN:
                self._turn.finish()
                self._turn = None

    def _element(self, message: ForwardMsg, kind: str | None) -> str | None:
        """Return the kind of element that a message brings, and take note of errors."""
        if kind == "ref_hash":
            return self._shown.get(message.ref_hash)
        if kind != "delta" or message.delta.WhichOneof("type") != "new_element":
            return None
        element = message.delta.new_element
        shown = element.WhichOneof("type")
        if message.metadata.cacheable:
            self._kept.add(message.hash)
            self._shown[message.hash] = shown or ""
        if shown == "exception":
            self.complaints.append(f"{element.exception.type}: {element.exception.message}")
        if shown == "alert" and element.alert.format == Alert.ERROR:
            self.complaints.append(element.alert.body)
        return shown

    def _repeat(self, fragment: str, interval: float) -> None:
        async def again() -> None:
            while True:
                await asyncio.sleep(interval)
                await self._ask(fragment)

        if fragment in self._timers:
            self._timers.pop(fragment).cancel()
        self._timers[fragment] = asyncio.create_task(again())

    def _stop_timers(self) -> None:
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()


class _Counter:
    """What has come so far of a turn."""

    def __init__(self) -> None:
        self.result: asyncio.Future[Turn] = asyncio.get_running_loop().create_future()
        self.started = False
        self._began = time.perf_counter()
        self._first: float | None = None
        self._figures = self._received = 0

    def count(self, size: int, *, is_figure: bool) -> None:
        self._received += size
        self._figures += is_figure
        if is_figure and self._first is None:
            self._first = time.perf_counter() - self._began

    def finish(self) -> None:
        if not self.result.done():
            self.result.set_result(Turn(time.perf_counter() - self._began, self._first, self._figures, self._received))

    def fail(self, error: Exception) -> None:
        if not self.result.done():
            self.result.set_exception(error)
