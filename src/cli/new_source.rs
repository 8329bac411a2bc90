//! `new-source`: drafts the source file, the schemas and the examples of a new source from sample bodies.
//!
//! The command runs each sample through the pipeline of the bridge, with the drafted files. The expected results of the
//! examples are therefore the results of the bridge, and `check` accepts the draft without a change.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::bail;
use clap::Args;

use self::drafted::Drafted;
use self::files::NewFile;
use super::{Layers, check, print_errors};
use crate::config::sources;
use crate::config::{Config, Purpose};
use crate::event::SourceName;
use crate::terminal::{print_notice, print_result};

mod chosen;
mod drafted;
mod files;
mod samples;

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
    let drafted = chosen::draft(&config, &name, &mut samples, &mut notes)?;
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
    if code == ExitCode::SUCCESS && drafted.invalid() == samples.len() {
        let what = match drafted.refused() {
            0 => "parks every event of the samples as invalid",
            _refused => "refuses every sample",
        };
        print_notice(format_args!(
            "the bridge {what} with this draft: `check` reports no errors because the examples expect the refusals. Decide the points under \"to decide\", and correct the source file.",
        ));
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
    }
    let parked = drafted.invalid().saturating_sub(refused);
    if parked > 0 {
        print_result(format_args!(
            "  - The bridge parks every event of {parked} of the samples as invalid. The files *.request.json have the errors: correct the source file, and write them again."
        ));
    }
    for cause in drafted.causes() {
        print_result(format_args!("    - {cause}"));
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
