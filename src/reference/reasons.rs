//! The reasons why an entry is parked or ignored, and why a request is denied.

use super::{MessageExplanation, row};

/// The reasons why the bridge parks an entry.
pub static PARKED: &[MessageExplanation] = &[
    row(
        &["rejected"],
        "Imprint rejected the request. The entry shows Imprint's error `type` and `param`.",
        "Correct the mapping or the CRM, then `replay --map-again`.",
    ),
    row(
        &["attempts_exhausted"],
        "The entry failed `dispatch.attempts_max` times and for `dispatch.park_after`, while Imprint applied requests of other customers.",
        "Ask Imprint for the reason, then `replay`.",
    ),
    row(
        &["identity_conflict"],
        "The event has Imprint's id and the CRM's id of the customer, but at Imprint the two ids belong to different customers. If the bridge has sent the values to the wrong customer, the detail of the entry names this customer.",
        "Correct the row in the CRM, then `discard`. If Imprint has corrected the ids, `replay` instead. If the wrong customer has got the values, make the CRM send the correct values of that customer again.",
    ),
    row(
        &["ambiguous_customer"],
        "Imprint has several customers with the CRM's id in the event.",
        "Ask Imprint to correct the ids of these customers, then `replay`.",
    ),
    row(
        &["unknown_customer"],
        "Imprint does not know the customer, and `identity.unknown_customer` is `park`.",
        "`replay` when Imprint knows the customer.",
    ),
    row(
        &["foreign_address"],
        "The address is outside the USA and its territories, and Imprint's address has no country.",
        "Set `imprint.foreign_address` to `skip`, then `replay --map-again`. Without `--map-again`, the replay sends the address unchanged.",
    ),
    row(
        &["vanished"],
        "Imprint has applied an update of the customer earlier, but now answers that the customer does not exist.",
        "Ask Imprint, then `replay` or `discard`.",
    ),
    row(
        &["not_cleared"],
        "Imprint keeps an address line that the CRM cleared. If an older event with a value of this line still waits, the bridge sends that value.",
        "Ask Imprint to clear the line, then `discard`.",
    ),
    row(
        &["version_jump"],
        "The version of the event is absurdly far from another version of the customer, such as 2^63-1 after 5. Either of the two versions can be the wrong one.",
        "Correct the CRM. If the version of the parked event is wrong, `discard` the event. If the bridge has delivered an event with a wrong version, run `reset-versions`, then `replay`. If you have changed `version` or `version_domain` in the source file, increase `epoch`.",
    ),
    row(
        &["unreadable"],
        "The bridge cannot read the stored event.",
        "Restore a backup, or `discard`.",
    ),
    row(
        &["invalid"],
        "The event does not match its schema, or the bridge cannot map or decode it, or another event has the same id. The source parks the invalid events of a body (`body.on_invalid`). `show` lists the errors. The entry belongs to no customer.",
        "Correct the schema or the mapping, then `replay --map-again`. If the event itself is wrong, make the CRM send a corrected event with a new id, then `discard`. If `epoch` was increased after the event arrived, its values count as the oldest of the earlier epoch, and reach only fields without a value.",
    ),
    row(
        &["by_operator"],
        "An operator has parked the entry with the command `park`.",
        "`replay` or `discard`.",
    ),
];

/// The reasons why the bridge records an event as ignored.
pub static IGNORED: &[MessageExplanation] = &[
    row(
        &["listed_type"],
        "The source file lists the type of the event in `ignore`.",
        "Nothing. To send the events, add a table `[events.\"TYPE\"]`.",
    ),
    row(
        &["condition"],
        "The condition `when` of the event type is false, null or absent for the event.",
        "Nothing. `imprint-bridge explain` shows the value of the condition.",
    ),
    row(
        &["nothing_to_send"],
        "No expression of the event type has a value, or `only_changed` holds back all fields.",
        "Nothing, if the event has no field of Imprint. Otherwise correct the expressions; `imprint-bridge explain` shows them.",
    ),
    row(
        &["foreign_address"],
        "The event sets only an address outside the USA, and `imprint.foreign_address` is `skip`.",
        "Nothing. To decide about such events, set `imprint.foreign_address` to `park`.",
    ),
    row(
        &["unknown_customer"],
        "Imprint does not know the customer, and `identity.unknown_customer` is `ignore`, or `wait` and `identity.wait_max` has passed.",
        "Nothing, if the customer has no card. Otherwise check the id of the customer in the event.",
    ),
    row(
        &["values_skipped"],
        "The mapping leaves out every field of the event, because the values are invalid and `on_invalid` is `skip` for these fields.",
        "Correct the expressions or the CRM. The receipt lists the errors.",
    ),
    row(
        &["clearing_omitted"],
        "The event only clears fields, and `imprint.clearing` or `imprint.address_clearing` is `omit` for these fields. Imprint keeps its values.",
        "Nothing. To send such events, change the setting.",
    ),
    row(
        &["blocked"],
        "An operator has erased the customer with `erase --block`.",
        "Nothing. An `erase` without `--block` ends it.",
    ),
];

