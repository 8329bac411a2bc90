//! `new-source`: drafts the source file, the schemas and the examples of a new source from sample bodies.
//!
//! The command runs each sample through the pipeline of the bridge, with the drafted files. The expected results of the
//! examples are therefore the results of the bridge, and `check` accepts the draft without a change.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context as _, anyhow, bail};
use clap::Args;

use self::files::NewFile;
use self::samples::SampleFile;
use super::{Layers, check, print_errors};
use crate::config::sources::examples::request_headers;
use crate::config::sources::{self, SourceSettings};
use crate::config::{Config, Purpose};
use crate::draft::{DraftError, Sample, SampleView, SchemaDraft, SourceDraft, SourcePlan};
use crate::event::{SourceName, Visibility};
use crate::http::header_line::header_map;
use crate::intake::examples::Expectation;
use crate::intake::{Explanation, RequestMessage, Source, Sources};
use crate::terminal::{print_notice, print_result};
use crate::time::{Clock, Timestamp};

mod files;
mod samples;

/// The maximum number of rounds in which the command switches off settings that the bridge refuses. One round is enough,
/// unless a setting fails only after another one was switched off.
const ROUNDS_MAX: usize = 8;

/// The maximum number of errors that the report names.
const CAUSES_MAX: usize = 3;

/// The first lines of a source file that the command writes. The folder of the sources can be the folder of a running
/// bridge, which must not accept events with a draft.
const DRAFT: &str =
    "# A running bridge does not use this source until you remove the next line.\ndraft = true\n\n";

/// Refuses a sample without its option.
fn no_sample(_file: &str) -> Result<PathBuf, &'static str> {
    Err("write --sample before the file of each sample: --sample FILE")
}

/// The arguments of the command `new-source`.
#[derive(Debug, Args)]
pub(super) struct NewSourceOptions {
    #[command(flatten)]
    layers: Layers,
    /// Name of the new source: 1 to 64 characters out of a-z, 0-9, - and _.
    #[arg(value_name = "NAME")]
    name: String,
    /// File with a request body, exactly as the source posts it. Repeat the option for each kind of body.
    #[arg(long = "sample", value_name = "FILE", required = true)]
    samples: Vec<PathBuf>,
    /// Not allowed: a sample has the option `--sample`.
    #[arg(value_name = "SAMPLE", hide = true, value_parser = no_sample)]
    sample: Option<PathBuf>,
    /// File with the request headers of the samples, one header on each line, such as "x-topic: customers/update". If
    /// the samples have different headers, repeat the option once for each sample, in the same order.
    #[arg(long = "headers", value_name = "FILE")]
    headers: Vec<PathBuf>,
    /// Write the files to DIR/config/sources and DIR/schemas, and not to the configured folders.
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Overwrite existing files, and remove the other examples of the source.
    #[arg(long)]
    force: bool,
}

pub(super) fn run(options: &NewSourceOptions) -> anyhow::Result<ExitCode> {
    let name = SourceName::parse(&options.name)?;
    let mut config = match Config::read(&options.layers.config, Purpose::Check) {
        Ok(config) => config,
        Err(errors) => return Ok(print_errors(&errors)),
    };
    if let Some(out) = &options.out {
        config.sources_dir = out.join("config").join("sources");
        config.schemas_dir = out.join("schemas");
    }
    let mut samples = samples::read(&options.samples, &options.headers)?;
    let mut notes = samples::unlikely(&samples);
    notes.extend(samples::fit(&mut samples, &config));
    notes.extend(samples::unread_headers(&options.samples, &options.headers));
    notes.extend(samples::replace_secrets(&mut samples));
    let plan = plan(&name, &samples)?;
    notes.extend(samples::add_usual_headers(
        &mut samples,
        plan.usual_headers(),
    ));
    let drafted = draft(&config, &name, plan, &samples)?;
    let new_files = drafted.files(&config, &name, &samples)?;
    if options.force {
        refuse_source_in_use(&config, &name)?;
    }
    files::write(&new_files, options.force)?;
    files::create_folder(&config.schemas_dir)?;
    let mut removed = Vec::new();
    if options.force {
        let folder = config.sources_dir.join(name.as_str());
        removed = files::remove_earlier_examples(&folder, &new_files)?;
    }
    report(&drafted, (&new_files, &removed), &notes);
    print_result("the report of `check`:");
    let code = match sources::read(&config) {
        Ok(sources) => check::check_sources(&config, sources),
        Err(errors) => print_errors(&errors),
    };
    if code == ExitCode::SUCCESS && drafted.refused() == samples.len() {
        print_notice(
            "the bridge refuses every sample with this draft: `check` reports no errors because the examples expect the refusals. Decide the points under \"to decide\", and correct the source file.",
        );
        return Ok(ExitCode::FAILURE);
    }
    Ok(code)
}

