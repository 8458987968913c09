"""What everyone in this process shares: made once, kept while there is room, and read without waiting."""

from __future__ import annotations

import functools
from collections import OrderedDict
from collections.abc import Callable, Hashable
from contextlib import AbstractContextManager, nullcontext
from threading import Lock
from typing import Any, Generic, ParamSpec, Protocol, TypeVar, cast

Value = TypeVar("Value")
Given = ParamSpec("Given")
Made = TypeVar("Made", covariant=True)


class Kept(Generic[Value]):
    """The last values that were asked for, by key; each is made once, however many ask for it at the same time.

    Args:
        most: How many are kept.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._values: OrderedDict[Hashable, Value] = OrderedDict()
        self._making: dict[Hashable, Lock] = {}
        self._lock = Lock()  # held for a look at the dicts only, never while a value is made

    def __len__(self) -> int:
        return len(self._values)

    def peek(self, key: Hashable) -> Value | None:
        """Return the value of `key` if it is here."""
        with self._lock:
            return self._values.get(key)

    def get(self, key: Hashable, make: Callable[[], Value]) -> Value:
        """Return the value of `key`; without one, what `make` returns, which others who ask wait for.

        An error of `make` goes to who asked first; the next one tries again.
        """
        while True:
            with self._lock:
                if key in self._values:
                    self._values.move_to_end(key)
                    return self._values[key]
                making = self._making.setdefault(key, Lock())
            with making:
                with self._lock:
                    if self._making.get(key) is not making:
                        continue  # it was made meanwhile, or could not be
                try:
                    value = make()
                except BaseException:
                    self._made(key, making)
                    raise
                self._made(key, making, value)
                return value

    def _made(self, key: Hashable, making: Lock, *value: Value) -> None:
        with self._lock:
            if self._making.get(key) is not making:
                return  # it was to be forgotten meanwhile
            del self._making[key]
            for item in value:
                self._values[key] = item
            while len(self._values) > self._most:
                self._values.popitem(last=False)

    def clear(self, *keys: Hashable) -> None:
        """Forget the values of keys, all without any; what is being made is given to who asked, and not kept."""
        with self._lock:
            for key in keys or [*self._values, *self._making]:
                self._values.pop(key, None)
                self._making.pop(key, None)


class Shared(Protocol[Given, Made]):
    """A function whose values are kept."""

    def __call__(self, *args: Given.args, **kwargs: Given.kwargs) -> Made:
        """Return the value for these arguments."""

    def peek(self, *args: Any) -> Made | None:
        """Return the value for these arguments if it is here."""

    def clear(self, *args: Any) -> None:
        """Forget the value for these arguments, or all values."""


def kept(
    most: int, *, around: Callable[[], AbstractContextManager[Any]] = nullcontext
) -> Callable[[Callable[Given, Made]], Shared[Given, Made]]:
    """Decorate a function of hashable positional arguments: its last `most` values are kept for everyone.

    A value is shared: nobody may change it.

    Args:
        most: How many.
        around: Gives what is entered while a value is made.
    """

    def decorate(function: Callable[Given, Made]) -> Shared[Given, Made]:
        values: Kept[Made] = Kept(most)

        @functools.wraps(function)
        def shared(*args: Any) -> Made:
            def make() -> Made:
                with around():
                    return function(*args)  # type: ignore[call-arg]

            return values.get(args, make)

        shared.peek = lambda *args: values.peek(args)  # type: ignore[attr-defined]
        shared.clear = lambda *args: values.clear(*[args] if args else [])  # type: ignore[attr-defined]
        return cast("Shared[Given, Made]", shared)

    return decorate
