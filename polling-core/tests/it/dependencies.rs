//! What the crate makes its users depend on: with no features, on no client of any system, and never on its types.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Crates whose types must not show in the public API.
const HIDDEN: [&str; 3] = ["sqlx", "rdkafka", "poem"];

/// The names of the packages that a build of `package` with these features depends on.
fn dependencies(package: &str, features: &str) -> Vec<String> {
    let output = Command::new(env!("CARGO"))
        .args(["tree", "--locked", "--edges", "normal", "--prefix", "none", "--format", "{p}"])
        .args(["--package", package, "--no-default-features", "--features", features])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("cargo runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).expect("names are text");
    text.lines().filter_map(|line| line.split(' ').next()).map(str::to_owned).collect()
}

fn depends(package: &str, features: &str, on: &str) -> bool {
    dependencies(package, features).iter().any(|name| name == on || name.starts_with(&format!("{on}-")))
}

#[test]
fn the_bare_crate_depends_on_no_client_and_no_framework() {
    for hidden in HIDDEN.into_iter().chain(["hyper", "axum", "rand"]) {
        assert!(!depends("polling-core", "", hidden), "{hidden}");
    }
    // So that the question is known to be asked rightly.
    assert!(depends("polling-core", "", "tokio"));
    assert!(depends("polling-core", "sqlite", "sqlx"));
    assert!(depends("polling-core", "kafka", "rdkafka"));
    assert!(depends("polling-core", "kafka-tls", "openssl"));
    assert!(depends("polling-core", "postgres", "sqlx-postgres"));
    assert!(depends("polling-core", "postgres-tls", "rustls"));
}

#[test]
fn a_backend_brings_nothing_but_its_own_client() {
    for (backend, others) in [
        ("sqlite", &["rdkafka", "poem", "hyper", "sqlx-postgres"][..]),
        ("postgres", &["rdkafka", "poem", "hyper", "sqlx-sqlite", "rustls", "openssl-sys", "native-tls"]),
        ("postgres-tls", &["rdkafka", "poem", "hyper", "sqlx-sqlite", "openssl-sys", "native-tls"]),
    ] {
        for other in others {
            assert!(!depends("polling-core", backend, other), "{backend}: {other}");
        }
    }
    for other in ["sqlx", "poem", "hyper", "openssl"] {
        assert!(!depends("polling-core", "kafka", other), "{other}");
    }
}

#[test]
fn only_the_server_depends_on_the_web_framework() {
    assert!(depends("polling-server", "", "poem"));
    assert!(!depends("polling-worker", "", "poem"));
    assert!(!depends("polling-examples", "", "poem"));
    assert!(!depends("polling-examples", "", "polling-server"));
}

fn find(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("the folder is read") {
        let path = entry.expect("the entry is read").path();
        if path.is_dir() { find(&path, found) } else { found.push(path) }
    }
}

fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|character: char| !character.is_alphanumeric() && character != '_').filter(|word| !word.is_empty())
}

/// What is public in a file, cut to what a user sees: signatures, public fields, and all of a public enum.
fn public_items(text: &str) -> Vec<String> {
    let mut items = Vec::new();
    let mut lines = text.lines().map(str::trim_end).filter(|line| !line.trim_start().starts_with("//"));
    while let Some(line) = lines.next() {
        let is_public = line.trim_start().starts_with("pub ");
        let is_conversion = line.trim_start().starts_with("impl From<");
        if !is_public && !is_conversion {
            continue;
        }
        let whole = line.starts_with("pub enum ");
        let mut item = line.to_owned();
        let is_over = |line: &str| if whole { line == "}" } else { line.ends_with(['{', '}', ';', ',']) };
        let mut last = line;
        while !is_over(last) {
            let Some(next) = lines.next() else { break };
            item.push('\n');
            item.push_str(next);
            last = next;
        }
        items.push(item);
    }
    items
}

/// The hidden crates, and the names that the file imports from them.
fn hidden_names(text: &str) -> Vec<String> {
    let mut names: Vec<String> = HIDDEN.iter().map(|&name| name.to_owned()).collect();
    for statement in text.split(';') {
        let statement: String = statement.lines().filter(|line| !line.trim_start().starts_with("//")).collect();
        let Some(tree) = statement.trim().strip_prefix("use ") else { continue };
        if HIDDEN.iter().any(|hidden| tree.starts_with(&format!("{hidden}::"))) {
            names.extend(words(tree).filter(|word| *word != "self").map(str::to_owned));
        }
    }
    names
}

/// Public items of a file that show a type of a hidden crate.
fn shown(text: &str) -> Vec<String> {
    let hidden = hidden_names(text);
    public_items(text).into_iter().filter(|item| words(item).any(|word| hidden.iter().any(|name| name == word))).collect()
}

#[test]
fn the_public_api_names_no_type_of_a_client_or_a_framework() {
    let mut files = Vec::new();
    find(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut files);
    for file in files {
        let text = fs::read_to_string(&file).expect("the file is read");
        let shown = shown(&text);
        assert!(shown.is_empty(), "{} shows {shown:#?}", file.display());
    }
}

#[test]
fn a_type_that_leaks_is_found() {
    for leak in [
        "use sqlx::SqlitePool;\n\npub struct Store {\n    pub pool: SqlitePool,\n}\n",
        "pub fn open(\n    pool: sqlx::SqlitePool,\n) -> Store {\n",
        "pub enum OpenError {\n    /// Why.\n    Database(#[from] sqlx::Error),\n}\n",
        "use sqlx::Error as DatabaseError;\nimpl From<DatabaseError> for StoreError {\n",
    ] {
        assert_eq!(shown(leak).len(), 1, "{leak}");
    }
    assert!(
        shown("use sqlx::SqlitePool;\npub struct Store {\n    pool: SqlitePool,\n}\nfn open(pool: &SqlitePool) {\n").is_empty()
    );
}
