"""A value held against the caller's schema, within bounds of work. The only importer of jsonschema.

What a chat model writes is checked here whatever its server promises: one may ignore the schema, know only half of its
keywords, or have been cut off. A schema can be made so that checking takes for ever (choices within choices, a pattern
that goes back and forth), so steps are counted and patterns have a time limit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Set
from dataclasses import dataclass
from time import perf_counter, thread_time
from typing import Any

from kb.errors import InvalidInput
from kb.tokens import estimate_tokens
from retrieval.json_answer.exact import write_exact
from retrieval.json_answer.parts import Location, list_parts, write_pointer
from retrieval.json_answer.patterns import find_foreign_group, measure_pattern
from retrieval.json_answer.rules import LONGEST_PATTERN, check_parts, refuse_schema, write_schema

MOST_WRITTEN_OUT = 10_000  # parts of all patterns together, repetitions written out: a few megabytes
MOST_STEPS = 100_000  # keywords looked at: mostly a second or less
CHECK_S = 2.0  # of the processor: a step may name a thousand properties, or write a long value into what is wrong
PATTERN_S = 0.5  # for all patterns of one check together

# Keywords with schemas in them that one of the drafts does not know.
UNSURE = frozenset(
    {
        "$defs",
        "dependentSchemas",
        "unevaluatedItems",
        "unevaluatedProperties",
        "contentSchema",
        "prefixItems",
        "additionalItems",
    }
)

Keyword = Callable[..., Iterator[Any] | None]


@dataclass(frozen=True, kw_only=True, slots=True)
class Misfit:
    """The keyword that a value breaks, as a place in the schema: the caller's own words, none of the model's."""

    place: str


class ResponseSchema:
    """A schema that may be asked for. `text` is its JSON, `schema` what the caller sent. Thread-safe."""

    def __init__(self, schema: Mapping[str, Any]) -> None:
        """Raises InvalidInput (`bad_response_schema`). Takes some milliseconds."""
        from jsonschema import exceptions
        from jsonschema.validators import Draft202012Validator, validator_for

        self.text = write_schema(schema)
        self.schema = schema
        check_parts(schema)
        self._kind: Any = validator_for(schema, default=Draft202012Validator)
        for location, part in _iter_unseen(schema):
            try:
                self._kind.check_schema(part, format_checker=None)
            except exceptions.SchemaError as error:
                place = (*location, *(str(key) for key in error.absolute_path))
                raise refuse_schema(place, f"is no JSON Schema: it breaks {error.validator} of the draft") from None
        _check_patterns(schema)

    @property
    def keywords(self) -> Set[str]:
        """Those by which the schema's draft judges a value: it passes over any other."""
        return frozenset(self._kind.VALIDATORS)

    def check_size(self, window: int | None) -> None:
        """Raises InvalidInput (`bad_response_schema`) where it takes more than a quarter of the chat model's window."""
        tokens = int(estimate_tokens(self.text))
        if window is not None and tokens > window / 4:
            reason = f"takes about {tokens:,} of the {window:,} tokens that the chat model reads and writes: shorten it"
            raise refuse_schema((), reason)

    def find_misfit(self, value: Any) -> Misfit | None:  # noqa: ANN401
        """What about `value` does not fit; None where it fits.

        Raises InvalidInput (`bad_response_schema`) where finding out takes too long.
        """
        from jsonschema import exceptions
        from jsonschema.validators import extend
        from referencing import Registry
        from referencing.exceptions import Unresolvable

        meter = _Meter()
        replaced = {name: meter.count(check) for name, check in self._kind.VALIDATORS.items()}
        replaced |= {"pattern": meter.count(meter.check_pattern), "uniqueItems": meter.count(_check_unique)}
        checker = extend(self._kind, replaced)(self.schema, registry=Registry())
        try:
            error = exceptions.best_match(checker.iter_errors(value))
        except RecursionError:
            return Misfit(place="#: it is nested too deep")
        except Unresolvable:  # `check_parts` reads pointers as the library does: none is known that comes here
            raise refuse_schema((), "has a $ref that leads nowhere") from None
        if error is None:
            return None
        return Misfit(place=write_pointer(tuple(str(key) for key in error.absolute_schema_path)))


def _iter_unseen(schema: Mapping[str, Any]) -> Iterator[tuple[Location, Any]]:
    """The whole, and the schemas that a draft may not look for where they stand, though `$ref` may."""
    yield (), schema
    yield from ((at, part) for at, part in list_parts(schema).items() if not UNSURE.isdisjoint(at[-2:]))


class _Meter:
    """Counts the work of one check and ends it when it is too much."""

    def __init__(self) -> None:
        self._steps = MOST_STEPS
        self._end = thread_time() + CHECK_S
        self._seconds = PATTERN_S

    def count(self, check: Keyword) -> Keyword:
        def counted(validator: Any, wanted: Any, value: Any, schema: Any) -> Iterator[Any] | None:  # noqa: ANN401
            self._steps -= 1
            if self._steps < 0 or thread_time() > self._end:
                raise _say_costly("too many steps are needed to check an answer against it")
            return check(validator, wanted, value, schema)

        return counted

    def check_pattern(self, validator: Any, pattern: str, value: Any, schema: Any) -> Iterator[Any]:  # noqa: ANN401
        import regex
        from jsonschema.exceptions import ValidationError

        del schema
        if not validator.is_type(value, "string"):
            return
        began = perf_counter()
        try:
            if self._seconds <= 0:
                raise TimeoutError
            found = regex.search(pattern, value, timeout=self._seconds)
        except TimeoutError:
            raise _say_costly(
                "its patterns take too long on an answer: write them without a repetition within one"
            ) from None
        self._seconds -= perf_counter() - began
        if not found:
            yield ValidationError("the pattern is not in it")


def _check_unique(validator: Any, wanted: Any, value: Any, schema: Any) -> Iterator[Any]:  # noqa: ANN401
    """In one pass: the library compares each with each other where they cannot be sorted."""
    from jsonschema.exceptions import ValidationError

    del schema
    if wanted and validator.is_type(value, "array"):
        written = {write_exact(one, sort=True) for one in value}
        if len(written) < len(value):
            yield ValidationError("two of them are equal")


def _check_patterns(schema: Mapping[str, Any]) -> None:
    left = MOST_WRITTEN_OUT
    for location, part in list_parts(schema).items():
        pattern = part.get("pattern") if isinstance(part, dict) else None
        if pattern is not None:
            _check_pattern((*location, "pattern"), pattern)
            left -= measure_pattern(pattern)
            if left < 0:
                reason = f"repeats too often: written out, all patterns have {MOST_WRITTEN_OUT:,} parts at most"
                raise refuse_schema((*location, "pattern"), reason)
    for location, part in list_parts(schema).items():
        if isinstance(part, dict) and "pattern" in part:
            _compile_pattern((*location, "pattern"), part["pattern"])


def _check_pattern(location: Location, pattern: str) -> None:
    if len(pattern) > LONGEST_PATTERN:
        raise refuse_schema(location, f"has more than {LONGEST_PATTERN} characters")
    if (group := find_foreign_group(pattern)) is not None:
        reason = f"has a group that begins with {group}: only (?:, (?=, (?!, (?<=, (?<!, (?<name> and (?i) are taken"
        raise refuse_schema(location, reason)


def _compile_pattern(location: Location, pattern: str) -> None:
    import regex

    try:
        regex.compile(pattern)
    except regex.error:
        raise refuse_schema(location, "is no regular expression") from None


def _say_costly(reason: str) -> InvalidInput:
    return InvalidInput("bad_response_schema", f"response_schema: {reason}")
