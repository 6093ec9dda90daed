"""A schema registry with Confluent's API (Confluent, Apicurio, Karapace, Redpanda), as `plscp schema register` uses it."""

import os
from pathlib import Path
from typing import Any, Final, NamedTuple

import httpx

from plscp.cli.client import UNREACHABLE, host_of, http_client, tls_fault, trusting
from plscp.config import secretfile
from plscp.errors import CommandError

ANSWER_SECONDS: Final = 60.0
"""A registry compares a new version with each earlier one before it answers."""
_MOST_CHARACTERS: Final = 300
_JSON: Final = "application/vnd.schemaregistry.v1+json, application/json"
_UNKNOWN: Final = (40401, 40403)
"""Error codes: no such subject; the subject has no such schema."""
_NOT_ALLOWED: Final = (httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN)


class Registered(NamedTuple):
    """What became of a schema: `unchanged`, `new subject` or `new version`; without version and id while it is not registered."""

    subject: str
    outcome: str
    version: int | None
    id: int | None


class SchemaRegistry:
    """One registry. Whatever goes wrong there is a CommandError.

    Args:
        client: with the registry's address as base, and what says who asks.
        compatibility: of each subject; FORWARD_TRANSITIVE: whoever reads by an earlier version, however old, can read what it
            describes; NONE: nothing is asked.
    """

    def __init__(self, client: httpx.Client, compatibility: str) -> None:
        self._client, self._compatibility = client, compatibility

    def register(self, subject: str, schema: str, *, dry_run: bool) -> Registered:
        """Register a JSON Schema that is not there yet, and set its subject's compatibility; once more changes nothing.

        Args:
            dry_run: only ask what is there, and whether the registry would take a new version.
        """
        body = {"schemaType": "JSON", "schema": schema}
        there = self._ask("GET", f"subjects/{subject}/versions") is not None
        found = self._look_up(subject, body)
        outcome = "unchanged" if found else "new version" if there else "new subject"
        if dry_run and outcome == "new version" and self._compatibility != "NONE":
            self._compare(subject, body)
        elif not dry_run:
            compatibility = {"compatibility": self._compatibility}
            # Set before a new version, which is held against the earlier ones; some know no subject before its first.
            if there:
                self._ask("PUT", f"config/{subject}", compatibility)
            if found is None:
                self._ask("POST", f"subjects/{subject}/versions", body)
                found = self._look_up(subject, body)
            if not there:
                self._ask("PUT", f"config/{subject}", compatibility)
        return Registered(subject, outcome, *(found or (None, None)))

    def _look_up(self, subject: str, body: dict[str, str]) -> tuple[int, int] | None:
        match self._ask("POST", f"subjects/{subject}", body):
            case None:
                return None
            case {"version": int(version), "id": int(number)}:
                return version, number
        raise self._foreign("without version and id")

    def _compare(self, subject: str, body: dict[str, str]) -> None:
        match self._ask("POST", f"compatibility/subjects/{subject}/versions?verbose=true", body):
            case {"is_compatible": False, **more}:
                said = more.get("messages")
                why = "; ".join(map(str, said)) if isinstance(said, list) and said else "it is not compatible"
                raise self._refusal(f"{subject}: {why}")

    def _ask(self, method: str, path: str, body: Any = None) -> Any:
        """What the registry answers; None where it knows no such subject or schema."""
        try:
            answer = self._client.request(method, path, json=body, headers={"Accept": _JSON})
        except httpx.TimeoutException:
            text = f"has not answered within {self._client.timeout.read:g} s"
            raise CommandError(f"schema register: {self._client.base_url} {text}", UNREACHABLE) from None
        except httpx.HTTPError as error:
            why = tls_fault(error) or "no registry answers there"
            raise CommandError(f"schema register: {self._client.base_url}: {why}", UNREACHABLE) from None
        if answer.status_code in _NOT_ALLOWED:
            raise self._refusal(f"it answered {answer.status_code}; see --user and --token-file")
        try:
            said = answer.json()
        except ValueError:
            raise self._foreign(str(answer.status_code)) from None
        match said:
            case _ if answer.is_success:
                return said
            case {"error_code": code} if code in _UNKNOWN:
                return None
            case {"error_code": _, "message": str(why)}:
                raise self._refusal(f"{path}: {why}")
        raise self._foreign(str(answer.status_code))

    def _refusal(self, why: str) -> CommandError:
        return CommandError(f"schema register: {self._client.base_url} refuses: {why[:_MOST_CHARACTERS]}")

    def _foreign(self, answered: str) -> CommandError:
        return CommandError(
            f"schema register: {self._client.base_url} is not a schema registry with Confluent's API: it answered {answered}"
        )


def client_of(
    registry: str, user: str | None, password_file: Path | None, token_file: Path | None, ca_file: Path | None
) -> httpx.Client:
    """A client of a registry's address, for a user with a password, a bearer token, or nobody; secrets are in files or the environment."""
    if not host_of(registry) or {*"@?#"} & {*registry}:  # it is not said again: there may be a password in it
        raise CommandError("--registry: must be an address such as https://registry.example:8081; see --user", 2)
    password = _secret("--password-file", password_file, "PLSCP_REGISTRY_PASSWORD")
    token = _secret("--token-file", token_file, "PLSCP_REGISTRY_TOKEN")
    if (user is None) != (password is None):
        raise CommandError("schema register: a user and a password go together: --user, --password-file", 2)
    if user is not None and token is not None:
        raise CommandError("schema register: a user or a token, not both", 2)
    return http_client(
        registry,
        auth=(user, password) if user is not None and password is not None else None,
        headers={"Authorization": f"Bearer {token}"} if token is not None else {},
        verify=trusting("--ca-file", ca_file) if ca_file is not None else True,
        timeout=ANSWER_SECONDS,
    )


def _secret(option: str, file: Path | None, variable: str) -> str | None:
    """A secret out of a file or, where none is named, of the environment."""
    found = os.environ.get(variable) if file is None else secretfile.lines(option, str(file), 1)[0]
    if found is not None and not (found.isascii() and found.isprintable()):
        raise CommandError(f"{option}: must hold a line of ASCII text", 2)
    return found or None
