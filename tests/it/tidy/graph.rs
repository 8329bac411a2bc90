//! The graph of uses between the modules in `src`, and the cycles of this graph.

use std::collections::{BTreeMap, BTreeSet};

use super::source::Source;

type Path = Vec<String>;

/// The module graph: for each module, the modules that its code uses.
///
/// The use of a module's own submodule is not an edge of the graph. An edge through a re-export leads to the module
/// that defines the item.
pub(super) struct Graph {
    edges: BTreeMap<Path, BTreeSet<Path>>,
}

impl Graph {
    pub(super) fn of(sources: &[Source]) -> Self {
        let modules: BTreeSet<Path> = sources
            .iter()
            .map(|source| owned(&source.module()))
            .collect();
        let paths = sources.iter().flat_map(|source| {
            let module = owned(&source.module());
            let paths = uses(&source.code).into_iter();
            let paths = paths.filter_map(|(path, is_export)| {
                Some((absolute(&module, &path, &modules)?, is_export))
            });
            paths
                .map(|(path, is_export)| (module.clone(), path, is_export))
                .collect::<Vec<_>>()
        });
        let (exported, named): (Vec<_>, Vec<_>) = paths.partition(|(_, _, is_export)| *is_export);
        let exports = exported
            .into_iter()
            .filter_map(|(module, path, _)| Some(((module, path.last()?.clone()), path)))
            .collect();
        let mut edges: BTreeMap<Path, BTreeSet<Path>> = BTreeMap::new();
        for (from, path, _) in named {
            let to = defining(path, &modules, &exports);
            if !to.is_empty() && !to.starts_with(&from) {
                edges.entry(from).or_default().insert(to);
            }
        }
        Self { edges }
    }

    /// Returns the groups of modules that all reach one another in the module graph, the largest group first.
    pub(super) fn cycles(&self) -> Vec<Vec<String>> {
        let reached: BTreeMap<&Path, BTreeSet<&Path>> = self
            .edges
            .keys()
            .map(|from| (from, self.reachable(from)))
            .collect();
        let mut cycles = BTreeSet::new();
        for (from, to) in &reached {
            let mut cycle: Vec<String> = to
                .iter()
                .filter(|other| reached.get(*other).is_some_and(|back| back.contains(from)))
                .map(|module| module.join("::"))
                .collect();
            cycle.sort_unstable();
            if cycle.len() > 1 {
                cycles.insert(cycle);
            }
        }
        let mut cycles: Vec<_> = cycles.into_iter().collect();
        cycles.sort_by_key(|cycle| std::cmp::Reverse(cycle.len()));
        cycles
    }

    fn reachable<'a>(&'a self, from: &'a Path) -> BTreeSet<&'a Path> {
        let mut reached = BTreeSet::new();
        let mut open = vec![from];
        while let Some(module) = open.pop() {
            let named = self.edges.get(module).into_iter().flatten();
            open.extend(named.filter(|next| reached.insert(*next)));
        }
        reached
    }
}

/// Returns every module or item path in the code.
pub(super) fn paths(code: &str) -> Vec<Vec<String>> {
    uses(code).into_iter().map(|(path, _)| path).collect()
}

/// Returns the module that defines the item at `path`.
fn defining(
    mut path: Path,
    modules: &BTreeSet<Path>,
    exports: &BTreeMap<(Path, String), Path>,
) -> Path {
    // A chain of re-exports is short, and the limit of 8 steps ends a chain that leads to itself.
    for _ in 0..8 {
        let module = (0..=path.len())
            .rev()
            .map(|length| path[..length].to_vec())
            .find(|prefix| modules.contains(prefix))
            .unwrap_or_default();
        let item = path.get(module.len()).cloned().unwrap_or_default();
        let Some(target) = exports.get(&(module.clone(), item)) else {
            return module;
        };
        path = target
            .iter()
            .chain(path.iter().skip(module.len() + 1))
            .cloned()
            .collect();
    }
    Path::new()
}

