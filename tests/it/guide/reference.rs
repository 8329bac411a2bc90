//! Tests that the guide describes everything that a source file can contain, and that its links lead somewhere.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

use super::SourceFolder;
use super::page::{README, RECIPES, REFERENCE, code_spans, read, root, section, sections, words};

/// The files and folders that read the settings of a source file.
const READERS: [&str; 5] = [
    "src/config/sources.rs",
    "src/config/sources",
    "src/config/quota.rs",
    "src/config/brake.rs",
    "src/ingress/auth/hmac/template.rs",
];
/// The names in these files that are neither settings nor values of settings.
const NO_SETTINGS: [&str; 7] = [
    "arrival",
    "authorization",
    "cookie",
    "dispatch",
    "ingress",
    "schemas",
    "sources_dir",
];
/// All pages whose links a test follows.
const PAGES: [&str; 7] = [
    "README.md",
    README,
    RECIPES,
    REFERENCE,
    "config/examples/README.md",
    "deploy/README.md",
    "tests/FAULTS.md",
];

/// The options of other programs on these pages.
const OTHER_OPTIONS: [&str; 3] = ["--data-binary", "--profile", "--release"];
/// The sections of the settings file.
const SECTIONS: [&str; 10] = [
    "brake", "dispatch", "identity", "imprint", "ingress", "log", "ops", "outbox", "quota",
    "shutdown",
];
/// The code spans that begin like a setting, but are file names.
const OTHER_NAMES: [&str; 4] = [
    "outbox.db.replaced",
    "outbox.db.replaced.2",
    "outbox.db.replaced.3",
    "outbox.db.reserve",
];

/// Returns the production code of a file, without comments.
fn code(file: &str) -> String {
    let text = read(file);
    let production = text.split("#[cfg(test)]\nmod tests").next().unwrap();
    let lines = production.lines();
    let lines = lines.filter(|line| !line.trim_start().starts_with("//"));
    lines.map(|line| format!("{line}\n")).collect()
}

/// Returns the texts in double quotes that are names, such as `secret_files`.
fn names(code: &str) -> BTreeSet<&str> {
    code.split('"').skip(1).step_by(2).filter(is_name).collect()
}

fn is_name(text: &&str) -> bool {
    let is_letter = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
    text.starts_with(|letter: char| letter.is_ascii_lowercase()) && text.bytes().all(is_letter)
}

/// Returns the text behind each occurrence of `before`, up to the next double quote.
fn quoted_after<'a>(code: &'a str, before: &str) -> Vec<&'a str> {
    let found = code.split(before).skip(1);
    let found = found.filter_map(|rest| rest.trim_start().strip_prefix('"'));
    found.filter_map(|rest| rest.split('"').next()).collect()
}

/// FAULTS N430: every setting of a source file, and every word that a setting accepts, stands in the reference.
#[test]
fn the_reference_has_every_setting() {
    let reference = read(REFERENCE);
    let known: BTreeSet<&str> = code_spans(&reference).into_iter().flat_map(words).collect();
    let mut read = 0;
    for file in READERS.into_iter().flat_map(files_below) {
        let code = code(&file);
        let names = names(&code);
        let is_missing = |name: &&&str| !known.contains(*name) && !NO_SETTINGS.contains(name);
        let missing: Vec<_> = names.iter().filter(is_missing).collect();
        assert!(missing.is_empty(), "{file}: {REFERENCE} lacks {missing:?}");
        read += names.len();
    }
    assert!(read > 70, "{read}");
}

/// Returns a file, or the files in a folder.
fn files_below(path: &str) -> Vec<String> {
    let Ok(folder) = fs::read_dir(root().join(path)) else {
        return vec![path.to_owned()];
    };
    let names = folder.map(|file| file.unwrap().file_name().into_string().unwrap());
    names.map(|name| format!("{path}/{name}")).collect()
}

/// FAULTS N430: every function of the language stands in the reference.
#[test]
fn the_reference_has_every_function() {
    let functions = code("src/mapping/function.rs");
    let functions = quoted_after(&functions, "signature(");
    assert!(functions.len() > 20, "{functions:?}");
    let rows = section(REFERENCE, "Functions").rows();
    let first: Vec<&str> = rows.iter().map(|row| row[0].as_str()).collect();
    let known: BTreeSet<&str> = first.iter().flat_map(|cell| words(cell)).collect();
    for name in functions {
        assert!(known.contains(name), "{name}");
    }
    let allowed = code("src/mapping/jq/allowed.rs");
    let allowed = allowed
        .lines()
        .filter(|line| line.contains("ArgumentKind::"));
    let allowed: Vec<&str> = allowed.filter_map(|line| line.split('"').nth(1)).collect();
    assert!(allowed.len() > 20, "{allowed:?}");
    let text = section(REFERENCE, "Expressions").lines.join("\n");
    let known: BTreeSet<&str> = code_spans(&text).into_iter().flat_map(words).collect();
    for name in allowed {
        assert!(known.contains(name), "{name}");
    }
}

