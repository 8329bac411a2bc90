//! The messages of `check` about settings, source files and authentication.

use super::{MessageExplanation, row};

/// The messages in the form in which the code has them, with `…` for each inserted part.
pub static SETTINGS: &[MessageExplanation] = &[
    row(
        &[
            "unknown setting",
            "unknown …; did you mean …?",
            "unknown setting; did you mean …?",
            "unknown setting: this is the name of an environment variable; in a file, the setting is …",
            "unknown …; the file can have …",
            "unknown …; … can have …",
            "; did you mean …?",
            "is not read; did you mean …?",
        ],
        "The bridge knows no setting, table or environment variable with this name.",
        "Correct the name. If the message proposes a name, it is the most similar one. The name of a variable begins with IMPRINT_BRIDGE__, with two underscores.",
    ),
    row(
        &[
            "is not the name of a setting",
            "is not the name of a setting: only the option --config FILE names the file with the settings",
            "is not UTF-8 text",
            "has quotes around its value, which are a part of the value: remove them, because docker --env-file and similar readers do not",
        ],
        "The name of an environment variable has an empty part, or its value is not text or has quotes around it.",
        "Write IMPRINT_BRIDGE__SECTION__KEY, and a value in UTF-8 without quotes.",
    ),
    row(
        &["unknown table; write a name with dots in quotes: …"],
        "TOML reads a name with dots as a table inside a table.",
        "Write the name in quotes, such as [events.\"customer.changed\"].",
    ),
    row(
        &[
            "must be a table with …",
            "must be a single value, not a table",
        ],
        "A table stands where the bridge expects one value, or the reverse.",
        "Write the setting as config/sources/REFERENCE.md or config/default.toml shows.",
    ),
    row(
        &[
            "is required",
            "is required for plain JSON bodies",
            "is required with version: \"sequence\" or \"time\"",
            "is required with version_domain",
            "is required, and must name a readable file",
            "is required because `signed` has {timestamp}",
            "is required, or customer.partner_id: an event must say which customer it is about",
        ],
        "A setting is missing that the other settings need.",
        "Add the setting.",
    ),
    row(
        &[
            "needs separator",
            "needs timestamp_header",
            "needs version_domain = \"sequence\"",
            "needs both before and after",
            "needs a prefix, which selects the items of the list",
            "is not signed: `signed` has no {timestamp}",
        ],
        "A setting has no effect without another setting.",
        "Add the other setting, or remove this setting.",
    ),
    row(
        &[
            "must be a string, not a list",
            "must be a string: write quotes around the value",
            "must be … in quotes",
            "must be a whole number from … to …",
            "must be a number from … to …",
            "must be 0 or at least …",
            "must be a duration such as \"10s\", from … to …",
            "…; the units are ms, s, m and h, so write \"…h\"",
            "must be a list of strings",
            "must be ……",
            "is too large for this machine",
            "an IP address and a port, such as 127.0.0.1:8080",
            "; a port is at most 65535",
            "; the address before the port is missing",
            "; the port is missing",
            "; write 0.0.0.0 before the port for all addresses of the machine",
            "; write 127.0.0.1 instead of localhost",
            "; write no scheme such as http://",
            "must be the name of a header",
            "must be the name of a header, without the colon",
        ],
        "The value of the setting has another kind, or lies outside the range that the message states.",
        "Write a value of this kind. In TOML, a text stands in quotes, and a list in brackets. A host name is not an IP address.",
    ),
    row(
        &[
            "must be at least ingress.body_bytes_max",
            "must be 0 (no quota) or at least ingress.body_bytes_max, which is …",
        ],
        "The memory or the quota has no space for one request body of the maximum size.",
        "Raise this setting, or lower `ingress.body_bytes_max`.",
    ),
    row(
        &["lag plus drain must be at most …"],
        "Kubernetes kills a pod 30 s after the signal to stop, so a longer shutdown would be cut.",
        "Lower `shutdown.lag` or `shutdown.drain`.",
    ),
    row(
        &[
            "must be a level (error, warn, info, debug, trace or off), or levels of modules, such as \"info,imprint_bridge::dispatch=debug\", without spaces",
            "names a module that never logs…",
            "; did you mean imprint_bridge::…?",
        ],
        "A part of `log.filter` is no level, or names a module that writes no log.",
        "Write a level, or imprint_bridge::ROOM=LEVEL. src/lib.rs lists the rooms.",
    ),
    row(
        &[
            "must start with https://, or with http:// if the host is this machine, such as 127.0.0.1",
            "must not contain a user or a password",
            "must be a scheme, a host and optionally a port, without a path or a query",
            "has an invalid port",
            "must be a host name, not an IP address",
            "must be https; http is allowed for this machine only",
            "has an invalid host name",
            "has an invalid IP address",
        ],
        "`imprint.base_url` is not the address of an API: each request to it carries the API key.",
        "Write https:// and the host, such as https://dev.sbx.imprint.co.",
    ),
    row(
        &[
            "is Imprint's … host, but imprint.environment is not \"…\"",
            "is not this machine, but imprint.environment is \"local\"",
            "must be …, … or a host in imprint.host_allow",
            "must be Imprint's host with the profile \"production\", but imprint.environment is \"local\"",
            "must be https with the profile \"production\"",
        ],
        "The host in `imprint.base_url` does not belong to the environment, or the profile `production` does not accept it.",
        "Correct `imprint.environment` or the host, or add the host to `imprint.host_allow`.",
    ),
    row(
        &[
            "names … twice",
            "… and … have the same token, so the audit log could not tell them apart",
            "…: the name must be 1 to … visible ASCII characters",
            "… is not a role; did you mean …?",
            "… is not a role; the roles are …, and both operator and revealer allow everything",
            "is shorter than … bytes",
        ],
        "A token file of an operator is not usable: its name is the name of the operator with the words of the roles, and its content is the token.",
        "Rename the file, or write a longer token.",
    ),
    row(
        &[
            "… cannot be read: …",
            "… is empty",
            "… contains spaces, newlines or other invisible characters",
            "… begins with … and a space; the file has only the secret, without this word",
            "… has several lines; each secret has a file of its own, with one line",
            "… contains a letter or a sign that is not ASCII, such as a letter with an accent",
            "… is longer than … bytes",
            "must be the path of a file: the text names no file, and could be a secret itself, so no message repeats it. Write the secret into a file. If the text is the name of a file, write ./ before it",
            "a file whose name could be a secret",
            "unknown setting; did you mean …? The bridge reads a secret only from a file: write the secret into a file, and the path of the file here",
            "begins with a variable of the shell, which the bridge does not replace: write the whole path",
            "begins with ~, which the bridge does not replace: write the whole path",
            "begins or ends with a space or a line break: remove it",
            "begins with a byte order mark, which is not visible: save the file as UTF-8 without it",
            "is JSON: the file has only the secret itself, without a name and quotes",
        ],
        "A secret file is missing, its content cannot be a secret, or the setting has the secret instead of the path of its file.",
        "Write exactly the secret into the file, without a second line. Check the path and the permissions. Replace a secret that stands in the settings, because the settings are not secret.",
    ),
    row(
        &[
            "is a secret of … bytes; the minimum is … bytes. If the sender cannot use a longer secret, set auth.secret_bytes_min",
            "is a secret of … bytes; the maximum is … bytes",
            "does not consist of …",
            "base64, as auth.secret_encoding specifies",
            "pairs of hexadecimal digits, as auth.secret_encoding specifies",
            "`whsec_` and a key in base64",
            "visible ASCII characters",
        ],
        "The content of a secret file is too short, too long, or in another encoding than the source file says.",
        "Write the secret as the sender shows it, or correct `auth.secret_encoding`.",
    ),
    row(
        &[
            "…; serve needs this file",
            "imprint.key_file is not set; serve needs it",
        ],
        "This message is not an error: the file or the setting does not exist on this machine.",
        "Nothing, if `serve` runs on another machine.",
    ),
    row(
        &[
            "cannot be read: …",
            "…\\n  probable cause: …",
            "the line has typographic quotes; write straight quotes",
            "a setting is written NAME = VALUE",
            "a text stands in quotes",
        ],
        "A file is missing, or is not TOML. The parser names the line; the probable cause is the most common mistake in such a line.",
        "Correct the line.",
    ),
    row(
        &[
            "the files changed while the bridge read them",
            "…: the bridge would notice no changes of the files",
            "… and the other files of the sources have more than … bytes",
            "… and the other folders of the sources have more than … files",
            "… is deeper than … folders",
            "… cannot be read: it is not text",
        ],
        "The folders `sources_dir` and `schemas_dir` change all the time, or have files that do not belong there.",
        "Let the writer of the files finish, or move other files to another folder.",
    ),
    row(
        &["has no source: no file name ends in .toml"],
        "The folder in `sources_dir` has no source file.",
        "Correct `sources_dir`, or add NAME.toml.",
    ),
    row(
        &["a source name must have 1 to 64 characters out of a-z, 0-9, - and _"],
        "The name of a source file is the name of the source, and a part of its URL.",
        "Rename the file, for example to my-crm.toml.",
    ),
    row(
        &[
            "an attribute must have 1 to 256 characters and no control characters",
            "a * stands only at the end of an event type, as in \"customers/*\"",
            "is no regular expression: a * at the end stands for every rest of the name, as in \"before_*\"",
        ],
        "The name of an event type cannot occur in an event.",
        "Correct the name in `events` or `ignore`.",
    ),
    row(
        &[
            "must be a field that the table `update` sets: …",
            "is about a field of the table `update`, and this event type has no field there",
            "must be a table with a word for each field, such as on_invalid.phone = \"skip\"",
        ],
        "`on_invalid` of an event type names a field that no expression sets, or is one word for all fields.",
        "Write on_invalid.FIELD = \"skip\" for each field.",
    ),
    row(
        &[
            "names no event type: add a table [events.\"TYPE\"] with the keys schema, customer.partner_id or customer.imprint_id, version, version_domain and update",
        ],
        "The source file has neither an event type nor a type in `ignore`.",
        "Add a table for the type of the events.",
    ),
    row(
        &["names \"…\", which has a table [events.\"…\"]: remove one of the two"],
        "The source file both maps and ignores an event type.",
        "Remove the name from `ignore`, or remove the table.",
    ),
    row(
        &[
            "orders … by …, but … orders it by …: the bridge cannot tell which value is newer. Give both the same order, or remove the file of the source that is not used",
        ],
        "Two event types set the same field, but order their events by versions that cannot be compared.",
        "Use `version_domain = \"time\"` in both, or let only one of them set the field.",
    ),
    row(
        &["must be \"json\", because the file has rules for plain JSON bodies"],
        "The table [body] has id, type, time or split, which CloudEvents do not need.",
        "Set `body.format = \"json\"`, or remove the expressions.",
    ),
    row(
        &[
            "is a setting of another auth.kind; this kind has …",
            "must name at least one file",
        ],
        "The kind of authentication reads its secrets from another setting, or the list is empty.",
        "Use the setting that the message names.",
    ),
    row(
        &["must be a user name without `:` and without control characters"],
        "A colon ends the user name in HTTP Basic authentication.",
        "Correct `auth.user`.",
    ),
    row(
        &[
            "must differ from prefix, because both are in one header",
            "must be made of these characters: space , ; | & : ~ ! * $ #",
            "must not occur in the prefix",
        ],
        "The bridge could not tell the items of the signature header apart.",
        "Correct `auth.prefix`, `auth.timestamp_prefix` or `auth.separator`.",
    ),
    row(
        &[
            "has {body} … times; it must have it once",
            "has double braces around a placeholder, which would be a part of the signed text: write … with single braces",
            "has a } without a {: …",
            "has a { without a }: …",
            "has an unknown placeholder {…}: …",
            "has a $ before a placeholder, which would be a part of the signed text: …",
            "has nothing between {……} and the value next to it: put text between them",
            "has no line break in the text beside {……}: the values of two headers must not mix",
            "a placeholder is …, …, …, … or …; { and } are braces",
        ],
        "The template `auth.signed` does not describe a text that can be signed safely.",
        "Correct the template.",
    ),
    row(
        &["an expression must not read header(\"…\"), because this header contains a secret"],
        "An expression reads a header with a secret or a session. The bridge would store it.",
        "Read another header.",
    ),
    row(
        &[
            "must list …: an expression reads this header, and the signature does not cover it. If the sender can sign the header, add {header:…} to auth.signed instead",
            "must name headers such as \"ce-time\" or headers that an expression reads: no expression reads ……",
            "must name headers such as \"ce-time\", in lower case",
        ],
        "A header that decides something must be signed, or `unsigned_headers` must list it; and the list must name only such headers.",
        "Correct `unsigned_headers` or `auth.signed`.",
    ),
    row(
        &[
            "requests are not authenticated: anybody can send events as this source",
            "the signature covers no time: anybody who saw a request can send it again",
            "auth.user begins or ends with a space, so the user name of the sender must have this space too",
            "auth.prefix names …, and auth.algorithm is \"…\": if the sender signs with …, write algorithm = \"…\"",
            "has quotes around the secret, and they are a part of the secret: remove them",
            "is JSON, and the whole JSON is the secret: the file has only the secret itself",
            "has the name of a variable, which the bridge does not replace",
            "has a placeholder and no secret",
            "begins with a name and =, and they are a part of the secret: remove them",
            "has the path of another file, and the path is the secret",
            "is a text in base64, which the bridge does not decode: if the sender has the text itself, write the text",
            "auth.secret_bytes_min allows short secrets: an attacker can guess a short secret",
            "the signature need not cover …: a gateway, or anybody who saw a request, can change these headers",
        ],
        "This message is not an error: it names a risk that the source file accepts, or a value with which no request can match.",
        "Correct the value, or choose a safer setting if the sender can use it.",
    ),
    row(
        &[
            "; did you mean …?",
            "must name a file inside schemas_dir whose path has no part that begins with a dot, because the bridge notices only changes of such files",
            "is not a regular file",
            "is larger than … bytes",
            "… is not JSON: …",
            "the file has several JSON values, and a schema file has one",
        ],
        "The file of a schema is missing, too large or not JSON. The path is relative to `schemas_dir`.",
        "Correct the path in `schema`, or the file.",
    ),
    row(
        &[
            "must not be \"none\" with the profile \"production\": everybody could send events as this source",
        ],
        "A source without authentication is safe only on a developer's machine.",
        "Set `auth.kind` as the sender can authenticate; see the guide.",
    ),
    row(
        &["must differ from ingress.listen"],
        "Both listeners have the same address, so the second one cannot start.",
        "Give `ops.listen` another port.",
    ),
    row(
        &[
            "at its start, the bridge gave up the right to read this folder: restart the bridge, or add the folder to confinement.readable",
        ],
        "A running bridge reads only the folders that it needed at its start; see Confinement in the README.",
        "Restart the bridge, or put the file into a folder that the bridge reads. To add such folders without a restart, list them in `confinement.readable`.",
    ),
    row(
        &[
            "is required with the profile \"production\": the signature covers no time, and these event types have no version: …. Anybody who saw an old request could send it again, and overwrite newer values",
        ],
        "After the retention of receipts, the bridge would accept an old signed request as a new event.",
        "Configure the signing time with `timestamp_header` and `signed`, or give every event type a `version`.",
    ),
    row(
        &[
            "… must not be readable or writable for every user of this machine with the profile \"production\": its mode is …, and 0600 or 0440 would be safe",
        ],
        "Every user of the machine can read or replace the secret.",
        "Change the mode of the file. In Kubernetes, set `defaultMode: 0440` for the Secret and `fsGroup` for the pod.",
    ),
    row(
        &[
            "the folder … must not be writable for every user of this machine with the profile \"production\": its mode is …, and 0700 or 0755 would be safe",
        ],
        "Every user of the machine can put another file in the place of the secret, or remove it.",
        "Change the mode of the folder. The sticky bit, as in the volumes of Kubernetes, is enough too.",
    ),
    row(
        &[
            "must not be \"production\", because the operating system does not let this process forbid core dumps",
        ],
        "A core dump would contain secrets and personal data.",
        "Allow the process the system calls `prctl` and `setrlimit`, for example in the seccomp profile of the container runtime.",
    ),
];
