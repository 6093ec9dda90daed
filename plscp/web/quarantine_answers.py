"""What the HTTP API answers about the quarantine, and what it takes to replay: models like those of `plscp.web.answers`."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StrictBool

from plscp.matching.bodies import Moment
from plscp.records.parts import Identifier, PublishedFinding
from plscp.web.answers import ApiAnswer, ApiPage, DimseStatus, UtcTime


class QuarantineSummary(ApiAnswer):
    """A refused request; status and comment are those of its last different refusal."""

    id: str
    calling_ae: str
    address: str
    sop_class: str
    transfer_syntax: str
    first_time: UtcTime
    last_time: UtcTime
    times: int
    status: DimseStatus
    comment: str
    raw_length: int
    raw_kept: int
    closed_position: int | None = Field(description="Of the later acceptance; null while it is open.")


class QuarantineOutcome(ApiAnswer):
    """A refusal that differs from the item's others."""

    outcome: str
    status: DimseStatus
    comment: str
    position: int
    first_time: UtcTime
    last_time: UtcTime
    times: int
    data: dict[str, Any] = Field(
        description="The record of the refusal: findings (with `refuse` those that refused, without it those only noted), sender, match."
    )


class ReplayAnswer(ApiAnswer):
    """What became of a replay, or would: the answer that its device would get, and where the request belongs."""

    id: str
    outcome: Literal["accepted", "known", "refused", "closed", "gone", "failed"] = Field(
        description="known: every entry is stored already; closed: accepted before, at `position`; gone: its bytes are not kept; "
        "failed: the store took nothing."
    )
    kept: bool = Field(description="Whether it was done.")
    status: DimseStatus
    comment: str = Field(description="Error Comment; or why it cannot be replayed.")
    hint: str = Field(description="What to do about a refusal; empty where nobody can say.")
    rule: str
    study_instance_uid: str
    patient: Identifier
    position: int = Field(description="Of the last entry that was added, or of what closed the item; else 0.")
    entries: int = Field(description="How many were added, or would be.")
    findings: list[PublishedFinding]


class QuarantineAnswer(QuarantineSummary):
    """A refused request with its different refusals, oldest first, and the data set as it was received.

    `replay` says what a replay would bring now; `replayed` which entries, from 0, were replayed singly, and their positions.
    """

    identity: str
    outcomes: list[QuarantineOutcome]
    raw: str = Field(json_schema_extra={"contentEncoding": "base64"})
    replay: ReplayAnswer | None = None
    replayed: dict[str, int] = Field(default_factory=dict)


class QuarantinePage(ApiPage):
    """Refused requests; what was refused first last comes first, however often it was repeated."""

    items: list[QuarantineSummary]


class ReplayPage(ApiPage):
    """What became of refused requests, or would; those that were refused first come first."""

    results: list[ReplayAnswer]


class ReplayBody(BaseModel):
    """Which entries of a refused request to replay, and whether to do it."""

    model_config = ConfigDict(extra="forbid")

    entries: Annotated[list[Annotated[int, Field(ge=0, lt=10_000, strict=True)]], Field(max_length=10_000)] = Field(
        default=[], description="Indexes from 0; empty: all of them."
    )
    dry_run: StrictBool = Field(default=False, description="Keep nothing: say what would happen.")


class BulkReplayBody(BaseModel):
    """Which refused requests to replay that are open, and whether to do it; what is left out asks for nothing."""

    model_config = ConfigDict(extra="forbid")

    calling_ae: str = ""
    reason: str = Field(default="", description="How the last refusal begins: a status, or status and Error Comment.")
    since: Moment = Field(default=None, description="Refused last not before then.")
    until: Moment = Field(default=None, description="Refused last before then.")
    all: StrictBool = Field(default=False, description="Needed where nothing else is asked.")
    dry_run: StrictBool = Field(default=False, description="Keep nothing: say what would happen.")
