//! The rules of the repository that no compiler checks.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Lines of a source file, at most: what can be read at one sitting.
const SOURCE_LINES_MAX: usize = 700;
/// Lines of the `main.rs` of a shipped program, at most: what it does belongs in its library, where tests reach it.
const MAIN_LINES_MAX: usize = 60;
/// Lines of ARCHITECTURE.md, at most: a map that is longer is not read.
const ARCHITECTURE_LINES_MAX: usize = 150;
/// Files that spell out what they forbid.
const RULE_FILES: [&str; 2] = ["polling-core/tests/it/tidy.rs", "polling-core/tests/it/dependencies.rs"];

/// A file of Rust.
struct SourceFile {
    /// Relative to the root of the repository, with slashes.
    path: String,
    text: String,
}

impl SourceFile {
    /// The lines that are not comments, with their numbers.
    fn code(&self) -> impl Iterator<Item = (usize, &str)> {
        (1..).zip(self.text.lines()).filter(|(_, line)| !line.trim_start().starts_with("//"))
    }

    fn name(&self) -> &str {
        self.path.rsplit('/').next().unwrap_or_default()
    }
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the crate is in a workspace").to_owned()
}

/// The folders of the packages.
fn members() -> Vec<String> {
    let manifest = fs::read_to_string(root().join("Cargo.toml")).expect("the manifest is read");
    let line = manifest.lines().find(|line| line.starts_with("members")).expect("the workspace has members");
    line.split('"').skip(1).step_by(2).map(str::to_owned).collect()
}

