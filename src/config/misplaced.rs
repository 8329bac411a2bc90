//! Finds the tables of a source in the settings of the bridge.

use super::reader::Reader;

/// The tables and lists that only a source file has.
const OF_SOURCE: [&str; 5] = ["auth", "body", "events", "ignore", "tables"];

/// Replaces the errors about the tables of a source by one error that names their file.
pub(super) fn report_sources(reader: &mut Reader) {
    for table in ["sources", "source"] {
        reader.report_table(
            &[table],
            "a source is no table of the settings: each source has a file of its own in the folder sources_dir, such as config/sources/NAME.toml with [auth], [body] and [events.\"TYPE\"]",
        );
    }
    let mut found = OF_SOURCE.into_iter().filter(|table| reader.has(&[table]));
    let Some(first) = found.next() else {
        return;
    };
    let others: Vec<&str> = found.collect();
    for other in others {
        reader.forget(&[other]);
    }
    reader.report_table(
        &[first],
        "belongs into a source file in the folder sources_dir, such as config/sources/NAME.toml, and not into the settings of the bridge",
    );
}
