"""Fields that a sink is told to use, seen against those that come in. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from squall.errors import Defect, TopologyError, did_you_mean, listed


def check_fields(who: str, named: Mapping[str, Iterable[str]], inputs: Mapping[str, Mapping[str, object]]) -> None:
    """Refuses fields that a stream does not have: without this each of its rows would be a dead letter.

    Args:
        who: `bolt "orders"`.
        named: the fields that each option names.
        inputs: the fields of each stream, as `TopologyContext.inputs` has them; one that declares none is not checked.

    Raises:
        TopologyError: `sink_field_unknown`: all such fields, of all streams.
    """
    defects = [
        _defect(who, option, field, stream, there)
        for stream, there in inputs.items()
        for option, fields in named.items()
        for field in fields
        if there and field not in there
    ]
    if defects:
        raise TopologyError(*defects)


def _defect(who: str, option: str, field: str, stream: str, there: Mapping[str, object]) -> Defect:
    near = did_you_mean(field, there)
    fix = f'did you mean "{near}"?' if near else "name a field that the stream has"
    message = f'{who} has {option} with field "{field}", which stream "{stream}" does not have'
    return Defect("sink_field_unknown", message, (("fields", listed(there)),), fix)