/// Refuses to overwrite the file of a source that is no draft: a draft in its place would stop the source.
fn refuse_source_in_use(config: &Config, name: &SourceName) -> anyhow::Result<()> {
    let file = config.sources_dir.join(format!("{name}.toml"));
    if sources::is_possibly_in_use(&file) {
        bail!(
            "{} is no draft, so a running bridge possibly uses it. Choose another name, write the new draft elsewhere with --out, or add the line draft = true to the file",
            file.display()
        );
    }
    Ok(())
}

/// A draft, with the source that the bridge compiles from it, and with the explanation of each sample.
struct Drafted {
    draft: SourceDraft,
    source: Arc<Source>,
    explanations: Vec<Explanation>,
}

fn plan(name: &SourceName, samples: &[SampleFile]) -> anyhow::Result<SourcePlan> {
    let values: Vec<Sample> = samples.iter().map(|file| file.sample.clone()).collect();
    SourcePlan::of(name, &values).map_err(|error| match error {
        DraftError::NoEvent { position, .. } => {
            let file = samples.get(position);
            let file = file.map(|file| file.path.display().to_string());
            anyhow!("{}: {error}", file.unwrap_or_default())
        }
        DraftError::NoSample => anyhow!(error),
    })
}

fn draft(
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
    fn refused(&self) -> usize {
        let is_refused = |explanation: &&Explanation| explanation.problems().next().is_some();
        self.explanations.iter().filter(is_refused).count()
    }

    /// Returns the first different errors of the refused samples, each with its first place.
    fn causes(&self) -> Vec<String> {
        let problems = self.explanations.iter().flat_map(Explanation::problems);
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
    fn files(
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

fn report(drafted: &Drafted, (files, removed): (&[NewFile], &[PathBuf]), notes: &[String]) {
    print_result("recognized:");
    let mut event_type = None;
    for found in &drafted.draft.recognized {
        if found.event_type != event_type {
            event_type.clone_from(&found.event_type);
            let name = found.event_type.as_deref().unwrap_or_default();
            print_result(format_args!("  the event type {name}:"));
        }
        let expression = super::explain::in_one_line(&found.expression);
        let (setting, reason) = (&found.setting, &found.reason);
        if expression.is_empty() {
            print_result(format_args!("  {setting}: {reason}"));
        } else {
            print_result(format_args!("  {setting} = {expression}    ({reason})"));
        }
    }
    print_result("wrote:");
    for file in files {
        print_result(format_args!("  {}", file.path.display()));
    }
    if !removed.is_empty() {
        print_result("removed the examples of the earlier draft:");
    }
    for path in removed {
        print_result(format_args!("  {}", path.display()));
    }
    print_result("to decide:");
    let refused = drafted.refused();
    if refused > 0 {
        print_result(format_args!(
            "  - The bridge refuses {refused} of the samples. The files *.refusal.json have the errors: correct the source file, and replace them by *.request.json."
        ));
        for cause in drafted.causes() {
            print_result(format_args!("    - {cause}"));
        }
    }
    let decisions = drafted.draft.decisions.iter();
    for decision in decisions {
        print_result(format_args!("  - {decision}"));
    }
    print_result(
        "  - The examples *.event.json are copies of the samples: if a sample has personal data, replace it by invented data, in the event and in the request.",
    );
    for note in notes {
        print_result(format_args!("  - {note}"));
    }
    print_result("  - The lines that begin with # in the source file are suggestions.");
    print_result(
        "  - The source is a draft, so a running bridge does not use it. When the points above are decided, remove the line `draft = true` from the source file.",
    );
}
