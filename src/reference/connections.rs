//! The messages of `check` about the connections to Imprint.

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
];
