//! Reads all sources as one set: either the whole set is usable, or no source of it.

use std::sync::Arc;

use super::sources::examples::{self, ExampleError};
use super::sources::{self, SourceFiles, SourceSettings, SourcesDigest};
use super::{Config, SettingError};
use crate::intake::Sources;
use crate::time::Timestamp;

/// The maximum number of attempts to read a set whose files change at the same time.
const READS_MAX: usize = 3;

/// All sources, with the files from which the bridge has read them.
#[derive(Debug)]
pub struct SourceSet {
    pub sources: Vec<SourceSettings>,
    /// The names of the sources whose files are drafts. The bridge does not use them.
    pub drafts: Vec<String>,
    /// The files. If the bridge cannot look at the files, the value is the reason, and the bridge notices no change.
    pub files: Result<SourceFiles, String>,
}

/// The reason why the bridge cannot use a set of sources.
#[derive(Debug)]
pub enum UnusableSet {
    /// The files changed again and again while the bridge read them.
    Changing,
    /// The source files have errors.
    Errors {
        errors: Vec<SettingError>,
        files: Result<SourceFiles, String>,
    },
}

impl SourceSet {
    /// Reads all sources. The result never mixes files from before a change with files from after the change, because
    /// the bridge compares the files before and after it reads them.
    ///
    /// # Errors
    /// Returns all errors of all source files.
    pub fn read(config: &Config) -> Result<Self, UnusableSet> {
        for _ in 0..READS_MAX {
            let before = look(config);
            let sources = sources::read_live(config);
            let files = look(config);
            if digest(&before) == digest(&files) {
                return match sources {
                    Ok(live) => Ok(Self {
                        sources: live.sources,
                        drafts: live.drafts,
                        files,
                    }),
                    Err(errors) => Err(UnusableSet::Errors { errors, files }),
                };
            }
        }
        Err(UnusableSet::Changing)
    }

    /// Runs the examples of all sources, and returns their errors.
    pub(crate) fn example_errors(
        &self,
        config: &Config,
        wall_time: Timestamp,
    ) -> Vec<ExampleError> {
        let all = self.sources.iter().map(|one| Arc::clone(&one.source));
        let sources = Sources::new(all, config.intake);
        let results = self.sources.iter().map(|one| {
            let folder = config.sources_dir.join(one.source.name.as_str());
            examples::run(&folder, &sources, &one.source, wall_time).errors
        });
        results.flatten().collect()
    }
}

impl UnusableSet {
    /// Returns the errors, for a command that prints all errors.
    pub fn into_errors(self, config: &Config) -> Vec<SettingError> {
        match self {
            Self::Errors { errors, .. } => errors,
            Self::Changing => vec![SettingError {
                origin: config.sources_dir.display().to_string(),
                key: "file".to_owned(),
                reason: "the files changed while the bridge read them".to_owned(),
            }],
        }
    }
}

fn look(config: &Config) -> Result<SourceFiles, String> {
    SourceFiles::look(&config.sources_dir, &config.schemas_dir)
}

fn digest(files: &Result<SourceFiles, String>) -> Result<SourcesDigest, &str> {
    files
        .as_ref()
        .map(SourceFiles::digest)
        .map_err(String::as_str)
}
