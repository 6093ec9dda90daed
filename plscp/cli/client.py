"""The HTTP API of a running server, as commands use it."""

import json
import os
import re
import ssl
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote, urlsplit

import httpx
import typer

from plscp.cli.options import Config, Json, settings, settings_file, with_options
from plscp.config import load_http, secretfile
from plscp.config.model import LOOPBACK
from plscp.errors import CommandError, ConfigError, HttpProblem

UNREACHABLE = 3
ANSWER_SECONDS = 15.0
NDJSON = "application/x-ndjson"
_EXIT: dict[int, int] = {httpx.codes.SERVICE_UNAVAILABLE: UNREACHABLE, httpx.codes.UNPROCESSABLE_ENTITY: 2}
"""Exit status by HTTP status, where it is not 1: a value that cannot be used is wrong usage."""

Members = Mapping[str, Any] | None
"""Of a query or a body."""


class Api:
    """A client of one server, for a user who may want answers as JSON; without a context of TLS the system's CAs are trusted."""

    def __init__(
        self, url: str, token: str | None = None, tls: ssl.SSLContext | None = None, *, json: bool = False
    ) -> None:
        self.url, self.json, self.seconds = _without_password(url).rstrip("/"), json, ANSWER_SECONDS
        if not host_of(url):
            raise CommandError(f"{self.url[:100]}: must be an address such as http://127.0.0.1:8080", 2)
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        self._client = partial(http_client, url, headers=headers, verify=tls or True)

    def as_json(self, found: Any) -> Any:
        """What was found, where --json asks for it; else None."""
        return found if self.json else None

    def get(self, path: str, query: Members = None, *, missing: str = "") -> Any:
        """GET a JSON answer; `missing` is what a 404 is about and what helps, for the error's line; so of `post`."""
        return self._call("GET", path, query, missing=missing)

    def put(self, path: str, body: Mapping[str, Any], query: Members = None) -> Any:
        """PUT a JSON body."""
        return self._call("PUT", path, query, body)

    def post(self, path: str, body: Members = None, query: Members = None, *, missing: str = "") -> Any:
        """POST, with a JSON body or without."""
        return self._call("POST", path, query, body, missing=missing)

    def delete(self, path: str) -> Any:
        """DELETE, and a JSON answer."""
        return self._call("DELETE", path)

    def _call(self, method: str, path: str, query: Members = None, body: Members = None, missing: str = "") -> Any:
        more = {"params": given(query or {}), "json": body, "timeout": self.seconds}
        try:
            with self._answer("JSON", method, path, **more) as answer:
                return json.loads(answer.read())
        except HttpProblem as problem:
            if missing and problem.status == httpx.codes.NOT_FOUND:
                problem.args = (f"{problem}: {missing}",)
            raise

    def lines(self, path: str, query: Mapping[str, Any]) -> Iterator[Any]:
        """The values of an answer that is kept open, as they come."""
        with self.streamed(NDJSON, path, query) as answer:
            yield from (json.loads(line) for line in answer.iter_lines() if line)

    def streamed(self, media: str, path: str, query: Mapping[str, Any]) -> AbstractContextManager[httpx.Response]:
        """An answer of whatever length, of a media type, to be read as it comes."""
        more = {"params": given(query), "headers": {"Accept": media}}
        return self._answer(media, "GET", path, timeout=httpx.Timeout(ANSWER_SECONDS, read=None), **more)

    @contextmanager
    def _answer(self, kind: str, method: str, path: str, **more: Any) -> Iterator[httpx.Response]:
        """An answer that is none of failure, for as long as it is read; whatever goes wrong meanwhile is a CommandError."""
        try:
            with self._client() as client, client.stream(method, path, **more) as answer:
                if not answer.is_success:
                    answer.read()
                    raise _problem(answer, self.url)
                yield answer
        except (httpx.InvalidURL, httpx.UnsupportedProtocol) as error:
            raise CommandError(f"{self.url} cannot be asked for this: {error}", 2) from None
        except httpx.HTTPError as error:
            raise CommandError(self._away(error), UNREACHABLE) from None
        except ValueError:
            raise CommandError(f"{self.url} is not the HTTP API of plscp: its answer is not {kind}") from None

    def _away(self, error: httpx.HTTPError) -> str:
        if isinstance(error, httpx.TimeoutException):
            return f"{self.url} has not answered within {self.seconds:g} s"
        if fault := tls_fault(error):
            return f"{self.url}: {fault}; see --ca-file"
        if isinstance(error, httpx.ConnectError):
            return f"no server answers at {self.url}: is `plscp serve` running there? See --url"
        return f"{self.url}: the connection was lost: {error}"