fn find(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("the folder is read") {
        let path = entry.expect("the entry is read").path();
        if path.is_dir() {
            find(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

fn sources() -> Vec<SourceFile> {
    let mut paths = Vec::new();
    members().iter().for_each(|member| find(&root().join(member), &mut paths));
    assert!(paths.len() > 30, "the walk found the sources");
    paths
        .into_iter()
        .map(|path| {
            let text = fs::read_to_string(&path).expect("the file is read");
            let path = path.strip_prefix(root()).expect("it is in the repository").to_string_lossy().replace('\\', "/");
            SourceFile { path, text }
        })
        .collect()
}

fn is_word_in(word: &str, line: &str) -> bool {
    line.split(|character: char| !character.is_alphanumeric() && character != '_').any(|found| found == word)
}

/// Where `word` stands in code of files that may not name it.
fn named_outside(word: &str, allowed: impl Fn(&SourceFile) -> bool) -> Vec<String> {
    let mut places = Vec::new();
    for file in sources().iter().filter(|file| !allowed(file) && !RULE_FILES.contains(&file.path.as_str())) {
        places
            .extend(file.code().filter(|(_, line)| is_word_in(word, line)).map(|(number, _)| format!("{}:{number}", file.path)));
    }
    places
}

#[track_caller]
fn assert_none(places: &[String], rule: &str) {
    assert!(places.is_empty(), "{rule}:\n{}", places.join("\n"));
}

#[test]
fn only_files_named_for_kafka_name_its_client() {
    let is_for_kafka = |file: &SourceFile| file.name() == "kafka.rs" || file.path.contains("/kafka/");
    assert_none(&named_outside("rdkafka", is_for_kafka), "rdkafka is named outside of kafka.rs and the folders kafka");
}

#[test]
fn only_one_file_has_unsafe_code() {
    let is_native = |file: &SourceFile| file.path == "polling-core/src/kafka/native.rs";
    // The lint denies it everywhere; whoever wants to be let off names the lint.
    assert_none(&named_outside("unsafe_code", is_native), "the lint is let off outside of the one file that argues for it");
}

#[test]
fn only_files_named_for_a_database_name_its_client() {
    let is_for_a_database = |file: &SourceFile| {
        let name = file.name();
        ["sqlite", "postgres"]
            .iter()
            .any(|database| name.strip_prefix(database).is_some_and(|rest| rest == ".rs" || rest.starts_with('_')))
    };
    assert_none(&named_outside("sqlx", is_for_a_database), "sqlx is named outside of the files of a database");
}

#[test]
fn only_the_server_names_the_web_framework() {
    for word in ["poem", "poem_openapi"] {
        let places = named_outside(word, |file| file.path.starts_with("polling-server/"));
        assert_none(&places, "the web framework is named outside of polling-server");
    }
}

#[test]
fn nothing_is_left_for_later() {
    let marks =
        [concat!("TO", "DO"), concat!("FIX", "ME"), concat!("X", "XX"), concat!("to", "do!"), concat!("unimple", "mented!")];
    let mut places = Vec::new();
    for file in sources() {
        let marked = |line: &str| marks.iter().any(|mark| line.contains(mark));
        places.extend(
            (1..).zip(file.text.lines()).filter(|(_, line)| marked(line)).map(|(number, _)| format!("{}:{number}", file.path)),
        );
    }
    assert_none(&places, "something is left for later");
}

#[test]
fn every_test_that_is_left_out_says_why() {
    let bare = concat!("#[ig", "nore]");
    let places: Vec<String> = sources().into_iter().filter(|file| file.text.contains(bare)).map(|file| file.path).collect();
    assert_none(&places, "a test is left out without a reason");
}

#[test]
fn no_source_file_is_too_long_to_read() {
    let too_long = |file: &SourceFile| file.text.lines().count() > SOURCE_LINES_MAX;
    let places: Vec<String> = sources().into_iter().filter(too_long).map(|file| file.path).collect();
    assert_none(&places, "a source file is too long");
}

#[test]
fn the_programs_hold_nothing_that_belongs_in_their_libraries() {
    for path in ["polling-server/src/main.rs", "polling-worker/src/main.rs"] {
        let lines = fs::read_to_string(root().join(path)).expect("the program is there").lines().count();
        assert!(lines <= MAIN_LINES_MAX, "{path} has {lines} lines");
    }
}

#[test]
fn a_mod_file_holds_no_tests() {
    let has_tests = |file: &SourceFile| {
        let lines: Vec<&str> = file.code().map(|(_, line)| line.trim()).collect();
        // A file that only tests have may be named.
        lines.windows(2).any(|pair| pair[0] == "#[cfg(test)]" && !pair[1].ends_with(';'))
    };
    let tested = |file: &SourceFile| file.name() == "mod.rs" && has_tests(file);
    let places: Vec<String> = sources().into_iter().filter(tested).map(|file| file.path).collect();
    assert_none(&places, "a mod.rs is for the trait, its contract, errors and names; tests belong beside an implementation");
}

#[test]
fn the_map_of_the_code_stays_short() {
    let lines = fs::read_to_string(root().join("ARCHITECTURE.md")).expect("the map is there").lines().count();
    assert!(lines <= ARCHITECTURE_LINES_MAX, "ARCHITECTURE.md has {lines} lines");
}

#[test]
fn every_source_file_is_part_of_a_program() {
    let mut alive: BTreeSet<PathBuf> = BTreeSet::new();
    for member in members() {
        let folder = root().join(member);
        target_roots(&folder).into_iter().for_each(|target| follow(&target, true, &mut alive));
    }
    let dead = |file: &SourceFile| !alive.contains(&root().join(&file.path));
    let places: Vec<String> = sources().into_iter().filter(dead).map(|file| file.path).collect();
    assert_none(&places, "a file is in no program: no mod line leads to it");
}

/// The files from which the compiler starts.
fn target_roots(package: &Path) -> Vec<PathBuf> {
    let manifest = fs::read_to_string(package.join("Cargo.toml")).expect("the manifest is read");
    let named = manifest.lines().filter_map(|line| line.strip_prefix("path = \"")?.strip_suffix('"'));
    let usual = ["src/lib.rs", "src/main.rs", "build.rs"];
    let mut roots: Vec<PathBuf> = usual.into_iter().chain(named).map(|path| package.join(path)).collect();
    for folder in ["src/bin", "tests", "benches", "examples"] {
        for entry in fs::read_dir(package.join(folder)).into_iter().flatten() {
            let path = entry.expect("the entry is read").path();
            roots.push(if path.is_dir() { path.join("main.rs") } else { path });
        }
    }
    roots.retain(|path| path.is_file() && path.extension().is_some_and(|extension| extension == "rs"));
    roots
}

/// Adds a file and every file that its `mod` lines lead to.
fn follow(file: &Path, is_root: bool, alive: &mut BTreeSet<PathBuf>) {
    alive.insert(file.to_owned());
    let folder = file.parent().expect("a file is in a folder");
    let beside = is_root || file.file_name().is_some_and(|name| name == "mod.rs");
    let children = if beside { folder.to_owned() } else { file.with_extension("") };
    let text = fs::read_to_string(file).expect("the file is read");
    for line in text.lines() {
        let line = line.trim_start();
        let line = line.strip_prefix("pub(crate) ").or_else(|| line.strip_prefix("pub ")).unwrap_or(line);
        let Some(module) = line.strip_prefix("mod ").and_then(|rest| rest.strip_suffix(';')) else { continue };
        let candidates = [children.join(format!("{module}.rs")), children.join(module).join("mod.rs")];
        let Some(child) = candidates.into_iter().find(|path| path.is_file()) else { continue };
        follow(&child, false, alive);
    }
}

#[test]
fn every_fuzz_target_has_its_property_and_its_inputs() {
    let names = |folder: &str| -> BTreeSet<String> {
        let entries = fs::read_dir(root().join("fuzz").join(folder)).expect("the folder is read");
        entries.map(|entry| entry.expect("the entry is read").path().file_stem().expect("a name").display().to_string()).collect()
    };
    let targets = names("fuzz_targets");
    assert_eq!(names("seeds"), targets, "inputs and targets have the same names");
    for target in targets {
        let property = |package: &&str| root().join(package).join(format!("src/fuzzing/{target}.rs")).is_file();
        let package = ["polling-core", "polling-server"].into_iter().find(property).expect("the target has a property");
        let text = fs::read_to_string(root().join(package).join(format!("src/fuzzing/{target}.rs"))).expect("the file is read");
        assert!(text.contains(&format!("replay(\"{target}\", super::{target})")), "no test holds the inputs of {target}");
    }
}
