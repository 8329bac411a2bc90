//! The messages of `check` about the connections to Imprint and to other hosts.

use super::{MessageExplanation, row};

/// The messages in the form in which the code has them, with `…` for each inserted part.
pub static CONNECTIONS: &[MessageExplanation] = &[
    row(
        &[
            "needs imprint.client_key_file",
            "needs imprint.client_certificate_file",
        ],
        "A client certificate consists of the certificate and its private key.",
        "Set both settings, or neither.",
    ),
    row(
        &["needs imprint.base_url with https"],
        "A client certificate is a part of TLS. Without TLS, a proxy could read the API key.",
        "Set `imprint.base_url` to an https URL, or remove this setting.",
    ),
    row(
        &[
            "must start with http://: the bridge speaks TLS through the proxy",
            "must have a port, such as http://proxy.example.com:3128",
            "needs imprint.proxy_url",
        ],
        "`imprint.proxy_url` names a proxy that knows the method CONNECT.",
        "Write http://, the host of the proxy and its port. The user and the password stand in `imprint.proxy_credentials_file`.",
    ),
    row(
        &["must have a user, a colon and a password"],
        "The file `imprint.proxy_credentials_file` has the credentials for the proxy in one line.",
        "Write USER:PASSWORD into the file.",
    ),
    row(
        &["needs notices.secret_file", "needs notices.url"],
        "The bridge signs each notice, so the webhook needs a secret.",
        "Set both settings, or neither.",
    ),
    row(
        &[
            "must have at most … characters",
            "must be a URL without spaces, a fragment and special characters",
        ],
        "`notices.url` is the URL of the receiver of notices, and `traces.endpoint` the URL of the collector of traces.",
        "Write https://, the host name of the receiver and its path. Write a special character as % and two hexadecimal digits.",
    ),
    row(
        &["must have at most … visible ASCII characters"],
        "`notices.instance` is a name, such as the name of the pod.",
        "Use letters, digits, dots and dashes.",
    ),
    row(
        &["must have a secret of Standard Webhooks: the content …"],
        "`notices.secret_file` has the secret that signs the notices.",
        "Write `whsec_` and 24 to 64 random bytes in base64 into the file.",
    ),
    row(
        &["needs traces.endpoint"],
        "The secret is for the collector of traces, and there is none.",
        "Set `traces.endpoint`, or remove this setting.",
    ),
    row(
        &[
            "must be the name of a header, such as x-api-key, or a name with the word before the secret, such as \"authorization: Bearer\"",
        ],
        "`traces.header` is the header that carries the secret for the collector. The bridge sets some headers itself, such as Content-Type.",
        "Write the header that the manual of the collector names. The secret stands in `traces.secret_file`.",
    ),
    row(
        &["must be a list of hosts without scheme, port and path: … …"],
        "`imprint.host_allow` lists names of hosts, such as proxy.example.com.",
        "Write only the host.",
    ),
];
