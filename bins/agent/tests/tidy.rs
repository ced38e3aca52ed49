//! The house rules that a machine can check: what may import what, how long a file may be, what every crate
//! inherits, what may be in the dependency graph, and what has no place in the repository.
//!
//! Each test is one rule, and its message says what to change. A rule is changed by a decision record, not here alone.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

/// Source files longer than [`LONG`] lines, each with the reason why it is better whole.
const LONG_FILES: &[(&str, &str)] = &[
    ("baetyl-core-lib/src/conformance/engine.rs", "the engine's contract, a case for each sentence"),
    (
        "baetyl-core-lib/src/spec/application.rs",
        "the application document of the wire, one plain struct after the other",
    ),
];
/// Production lines above which a source file needs a reason.
const LONG: usize = 450;
/// Production lines above which no reason helps.
const TOO_LONG: usize = 600;
/// Lines of a program's main file.
const MAIN: usize = 150;

/// Entries that the repository's top level has.
const TOP_LEVEL: &[&str] = &[
    ".ci",
    ".gitignore",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "Cargo.lock",
    "Cargo.toml",
    "LICENSE",
    "README.md",
    "README_CN.md",
    "baetyl-core-lib",
    "baetyl-engine",
    "baetyl-sync",
    "benches",
    "bins",
    "clippy.toml",
    "deny.toml",
    "docs",
    "examples",
    "rustfmt.toml",
];
/// Entries that it may have.
const TOP_LEVEL_OPTIONAL: &[&str] = &[".cargo", "baetyl-function"];

/// Crates that are never in the lock file, and why.
const BANNED: &[(&str, &str)] = &[
    ("aws-lc-rs", "one TLS stack: rustls with ring"),
    ("aws-lc-sys", "one TLS stack: rustls with ring"),
    ("openssl", "one TLS stack: rustls with ring"),
    ("openssl-sys", "one TLS stack: rustls with ring"),
    ("native-tls", "one TLS stack: rustls with ring"),
    ("serde_yaml", "archived: serde-saphyr reads and writes YAML"),
    ("serde_yml", "unsound: serde-saphyr reads and writes YAML"),
];

/// Crates in the graph of the agent that runs programs only: lowered when it shrinks, never raised.
const AGENT_CRATES: usize = 190;
/// What the process engine alone must not pull in.
const NOT_FOR_PROCESSES: &[&str] = &["hyper", "rustls", "kube", "bollard", "reqwest"];

/// Words that only make sense on one machine, in halves so that this file does not have them.
const MACHINE_WORDS: &[&str] = &[
    concat!("/wo", "rk/"),
    concat!("/ro", "ot/"),
    concat!("replace-", "with"),
    concat!("[regis", "tries"),
    concat!("[sour", "ce."),
];
/// Files that may have them, and why.
const MACHINE_WORDS_ALLOWED: &[(&str, &str)] =
    &[(".ci/testbed/checks/proc-check.sh", "tries to write where only the superuser may")];

// Imports

#[test]
fn libraries_depend_on_the_core_library_only() {
    let members = members();
    let mut found = Vec::new();
    for (name, member) in &members {
        let allowed: &[&str] = match member.folder.as_str() {
            "baetyl-core-lib" => &[],
            folder if folder.starts_with("baetyl-") => &["baetyl-core-lib"],
            _ => continue,
        };
        for dependency in &member.dependencies {
            let ours = members.contains_key(dependency) && dependency != name;
            if ours && !allowed.contains(&dependency.as_str()) {
                found.push(format!("{name} depends on {dependency}"));
            }
        }
    }
    none("let the two crates meet in bins/agent, or move what they share into baetyl-core-lib", &found);
}

#[test]
fn libraries_stand_at_the_top_and_programs_in_bins() {
    let found: Vec<String> = members()
        .into_iter()
        .filter(|(name, member)| {
            let folder = member.folder.as_str();
            folder != name && !folder.starts_with("bins/") && !["examples", "benches"].contains(&folder)
        })
        .map(|(name, member)| format!("{name} is in {}", member.folder))
        .collect();
    none("a library stands in the folder of its name, a program in bins", &found);
}

#[test]
fn the_wire_model_imports_nothing_of_ours() {
    imports("baetyl-core-lib", "spec", &["spec"], Depth::All);
}

