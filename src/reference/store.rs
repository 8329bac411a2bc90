//! The messages of `check` about the store, its keys and the erasure journal, and those about the log.

use super::{MessageExplanation, row};

/// The messages in the form in which the code has them, with `…` for each inserted part.
pub static STORE: &[MessageExplanation] = &[
    row(
        &[
            "must be \"sqlite:PATH\", with the path of a file, or \"postgres://USER@HOST:PORT/DATABASE\"…",
            "must be \"sqlite:PATH\", with the path of a file",
            "; the bridge has no other store than SQLite and PostgreSQL",
            "must be \"sqlite:PATH\", with the path of a file: a store in memory loses its events",
        ],
        "`outbox.url` does not name a SQLite file.",
        "Write sqlite: and the path of a file on a local disk, or the URL of a PostgreSQL database.",
    ),
    row(
        &[
            "must be \"postgres://USER@HOST:PORT/DATABASE\"",
            "must contain no password: write the password into the file of outbox.password_file",
            "must have the parameter sslmode=require with the profile \"production\": the connection to the database carries personal data",
        ],
        "The URL of the database in `outbox.url` lacks the host, has a password, or does not encrypt the connection.",
        "Write the URL without a password, name the file of the password in `outbox.password_file`, and add ?sslmode=require. Without a host, write the folder of the socket: ?host=/run/postgresql.",
    ),
    row(
        &[
            "must have one slash after \"sqlite:\" for an absolute path (sqlite:/var/lib/outbox.db), and none for a relative path (sqlite:outbox.db)",
            "must have no options after the path: the bridge sets all options of SQLite itself",
            "must have a path without percent-encoding: write a space as a space, not as %20",
            "must have a complete path: the bridge replaces neither ~ nor variables",
            "must name a file, not a folder",
            "must name another file: SQLite or the bridge gives this name or this ending a special meaning",
        ],
        "The store would be another file than the path seems to say.",
        "Write the path as the message says. `check` prints the absolute path of the store.",
    ),
    row(
        &[
            "must be shorter: the name of the file can have at most 225 bytes, because the files beside the store have longer names, and the whole path at most 3,840 bytes",
        ],
        "The file system would refuse the names of the files beside the store.",
        "Give the store a shorter name or path.",
    ),
    row(
        &[
            "the directory … cannot be read: …",
            "the directory … has more than … files",
            "the directory … has no key file",
            "the directory … does not exist; serve needs the sealing keys in it",
            "the folder … of the store does not exist; serve needs it",
            "outbox.keys_dir is not set, so the store is not sealed",
            "is required with the profile \"production\": the store contains personal data",
            "… has a name that is not UTF-8",
        ],
        "The directory of the sealing keys is not set, missing, empty, or another directory.",
        "Set `outbox.keys_dir` to the directory that has one file for each sealing key, and nothing else. Make a key with `openssl rand -hex 32`.",
    ),
    row(
        &[
            "outbox.erasure_journal is not set, so the restore of an older backup brings erased customers back",
            "outbox.erasure_journal is in the folder of the store, so a loss or a restore of this folder brings erased customers back",
            "the folder … does not exist; serve needs it for the erasure journal",
            "the folder … cannot be used: …",
            "the folder … is not writable",
            "… is not a folder",
            "… is a folder; name a file",
        ],
        "No erasure journal outlives the store, or the bridge cannot write the journal.",
        "Set `outbox.erasure_journal` to a file in a folder on another volume than the store and its backups. The user of the bridge must be able to write into this folder.",
    ),
    row(
        &[
            "log.filter is not valid",
            "the log was started twice",
            "the thread that writes the log could not be started",
        ],
        "The log cannot start.",
        "Correct `log.filter`, or look at the limits of the process.",
    ),
];
