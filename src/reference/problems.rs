//! The problem types of both listeners.

use super::{MessageExplanation, row};

/// The problem types of the event listener, by the last word of the type.
pub static PROBLEMS: &[MessageExplanation] = &[
    row(
        &["malformed"],
        "The body is not JSON, or not a CloudEvent, or `body.split`, `body.id` or `body.type` finds no value in it, or `body.time` finds a value that is not an RFC 3339 time.",
        "Correct the body. Each error in `faults` has its place and its rule.",
    ),
    row(
        &["unknown_event_type"],
        "The source file has no table for the type of an event.",
        "Correct the type, or add a table `[events.\"TYPE\"]` or an entry in `ignore` to the source file.",
    ),
    row(
        &["invalid"],
        "An event does not match the JSON Schema of its type.",
        "Correct the event, or the schema if the event is right.",
    ),
    row(
        &["unmappable"],
        "A value of an event is not what an expression or a field of Imprint accepts, or the event has no customer or no version.",
        "Correct the event, or the expression if the event is right. `imprint-bridge explain` shows each expression with its value.",
    ),
    row(
        &["card_number"],
        "A part of an event that the bridge would store contains the number of a payment card, or a number that looks like one.",
        "Remove the number from the event. If the numbers of this source are no card numbers, set `body.card_numbers = \"keep\"` in the source file.",
    ),
    row(
        &["unsupported_media_type"],
        "The `Content-Type` is missing or does not fit the source, the body has a `Content-Encoding`, or a `ce-` header is not signed.",
        "Send one of the media types that the answer and its header `Accept` name, without compression. If the sender posts a form, see the recipe [A CRM that posts forms](sources/RECIPES.md#a-crm-that-posts-forms).",
    ),
    row(
        &["unauthenticated"],
        "The signature, the token or the password is missing or wrong, or the time of the signature is too far from the clock of the bridge.",
        "Check the secret and the clock of the sender. The log of the bridge and `imprint-bridge denied-requests` name the reason; `imprint-bridge verify` examines a captured request. The bridge reads no secret from the URL: see the recipe [A CRM that can put a secret only into the URL](sources/RECIPES.md#a-crm-that-can-put-a-secret-only-into-the-url).",
    ),
    row(
        &["unknown_source"],
        "No source file has the name in the path.",
        "Correct the path, or add the source file.",
    ),
    row(
        &["unknown_event"],
        "No event with this id was accepted, or its receipt has expired after `outbox.retain_receipt`.",
        "Check the id. For CloudEvents, the id belongs to the `source` of the event.",
    ),
    row(
        &["not_found"],
        "The listener has no resource at this path.",
        "Correct the path.",
    ),
    row(
        &["method_not_allowed"],
        "The path does not support this HTTP method.",
        "Use a method of the header `Allow`.",
    ),
    row(
        &["body_timeout"],
        "The request body did not arrive within `ingress.body_deadline`.",
        "Send the request again, without pauses.",
    ),
    row(
        &["conflict"],
        "The id of an event belongs to an earlier event with different content.",
        "Send another change as a new event with a new id. If different changes have one id, `body.id` in the source file reads a value that several events share: read the id of the event. If the sender repeats one change and values about the attempt differ, remove these values with `body.split`.",
    ),
    row(
        &["too_large"],
        "The request body is larger than `ingress.body_bytes_max`.",
        "Send fewer events in one body, or raise the setting.",
    ),
    row(
        &["too_many_events"],
        "The body has more events than `ingress.batch_max`. The bridge stores no event of the body.",
        "Send fewer events in one body, or raise the setting.",
    ),
    row(
        &["rate_quota"],
        "The source sends more events per second than `quota.events_per_second` allows.",
        "Send the request again after the time in `Retry-After`.",
    ),
    row(
        &["storage_quota"],
        "The unfinished events of the source take all bytes that `quota.stored_bytes_max` allows.",
        "Send the request again after the time in `Retry-After`. If the quota stays exceeded, an operator must look at parked and waiting entries.",
    ),
    row(
        &["internal"],
        "The bridge has a bug.",
        "Send the request again, and report the bug.",
    ),
    row(
        &["body_budget"],
        "The request bodies in memory take all bytes of `ingress.bodies_bytes_max`, or this body arrives slowly while others need the memory.",
        "Send the request again after the time in `Retry-After`.",
    ),
    row(
        &["busy"],
        "The store has `outbox.intake_max` events that are not committed yet.",
        "Send the request again after the time in `Retry-After`.",
    ),
    row(
        &["store_full"],
        "The disk of the store is full, or a quota of the disk is reached.",
        "Send the request again after the time in `Retry-After`. An operator must free disk space.",
    ),
    row(
        &["store_failed"],
        "The store cannot write, or a write takes too long.",
        "Send the request again after the time in `Retry-After`. An operator must look at the log and at `store_condition`.",
    ),
    row(
        &["stopping"],
        "The bridge is stopping.",
        "Send the request again after the time in `Retry-After`.",
    ),
    row(
        &["malformed_http"],
        "The request is not valid HTTP/1.1.",
        "Correct the client or the gateway. The port takes HTTP/1.1 without TLS and without the PROXY protocol, and each line of a \
         request head ends in CR LF.",
    ),
    row(
        &["tunnel"],
        "The request asks for a tunnel: CONNECT, or an upgrade to WebSocket.",
        "Send an ordinary request.",
    ),
    row(
        &["head_too_large"],
        "The request head is too large or has too many headers.",
        "Send a request head of at most 16 KiB and 96 headers.",
    ),
    row(
        &["head_timeout"],
        "The request head did not arrive within `ingress.head_deadline`.",
        "Send the request again.",
    ),
    row(
        &["head_budget"],
        "The incomplete request heads of all connections take all memory that the bridge has for them.",
        "Send the request again after the time in `Retry-After`.",
    ),
];

