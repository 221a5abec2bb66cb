//! Rules of the house that a reviewer would otherwise have to remember.
#![allow(clippy::unwrap_used)]

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use cargo_metadata::{DependencyKind, Metadata, MetadataCommand};

/// Which of our crates a crate may be built from. `segue-cli` names the concrete parts and may use all.
const IMPORTS: [(&str, &[&str]); 18] = [
    ("segue-core", &[]),
    ("segue-bus", &["segue-core"]),
    ("segue-engine", &["segue-core"]),
    ("segue-redis", &["segue-bus", "segue-core"]),
    ("segue-sqlite", &["segue-core"]),
    ("segue-postgres", &["segue-bus", "segue-core"]),
    ("segue-worker", &["segue-core"]),
    ("segue-listen", &[]),
    ("segue-gateway", &["segue-core", "segue-listen"]),
    ("segue-http", &["segue-core"]),
    ("segue-crewai", &["segue-core", "segue-engine", "segue-http", "segue-worker"]),
    ("segue-langchain", &["segue-core", "segue-engine", "segue-http", "segue-worker"]),
    ("segue-server", &["segue-core", "segue-engine", "segue-listen"]),
    ("segue-testkit", &["segue-core", "segue-testservers"]),
    ("segue-testservers", &[]),
    (
        "segue-cli",
        &[
            "segue-bus",
            "segue-core",
            "segue-crewai",
            "segue-engine",
            "segue-gateway",
            "segue-http",
            "segue-langchain",
            "segue-postgres",
            "segue-redis",
            "segue-server",
            "segue-sqlite",
            "segue-worker",
        ],
    ),
    ("segue-faults", &["segue-core", "segue-postgres", "segue-sqlite", "segue-testkit", "segue-testservers"]),
    ("xtask", &["segue-testservers"]),
];

/// Longer files hold more than one noun.
const LINES_MAX: usize = 600;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

fn metadata() -> Metadata {
    MetadataCommand::new().current_dir(root()).no_deps().exec().unwrap()
}

/// Every tracked text file and its content.
fn tracked() -> Vec<(String, String)> {
    let listed = Command::new("git").args(["ls-files", "-z"]).current_dir(root()).output().unwrap();
    assert!(listed.status.success(), "{}", String::from_utf8_lossy(&listed.stderr));
    let paths = String::from_utf8(listed.stdout).unwrap();
    let files = paths.split_terminator('\0').filter_map(|path| {
        // A file that is deleted and not committed yet, or that is no text.
        Some((path.to_owned(), fs::read_to_string(root().join(path)).ok()?))
    });
    let files = files.collect::<Vec<_>>();
    assert!(files.len() > 50, "only {} tracked files", files.len());
    files
}

fn is_code(path: &str) -> bool {
    path.ends_with(".rs") || path.ends_with(".py")
}

fn is_test(path: &str) -> bool {
    path.split('/').any(|part| part == "tests" || part == "tests.rs" || part == "segue-testkit")
}

/// Fails with all offenders at once.
fn assert_none(offenders: &[String], rule: &str) {
    assert!(offenders.is_empty(), "{rule}:\n  {}", offenders.join("\n  "));
}

#[test]
fn imports_point_inward() {
    let allowed = BTreeMap::from(IMPORTS);
    let metadata = metadata();
    let ours: BTreeSet<&str> = metadata.packages.iter().map(|package| package.name.as_str()).collect();
    let mut offenders = Vec::new();
    for package in &metadata.packages {
        let Some(allowed) = allowed.get(package.name.as_str()) else {
            offenders.push(format!("{} has no line in IMPORTS", package.name));
            continue;
        };
        let imports = package.dependencies.iter().filter(|dependency| ours.contains(dependency.name.as_str()));
        for import in imports.filter(|import| import.kind != DependencyKind::Development) {
            if !allowed.contains(&import.name.as_str()) {
                offenders.push(format!("{} imports {}", package.name, import.name));
            }
        }
    }
    assert_none(&offenders, "imports point inward (ARCHITECTURE.md)");
}