/// The causes of failed requests to Imprint, in the log, in the metrics and in the state of the destination.
pub static CAUSES: &[MessageExplanation] = &[
    row(
        &["connect", "dns", "tls", "certificate"],
        "The bridge has no connection to Imprint: no answer from the address, no address for the host name, no TLS, or a certificate of the server that is not valid.",
        "Check `imprint.base_url`, the network, and for a private certificate authority `imprint.ca_file`.",
    ),
    row(
        &["client_certificate"],
        "Imprint's server refuses the certificate of the bridge, or requires one.",
        "Check `imprint.client_certificate_file`.",
    ),
    row(
        &["proxy_…"],
        "The proxy of `imprint.proxy_url` gave no connection to Imprint. The rest of the word is the cause.",
        "Check the proxy and its permitted destinations.",
    ),
    row(
        &["deadline", "disconnected", "protocol"],
        "Imprint did not answer in time, closed the connection, or its answer is not valid HTTP. The bridge tries again.",
        "Nothing, if it ends. Otherwise ask Imprint.",
    ),
    row(
        &["too_long", "unreadable", "wrong_customer"],
        "Imprint's answer is too long, is a success without a JSON object, or names another customer. The bridge asks for the values of the customer before it sends again.",
        "Ask Imprint. Check that `imprint.base_url` is Imprint, and not a page of another server.",
    ),
    row(
        &["status_401"],
        "Imprint does not accept the API key. The destination stops, and the events wait.",
        "Write a valid key into the file of `imprint.key_file`. The bridge reads the file again by itself, and goes on.",
    ),
    row(
        &["status_403", "status_404", "status_405", "status_410"],
        "Imprint accepts the API key and refuses the operation, or does not have the resource.",
        "Check the permissions of the key and `imprint.base_url`.",
    ),
    row(
        &["status_408", "status_429"],
        "Imprint asks the bridge to send more slowly. The bridge waits and tries again.",
        "Nothing, if it ends. Otherwise lower `imprint.rate_per_second`, or ask Imprint for a higher limit.",
    ),
    row(
        &["status_500", "status_502", "status_503", "status_504"],
        "Imprint, or a gateway in front of it, has failed. The bridge waits and tries again.",
        "Nothing, if it ends. Otherwise ask Imprint.",
    ),
    row(
        &["status_…"],
        "Imprint answered with another HTTP status.",
        "See the error `type` in the log or in `imprint-bridge show`.",
    ),
];

/// The reasons of `imprint-bridge denied-requests` and of the metric `unauthenticated_total`.
pub static DENIALS: &[MessageExplanation] = &[
    row(
        &["missing"],
        "A header that the authentication of the source needs is missing.",
        "Check the name of the header in `[auth]`, and whether a gateway removes the header.",
    ),
    row(
        &["malformed"],
        "A header of the authentication cannot be read: it occurs twice, is empty, or has another form.",
        "Check `auth.prefix`, `auth.separator` and `auth.encoding`.",
    ),
    row(
        &["stale"],
        "The time of the signature is too far from the clock of the bridge.",
        "Check the clocks of the sender and of the bridge, `auth.timestamp_unit` and `auth.tolerance`.",
    ),
    row(
        &["mismatch"],
        "No secret of the source makes the signature, or no secret is the token or the password.",
        "Check the secret file and `auth.signed`; `imprint-bridge verify` shows the signed text.",
    ),
];