def http_client(url: str, **more: Any) -> httpx.Client:
    """An `httpx.Client` of an address; CommandError where what the environment says of proxies or CAs cannot be used."""
    try:  # a proxy of the environment is never meant for this machine
        return httpx.Client(base_url=url, trust_env=host_of(url) not in LOOPBACK, **more)
    except OSError as error:  # it does not name the file
        raise CommandError(f"SSL_CERT_FILE: {os.environ.get('SSL_CERT_FILE')}: {_why_unread(error)}", 2) from None
    except (ValueError, ImportError, httpx.InvalidURL):  # it may hold a password
        names = "HTTP_PROXY, HTTPS_PROXY, ALL_PROXY, NO_PROXY"
        raise CommandError(f"{names}: must be addresses such as http://proxy.example:3128", 2) from None


def _without_password(url: str) -> str:
    """An address as it may be shown: without user and password, whatever else is wrong with it."""
    return re.sub(r"^(\w+://)?.*@", r"\1", url, flags=re.DOTALL)


def tls_fault(error: BaseException | None) -> str:
    """Why there is no TLS, in OpenSSL's words; empty where that is not why."""
    while error is not None and not isinstance(error, ssl.SSLError):
        error = error.__cause__ or error.__context__
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"the server's certificate is not trusted: {error.verify_message}"
    return "" if error is None else "the server does not speak TLS as this command does"


def host_of(url: str) -> str:
    """The host of an address of HTTP, or empty where it is none."""
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname or "", parts.port
        host.encode("idna")
        httpx.URL(url)
    except (ValueError, httpx.InvalidURL):  # UnicodeError is a ValueError
        return ""
    return host if parts.scheme in {"http", "https"} else ""


def given(members: Mapping[str, Any]) -> dict[str, Any]:
    """Without what is None."""
    return {name: value for name, value in members.items() if value is not None}


def _problem(answer: httpx.Response, url: str) -> CommandError:
    """What a failure says, in the problem's own words."""
    try:
        problem = answer.json()
        detail = str(problem["detail"])
    except (ValueError, KeyError, TypeError):
        return CommandError(f"{url} is not the HTTP API of plscp: it answered {answer.status_code}")
    if answer.status_code == httpx.codes.UNAUTHORIZED:
        role = str(problem.get("role") or "any")
        detail = f"the server asks for a token (role {role}): --token-file FILE"
    return HttpProblem(detail, answer.status_code, problem, _EXIT.get(answer.status_code, 1))


def _api(  # noqa: PLR0917  # one argument per option
    context: typer.Context,
    json: Json = False,
    url: Annotated[
        str | None, typer.Option("--url", help="Address of the server's HTTP API.", envvar="PLSCP_URL")
    ] = None,
    token_file: Annotated[
        Path | None, typer.Option(help="File with the API's token.", envvar="PLSCP_TOKEN_FILE")
    ] = None,
    config: Config = None,
    ca_file: Annotated[
        Path | None, typer.Option(help="PEM file of the CAs to trust, for https.", envvar="PLSCP_CA_FILE")
    ] = None,
) -> Api:
    """The API that the options name; what they leave open comes from the settings."""
    token = tls = None
    if token_file is not None:
        token, *_ = secretfile.lines("--token-file", str(token_file))  # there are more while they are exchanged
        if not token.isascii():
            raise CommandError(f"{token_file}: must hold a line of ASCII text", 2)
    if ca_file is not None:
        tls = trusting("--ca-file", ca_file)
    if url is None or (token is None and config is not None):
        try:
            found = settings(config)
        except ConfigError as fault:  # the server goes on with what was before, and [http] is enough to ask it
            found = load_http(settings_file(config), os.environ)
            if context.info_name != "reload":  # which has them from the server
                typer.echo(f"plscp: {fault}", err=True)
        if token is None:
            token = found.token()
        if tls is None and found.http.tls is not None:
            tls = trusting("http.tls.certificate", Path(found.http.tls.certificate), alone=True)
        if url is None:
            host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(found.http.host, found.http.host)  # noqa: S104  # compared, not bound
            url = f"http{'s' if found.http.tls is not None else ''}://{f'[{host}]' if ':' in host else host}:{found.http.port}"
    return Api(url, token, tls, json=json)


server_command = with_options(_api)
"""Makes a function a command of a group that asks a running server: its first argument is the Api."""


def trusting(setting: str, file: Path, *, alone: bool = False) -> ssl.SSLContext:
    """A client's side of TLS 1.2 at least, which trusts the file's CAs, or alone whoever has its first certificate, whatever host it names."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        if alone:
            end = "-----END CERTIFICATE-----"
            context.load_verify_locations(cadata=file.read_text("latin-1").partition(end)[0] + end)
            context.check_hostname = False
            context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
        else:
            context.load_verify_locations(file)
    except OSError as error:
        raise CommandError(f"{setting}: {file}: {_why_unread(error)}", 2) from None
    return context


def _why_unread(error: OSError) -> str:
    return "holds no certificate in PEM" if isinstance(error, ssl.SSLError) else str(error.strerror)


def segment(text: str) -> str:
    """A value as one segment of a path; raises CommandError where it cannot be one."""
    if text in {"", ".", ".."}:
        raise CommandError(f"{text!r} names nothing", 2)
    return quote(text, safe="")