#[test]
fn trait_files_import_the_wire_model_only() {
    for file in
        ["application", "cert", "clock", "engine", "identity", "link", "node", "object", "resource", "store"]
    {
        imports("baetyl-core-lib", file, &["spec", "error", "application", file], Depth::Top);
    }
}

#[test]
fn the_shadow_imports_the_wire_model_and_the_store() {
    imports("baetyl-core-lib", "shadow", &["spec", "store", "error", "shadow"], Depth::All);
}

#[test]
fn engines_and_the_reconciler_do_not_know_each_other() {
    let apart = ["process", "docker", "kube", "reconcile"];
    let mut found = Vec::new();
    for module in apart {
        for file in module_files("baetyl-engine", module, Depth::All) {
            for name in names(&file) {
                if name != module && apart.contains(&name.as_str()) {
                    found.push(format!("{} names crate::{name}", file.path));
                }
            }
        }
    }
    none("an engine knows no other engine, and the reconciler sees only `dyn Engine`: pass it in", &found);
}

// Files

#[test]
fn no_module_is_a_mod_rs() {
    let found: Vec<String> =
        paths().into_iter().filter(|path| path.rsplit('/').next() == Some("mod.rs")).collect();
    none("name the module foo.rs, beside its folder foo/", &found);
}

#[test]
fn no_source_file_is_too_long() {
    let reasons: BTreeMap<&str, &str> = LONG_FILES.iter().copied().collect();
    let lengths: BTreeMap<String, usize> =
        files().into_iter().filter(File::is_source).map(|file| (file.path.clone(), file.lines())).collect();
    let mut found = Vec::new();
    for (path, &lines) in &lengths {
        if lines > TOO_LONG {
            found.push(format!("{path} has {lines} production lines: split it, {TOO_LONG} is the end"));
        } else if lines > LONG && !reasons.contains_key(path.as_str()) {
            found.push(format!("{path} has {lines} production lines: split it, or give LONG_FILES a reason"));
        }
    }
    for path in reasons.keys() {
        if lengths.get(*path).is_none_or(|&lines| lines <= LONG) {
            found.push(format!("{path} is no long file any more: take it out of LONG_FILES"));
        }
    }
    none("keep files short", &found);
}

#[test]
fn main_files_are_thin() {
    let found: Vec<String> = files()
        .into_iter()
        .filter(|file| file.path.ends_with("src/main.rs") || file.path.contains("src/bin/"))
        .filter(|file| file.lines() > MAIN)
        .map(|file| format!("{} has {} lines, allowed are {MAIN}", file.path, file.lines()))
        .collect();
    none("a main file reads its configuration, wires, runs and drains: move the rest to the library", &found);
}

#[test]
fn the_top_level_is_the_fixed_layout() {
    let paths = paths();
    let there: BTreeSet<&str> = paths.iter().filter_map(|path| path.split('/').next()).collect();
    let strangers = there
        .iter()
        .filter(|entry| !TOP_LEVEL.contains(entry) && !TOP_LEVEL_OPTIONAL.contains(entry))
        .map(|entry| format!("{entry} has no place here"));
    let missing =
        TOP_LEVEL.iter().filter(|entry| !there.contains(*entry)).map(|entry| format!("{entry} is missing"));
    none(
        "keep the top level to the layout of docs/ARCHITECTURE.md",
        &strangers.chain(missing).collect::<Vec<_>>(),
    );
}

#[test]
fn no_file_names_a_machine() {
    let mut found = Vec::new();
    for file in files() {
        if MACHINE_WORDS_ALLOWED.iter().any(|(path, _)| *path == file.path) {
            continue;
        }
        for (number, line) in file.text.lines().enumerate() {
            for word in MACHINE_WORDS.iter().filter(|word| line.contains(*word)) {
                found.push(format!("{}:{} has {word}", file.path, number + 1));
            }
        }
    }
    none("a clone works anywhere: no path of one machine, no package registry of one network", &found);
}

// Manifests and the dependency graph

#[test]
fn members_inherit_from_the_workspace() {
    let wanted = [
        "\nversion.workspace = true",
        "\nedition.workspace = true",
        "\nrust-version.workspace = true",
        "\nlicense.workspace = true",
        "\npublish.workspace = true",
        "\n[lints]\nworkspace = true",
    ];
    let mut found = Vec::new();
    for (name, member) in members() {
        let manifest = read(&root().join(&member.folder).join("Cargo.toml"));
        for line in wanted.iter().filter(|line| !manifest.contains(*line)) {
            found.push(format!("{name} lacks `{}`", line.trim().replace('\n', " ")));
        }
    }
    none("one version, one edition, one set of lints: inherit them", &found);
}

