"""Schemathesis over our own OpenAPI document: no request brings the server down or surprises it.

Which parameters go together is beyond the document. So each metric is also tried with a document of
its own, in which all that it allows is accepted and all else is refused: there the document and the
server must agree to the letter.
"""

import asyncio
import copy
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, settings
from schemathesis.checks import CHECKS, load_all_checks
from starlette.types import ASGIApp

from stream.core.catalogue import CLICKS, METRICS, NOT_SET, SESSIONS, TICKETS
from stream.serve.openapi import document
from stream.serve.parameters import DIMENSIONS
from tests.support.serving import Served
from tests.support.views import HandMade

Json = dict[str, Any]
pytestmark = pytest.mark.slow
load_all_checks()
AGREEMENT: list[Any] = CHECKS.get_by_names(CHECKS.get_all_names())
ALL_BUT_ACCEPTANCE = [check for check in AGREEMENT if check.__name__ != "positive_data_acceptance"]
of_some = settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))


@pytest.fixture(scope="module")
def app() -> ASGIApp:
    made = HandMade()
    for campaign in ("spring", "autumn", "<b>\u2028&"):
        made.count(CLICKS, (campaign, "email", "A", NOT_SET), {"impressions": 20, "clicks": 2})
        made.count(SESSIONS, (campaign, "email", "A"), {"sessions": 2, "converted": 1})
    made.count(TICKETS, ("chat", "billing"), {"resolved": 2, "first_contact_111": 1})
    return Served(asyncio.run(made.view())).parts.app()


def narrow(name: str) -> Json:
    """The document as it holds for a window of one metric."""
    metric, narrowed = METRICS[name], copy.deepcopy(document())
    absent = {"from", "to", *DIMENSIONS} - set(metric.dimensions)
    absent |= {"bounce", "fcr"} - {metric.choice}
    absent |= set() if metric.ages and not metric.choice else {"age"}
    asked = {"/api/v1/query", "/api/v1/series"}
    narrowed["paths"] = {p: o for p, o in narrowed["paths"].items() if p in asked}
    for operation in narrowed["paths"].values():
        given = {p["name"]: p for p in operation["get"]["parameters"] if p["name"] not in absent}
        given["metric"]["schema"]["enum"] = [name]
        given["window"]["required"] = True
        given["by"]["schema"]["items"]["enum"] = list(metric.dimensions)
        if not metric.settles:
            given["state"]["schema"]["enum"] = ["live"]
        operation["get"]["parameters"] = list(given.values())
    return narrowed


# The live feed never ends, and schemathesis would wait for it.
whole = schemathesis.openapi.from_dict(document()).exclude(path="/api/v1/live")
ctr = schemathesis.openapi.from_dict(narrow("ctr"))
bounce_rate = schemathesis.openapi.from_dict(narrow("bounce_rate"))
conversion_rate = schemathesis.openapi.from_dict(narrow("conversion_rate"))
fcr = schemathesis.openapi.from_dict(narrow("fcr"))


@whole.parametrize()
@of_some
def test_requests_of_all_kinds(case: schemathesis.Case, app: ASGIApp) -> None:
    response = case.call(app=app)
    case.validate_response(response, checks=ALL_BUT_ACCEPTANCE)
    if response.status_code == 422:
        assert response.json()["param"] is not None


@ctr.parametrize()
@of_some
def test_ctr(case: schemathesis.Case, app: ASGIApp) -> None:
    case.call_and_validate(app=app, checks=AGREEMENT)


@bounce_rate.parametrize()
@of_some
def test_bounce_rate(case: schemathesis.Case, app: ASGIApp) -> None:
    case.call_and_validate(app=app, checks=AGREEMENT)


@conversion_rate.parametrize()
@of_some
def test_conversion_rate(case: schemathesis.Case, app: ASGIApp) -> None:
    case.call_and_validate(app=app, checks=AGREEMENT)


@fcr.parametrize()
@of_some
def test_fcr(case: schemathesis.Case, app: ASGIApp) -> None:
    case.call_and_validate(app=app, checks=AGREEMENT)
