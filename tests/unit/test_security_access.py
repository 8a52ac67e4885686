"""Who may ask the HTTP servers, what others are told, and the headers of every answer."""

import asyncio
import base64
import socket
import ssl
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from prometheus_client import CollectorRegistry

from stream.access import REFUSED_MAX, Access
from stream.errors import UserError
from stream.headers import HEADERS, HSTS
from stream.health import serve_health
from stream.passwords import PasswordHash
from stream.probe import works
from stream.serve.guarded import WAITING_MAX, Guarded
from stream.settings import load_settings
from tests.support.patience import eventually
from tests.support.ports import free_port
from tests.support.secured import Certificates
from tests.support.serving import Served
from tests.support.views import HandMade

TOKEN, PASSWORD = "token-4711-of-this-test", "correct horse"
PATHS = (
    "/", "/launch/spring", "/static/base.css", "/metrics", "/openapi.json", "/readyz",
    "/api/v1/catalogue", "/api/v1/status", "/api/v1/query?metric=ctr&window=5m", "/api/v1/live",
    "/nothing-here", "/healthz/", "/healthz/x", "//healthz", "/%68ealthz/..", "/Healthz",
)  # fmt: skip


@pytest.fixture(scope="module")
def anna() -> PasswordHash:
    return PasswordHash.make(PASSWORD)


