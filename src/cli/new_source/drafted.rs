//! A draft that the bridge has compiled, with the explanation of each sample, and the files of the draft.

use std::collections::BTreeSet;
use std::sync::Arc;

use anyhow::{Context as _, anyhow, bail};

use super::files::{self, NewFile};
use super::samples::{self, SampleFile};
use crate::config::Config;
use crate::config::sources::examples::request_headers;
use crate::config::sources::{self, SourceSettings};
use crate::draft::{SampleView, SchemaDraft, SourceDraft, SourcePlan};
use crate::event::{SourceName, Visibility};
use crate::http::header_line::header_map;
use crate::intake::examples::Expectation;
use crate::intake::{Explanation, RequestMessage, Source, Sources};
use crate::time::{Clock, Timestamp};

/// The maximum number of rounds in which the command switches off settings that the bridge refuses. One round is enough,
/// unless a setting fails only after another one was switched off.
const ROUNDS_MAX: usize = 8;

/// The maximum number of errors that the report names.
const CAUSES_MAX: usize = 3;

/// The first lines of a source file that the command writes. The folder of the sources can be the folder of a running
/// bridge, which must not accept events with a draft.
const DRAFT: &str =
    "# A running bridge does not use this source until you remove the next line.\ndraft = true\n\n";

/// A draft, with the source that the bridge compiles from it, and with the explanation of each sample.
pub(super) struct Drafted {
    pub(super) draft: SourceDraft,
    source: Arc<Source>,
    explanations: Vec<Explanation>,
}

/// Makes the draft of a plan: recognizes the fields, and switches off the settings that the bridge refuses.
pub(super) fn draft(
    config: &Config,
    name: &SourceName,
    plan: SourcePlan,
    samples: &[SampleFile],
) -> anyhow::Result<Drafted> {
    let wall_time = Clock::machine().wall();
    let planned = compile(config, name, &plan.render(), &plan.schemas())?;
    let mut views = Vec::new();
    for file in samples {
        let message = SampleRequest::of(&planned, file)?;
        let sources = Sources::new([Arc::clone(&planned)], config.intake);
        let sample = file.path.display().to_string();
        let found = sources.views(&planned, message.borrow()).into_iter();
        views.extend(found.map(|(event_type, event)| SampleView {
            sample: sample.clone(),
            event_type,
            event,
        }));
    }
    let mut draft = plan.with_fields(&views);
    for _ in 0..ROUNDS_MAX {
        let source = compile(config, name, &draft.render(), &draft.schemas)?;
        let explanations = explain(config, &source, samples, wall_time)?;
        if draft.switch_off_refused(&explanations) == 0 {
            return Ok(Drafted {
                draft,
                source,
                explanations,
            });
        }
    }
    bail!(
        "the draft refuses its samples again and again; please report this error with the samples"
    )
}

/// The headers and the body of a sample, as the source reads them.
struct SampleRequest {
    headers: crate::event::RequestHeaders,
    body: Vec<u8>,
}

impl SampleRequest {
    fn of(source: &Source, file: &SampleFile) -> anyhow::Result<Self> {
        let headers = header_map(&file.headers);
        let headers = request_headers(source, &headers).map_err(|reason| anyhow!(reason))?;
        Ok(Self {
            headers,
            body: file.body.clone(),
        })
    }

    fn borrow(&self) -> RequestMessage<'_> {
        RequestMessage {
            headers: &self.headers,
            body: &self.body,
        }
    }
}

/// Compiles a source from texts, in a temporary folder, with the reader of the bridge.
fn compile(
    config: &Config,
    name: &SourceName,
    text: &str,
    schemas: &[SchemaDraft],
) -> anyhow::Result<Arc<Source>> {
    let folder = tempfile::tempdir().context("a temporary folder")?;
    let config = Config {
        sources_dir: folder.path().join("sources"),
        schemas_dir: folder.path().join("schemas"),
        ..config.clone()
    };
    let file = NewFile {
        path: config.sources_dir.join(format!("{name}.toml")),
        content: text.as_bytes().to_vec(),
    };
    let schemas = schemas.iter().map(|schema| schema_file(&config, schema));
    let files: Vec<NewFile> = schemas.chain([file]).collect();
    files::write(&files, false)?;
    files::create_folder(&config.schemas_dir)?;
    let read = sources::read(&config).map_err(|errors| {
        let errors: Vec<_> = errors.iter().map(ToString::to_string).collect();
        anyhow!(
            "the draft has errors; please report them with the samples: {}",
            errors.join("; ")
        )
    })?;
    let source = read
        .into_iter()
        .next()
        .map(|settings: SourceSettings| settings.source);
    source.context("the draft has no source")
}