/// The problem types of the admin API, by the last word of the type.
pub static ADMIN_PROBLEMS: &[MessageExplanation] = &[
    row(
        &["admin_disabled"],
        "No operator is configured.",
        "Set `ops.token_files`.",
    ),
    row(
        &["unauthenticated"],
        "The request has no token of an operator.",
        "Send `Authorization: Bearer` with the content of a token file.",
    ),
    row(
        &["too_many_failed_logins"],
        "The address has sent ten wrong tokens in a minute, or all addresses together have sent a hundred.",
        "Wait for the time in `Retry-After`. The log names the address with the most wrong tokens.",
    ),
    row(
        &["operator_role_required"],
        "The action changes something, and the name of the operator's token file names other roles than `operator`.",
        "Let an operator with the role do it, or rename the token file and its entry in `ops.token_files`: for example `ann.operator`.",
    ),
    row(
        &["revealer_role_required"],
        "The request asks for unmasked values, and the name of the operator's token file names other roles than `revealer`.",
        "Let an operator with the role do it, or rename the token file and its entry in `ops.token_files`: for example `ann.operator.revealer`.",
    ),
    row(
        &["malformed"],
        "The request has a wrong member, an unknown source, a wrong state, no reason, no customer, too many entries, or a wrong name of a backup. The detail names which.",
        "Correct the request.",
    ),
    row(
        &["body_timeout"],
        "The request body did not arrive in time.",
        "Send the request again.",
    ),
    row(
        &["too_large"],
        "The request body is larger than 256 KiB.",
        "Name fewer entries in one request.",
    ),
    row(
        &["not_found"],
        "The admin API has no resource at this path.",
        "Correct the path.",
    ),
    row(
        &["method_not_allowed"],
        "The path does not support this HTTP method.",
        "Use a method of the header `Allow`.",
    ),
    row(
        &["unknown_entry"],
        "The store has no entry with this number.",
        "Look the number up with `imprint-bridge events`.",
    ),
    row(
        &["unknown_customer"],
        "The store has no customer with this id.",
        "Check the id and its kind.",
    ),
    row(
        &["ambiguous_customer"],
        "The text is Imprint's id of one customer and the CRM's id of another customer.",
        "Name the customer with `--imprint-id` or with `--partner-id`.",
    ),
    row(
        &["in_flight"],
        "A request of the customer is in flight, so the bridge does not change its entries.",
        "Run the command again.",
    ),
    row(
        &["event_erased"],
        "The entry has ended, so the store has no event and no update of it.",
        "Look at its receipt with `imprint-bridge show`. For a try-out, name a source and send a body.",
    ),
    row(
        &["copy_exists"],
        "The folder of the store has a file with the name of the backup.",
        "Choose another name.",
    ),
    row(
        &["backup_running"],
        "Another backup of the store is in progress.",
        "Run the command again when the other backup has ended.",
    ),
    row(
        &["backup_in_database"],
        "The store is in PostgreSQL, and the bridge makes no backup of a database.",
        "Back up the database with the tools of PostgreSQL.",
    ),
    row(
        &["no_copy_space"],
        "The disk of the store has no space for a copy of the store. The bridge continues.",
        "Free space on the disk, or enlarge the disk. The answer says how much space a copy needs.",
    ),
    row(
        &["busy"],
        "Too many requests of operators are in progress, or the queue of the store is full.",
        "Send the request again after some seconds.",
    ),
    row(
        &["store_full"],
        "The disk of the store is full.",
        "Free disk space.",
    ),
    row(
        &["store_failed"],
        "The store cannot write, or a write takes too long.",
        "Look at the log and at the metric `store_condition`.",
    ),
    row(
        &["stopping"],
        "The bridge is stopping.",
        "Send the request again to the new process.",
    ),
    row(
        &["sources_changing"],
        "The files in `sources_dir` or `schemas_dir` changed while the bridge read them for a reload.",
        "Reload again when the writer of the files has finished.",
    ),
    row(
        &["sources_unreadable"],
        "The file system of `sources_dir` or `schemas_dir` does not answer, so a reload takes too long.",
        "Check the file system, then reload again.",
    ),
];
