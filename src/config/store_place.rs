//! The setting `outbox.url`: the place of the store.

use std::fmt;
use std::path::{Path, PathBuf};

use super::Profile;
use crate::outbox::{NAME_BYTES_MAX, is_reserved_name};

/// The maximum length of the path of the store. The system allows 4,095 bytes, also for the files beside the store.
const PATH_BYTES_MAX: usize = 3840;

/// The beginnings of the URL of a PostgreSQL database.
const POSTGRES: [&str; 2] = ["postgres://", "postgresql://"];

/// The modes of TLS in which the connection is encrypted.
const ENCRYPTED: [&str; 3] = ["require", "verify-ca", "verify-full"];

/// The place of the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StorePlace {
    /// A file of SQLite.
    File(PathBuf),
    /// A PostgreSQL database with this URL, which contains no password.
    Database(String),
}

/// Shows the path, or the URL of the database without its parameters.
impl fmt::Display for StorePlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => path.display().fmt(f),
            Self::Database(url) => f.write_str(url.split('?').next().unwrap_or_default()),
        }
    }
}

impl StorePlace {
    /// Returns the file of the store. Returns `None` if the store is in a database.
    pub fn file(&self) -> Option<&Path> {
        match self {
            Self::File(path) => Some(path),
            Self::Database(_) => None,
        }
    }

    /// Parses the setting. The errors do not repeat the setting, because it can contain a password.
    ///
    /// # Errors
    /// Returns the reason why the bridge cannot use the place.
    pub(crate) fn parse(url: &str, profile: Option<Profile>) -> Result<Self, String> {
        let database = POSTGRES.iter().find_map(|start| url.strip_prefix(start));
        match database {
            Some(rest) => database_flaw(rest, profile).map_or_else(
                || Ok(Self::Database(url.to_owned())),
                |flaw| Err(flaw.to_owned()),
            ),
            None => store_path(url).map(Self::File),
        }
    }
}

/// Returns the reason why the bridge does not use the URL of a database. `rest` follows the two slashes.
fn database_flaw(rest: &str, profile: Option<Profile>) -> Option<&'static str> {
    let (place, parameters) = rest.split_once('?').unwrap_or((rest, ""));
    let (user, host) = place.rsplit_once('@').unwrap_or(("", place));
    let parameter = |name: &str| {
        let parameters = parameters.split('&').filter_map(|one| one.split_once('='));
        let mut values = parameters.filter(|(key, _)| *key == name);
        values.next().map(|(_, value)| value)
    };
    let host = host.split('/').next().unwrap_or_default();
    let host = parameter("host").unwrap_or(host);
    // The socket of a server on the same machine is a path, and a path in a URL can be encoded.
    let is_socket = ["/", "%2f", "%2F"]
        .iter()
        .any(|start| host.starts_with(start));
    let is_encrypted = parameter("sslmode").is_some_and(|mode| ENCRYPTED.contains(&mode));
    if user.contains(':') || parameters.contains("password=") {
        Some("must contain no password: write the password into the file of outbox.password_file")
    } else if host.is_empty() {
        Some("must be \"postgres://USER@HOST:PORT/DATABASE\"")
    } else if profile == Some(Profile::Production) && !is_socket && !is_encrypted {
        Some(
            "must have the parameter sslmode=require with the profile \"production\": the connection to the database carries personal data",
        )
    } else {
        None
    }
}

/// Parses the path of a file of SQLite.
fn store_path(url: &str) -> Result<PathBuf, String> {
    let Some(path) = url.strip_prefix("sqlite:") else {
        let hint = if url.contains("://") {
            "; the bridge has no other store than SQLite and PostgreSQL"
        } else {
            ""
        };
        return Err(format!(
            "must be \"sqlite:PATH\", with the path of a file, or \"postgres://USER@HOST:PORT/DATABASE\"{hint}"
        ));
    };
    // `sqlite:///var/x` and `sqlite:/var/x` name the same file.
    let path = match path.strip_prefix("//") {
        Some(path) if path.starts_with('/') => path,
        Some(_host) => {
            return Err(
                "must have one slash after \"sqlite:\" for an absolute path (sqlite:/var/lib/outbox.db), and none for a relative path (sqlite:outbox.db)"
                    .to_owned(),
            );
        }
        None => path,
    };
    match misread(path) {
        Some(reason) => Err(reason.to_owned()),
        None => Ok(PathBuf::from(path)),
    }
}

