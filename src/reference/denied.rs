//! The details of denied requests.

use super::{MessageExplanation, row};

/// The messages in the form in which the code has them, with `…` for each inserted part.
pub static DENIED: &[MessageExplanation] = &[row(
    &[
        "the header … does not have exactly one signing time",
        "the signing time in the header … is not in auth.timestamp_unit \"…\"…",
        "; the time is right if auth.timestamp_unit is \"…\"",
        "the header … has no signature in the encoding auth.encoding \"…\" after auth.prefix …",
        "no secret of the source (number of secrets: …) makes a signature of the request (number of signatures: …) in the header …, for the text … with a body of … bytes",
        "the header … has no signature `v1,` in base64",
        "the header … is not a number of seconds",
        "no secret of the source (number of secrets: …) makes a signature of the request (number of signatures: …), for the text ID.TIMESTAMP.BODY with a body of … bytes",
        "the header … is not …",
        "`Bearer` and a token",
        "auth.prefix and a token",
        "`Basic` and a user name and password in base64",
        "user name and password",
        "the source does not accept the … in the header …; it accepts …",
    ],
    "This message is the detail of a denied request, in the log, in `verify` and in `imprint-bridge denied-requests`: the header, the signature or the token does not match the settings in [auth].",
    "Compare the setting that the message names with the documentation of the sender; `imprint-bridge verify` shows the signed text.",
)];