/// FAULTS N430, N320: each expression in the table of absent values is absent for an event without its members.
#[test]
fn the_table_of_absent_values_is_right() {
    let rows = section(REFERENCE, "Absent values").rows();
    let cells: Vec<&str> = rows.iter().map(|row| row[0].as_str()).collect();
    let is_expression = |span: &&str| {
        let starts = [".", "if ", "\"", "{", "[", "has("];
        starts.iter().any(|start| span.starts_with(start))
            && !span.contains('…')
            && !span.ends_with("| f")
    };
    let spans = cells.iter().flat_map(|cell| code_spans(cell));
    let expressions: Vec<&str> = spans.filter(is_expression).collect();
    assert!(expressions.len() > 20, "{expressions:?}");
    let mut source = "[auth]\nkind = \"none\"\n[body]\nformat = \"json\"\nid = \"digest\"\ntype = '\"c\"'\n\
                      [events.c]\nschema = \"any.json\"\ncustomer.partner_id = '\"C-1\"'\n[events.c.update]\n"
        .to_owned();
    for (number, expression) in expressions.iter().enumerate() {
        source.push_str(&format!("metadata.m{number} = '{expression}'\n"));
    }
    let folder = SourceFolder::new();
    folder.write("schemas/any.json", "{}");
    folder.write("config/sources/shop.toml", &source);
    folder.write("config/sources/shop/absent.event.json", "{}");
    folder.write("config/sources/shop/absent.request.json", "\"ignored\"");
    let report = super::output(&folder.run(&["check"]));
    assert!(report.ends_with("no errors\n"), "{report}\n{source}");
}

/// FAULTS N430: every link between the pages leads to an existing file and to an existing heading.
#[test]
fn every_link_leads_to_a_heading() {
    for page in PAGES {
        let text = read(page);
        let targets = text.split("](").skip(1).map(|rest| {
            let target = rest.split(')').next();
            target.unwrap()
        });
        for target in targets.filter(|target| !target.contains("://")) {
            let (file, anchor) = target.split_once('#').unwrap_or((target, ""));
            let folder = Path::new(page).parent().unwrap();
            let linked = if file.is_empty() {
                root().join(page)
            } else {
                root().join(folder).join(file)
            };
            let linked = fs::canonicalize(&linked).unwrap_or_else(|_| panic!("{page}: {target}"));
            if anchor.is_empty() {
                continue;
            }
            let name = linked.strip_prefix(root()).unwrap().to_str().unwrap();
            let sections = sections(name);
            let mut anchors = sections.iter().map(|section| slug(&section.title));
            assert!(anchors.any(|known| known == anchor), "{page}: {target}");
        }
    }
}

/// FAULTS N430: every option, setting of the settings file and metric that a page names exists.
#[test]
fn every_name_in_the_guide_exists() {
    let help = help(&[]);
    let options: BTreeSet<&str> = options(&help).collect();
    let defaults = read("config/default.toml");
    let settings = settings(&defaults);
    let metrics = files_below("src/metrics");
    let metrics: String = metrics.iter().map(|file| read(file)).collect();
    for page in [
        "README.md",
        README,
        RECIPES,
        REFERENCE,
        "config/examples/README.md",
    ] {
        let text = read(page);
        for option in self::options(&text) {
            let is_known = options.contains(option) || OTHER_OPTIONS.contains(&option);
            assert!(is_known, "{page}: {option}");
        }
        for span in code_spans(&text) {
            let section = span.split_once('.').map(|(section, _)| section);
            let is_setting = section.is_some_and(|section| SECTIONS.contains(&section));
            assert!(
                !is_setting || settings.contains(span) || OTHER_NAMES.contains(&span),
                "{page}: {span}"
            );
            let metric = span.strip_prefix("imprint_bridge_").unwrap_or(span);
            let is_metric = metric != span || (metric.ends_with("_total") && is_name(&metric));
            assert!(!is_metric || metrics.contains(metric), "{page}: {span}");
        }
    }
}

/// Returns the help of a command and of all its subcommands.
fn help(command: &[&str]) -> String {
    let arguments = [command, &["--help"]].concat();
    let run = Command::new(env!("CARGO_BIN_EXE_imprint-bridge"))
        .args(arguments)
        .output()
        .unwrap();
    let help = super::output(&run);
    let (_, list) = help.split_once("\nCommands:\n").unwrap_or_default();
    let inner = list.lines().take_while(|line| !line.is_empty());
    let inner = inner.filter_map(|line| line.split_whitespace().next());
    let inner = inner.filter(|name| *name != "help");
    let inner: String = inner
        .map(|name| self::help(&[command, &[name]].concat()))
        .collect();
    help + &inner
}

/// Returns the options in a text, such as `--reveal`.
fn options(text: &str) -> impl Iterator<Item = &str> {
    let words = text.split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '-');
    words.filter(|word| {
        word.strip_prefix("--")
            .is_some_and(|name| name.starts_with(|letter: char| letter.is_ascii_lowercase()))
    })
}

/// Returns the settings of the settings file, such as `ingress.listen`.
fn settings(defaults: &str) -> BTreeSet<String> {
    let mut section = "";
    let mut settings = BTreeSet::new();
    for line in defaults.lines() {
        if let Some(name) = line.strip_prefix('[') {
            section = name.trim_end_matches(']');
        }
        if let Some((key, _)) = line.trim_start_matches("# ").split_once(" = ") {
            settings.insert(format!("{section}.{key}"));
        }
    }
    settings
}

/// Returns the anchor that GitHub gives to a heading.
fn slug(title: &str) -> String {
    let kept = |letter: &char| letter.is_alphanumeric() || matches!(letter, ' ' | '-' | '_');
    let letters = title.chars().filter(kept);
    letters
        .map(|letter| if letter == ' ' { '-' } else { letter })
        .flat_map(char::to_lowercase)
        .collect()
}