/// Returns the reason why a path would name another file than its author expects.
fn misread(path: &str) -> Option<&'static str> {
    let is_encoded = |at: usize| {
        let digits = path.get(at + 1..at + 3);
        digits.is_some_and(|digits| digits.bytes().all(|digit| digit.is_ascii_hexdigit()))
    };
    let name = Path::new(path).file_name().and_then(|name| name.to_str());
    if path.is_empty() {
        Some("must be \"sqlite:PATH\", with the path of a file")
    } else if path.contains(":memory:") || path.starts_with("file:") {
        Some("must be \"sqlite:PATH\", with the path of a file: a store in memory loses its events")
    } else if path.contains('?') || path.contains('#') {
        Some("must have no options after the path: the bridge sets all options of SQLite itself")
    } else if path.match_indices('%').any(|(at, _)| is_encoded(at)) {
        Some("must have a path without percent-encoding: write a space as a space, not as %20")
    } else if path.starts_with('~') || path.contains('$') {
        Some("must have a complete path: the bridge replaces neither ~ nor variables")
    } else if path.ends_with('/') || name.is_none() {
        Some("must name a file, not a folder")
    } else if is_reserved_name(path) || name.is_some_and(is_reserved_name) {
        Some(
            "must name another file: SQLite or the bridge gives this name or this ending a special meaning",
        )
    } else if name.is_some_and(|name| name.len() > NAME_BYTES_MAX) || path.len() > PATH_BYTES_MAX {
        Some(
            "must be shorter: the name of the file can have at most 225 bytes, because the files beside the store have longer names, and the whole path at most 3,840 bytes",
        )
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// FAULTS N956, N957: the URL of a database has no password, and the connection is encrypted in production.
    #[test]
    fn the_url_of_a_database_has_no_secret_and_an_encrypted_connection() {
        let parse = StorePlace::parse;
        for (url, shown) in [
            (
                "postgres://bridge@db.example:5433/outbox",
                "postgres://bridge@db.example:5433/outbox",
            ),
            (
                "postgresql://db/outbox?sslmode=require",
                "postgresql://db/outbox",
            ),
            (
                "postgres:///outbox?host=/run/pg&user=bridge",
                "postgres:///outbox",
            ),
        ] {
            assert_eq!(parse(url, None).unwrap().to_string(), shown);
        }
        for url in [
            "postgres://a:secret@h/x",
            "postgres://h/x?user=a&password=secret",
            "postgres:///x",
        ] {
            let reason = parse(url, None).unwrap_err();
            assert!(!reason.contains("secret"), "{reason}");
        }
        let production = Some(Profile::Production);
        for (parameters, is_used) in [
            ("", false),
            ("?sslmode=prefer", false),
            ("?sslmode=verify-full", true),
            ("?host=/run/pg", true),
        ] {
            let url = format!("postgres://db/x{parameters}");
            assert_eq!(parse(&url, production).is_ok(), is_used, "{url}");
        }
    }

    /// FAULTS N420: a setting of the store that the bridge would not understand is an error.
    #[test]
    fn a_store_path_means_what_its_author_expects() {
        for (url, expected) in [
            ("sqlite:outbox.db", "outbox.db"),
            ("sqlite:/var/x.db", "/var/x.db"),
            ("sqlite:///var/x.db", "/var/x.db"),
            ("sqlite:./x y/100%.db", "./x y/100%.db"),
        ] {
            assert_eq!(store_path(url), Ok(PathBuf::from(expected)), "{url}");
        }
        for (url, cause) in [
            ("sqlite:x.db?mode=memory", "no options"),
            ("sqlite:x.db?cache=shared", "no options"),
            ("sqlite:x.db#a", "no options"),
            ("sqlite:a%20b.db", "percent-encoding"),
            ("sqlite://var/x.db", "one slash"),
            ("sqlite:~/x.db", "neither ~"),
            ("sqlite:$HOME/x.db", "nor variables"),
            ("sqlite::memory:", "in memory"),
            ("sqlite:file:x.db?mode=memory", "in memory"),
            ("sqlite:", "with the path of a file"),
            ("sqlite:/var/", "not a folder"),
            ("sqlite:..", "not a folder"),
            ("sqlite:x.db-wal", "special meaning"),
            ("mysql://user:secret@host/db", "no other store"),
            ("/var/x.db", "must be \"sqlite:PATH\""),
        ] {
            let reason = store_path(url).unwrap_err();
            assert!(reason.contains(cause), "{url}: {reason}");
            assert!(!reason.contains("secret"), "{reason}");
        }
    }
}