#[test]
fn every_crate_keeps_the_workspace_s_lints() {
    let lacks = |manifest: &Path| !fs::read_to_string(manifest).unwrap().contains("[lints]\nworkspace = true");
    let metadata = metadata();
    let offenders = metadata.packages.iter().filter(|package| lacks(package.manifest_path.as_std_path()));
    let offenders = offenders.map(|package| package.name.to_string()).collect::<Vec<_>>();
    assert_none(&offenders, "`[lints] workspace = true` is missing");
}

#[test]
fn no_file_is_too_long() {
    let lines =
        tracked().into_iter().filter(|(path, _)| is_code(path)).map(|(path, text)| (path, text.lines().count()));
    let long = lines.filter(|(_, lines)| *lines > LINES_MAX).map(|(path, lines)| format!("{path}: {lines} lines"));
    assert_none(
        &long.collect::<Vec<_>>(),
        &format!("no file has more than {LINES_MAX} lines; ask what else lives there"),
    );
}

#[test]
fn nothing_is_left_open() {
    // Put together here, so that this file does not hold them.
    let marks =
        ["TO_DO", "FIX_ME", "to_do!(", "unimple_mented!(", "#[ig_nore", "pytest.mark.sk_ip", "pytest.mark.xf_ail"];
    let marks = marks.map(|mark| mark.replace('_', ""));
    let mut offenders = Vec::new();
    for (path, text) in tracked().iter().filter(|(path, _)| is_code(path)) {
        for (number, line) in text.lines().enumerate() {
            if marks.iter().any(|mark| line.contains(mark)) {
                offenders.push(format!("{path}:{}: {}", number + 1, line.trim()));
            }
        }
    }
    assert_none(&offenders, "finish it, or write an issue");
}

#[test]
fn nothing_names_a_registry_or_a_place_outside() {
    let names = ["pypi.org", "pythonhosted.org", "index.crates.io", "static.crates.io", "npmjs.org", "../shared"];
    let mut offenders = Vec::new();
    for (path, text) in tracked().iter().filter(|(path, _)| !is_test(path) && !path.ends_with(".lock")) {
        offenders.extend(names.iter().filter(|name| text.contains(**name)).map(|name| format!("{path} names {name}")));
    }
    assert_none(&offenders, "registries are the user's setting, and the repository stands alone");
}

#[test]
fn all_crates_come_from_the_one_index() {
    let lock = fs::read_to_string(root().join("Cargo.lock")).unwrap();
    let sources: BTreeSet<&str> = lock.lines().filter_map(|line| line.strip_prefix("source = ")).collect();
    assert_eq!(sources, BTreeSet::from(["\"registry+https://github.com/rust-lang/crates.io-index\""]));
}

#[test]
fn decisions_are_complete() {
    let mut offenders = Vec::new();
    let mut numbers = BTreeSet::new();
    for (path, text) in tracked() {
        let Some(name) = path.strip_prefix("docs/decisions/").filter(|name| *name != "template.md") else { continue };
        let number = name.split('-').next().unwrap();
        if number.len() != 4 || number.parse::<u16>().is_err() || !name.ends_with(".md") {
            offenders.push(format!("{path} is not called NNNN-title.md"));
        }
        if !numbers.insert(number.to_owned()) {
            offenders.push(format!("{path}: the number {number} is taken twice"));
        }
        if !text.starts_with(&format!("# {number}: ")) {
            offenders.push(format!("{path} does not begin with `# {number}: `"));
        }
        let headings = ["\nStatus: ", "\n## Context\n", "\n## Decision\n", "\n## Consequences\n"];
        offenders
            .extend(headings.iter().filter(|it| !text.contains(**it)).map(|it| format!("{path} lacks {}", it.trim())));
    }
    assert!(numbers.len() >= 3, "only {} decisions", numbers.len());
    assert_none(&offenders, "a decision says why, what and what follows (docs/decisions/template.md)");
}

