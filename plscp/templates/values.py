"""What typed entries are made of: codes, quantities, references and texts, each with everything that was sent (PS3.3 C.17.3)."""

from copy import copy
from typing import Annotated, Any, ClassVar

from pydantic import BaseModel, ConfigDict, Field

from plscp.templates.rows import Row, Template, Term


class Model(BaseModel):
    """Base of everything that is published: members that a newer version adds are passed over."""

    model_config = ConfigDict(extra="ignore", allow_inf_nan=False)


class Raw(Model):
    """An element that has no member of its own, whole: one of `text`, `base64` and `items` is given."""

    tag: str = Field(description="Group and element, eight hexadecimal digits.", pattern="^[0-9A-F]{8}$")
    vr: str
    text: str | None = None
    base64: str | None = Field(default=None, description="The value in little endian.")
    items: "list[list[Raw]] | None" = None


class KnownCode(Model):
    """A code as PS3.16 spells it today."""

    value: str
    scheme: str
    meaning: str


class CodeValue(Model):
    """A coded concept as sent, and as it is known where that differs (PS3.3 Table 8.8-1)."""

    value: str
    scheme: str = ""
    meaning: str = ""
    version: str | None = None
    known: KnownCode | None = Field(
        default=None, description="Present where a retired code was mapped or the meaning differs from PS3.16's."
    )
    elements: list[Raw] = Field(default_factory=list)


class Amount(Model):
    """A number with its unit."""

    value: float | None = Field(default=None, description="None where no value was given, or it is past a double.")
    text: str | None = Field(default=None, description="The decimal string as sent.")
    unit: CodeValue | None = Field(default=None, description="As a rule a UCUM code.")
    qualifier: CodeValue | None = Field(default=None, description="Why there is no value, or what is odd about it.")
    elements: list[Raw] = Field(default_factory=list)


class ObjectReference(Model):
    """A reference to a DICOM instance."""

    sop_class_uid: str
    sop_instance_uid: str
    elements: list[Raw] = Field(default_factory=list)


class Moment(Model):
    """A DICOM DateTime as sent: precision and offset are what was written."""

    text: str
    precision: str | None = Field(
        default=None, description="year, month, day, hour, minute, second or fraction; None if it is not a DateTime."
    )


class Item(Model):
    """A content item that no row describes, whole (PS3.3 C.17.3)."""

    relationship: str = ""
    value_type: str
    concept: CodeValue | None = None
    text: str | None = None
    code: CodeValue | None = None
    quantity: Amount | None = None
    reference: ObjectReference | None = None
    children: "list[Item]" = Field(default_factory=list)
    observation_datetime: Moment | None = None
    observation_uid: str | None = None
    content_template: str | None = None
    item_elements: list[Raw] = Field(default_factory=list)


Order = Annotated[
    list[int],
    Field(
        description="Where the children stood, 1-based, in the order in which this object lists them; empty: just so."
    ),
]


class Extras(Model):
    """What any typed item may carry beside its rows, so that nothing that was sent is missing.

    Attributes:
        head: the template's table head; None for a value without rows of its own.
    """

    head: ClassVar[Template | None] = None

    observation_datetime: Moment | None = None
    observation_uid: str | None = None
    content_template: str | None = None
    other: list[Item] = Field(default_factory=list, description="Children that no row describes.")
    order: Order = Field(default_factory=list)
    item_elements: list[Raw] = Field(default_factory=list)


class Child(Extras):
    """A typed child item; `concept` is there where it is not just the row's own code."""

    concept: CodeValue | None = None


class Text(Child):
    """A TEXT or UIDREF item."""

    text: str


class PersonName(Child):
    """A PNAME item: the name with its carets and equals signs, as sent."""

    text: str


class DateTime(Child):
    """A DATETIME item."""

    text: str


class Coded(Child, CodeValue):
    """A CODE item."""


class Quantity(Child, Amount):
    """A NUM item."""


class Reference(Child, ObjectReference):
    """An IMAGE, WAVEFORM or COMPOSITE item."""


class Included(Model):
    """An included template: its items are siblings of the others, so the extras are the parent's.

    Attributes:
        head: the template's table head.
    """

    head: ClassVar[Template | None] = None

    other: list[Item] = Field(default_factory=list, description="Items of this inclusion that no row took.")


def always_published(schema: dict[str, Any], model: type[BaseModel]) -> None:
    """Members that whoever writes an entry may leave out, and that are there in all that is published."""
    made = (
        name
        for name, field in model.model_fields.items()
        if name in {"kind", "template"} or isinstance(field.default, CodeValue)
    )
    schema["required"] = [*dict.fromkeys((*made, *schema.get("required", [])))]


class Entry(Extras):
    """A first-level log entry; one that is made takes its template, and its concept where the table names just one."""

    model_config = ConfigDict(json_schema_extra=always_published)

    template: str = Field(default="", description="Template Identifier, digits; 3001 for the Procedure Log's own rows.")

    @classmethod
    def __pydantic_init_subclass__(cls, **kwargs: Any) -> None:
        """Defaults that only a kind of entry knows."""
        super().__pydantic_init_subclass__(**kwargs)
        if cls.head is not None:
            fields = cls.__pydantic_fields__
            fields["template"] = copy(fields["template"])
            fields["template"].default = cls.head.identifier
            for field in fields.values():
                declared = field.json_schema_extra
                if isinstance(declared, Row) and declared.role == "concept" and isinstance(declared.concept, Term):
                    term = declared.concept
                    field.default = CodeValue(value=term.value, scheme=term.scheme, meaning=term.meaning)
            cls.model_rebuild(force=True)
