"""The parts of a message as typed values: one class for each kind of chunk that the AI SDK's UI
message stream has (version 1; read in the npm package ``ai`` 7.0.173).

Fields are named as there, in Python's spelling: ``tool_call_id`` is written ``toolCallId``. What is
None is not written. ``provider_metadata`` is what the model's provider wants to see again.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec

__all__ = [
    "Abort",
    "Custom",
    "Data",
    "Error",
    "File",
    "Finish",
    "FinishReason",
    "FinishStep",
    "MessageMetadata",
    "Other",
    "Part",
    "ReasoningDelta",
    "ReasoningEnd",
    "ReasoningFile",
    "ReasoningStart",
    "ResetStep",
    "SourceDocument",
    "SourceUrl",
    "Start",
    "StartStep",
    "SteeringMessage",
    "TextDelta",
    "TextEnd",
    "TextStart",
    "ToolApprovalRequest",
    "ToolApprovalResponse",
    "ToolInputAvailable",
    "ToolInputDelta",
    "ToolInputError",
    "ToolInputStart",
    "ToolOutputAvailable",
    "ToolOutputDenied",
    "ToolOutputError",
]

#: Why a model stopped.
FinishReason = Literal["stop", "length", "content-filter", "tool-calls", "error", "other"]


class Part(msgspec.Struct, frozen=True, omit_defaults=True, rename="camel", tag_field="type"):
    """One typed piece of a message; what all kinds have in common."""


class _Named(Part, frozen=True, kw_only=True):
    """What a provider may have a word on."""

    provider_metadata: dict[str, Any] | None = None


class Start(Part, frozen=True, tag="start"):
    """The message begins. Without one, the stream begins it; without an id, so does its own."""

    message_id: str | None = None
    message_metadata: Any = None


class StartStep(Part, frozen=True, tag="start-step"):
    """One call of the model begins."""


class FinishStep(Part, frozen=True, tag="finish-step"):
    """A call of the model is complete."""


class ResetStep(Part, frozen=True, tag="reset-step"):
    """What the step holds so far is void: the model is asked again."""


class TextStart(_Named, frozen=True, tag="text-start"):
    """A text begins. A plain chunk needs none."""

    id: str


class TextDelta(_Named, frozen=True, tag="text-delta"):
    """More of a text."""

    id: str
    delta: str


class TextEnd(_Named, frozen=True, tag="text-end"):
    """A text is complete."""

    id: str


class ReasoningStart(_Named, frozen=True, tag="reasoning-start"):
    """What the model thinks begins."""

    id: str


class ReasoningDelta(_Named, frozen=True, tag="reasoning-delta"):
    """More of what the model thinks."""

    id: str
    delta: str


class ReasoningEnd(_Named, frozen=True, tag="reasoning-end"):
    """What the model thought is complete."""

    id: str


class ToolInputStart(_Named, frozen=True, tag="tool-input-start"):
    """The model begins to call a tool. ``dynamic``: the page does not know the tool's type."""

    tool_call_id: str
    tool_name: str
    dynamic: bool | None = None
    provider_executed: bool | None = None
    title: str | None = None
    tool_metadata: dict[str, Any] | None = None
    #: "text" where the input is no JSON.
    input_encoding: str | None = None


class ToolInputDelta(Part, frozen=True, tag="tool-input-delta"):
    """More of a call's input, as the model writes it: a piece of its JSON."""

    tool_call_id: str
    input_text_delta: str


class ToolInputAvailable(_Named, frozen=True, tag="tool-input-available"):
    """A call is complete: this is its input. It needs no start."""

    tool_call_id: str
    tool_name: str
    input: Any
    dynamic: bool | None = None
    provider_executed: bool | None = None
    title: str | None = None
    tool_metadata: dict[str, Any] | None = None


class ToolInputError(_Named, frozen=True, tag="tool-input-error"):
    """A call cannot be made: its input is none that the tool takes."""

    tool_call_id: str
    tool_name: str
    error_text: str
    input: Any
    dynamic: bool | None = None
    provider_executed: bool | None = None
    tool_metadata: dict[str, Any] | None = None


class ToolApprovalRequest(Part, frozen=True, tag="tool-approval-request"):
    """Somebody is asked whether a call may be made."""

    approval_id: str
    tool_call_id: str
    approval_descriptor: Any = None
    reason: str | None = None
    is_automatic: bool | None = None
    signature: str | None = None


class ToolApprovalResponse(_Named, frozen=True, tag="tool-approval-response"):
    """What was answered to that."""

    approval_id: str
    approved: bool
    reason: str | None = None
    provider_executed: bool | None = None


class ToolOutputAvailable(_Named, frozen=True, tag="tool-output-available"):
    """What a call gave. ``preliminary``: more of it is to come, and replaces this."""

    tool_call_id: str
    output: Any
    preliminary: bool | None = None
    provider_executed: bool | None = None
    tool_metadata: dict[str, Any] | None = None


class ToolOutputError(_Named, frozen=True, tag="tool-output-error"):
    """A call failed."""

    tool_call_id: str
    error_text: str
    provider_executed: bool | None = None
    tool_metadata: dict[str, Any] | None = None


class ToolOutputDenied(Part, frozen=True, tag="tool-output-denied"):
    """A call was not made: it was not allowed."""

    tool_call_id: str


class SourceUrl(_Named, frozen=True, tag="source-url"):
    """A page that the answer relies on."""

    source_id: str
    url: str
    title: str | None = None


class SourceDocument(_Named, frozen=True, tag="source-document"):
    """A document that the answer relies on."""

    source_id: str
    media_type: str
    title: str
    filename: str | None = None


class File(_Named, frozen=True, tag="file"):
    """A file of the answer; ``url`` may be a data URL."""

    media_type: str
    url: str


class ReasoningFile(_Named, frozen=True, tag="reasoning-file"):
    """A file that the model made while it thought."""

    media_type: str
    url: str


class Custom(_Named, frozen=True, tag="custom"):
    """What one provider alone has; ``kind`` is written ``<provider>.<name>``."""

    kind: str


class SteeringMessage(Part, frozen=True, tag="steering-message"):
    """What the user said while the answer was written."""

    id: str
    parts: list[Any]


class MessageMetadata(Part, frozen=True, tag="message-metadata"):
    """Facts about the message; those that come later are merged into the earlier ones."""

    message_metadata: Any


class Finish(Part, frozen=True, tag="finish"):
    """The message is complete. Without one, the stream's stored end makes it so."""

    finish_reason: FinishReason | None = None
    message_metadata: Any = None


class Abort(Part, frozen=True, tag="abort"):
    """The message was stopped. Without one, the stream's stored end says so."""

    reason: str | None = None


class Error(Part, frozen=True, tag="error"):
    """The message failed. Without one, the stream's stored end says so."""

    error_text: str


class Data(msgspec.Struct, frozen=True):
    """What the application shows in its own way, by a name of its own.

    One with an ``id`` replaces the one of that name and id before it. One that is ``transient``
    is shown as it comes, and is no part of the message.
    """

    #: As in the kind ``data-<name>``.
    name: str
    data: Any
    id: str | None = None
    transient: bool | None = None


class Other(msgspec.Struct, frozen=True):
    """A part of a kind that is not known here, as it is."""

    value: dict[str, Any]