def basic(name: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{name}:{password}".encode()).decode()


def client_of(app: Any) -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://served")


async def served(access: Access | None, *, tls: bool = False) -> httpx.AsyncClient:
    parts = Served(await HandMade().view()).parts
    return client_of(parts.app(access, tls=tls))


@pytest.mark.parametrize("path", PATHS)
async def test_nothing_but_the_health_of_the_process_is_told_to_strangers(path: str) -> None:
    client = await served(Access([TOKEN], {}))
    for header in (
        "",
        "Bearer",
        "Bearer x",
        f"Bearer {TOKEN}x",
        f"Token {TOKEN}",
        "Basic !",
        TOKEN,
    ):
        answer = await client.get(path, headers={"Authorization": header} if header else {})
        assert answer.status_code == 401
        assert answer.headers.get_list("www-authenticate") == [
            'Basic realm="stream", charset="UTF-8"', 'Bearer realm="stream"'
        ]  # fmt: skip
        assert answer.json()["status"] == 401
    assert (await client.get("/healthz")).status_code == 200


@pytest.mark.parametrize(
    "header", [f"Bearer {TOKEN}", f"bearer  {TOKEN} ", basic("anybody", TOKEN), basic("", TOKEN)]
)
async def test_a_token_opens_all_and_is_a_password_too(header: str) -> None:
    client = await served(Access(["another-token-of-16", TOKEN], {}))
    for path in ("/", "/metrics", "/api/v1/status", "/readyz"):
        assert (await client.get(path, headers={"Authorization": header})).status_code == 200


async def test_a_user_signs_in_with_name_and_password(anna: PasswordHash) -> None:
    client = await served(Access([], {"anna": anna}))

    async def code(header: str) -> int:
        return (await client.get("/api/v1/status", headers={"Authorization": header})).status_code

    assert await code(basic("anna", PASSWORD)) == 200
    for name, password in (("anna", "wrong"), ("bert", PASSWORD), ("", ""), ("Anna", PASSWORD)):
        assert await code(basic(name, password)) == 401
    assert await code(f"Bearer {PASSWORD}") == 401


async def test_two_authorization_headers_are_none() -> None:
    client = await served(Access([TOKEN], {}))
    twice = [("Authorization", f"Bearer {TOKEN}"), ("Authorization", "Bearer x")]
    assert (await client.get("/metrics", headers=twice)).status_code == 401


async def test_without_files_everybody_is_let_in() -> None:
    client = await served(None)
    assert (await client.get("/api/v1/status")).status_code == 200


def test_a_password_is_derived_once_and_so_is_a_wrong_one(
    anna: PasswordHash, monkeypatch: pytest.MonkeyPatch
) -> None:
    access = Access([], {"anna": anna})
    derived: list[str] = []

    def fits(kept: PasswordHash, password: str) -> bool:
        derived.append(password)
        return kept is anna and password == PASSWORD

    monkeypatch.setattr(PasswordHash, "fits", fits)
    for header, verdict in ((basic("anna", PASSWORD), True), (basic("anna", "wrong"), False)):
        assert access.recall(header) is None
        assert access.decide(header) is verdict
        assert access.recall(header) is verdict
        assert access.decide(header) is verdict
    assert derived == [PASSWORD, "wrong"]
    assert access.decide(basic("nobody", PASSWORD)) is False
    assert len(derived) == 3, "a name that nobody has costs as much as a wrong password"


def test_wrong_passwords_do_not_fill_the_memory(
    anna: PasswordHash, monkeypatch: pytest.MonkeyPatch
) -> None:
    access = Access([], {"anna": anna})
    monkeypatch.setattr(PasswordHash, "fits", lambda *_: False)
    for number in range(REFUSED_MAX + 100):
        access.decide(basic("anna", str(number)))
    assert len(access._refused) == REFUSED_MAX
    assert access.recall(basic("anna", "0")) is None


async def test_checking_passwords_holds_up_nobody_else(
    anna: PasswordHash, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While passwords are derived, one at a time, tokens are answered; too many are sent away."""
    go_on, under_way, most = threading.Event(), [0], [0]

    def slow(_: PasswordHash, password: str) -> bool:
        under_way[0] += 1
        most[0] = max(most[0], under_way[0])
        go_on.wait(20)
        under_way[0] -= 1
        return password == PASSWORD

    access = Access([TOKEN], {"anna": anna})
    monkeypatch.setattr(PasswordHash, "fits", slow)
    client = await served(access)

    def ask(password: str) -> "asyncio.Task[httpx.Response]":
        header = {"Authorization": basic("anna", password)}
        return asyncio.create_task(client.get("/api/v1/status", headers=header))

    waiting = [ask(PASSWORD), *(ask(str(number)) for number in range(WAITING_MAX - 1))]
    await eventually(lambda: under_way[0] == 1)
    turned_away = await ask("one too many")
    assert turned_away.status_code == 503
    assert turned_away.headers["retry-after"]
    quick = await client.get("/api/v1/status", headers={"Authorization": f"Bearer {TOKEN}"})
    assert quick.status_code == 200
    assert await asyncio.wait_for(asyncio.to_thread(bool, 1), 20), "threads are left for others"
    go_on.set()
    codes = [answer.status_code for answer in await asyncio.gather(*waiting)]
    assert codes == [200] + [401] * (WAITING_MAX - 1)
    assert most == [1]


@pytest.mark.parametrize(
    ("path", "guarded"),
    [(path, True) for path in PATHS]
    + [(path, False) for path in PATHS if path != "/api/v1/live"],  # which has no end
)
async def test_every_answer_has_the_strict_headers(path: str, guarded: bool) -> None:
    client = await served(Access([TOKEN], {}) if guarded else None)
    answer = await client.get(path)
    for name, value in HEADERS.items():
        assert answer.headers.get_list(name) == [value], name
    assert "strict-transport-security" not in answer.headers
    policy = dict(part.split(" ", 1) for part in HEADERS["Content-Security-Policy"].split("; "))
    assert policy["default-src"] == policy["frame-ancestors"] == policy["form-action"] == "'none'"
    assert not any("unsafe" in sources or "*" in sources for sources in policy.values())


async def test_over_tls_browsers_are_told_to_come_back_over_tls() -> None:
    answer = await (await served(None, tls=True)).get("/healthz")
    assert answer.headers["strict-transport-security"] == HSTS["Strict-Transport-Security"]


async def test_an_app_cannot_weaken_its_headers() -> None:
    async def lax(_scope: Any, _receive: Any, send: Any) -> None:
        own = [(b"content-security-policy", b"default-src *"), (b"x-own", b"kept")]
        await send({"type": "http.response.start", "status": 200, "headers": own})
        await send({"type": "http.response.body", "body": b""})

    answer = await client_of(Guarded(lax)).get("/")
    assert answer.headers.get_list("content-security-policy") == [
        HEADERS["Content-Security-Policy"]
    ]
    assert answer.headers["x-own"] == "kept"


# --- the worker's own port ---


@contextmanager
def worker_port(**options: object) -> Iterator[str]:
    port = free_port()
    settings = load_settings({"worker_port": port, **options})
    with serve_health(settings, CollectorRegistry(), lambda: True):
        yield f"127.0.0.1:{port}"


def fetch(url: str, header: str = "", context: ssl.SSLContext | None = None) -> tuple[int, Any]:
    request = urllib.request.Request(url, headers={"Authorization": header} if header else {})
    try:
        with urllib.request.urlopen(request, timeout=10, context=context) as answer:
            return answer.status, answer.headers
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.headers


def token_file(tmp_path: Path) -> Path:
    path = tmp_path / "token"
    path.write_text(TOKEN)
    path.chmod(0o600)
    return path


def test_a_worker_asks_for_the_same_token(tmp_path: Path) -> None:
    with worker_port(http_token_file=token_file(tmp_path)) as place:
        for path, code in (("/metrics", 401), ("/readyz", 401), ("/x", 401), ("/healthz", 200)):
            found, headers = fetch(f"http://{place}{path}")
            assert (found, headers["X-Content-Type-Options"]) == (code, "nosniff")
        assert fetch(f"http://{place}/metrics")[1].get_all("WWW-Authenticate")
        for path in ("/metrics", "/readyz"):
            assert fetch(f"http://{place}{path}", f"Bearer {TOKEN}")[0] == 200


def test_a_worker_speaks_tls_and_no_client_holds_it_up(tmp_path: Path) -> None:
    made = Certificates(tmp_path)
    options = {"http_tls_cert": made.server.certificate, "http_tls_key": made.server.key}
    with worker_port(**options) as place:
        host, port = place.split(":")
        with socket.create_connection((host, int(port))):  # says nothing, so shakes no hands
            context = ssl.create_default_context(cafile=made.authority)
            code, headers = fetch(f"https://{place}/metrics", context=context)
            assert (code, headers["Strict-Transport-Security"]) == (
                200,
                HSTS["Strict-Transport-Security"],
            )


def test_a_worker_does_not_listen_to_others_unguarded() -> None:
    with (
        pytest.raises(UserError, match="STREAM_WORKER_HOST: others can reach"),
        worker_port(worker_host="0.0.0.0"),
    ):
        pass


@pytest.mark.parametrize("tls", [False, True])
def test_a_container_can_ask_its_own_part(tmp_path: Path, tls: bool) -> None:
    made = Certificates(tmp_path)
    pair = {"http_tls_cert": made.server.certificate, "http_tls_key": made.server.key}
    with worker_port(http_token_file=token_file(tmp_path), **(pair if tls else {})) as place:
        port = int(place.partition(":")[2])
        assert works(port, tls=tls)
        assert not works(port, tls=not tls)
    assert not works(port, tls=tls)
