//! The rules that an event can break: the member `rule` of each error in a problem document.

use super::{MessageExplanation, row};

/// The rules for a body that must be JSON. The member `detail` names the cause and the place.
pub static JSON_RULES: &[MessageExplanation] = &[
    row(
        &["utf8"],
        "The body is not UTF-8: it is in another character set, in UTF-16, or compressed.",
        "Send UTF-8 without compression.",
    ),
    row(
        &["byte_order_mark"],
        "The body begins with a byte order mark.",
        "Write the body without a byte order mark.",
    ),
    row(
        &["empty"],
        "The body is empty.",
        "Send the event as the body. Some HTTP clients drop the body after a redirect.",
    ),
    row(
        &["syntax"],
        "The body is not JSON: it is cut, or has single quotes, NaN, a comment, a trailing comma, a wrong escape, a number beyond a 64-bit float, or is XML or a web form.",
        "Correct the sender at the place that the detail names.",
    ),
    row(
        &["trailing"],
        "The body continues after its JSON value, for example with a second event in the next line.",
        "Send several events as one array, and set `body.split`; or send CloudEvents as a batch.",
    ),
    row(
        &["duplicate_key"],
        "An object has the same key twice, so two programs could read different values.",
        "Send each key once.",
    ),
    row(
        &["nul"],
        "A text contains a NUL character.",
        "Remove the character.",
    ),
    row(
        &["depth"],
        "The arrays and objects of the body are nested too deep; the bound is `DEPTH_MAX` in `event::json`.",
        "Send a flatter body.",
    ),
    row(
        &["keys"],
        "The objects of the body have too many keys together; the bound is `KEYS_MAX` in `event::json`.",
        "Send fewer events in one body.",
    ),
    row(
        &["items"],
        "The arrays of the body have too many items together; the bound is `ITEMS_MAX` in `event::json`.",
        "Send fewer events in one body, or shorter arrays.",
    ),
    row(
        &["string_length"],
        "A text or a key is too long; the bound is `STRING_BYTES_MAX` in `event::json`.",
        "Send a shorter text.",
    ),
];

/// The other rules of an event.
pub static RULES: &[MessageExplanation] = &[
    row(
        &["type", "required", "enum", "format", "…"],
        "The event does not match the keyword of the schema at `location`.",
        "Correct the event, or the schema.",
    ),
    row(
        &["schema"],
        "The event does not match the schema. The bridge does not list the errors, because their number could be very large.",
        "Send a smaller event, and correct it.",
    ),
    row(
        &["batch_size"],
        "The body has more events than `ingress.batch_max`.",
        "Send fewer events in one body, or raise the setting.",
    ),
    row(
        &["attribute"],
        "An id, a type or a `source` is empty, too long or has control characters.",
        "Correct the attribute.",
    ),
    row(
        &["rfc3339"],
        "A time is not written as RFC 3339 requires.",
        "Send a time such as 2025-02-13T14:08:07Z. The error names the form of the time, and a function that reads this form.",
    ),
    row(
        &["incomplete"],
        "The connection ended before the whole body arrived.",
        "Send the request again; check proxies and time limits.",
    ),
    row(
        &["signed"],
        "The signature does not cover a `ce-` header of a request in binary mode.",
        "Send the event in structured mode, or sign the header, or list it in `unsigned_headers`.",
    ),
    row(
        &["header"],
        "The request lacks a header that an expression reads, or the header is not readable. In a replay with --map-again, the corrected `when` reads a header that the bridge did not store with the event.",
        "Send the header once, in visible ASCII. For a replay, use the stored update, or leave the header out of `when` until the replay; or let the source send the event again under another id.",
    ),
    row(
        &["body"],
        "`body.id`, `body.type` or `body.time` has no usable value in the event. An event needs no id if its type is in `ignore`.",
        "Correct the event, or the expression. Without ids, use `id = \"digest\"`.",
    ),
    row(
        &["path"],
        "An expression reads a member of a text or of a number.",
        "Correct the event, or the path in the expression.",
    ),
    row(
        &["jq"],
        "An interpreted expression fails on the event.",
        "Run `imprint-bridge explain` with the event.",
    ),
    row(
        &["budget"],
        "An expression needs more steps than its limit.",
        "Send a smaller event, or write a simpler expression. See the bounds in `mapping::budget`.",
    ),
    row(
        &["e164", "alpha3", "minor_units", "…"],
        "The function with this name does not accept its input; the detail has the reason.",
        "Correct the event, or choose another function.",
    ),
    row(
        &["email", "phone", "country", "language", "…"],
        "The value does not have the format that Imprint requires for the field.",
        "Correct the event, or convert the value with a function.",
    ),
    row(
        &["open"],
        "A number under `metadata` has more digits than a JSON number keeps.",
        "Send the number as a text.",
    ),
    row(
        &["customer"],
        "The event has no customer id.",
        "Correct the event, or the expressions in `customer`.",
    ),
    row(
        &["version"],
        "The event has no version.",
        "Correct the event, or the expression `version`.",
    ),
    row(
        &["version_ahead"],
        "The version is a time that is further in the future than `ingress.version_ahead_max`.",
        "Correct the clock of the sender.",
    ),
    row(
        &["unknown_event_type"],
        "The source file has no table for the type of the event.",
        "Add the table, or add the type to `ignore`.",
    ),
    row(
        &["conflict"],
        "The id of the event belongs to an earlier event with different content. The location `identity` means the id of the event: the value of `body.id`, or `source` and `id` of a CloudEvent.",
        "Send the change with a new id. If different changes have one id, `body.id` in the source file reads a value that several events share, such as the id of the customer: read the id of the event.",
    ),
    row(
        &["card_number"],
        "A part of the event that the bridge would store contains the number of a payment card, or a number that looks like one. The store of a parked event does not have the member with the number.",
        "Remove the number from the event. If the numbers of this source are no card numbers, set `body.card_numbers = \"keep\"` in the source file.",
    ),
    row(
        &["correction"],
        "A corrected event changes a member that names the event, or another type, customer or version; or the mapping does not read them from the stored event.",
        "Change only `data`, `subject` and `time` in a line of `imprint-bridge parked --events`, and keep the type, the customer and the version. Otherwise let the source send a new event.",
    ),
    row(
        &["more"],
        "A parked event has more errors than the bridge stores.",
        "Correct the listed errors first.",
    ),
    row(
        &["unreadable"],
        "The bridge cannot read a stored event.",
        "Restore a backup, or discard the entry.",
    ),
    row(
        &["ignored", "foreign_address", "map_again"],
        "A replay with `--map-again` has nothing to send: the mapping now ignores or parks the event, or the event is erased.",
        "Look at the entry with `imprint-bridge explain --entry`.",
    ),
    row(
        &["text"],
        "A part of a text such as `\"\\(.first) \\(.last)\"` is null, an object or a list.",
        "Correct the event, or write `//` for the part that can be null.",
    ),
];