#[test]
fn banned_crates_are_not_in_the_lock_file() {
    let locked = locked("name");
    let found: Vec<String> = BANNED
        .iter()
        .filter(|(name, _)| locked.contains(*name))
        .map(|(name, reason)| format!("{name}: {reason}"))
        .collect();
    none("find who brings it with `cargo tree -i NAME`, and turn that feature off", &found);
}

#[test]
fn every_crate_comes_from_the_public_registry() {
    let found: Vec<String> = locked("source")
        .into_iter()
        .filter(|source| source != "registry+https://github.com/rust-lang/crates.io-index")
        .collect();
    none("depend on a released version", &found);
}

#[test]
fn json_objects_do_not_keep_their_order() {
    // With `preserve_order` a document takes half as much memory again, everywhere.
    let packages = tree(&["--workspace", "-f", "{p} {f}"]);
    let json: Vec<String> = packages.into_iter().filter(|line| line.starts_with("serde_json ")).collect();
    assert!(!json.is_empty(), "serde_json is not in the graph: this rule checks nothing");
    let found: Vec<String> = json.into_iter().filter(|line| line.contains("preserve_order")).collect();
    none("find who asks for it with `cargo tree --workspace -e features -i serde_json`", &found);
}

#[test]
fn the_graph_of_the_process_only_agent_stays_small() {
    let graph = graph("baetyl-edge", "process,http,activate,pki");
    assert!(
        graph.len() <= AGENT_CRATES,
        "the process-only agent has {} crates in its graph, allowed are {AGENT_CRATES}: turn off default \
         features, or do without the new crate\n{}",
        graph.len(),
        graph.into_iter().collect::<Vec<_>>().join("\n"),
    );
}

#[test]
fn the_process_engine_alone_has_no_network_stack() {
    let found: Vec<String> = graph("baetyl-engine", "process")
        .into_iter()
        .filter(|package| NOT_FOR_PROCESSES.iter().any(|name| package.starts_with(&format!("{name} "))))
        .collect();
    none("put what needs it behind a feature of its own", &found);
}

// The checks themselves

#[test]
fn names_are_found_through_groups_and_supers() {
    let check = |path: &str, text: &str, expected: &[&str]| {
        let file = File { path: path.to_owned(), text: text.to_owned() };
        assert_eq!(names(&file).iter().map(String::as_str).collect::<Vec<_>>(), expected, "{text}");
    };
    check("x/src/spec/node.rs", "use crate::link::Link;", &["link"]);
    check("x/src/spec/node.rs", "use crate::{link::{Link, LinkState}, store};", &["link", "store"]);
    check(
        "x/src/spec/node.rs",
        "use crate::{\n    link::{Link, LinkState},\n    store,\n};",
        &["link", "store"],
    );
    check("x/src/spec/node.rs", "use super::message::Kind;", &["spec"]);
    check("x/src/spec/node.rs", "let a = super::super::link::Link;", &["link"]);
    check("x/src/spec/node.rs", "pub(crate) fn a() {} // crate::link\n/// crate::store", &[]);
    check("x/src/spec/node.rs", "fn a() {}\n#[cfg(test)]\nmod tests {\n    use crate::link;\n}\n", &[]);
    check("x/src/link.rs", "use super::store::Store;", &["store"]);
    check("x/src/link.rs", "use super::{error, node::Node};", &["error", "node"]);
    check("x/src/link.rs", "use crate::*;", &["*"]);
}

#[test]
fn production_ends_where_the_inline_tests_begin() {
    let check = |text: &str, lines: usize| {
        let file = File { path: String::new(), text: text.to_owned() };
        assert_eq!(file.lines(), lines, "{text}");
    };
    check("a\nb\n\n#[cfg(test)]\nmod tests {\n}\n", 3);
    check("#[cfg(test)]\nmod tests;\na\nb\n", 4);
    check("#[cfg(test)]\nuse a;\nb\n", 3);
}

// Helpers