fn explain(
    config: &Config,
    source: &Arc<Source>,
    samples: &[SampleFile],
    wall_time: Timestamp,
) -> anyhow::Result<Vec<Explanation>> {
    let sources = Sources::new([Arc::clone(source)], config.intake);
    let mut explanations = Vec::new();
    for file in samples {
        let message = SampleRequest::of(source, file)?;
        let explanation = sources.explain_body(
            &source.name,
            message.borrow(),
            wall_time,
            Visibility::Revealed,
        );
        explanations.push(explanation.context("the draft has no source")?);
    }
    Ok(explanations)
}

fn schema_file(config: &Config, schema: &SchemaDraft) -> NewFile {
    NewFile {
        path: config.schemas_dir.join(&schema.path),
        content: format!("{:#}\n", schema.content).into_bytes(),
    }
}

impl Drafted {
    /// Returns the number of samples that the bridge refuses.
    pub(super) fn refused(&self) -> usize {
        let is_refused = |explanation: &&Explanation| explanation.problems().next().is_some();
        self.explanations.iter().filter(is_refused).count()
    }

    /// Returns the number of samples that the bridge refuses, or of which it parks every event as invalid.
    pub(super) fn invalid(&self) -> usize {
        let samples = self.explanations.iter();
        samples.filter(|sample| is_invalid(sample)).count()
    }

    pub(super) fn samples(&self) -> usize {
        self.explanations.len()
    }

    /// Returns whether the draft sets a field of Imprint.
    pub(super) fn maps_a_field(&self) -> bool {
        let mut types = self.source.event_types.values();
        types.any(|event_type| event_type.mapping.fields().next().is_some())
    }

    /// Returns the first different errors of the samples without a valid event, each with its first place.
    pub(super) fn causes(&self) -> Vec<String> {
        let invalid = self.explanations.iter().filter(|sample| is_invalid(sample));
        let problems = invalid.flat_map(Explanation::all_problems);
        let errors = problems.flat_map(|problem| &problem.errors);
        let mut details = BTreeSet::new();
        let first = errors.filter(|error| details.insert(error.detail.as_str()));
        let named = first.take(CAUSES_MAX).map(|error| {
            let place = match error.pointer.as_str() {
                "" => error.location.as_str(),
                pointer => pointer,
            };
            format!("{place}: {}", error.detail)
        });
        named.collect()
    }

    /// Returns the files of the draft. The source file is the last one, because a running bridge must not see a source
    /// file before its schemas.
    pub(super) fn files(
        &self,
        config: &Config,
        name: &SourceName,
        samples: &[SampleFile],
    ) -> anyhow::Result<Vec<NewFile>> {
        let mut files: Vec<NewFile> = self
            .draft
            .schemas
            .iter()
            .map(|schema| schema_file(config, schema))
            .collect();
        let folder = config.sources_dir.join(name.as_str());
        let read_headers = self.source.read_headers();
        let mut names = BTreeSet::new();
        for (file, explanation) in samples.iter().zip(&self.explanations) {
            let stem = samples::stem(&file.path, &mut names);
            let mut add = |ending: &str, content: Vec<u8>| {
                files.push(NewFile {
                    path: folder.join(format!("{stem}{ending}")),
                    content,
                });
            };
            add(".event.json", file.body.clone());
            let headers = file.headers_text(&read_headers)?;
            if !headers.is_empty() {
                add(".headers.txt", headers.into_bytes());
            }
            let expectation = Expectation::of(explanation);
            let ending = match expectation {
                Expectation::Requests(_) => ".request.json",
                Expectation::Rejection(_) => ".refusal.json",
            };
            add(
                ending,
                format!("{:#}\n", expectation.as_json()).into_bytes(),
            );
        }
        files.push(NewFile {
            path: config.sources_dir.join(format!("{name}.toml")),
            content: format!("{DRAFT}{}", self.draft.render()).into_bytes(),
        });
        Ok(files)
    }
}

/// Returns whether the bridge refuses a sample, or parks each of its events as invalid.
fn is_invalid(sample: &Explanation) -> bool {
    let is_refused = sample.problems().next().is_some();
    is_refused || sample.has_only_invalid_events()
}
