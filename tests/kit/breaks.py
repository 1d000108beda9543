"""What networks, servers and stores do to a request, and when: kinds of faults, and seeded plans of them.

A plan is a function of a seed, a rate and the kinds of faults, and of nothing else: what the nth PUT meets depends on
no clock, no thread, and no other request. Each kind of request has a deck of what may happen to it, shuffled, dealt to
one request in ten (or whatever the rate says), and shuffled anew when it is used up: so a run of so many requests has
met everything, and one that has not says what is missing.
"""

import random
from collections.abc import Collection, Iterator, Mapping
from enum import Enum


class Break(Enum):
    """What may happen to a request."""

    DELAY = "it is answered, later"
    CRAWL = "its bodies move slowly"
    RESET = "the connection is reset before anything was done"
    DROP_UPLOAD = "the connection is reset in the middle of the request's body, and nothing was done"
    ERROR_500 = "500 InternalError, and nothing was done"
    SLOW_DOWN = "503 SlowDown with Retry-After, and nothing was done"
    HANG = "nothing is done, and there is no answer"
    DROP_ANSWER = "the connection is reset in the middle of the answer's body"
    TRUNCATE = "the answer ends too early, in good order"
    CORRUPT_ANSWER = "one bit of the answer's body is turned over"
    CORRUPT_UPLOAD = "one bit of the request's body is turned over"
    STORED_500 = "it is done, and 500 is the answer"
    LOST_ACK = "it is done, and the connection is reset instead of an answer"
    STALE = "404 NoSuchKey, as from a replica that is behind"
    EMPTY = "an empty listing, as from a replica that is behind"
    TWICE = "it is done two times"
    LOST_PUT = "nothing is done, and it is acknowledged with the right checksum"
    ROTTEN_PUT = "one bit of what is stored is turned over, and it is acknowledged with the right checksum"


ANY = "ANY"
_EVERYWHERE = (
    Break.DELAY,
    Break.CRAWL,
    Break.RESET,
    Break.ERROR_500,
    Break.SLOW_DOWN,
    Break.HANG,
    Break.STORED_500,
    Break.LOST_ACK,
)
_ANSWERED = (Break.DROP_ANSWER, Break.TRUNCATE)
MAY_MEET: Mapping[str, tuple[Break, ...]] = {
    "PUT": (
        *_EVERYWHERE,
        Break.DROP_UPLOAD,
        Break.CORRUPT_UPLOAD,
        Break.TWICE,
        Break.LOST_PUT,
        Break.ROTTEN_PUT,
    ),
    "GET": (*_EVERYWHERE, *_ANSWERED, Break.CORRUPT_ANSWER, Break.STALE),
    "LIST": (*_EVERYWHERE, *_ANSWERED, Break.EMPTY),
    "HEAD": (*_EVERYWHERE, Break.STALE),
    "DELETE": (*_EVERYWHERE, Break.TWICE),
    "POST": (*_EVERYWHERE, *_ANSWERED, Break.DROP_UPLOAD, Break.TWICE),
}
"""By kind of request; LIST is a GET of the bucket."""
AT_REST = frozenset({Break.LOST_PUT, Break.ROTTEN_PUT})
"""Lies that no answer shows: only who reads all that is stored, by and by, can find what they did."""
PASSING = frozenset(Break) - AT_REST
"""All else: a drive lives through it, and forgets it."""


def fates(seed: int, rate: float, kind: str, whats: Collection[Break]) -> Iterator[Break | None]:
    """What the 1st, 2nd, … request of this kind meets, without end."""
    chance = random.Random(f"{seed} {kind}")
    possible = [what for what in MAY_MEET[kind] if what in whats]
    deck: list[Break] = []
    while True:
        if chance.random() >= rate or not possible:
            yield None
            continue
        deck = deck or chance.sample(possible, len(possible))
        yield deck.pop()