/// A text file of the repository; its path is from the root, with slashes.
struct File {
    path: String,
    text: String,
}

impl File {
    /// Whether the rules about source code are about this file: tests have rules of their own.
    fn is_source(&self) -> bool {
        self.path.ends_with(".rs")
            && self.path.contains("src/")
            && !self.path.contains("/tests/")
            && !self.path.ends_with("/tests.rs")
    }

    /// The text up to the inline tests.
    fn production(&self) -> &str {
        let tests = self.text.match_indices("#[cfg(test)]\nmod ").map(|(at, _)| at).find(|at| {
            let declaration = self.text[*at..].lines().nth(1).unwrap_or_default();
            declaration.ends_with('{')
        });
        tests.map_or(&self.text, |at| &self.text[..at])
    }

    fn lines(&self) -> usize {
        self.production().lines().count()
    }
}

/// Which files of a module a rule is about: `foo.rs` alone, or its folder too.
#[derive(Clone, Copy)]
enum Depth {
    Top,
    All,
}

/// A package of the workspace.
struct Member {
    /// From the root, with slashes.
    folder: String,
    /// Names, of every kind: for tests and for the build, too.
    dependencies: Vec<String>,
}

/// Fails unless `found` is empty, and says what to change.
#[track_caller]
fn none(what_to_change: &str, found: &[String]) {
    assert!(found.is_empty(), "{what_to_change}:\n  {}", found.join("\n  "));
}

/// Fails unless the files of a module name only the `allowed` modules of their crate.
#[track_caller]
fn imports(package: &str, module: &str, allowed: &[&str], depth: Depth) {
    let files = module_files(package, module, depth);
    assert!(!files.is_empty(), "{package} has no module {module}: this rule checks nothing");
    let mut found = Vec::new();
    for file in files {
        for name in names(&file) {
            if !allowed.contains(&name.as_str()) {
                found.push(format!("{} names crate::{name}", file.path));
            }
        }
    }
    none(&format!("crate::{module} may name only {allowed:?} of its crate"), &found);
}

fn module_files(package: &str, module: &str, depth: Depth) -> Vec<File> {
    let top = format!("{package}/src/{module}.rs");
    let folder = format!("{package}/src/{module}/");
    files()
        .into_iter()
        .filter(File::is_source)
        .filter(|f| f.path == top || (matches!(depth, Depth::All) && f.path.starts_with(&folder)))
        .collect()
}

/// The modules at their crate's root that a file's production code names through `crate` or `super`.
fn names(file: &File) -> BTreeSet<String> {
    let code: Vec<&str> = file
        .production()
        .lines()
        .filter(|line| !line.trim_start().starts_with("//"))
        .map(|line| line.split(" //").next().unwrap_or_default())
        .collect();
    let code = code.join("\n");
    let within = file.path.split_once("src/").map_or("", |(_, path)| path).trim_end_matches(".rs");
    let module: Vec<&str> = within.split('/').collect();

    let mut found = BTreeSet::new();
    for (at, word) in code.match_indices("crate::") {
        found.extend(first_segments(&code[at + word.len()..]));
    }
    for (at, word) in code.match_indices("super::").filter(|(at, _)| !code[..*at].ends_with("::")) {
        let mut rest = &code[at..];
        let mut ups = 0;
        while let Some(after) = rest.strip_prefix(word) {
            (rest, ups) = (after, ups + 1);
        }
        if ups < module.len() {
            found.insert(module[0].to_owned());
        } else {
            found.extend(first_segments(rest));
        }
    }
    found
}

/// `link::Link` gives `link`; `{link::{A, B}, store}` gives `link` and `store`.
fn first_segments(path: &str) -> Vec<String> {
    let word = |text: &str| {
        let text = text.trim();
        let end = text.find(|c: char| c != '_' && !c.is_alphanumeric()).unwrap_or(text.len());
        if text.starts_with('*') { "*".to_owned() } else { text[..end].to_owned() }
    };
    let Some(group) = path.strip_prefix('{') else {
        return vec![word(path)];
    };
    let (mut depth, mut start, mut found) = (0, 0, Vec::new());
    for (at, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth > 0 => depth -= 1,
            ',' | '}' if depth == 0 => {
                found.push(word(&group[start..at]));
                start = at + 1;
                if c == '}' {
                    break;
                }
            }
            _ => {}
        }
    }
    found.retain(|word| !word.is_empty());
    found
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("cannot read {}: {error}", path.display()))
}

