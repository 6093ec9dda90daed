"""Changes laid over what is there: a view of a large projection that costs what is changed in it, not what it holds."""

from collections.abc import Iterable, Iterator, Mapping, MutableMapping
from typing import Any, ClassVar, Self, TypeVar, cast

K = TypeVar("K")
V = TypeVar("V")


class Layer(MutableMapping[K, V]):
    """A mapping with changes of its own over another one, which is read only and must not change meanwhile.

    It behaves as a dictionary does in which the same changes were made, its order included.
    """

    __slots__ = ("_below", "_gone", "_own")

    def __init__(self, below: Mapping[K, V]) -> None:
        self._below = below
        self._own: dict[K, V] = {}
        self._gone: set[K] = set()  # keys below that were deleted, also those that were set again since

    def __getitem__(self, key: K) -> V:
        if key in self._own:
            return self._own[key]
        if key in self._gone:
            raise KeyError(key)
        return self._below[key]

    def __contains__(self, key: object) -> bool:
        return key in self._own or (key not in self._gone and key in self._below)

    def __setitem__(self, key: K, value: V) -> None:
        self._own[key] = value

    def __delitem__(self, key: K) -> None:
        if key not in self:
            raise KeyError(key)
        self._own.pop(key, None)
        if key in self._below:
            self._gone.add(key)

    def __iter__(self) -> Iterator[K]:
        yield from self._kept()
        yield from self._added()

    def _kept(self) -> Iterable[K]:
        return (key for key in self._below if key not in self._gone) if self._gone else self._below

    def _added(self) -> Iterator[K]:
        return (key for key in self._own if key in self._gone or key not in self._below)

    def __len__(self) -> int:
        return len(self._below) - len(self._gone) + sum(1 for _ in self._added())

    def __repr__(self) -> str:
        return repr(dict(self))

    def settle(self) -> None:
        """Make the changes in the dictionary below; nobody may use this layer any more."""
        below = cast("dict[K, V]", self._below)
        for key in self._gone:
            del below[key]
        below.update(self._own)


class Forkable:
    """A projection: its attributes are dictionaries of values that do not change, other such objects, and plain values.

    A value is changed by putting another one in its place. So `fork` costs nothing that grows with what is held.

    Attributes:
        whole: names of attributes that are exchanged as a whole, dictionaries too.
        passing: names of attributes that are no part of the projection's state: they belong to the running server.
    """

    whole: ClassVar[frozenset[str]] = frozenset()
    passing: ClassVar[frozenset[str]] = frozenset()

    def fork(self) -> Self:
        """A view that may be changed; it holds for as long as this one does not change."""
        twin = object.__new__(type(self))
        mine = vars(twin)
        for name, value in vars(self).items():
            if isinstance(value, Forkable):
                mine[name] = value.fork()
            elif type(value) in {dict, Layer} and name not in self.whole:
                mine[name] = Layer(value)
            else:
                mine[name] = value
        return twin

    def become(self, fork: Self) -> None:
        """Become what a fork of this one has become; nobody may use the fork any more."""
        for name, value in vars(fork).items():
            if isinstance(value, Forkable):
                vars(self)[name].become(value)
            elif isinstance(value, Layer) and name not in self.whole:
                value.settle()
            else:
                vars(self)[name] = value

    def state(self, prefix: str = "") -> Iterator[tuple[str, "Forkable", str]]:
        """What makes up its state, in a fixed order: for each attribute its name from here on, the object that has it, and its name there."""
        for name, value in sorted(vars(self).items()):
            if isinstance(value, Forkable):
                yield from value.state(f"{prefix}{name}.")
            elif name not in self.passing:
                yield prefix + name, self, name

    def value(self, name: str) -> Any:
        """One attribute."""
        return vars(self)[name]