/// Returns the path from the root of our crate, or `None` if the path leads to another crate.
fn absolute(module: &Path, path: &[String], modules: &BTreeSet<Path>) -> Option<Path> {
    let supers = path.iter().take_while(|step| *step == "super").count();
    let (base, rest) = match path.first().map(String::as_str)? {
        "crate" => (Path::new(), &path[1..]),
        "self" => (module.clone(), &path[1..]),
        "super" => (
            module[..module.len().checked_sub(supers)?].to_vec(),
            &path[supers..],
        ),
        first => {
            let child: Path = module.iter().cloned().chain([first.to_owned()]).collect();
            modules.contains(&child).then(|| (module.clone(), path))?
        }
    };
    Some(base.iter().chain(rest).cloned().collect())
}

/// Returns every path in the code. The flag of a path is true if the path is re-exported.
fn uses(code: &str) -> Vec<(Path, bool)> {
    let mut found = Vec::new();
    let mut others = String::new();
    let mut rest = code;
    while let Some(at) = rest.find("use ") {
        let (before, import) = rest.split_at(at);
        let visibility = before.rsplit('\n').next().unwrap_or_default().trim();
        others.push_str(before);
        rest = &import["use ".len()..];
        if visibility.is_empty() || visibility.starts_with("pub") {
            let (tree, after) = rest.split_once(';').unwrap_or((rest, ""));
            let is_export = visibility.starts_with("pub");
            let paths = expanded(&[], tree).into_iter();
            found.extend(paths.map(|path| (path, is_export)));
            rest = after;
        }
    }
    others.push_str(rest);
    let is_in_path = |c: char| c.is_alphanumeric() || c == '_' || c == ':';
    let words = others.split(|c| !is_in_path(c));
    for word in words.filter(|word| word.contains("::")) {
        let path = word.split("::").filter(|step| !step.is_empty());
        found.push((path.map(str::to_owned).collect(), false));
    }
    found
}

/// Returns the single paths that a `use` tree contains.
fn expanded(prefix: &[String], tree: &str) -> Vec<Path> {
    let mut paths = Vec::new();
    let (mut depth, mut start) = (0_usize, 0);
    let mut parts = Vec::new();
    for (at, c) in tree.char_indices() {
        match c {
            '{' => depth += 1,
            '}' => depth = depth.saturating_sub(1),
            ',' if depth == 0 => {
                parts.push(&tree[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    parts.push(&tree[start..]);
    for part in parts
        .iter()
        .map(|part| part.trim())
        .filter(|part| !part.is_empty())
    {
        let (head, group) = part.split_once('{').unwrap_or((part, ""));
        let head = head.split(" as ").next().unwrap_or_default();
        let steps = head
            .split("::")
            .map(str::trim)
            .filter(|step| !step.is_empty());
        let path: Path = prefix
            .iter()
            .cloned()
            .chain(steps.map(str::to_owned))
            .collect();
        match group.strip_suffix('}') {
            Some(group) => paths.extend(expanded(&path, group)),
            None => paths.push(path),
        }
    }
    paths
}

fn owned(path: &[&str]) -> Path {
    path.iter().map(|step| (*step).to_owned()).collect()
}

#[test]
fn cycles_are_found_through_groups_and_re_exports() {
    let sources = [
        Source::new("lib.rs", "pub mod a; pub mod b;"),
        Source::new("a.rs", "mod deep;\npub use deep::Thing;\nuse deep::Other;"),
        Source::new("a/deep.rs", "use crate::{b::{Left, Right as R}, c};"),
        Source::new("b.rs", "fn f() { crate::a::Thing::new(); }"),
        Source::new("c.rs", "use std::fmt;\nuse super::a::deep;"),
    ];
    let cycles = Graph::of(&sources).cycles();
    assert_eq!(cycles, [["a::deep", "b", "c"].map(str::to_owned)]);
}
