"""What becomes of a page if a fragment of it is due before all of the page has reached the browser.

Streamlit then drops from its queue what the page's run drew for the fragment, and the fragment draws it once more.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import pytest
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
from streamlit.runtime.forward_msg_queue import ForwardMsgQueue


@contextmanager
def recorded() -> Iterator[list[list[ForwardMsg]]]:
    """Give what runs of pages send to a browser, in this process; it is complete at the end."""
    queues: list[ForwardMsgQueue] = []
    runs: list[list[ForwardMsg]] = []
    make, clear = ForwardMsgQueue.__init__, ForwardMsgQueue.clear

    def remember(queue: ForwardMsgQueue) -> None:
        make(queue)
        queues.append(queue)

    def keep(queue: ForwardMsgQueue, *args, **options) -> None:
        runs.append(_deltas(queue))
        clear(queue, *args, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ForwardMsgQueue, "__init__", remember)
        patch.setattr(ForwardMsgQueue, "clear", keep)
        yield runs
        runs += [_deltas(queue) for queue in queues]


def displaced(run: Sequence[ForwardMsg]) -> list[str]:
    """Return what becomes of the page for each fragment that cannot be drawn once more without harm."""
    harm = []
    whole = _tree(run)
    for fragment in {message.delta.fragment_id for message in run} - {""}:
        queue = ForwardMsgQueue()
        for message in run:
            queue.enqueue(message)
        queue.clear(retain_lifecycle_msgs=True, fragment_ids_this_run=[fragment])
        again = [message for message in run if message.delta.fragment_id == fragment]
        where = ", ".join(str(list(message.metadata.delta_path)) for message in again)
        try:
            if _tree([*queue.flush(), *again]) != whole:
                harm.append(f"what is drawn again at {where} takes the place of something else")
        except IndexError:
            harm.append(f"what is dropped at {where} leaves no place for what is behind it or in it")
    return harm


def _deltas(queue: ForwardMsgQueue) -> list[ForwardMsg]:
    return [message for message in queue._queue if message.HasField("delta")]


def _tree(deltas: Sequence[ForwardMsg]) -> list:
    """Return a page as a browser builds it: a node stands among its block's children, or right behind the last."""
    page: list = ["", [["", []] for _ in range(4)]]  # main, sidebar, dialogs, bottom
    for message in deltas:
        node = page
        *blocks, last = message.metadata.delta_path
        for place in blocks:
            node = node[1][place]
        new = [message.delta.WhichOneof("type"), []]
        if last < len(node[1]):
            node[1][last] = new
        elif last == len(node[1]):
            node[1].append(new)
        else:
            raise IndexError(last)
    return page
