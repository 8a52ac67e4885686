"""`stream explain`: what stands behind a figure, asked of the server and put into words."""

import json
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any
from urllib.parse import urlencode

from stream.errors import UserError
from stream.sign_in import NEEDED, NOBODY, SignIn

PATIENCE_S = 10.0
_DEAD = ("malformed", "invalid", "unknown_type", "oversize", "future", "too_late", "late")


def explain(url: str, parameters: Sequence[tuple[str, str]], sign_in: SignIn = NOBODY) -> str:
    """The explanation as text. Raises UserError for what the server refuses, or if it is away."""
    if not url.startswith(("http://", "https://")):
        raise UserError(f"'{url}' is no address; write e.g. http://127.0.0.1:8000")
    address = f"{url.rstrip('/')}/api/v1/explain?{urlencode(parameters)}"
    request = urllib.request.Request(address, headers=dict(sign_in.headers))  # noqa: S310
    try:
        with urllib.request.urlopen(  # noqa: S310 - http or https, as was looked at
            request, timeout=PATIENCE_S, context=sign_in.context
        ) as answer:
            return "\n".join(lines_of(json.loads(answer.read())))
    except urllib.error.HTTPError as error:
        raise UserError(_refusal(error)) from None
    except (OSError, ValueError) as error:
        why = getattr(error, "reason", None) or error
        raise UserError(f"no answer from {url}: {why}; is `stream serve` running?") from None


def lines_of(found: Mapping[str, Any]) -> list[str]:
    """An answer of `/api/v1/explain` in lines."""
    value = found["value"]
    shown = "no value" if value is None else f"{value:.6g}"
    state = found["state"] + ("" if found["complete"] else ", incomplete")
    fraction = f"{found['numerator']} / {found['denominator']}"
    return [
        f"{found['metric']} = {shown}   ({fraction}, {state})",
        f"from {found['from']} to {found['to']}, all recorded before {found['as_of']} is in",
        f"formula   {found['formula']}",
        *(f"          {name} = {n}" for name, n in found["fields"].items()),
        "left out  "
        + ", ".join(f"{n} {name}" for name, n in found["left_out"].items() if name != "unchecked")
        + f"; counted unchecked: {found['left_out']['unchecked']}",
        "cells",
        *(
            f"          {layer['cells']} in {layer['buckets']} x {layer['step']}, "
            f"{layer['from']} to {layer['to']}"
            for layer in found["cells"]
        ),
        "records",
        *map(_partition, found["partitions"]),
        f"rules     {found['definition_id']}: "
        + ", ".join(f"{name}={value}" for name, value in found["rules"].items()),
    ]


def _partition(found: Mapping[str, Any]) -> str:
    first, tally = found["first_offset"], found["tally"]
    where = "none in the range" if first is None else f"offsets {first} to {found['last_offset']}"
    dead = {name: tally[name] for name in _DEAD if tally.get(name)}
    said = f", dead letters: {', '.join(f'{n} {name}' for name, n in dead.items())}" if dead else ""
    return (
        f"          partition {found['partition']} ({found['status']}): {where}; "
        f"of all up to {found['through']}: {tally.get('counted', 0)} counted, "
        f"{tally.get('unchecked', 0)} unchecked, {tally.get('duplicate', 0)} duplicates{said}"
    )


def _refusal(error: urllib.error.HTTPError) -> str:
    if error.code == HTTPStatus.UNAUTHORIZED:
        return NEEDED
    try:
        problem = json.loads(error.read())
    except ValueError:
        return f"the server answers {error.code}"
    return f"{problem.get('param', 'request')}: {problem.get('detail', error.code)}"