/// The text files of the repository.
fn files() -> Vec<File> {
    let root = root();
    paths()
        .into_iter()
        .filter_map(|path| fs::read_to_string(root.join(&path)).ok().map(|text| File { path, text }))
        .collect()
}

/// What git tracks; where there is no git, as in an unpacked archive, everything that is not ignored.
fn paths() -> Vec<String> {
    let root = root();
    let tracked = Command::new("git").arg("-C").arg(&root).args(["ls-files", "-z"]).output();
    let mut paths: Vec<String> = match tracked {
        Ok(output) if output.status.success() => {
            String::from_utf8_lossy(&output.stdout).split_terminator('\0').map(str::to_owned).collect()
        }
        _ => {
            let ignored = read(&root.join(".gitignore"));
            let ignored: Vec<&str> = ignored.lines().filter_map(|line| line.strip_prefix('/')).collect();
            let mut paths = Vec::new();
            walk(&root, "", &ignored, &mut paths);
            paths
        }
    };
    paths.retain(|path| root.join(path).exists());
    assert!(paths.len() > TOP_LEVEL.len(), "found hardly a file below {}", root.display());
    paths
}

fn walk(root: &Path, folder: &str, ignored: &[&str], paths: &mut Vec<String>) {
    let entries = fs::read_dir(root.join(folder));
    let entries = entries.unwrap_or_else(|error| panic!("cannot list the folder {folder:?}: {error}"));
    for entry in entries.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let path = if folder.is_empty() { name } else { format!("{folder}/{name}") };
        match entry.file_type() {
            Ok(kind) if kind.is_dir() && (path == ".git" || ignored.contains(&path.as_str())) => {}
            Ok(kind) if kind.is_dir() => walk(root, &path, ignored, paths),
            _ => paths.push(path),
        }
    }
}

fn cargo(arguments: &[&str]) -> String {
    let output = Command::new(env!("CARGO")).current_dir(root()).args(arguments).output();
    let output = output.unwrap_or_else(|error| panic!("cannot start cargo: {error}"));
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "cargo {} failed:\n{errors}", arguments.join(" "));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// The packages of the workspace by name.
fn members() -> BTreeMap<String, Member> {
    let text = cargo(&["metadata", "--no-deps", "--locked", "--format-version", "1"]);
    let metadata: Value =
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("cargo metadata: {error}"));
    let string = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let root = string(&metadata["workspace_root"]);
    let mut members = BTreeMap::new();
    for package in list(&metadata["packages"]) {
        let manifest = string(&package["manifest_path"]);
        let folder = manifest.trim_start_matches(&root).trim_end_matches("Cargo.toml").trim_matches('/');
        let member = Member {
            folder: folder.to_owned(),
            dependencies: list(&package["dependencies"]).iter().map(|d| string(&d["name"])).collect(),
        };
        members.insert(string(&package["name"]), member);
    }
    assert!(members.contains_key("baetyl-core-lib"), "cargo metadata does not name the members");
    members
}

/// The packages that a package with these features is built from.
fn graph(package: &str, features: &str) -> BTreeSet<String> {
    let selection = ["-p", package, "--no-default-features", "--features", features];
    let graph = tree(&[&selection[..], &["-e", "normal", "-f", "{p}"]].concat());
    assert!(graph.len() > 10, "cargo tree lists hardly a package of {package}");
    graph
}

/// The distinct lines of `cargo tree` for this machine's own target, whose crates are downloaded.
fn tree(arguments: &[&str]) -> BTreeSet<String> {
    let output = cargo(&[&["tree", "--locked", "--prefix", "none"], arguments].concat());
    output
        .lines()
        .map(|line| line.trim_end_matches(" (*)").to_owned())
        .filter(|line| !line.is_empty())
        .collect()
}

/// The values that a key has in the lock file.
fn locked(key: &str) -> BTreeSet<String> {
    let start = format!("{key} = \"");
    let lock = read(&root().join("Cargo.lock"));
    let values: BTreeSet<String> = lock
        .lines()
        .filter_map(|line| line.strip_prefix(&start))
        .map(|value| value.trim_end_matches('"').to_owned())
        .collect();
    assert!(!values.is_empty(), "the lock file has no key {key}");
    values
}