#[test]
fn links_between_documents_lead_somewhere() {
    let (mut links, mut offenders) = (0, Vec::new());
    for (path, text) in tracked().iter().filter(|(path, _)| path.ends_with(".md")) {
        let folder = root().join(path).parent().unwrap().to_owned();
        let targets = text.split("](").skip(1).filter_map(|rest| rest.split(')').next());
        for target in targets.filter(|target| !target.contains("://") && !target.starts_with('#')) {
            links += 1;
            if !folder.join(target.split('#').next().unwrap()).exists() {
                offenders.push(format!("{path} links to {target}"));
            }
        }
    }
    assert!(links > 10, "only {links} links");
    assert_none(&offenders, "links lead somewhere");
}

/// Is one of the choices of a licence expression allowed? As much of SPDX as crates use: AND, OR, WITH, brackets.
fn is_allowed(licence: &str, allowed: &BTreeSet<&str>) -> bool {
    let licence = licence.replace(['(', ')'], "");
    licence.split(" AND ").all(|part| {
        let part = part.replace('/', " OR ");
        part.split(" OR ").any(|choice| choice.split(" WITH ").next().is_some_and(|it| allowed.contains(it.trim())))
    })
}

#[test]
fn all_licences_are_allowed() {
    let deny = fs::read_to_string(root().join("deny.toml")).unwrap();
    let list = deny.split_once("allow = [").unwrap().1.split_once(']').unwrap().0;
    let allowed: BTreeSet<&str> = list.split(',').map(|name| name.trim().trim_matches('"')).collect();
    assert!(is_allowed("(MIT OR GPL-3.0) AND Unicode-3.0", &allowed) && is_allowed("MIT/GPL-3.0", &allowed));
    assert!(!is_allowed("MIT AND GPL-3.0", &allowed) && !is_allowed("GPL-3.0 OR EPL-2.0", &allowed));

    let platform = ["--filter-platform".to_owned(), "x86_64-unknown-linux-gnu".to_owned()];
    let all = MetadataCommand::new().current_dir(root()).other_options(platform).exec().unwrap().packages;
    let licence = |package: &cargo_metadata::Package| package.license.clone().unwrap_or_default();
    let offenders = all.iter().filter(|package| !is_allowed(&licence(package), &allowed));
    let offenders = offenders.map(|package| format!("{}: {}", package.name, licence(package))).collect::<Vec<_>>();
    assert_none(&offenders, "licences are permissive (deny.toml)");
}

/// Every row of the failure contract names tests, and every test that it names is there.
#[test]
fn the_failure_contract_is_shown_by_tests() {
    let page = fs::read_to_string(root().join("docs/reference/failure-contract.md")).unwrap();
    let sources: Vec<String> = tracked().into_iter().filter(|(path, _)| is_code(path)).map(|(_, text)| text).collect();
    let exists = |name: &str| sources.iter().any(|text| text.contains(&format!("fn {name}(")));
    assert!(exists("the_failure_contract_is_shown_by_tests") && !exists("the_failure_contract_is_shown_by_nobody"));
    let (mut rows, mut offenders) = (0, Vec::new());
    for row in page.lines().filter(|line| line.starts_with("| ")).skip(1) {
        let cells: Vec<&str> = row.trim_matches('|').split(" | ").collect();
        let [what, _, shown] = cells[..] else { panic!("not three columns: {row}") };
        let tests: Vec<&str> = shown.split('`').skip(1).step_by(2).collect();
        if tests.is_empty() {
            offenders.push(format!("nothing shows: {}", what.trim()));
        }
        offenders
            .extend(tests.iter().filter(|name| !exists(name)).map(|name| format!("{}: no test {name}", what.trim())));
        rows += 1;
    }
    assert!(rows >= 17, "only {rows} rows");
    assert_none(&offenders, "each row of the failure contract names the tests that show it");
}
