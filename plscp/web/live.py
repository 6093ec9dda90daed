"""The settings of the running server over HTTP: read them again."""

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from plscp.web.operations import Operation
from plscp.web.problems import Problem
from plscp.web.reading import known_only
from plscp.web.server import Server


class LiveSettingsPages:
    """Handler of /api/v1/reload."""

    def __init__(self, server: Server) -> None:
        self._server = server

    async def reload(self, request: Request) -> Response:
        """Read the settings, and the files that they name, again: 422 with the faults where they cannot be used."""
        known_only(request)
        if self._server.draining:
            raise Problem(503, "draining: the server was told to stop")
        try:
            done = await self._server.reload()
        except TimeoutError:
            raise Problem(503, "the settings cannot be read now: their file system does not answer") from None
        if done.faults:
            raise Problem(422, done.fault, faults=list(done.faults))
        shown = {"applied": list(done.applied), "restart": list(done.restart), "fault": ""}
        return JSONResponse(shown, headers={"Cache-Control": "no-store"})

    def operations(self) -> list[Operation]:
        """The row of the API."""
        return [
            Operation(
                "POST",
                "/api/v1/reload",
                self.reload,
                "Read the settings again: what applies from now on, and what needs a restart",
                role="operate",
                answers={200: "applied and restart: paths of settings"},
                problems=[422, 503],
            )
        ]
