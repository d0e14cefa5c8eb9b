//! Goal: the house rules that no compiler knows hold in every file of the project.
//! Method: read the sources as text; one test for each rule, which lists everything that breaks it.

// Helpers of tests fail the test.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::{Path, PathBuf};

/// A file is read by people from its first line to its last; its tests, which come last, not
/// always.
const FILE_LINES_MAX: usize = 600;
/// What two windows side by side show.
const LINE_CHARS_MAX: usize = 100;
/// Folders of what others made or what is built.
const FOLDERS_SKIPPED: [&str; 4] = [".git", "artefacts", "fixtures", "target"];
/// The only files that may lift the ban on `unsafe`.
const UNSAFE_ALLOWED: [&str; 2] = ["src/sys.rs", "tools/offline-vendors/src/pocketsphinx.rs"];
/// Tests that count allocations: an allocator cannot be written otherwise.
const UNSAFE_ALLOWED_ENDING: &str = "no_alloc.rs";
/// Folders where nobody sleeps to wait for something: what happens is waited for itself.
const SLEEPLESS: [&str; 3] = ["rt/src/", "src/", "tests/"];
/// Where time itself is what is waited for, and why.
const SLEEP_ALLOWED: [(&str, &str); 4] = [
    ("src/vendor/http.rs", "a worker's pause between two tries"),
    ("tests/log_reader.rs", "the pace at which a phone speaks"),
    ("tests/support/lab_call.rs", "how long a phone listens"),
    (
        "tests/support/product_process.rs",
        "the pause between two looks at what announces itself to nobody, bounded in number",
    ),
];
/// Folders whose code runs on tiles: what is there may not wait, allocate or log.
const REAL_TIME: [&str; 2] = ["rt/src/", "src/tile/"];
const FORBIDDEN_ON_TILES: [&str; 15] = [
    "Condvar",
    "Mutex",
    "RwLock",
    "dbg!",
    "debug!",
    "eprintln!",
    "error!",
    "format!",
    "info!",
    "log::",
    "mpsc",
    "println!",
    "std::fs",
    "thread::sleep",
    "warn!",
];
/// Where a tile begins and ends, and may still, or again, tell people something.
const TILE_THREADS: &str = "src/tile/mod.rs";
const TILE_THREADS_MAY: &str = "log::";
/// All that the real-time core may be made of; none of it does I/O.
const RT_DEPENDENCIES: [&str; 7] = [
    "arrayvec",
    "audio-codec-algorithms",
    "criterion",
    "diglot-rt", // itself, with what tests need
    "proptest",
    "rtp-types",
    "rtrb",
];
/// Who must not know of whom: a folder, and what its files may not name.
const IMPORTS_FORBIDDEN: [(&str, &[&str]); 3] = [
    (
        "src/tile/",
        &[
            "crate::asterisk",
            "crate::link",
            "crate::translator",
            "crate::vendor",
        ],
    ),
    (
        "src/call/",
        &[
            "Instant::now",
            "SystemTime::now",
            "UdpSocket",
            "TcpStream",
            "mio::",
            "std::fs",
            "tungstenite",
            "ureq",
        ],
    ),
    ("tools/offline-vendors/src/", &["diglot::", "diglot_rt"]),
];

#[test]
fn files_and_lines_are_short() {
    let mut broken = Vec::new();
    for source in sources(&["rs", "sh", "py"]) {
        let count = source.without_tests().text.lines().count();
        if count > FILE_LINES_MAX {
            broken.push(format!("{}: {count} lines", source.path));
        }
        broken.extend(source.lines_where(|line| {
            // Neither a row of a table nor a quotation can be broken everywhere.
            let is_exempt = line.trim_start().starts_with("//! |") || line.contains('"');
            !is_exempt && line.chars().count() > LINE_CHARS_MAX
        }));
    }
    assert_none(&broken, "over 600 lines, or over 100 characters in a line");
}

#[test]
fn nothing_is_left_to_do() {
    let marks = [
        concat!("TO", "DO"),
        concat!("FIX", "ME"),
        concat!("XX", "X:"),
    ];
    let broken = sources(&["rs", "sh", "py", "toml", "conf", "md"])
        .iter()
        .flat_map(|source| source.lines_where(|line| marks.iter().any(|mark| line.contains(mark))))
        .collect::<Vec<_>>();
    assert_none(&broken, "notes to ourselves");
}

#[test]
fn unsafe_code_is_where_it_may_be() {
    let broken = sources(&["rs"])
        .iter()
        .filter(|source| !UNSAFE_ALLOWED.contains(&source.path.as_str()))
        .filter(|source| !source.path.ends_with(UNSAFE_ALLOWED_ENDING))
        .flat_map(|source| source.lines_where(|line| has_word(code_of(line), "unsafe")))
        .collect::<Vec<_>>();
    assert_none(&broken, "unsafe code");
}

#[test]
fn nobody_sleeps_to_wait_for_something() {
    let sleep = concat!("thread::", "sleep");
    let (mut broken, mut sleepers) = (Vec::new(), Vec::new());
    for source in sources(&["rs"]) {
        let is_sleepless = |folder: &&str| source.path.starts_with(*folder);
        let asleep = source.lines_where(|line| code_of(line).contains(sleep));
        if asleep.is_empty() || !SLEEPLESS.iter().any(is_sleepless) {
            continue;
        }
        match SLEEP_ALLOWED.iter().find(|(path, _)| *path == source.path) {
            Some((path, _)) => sleepers.push(*path),
            None => broken.extend(asleep),
        }
    }
    assert_none(&broken, "sleeps");
    let allowed = SLEEP_ALLOWED.map(|(path, _)| path);
    assert_eq!(sleepers, allowed, "those that may sleep, and still do");
}

#[test]
fn tiles_do_not_lock_log_or_format() {
    let broken = sources(&["rs"])
        .iter()
        .filter(|source| {
            REAL_TIME
                .iter()
                .any(|folder| source.path.starts_with(folder))
        })
        .filter(|source| !source.path.contains("/testing/"))
        .flat_map(|source| {
            source.without_tests().lines_where(|line| {
                let code = code_of(line);
                let is_start_or_end =
                    source.path == TILE_THREADS && code.contains(TILE_THREADS_MAY);
                !is_start_or_end && FORBIDDEN_ON_TILES.iter().any(|word| code.contains(word))
            })
        })
        .collect::<Vec<_>>();
    assert_none(&broken, "words that have no place on a tile");
}

#[test]
fn arrows_between_modules_point_one_way() {
    let sources = sources(&["rs"]);
    let mut broken = Vec::new();
    for (folder, words) in IMPORTS_FORBIDDEN {
        for source in sources
            .iter()
            .filter(|source| source.path.starts_with(folder))
        {
            broken.extend(source.without_tests().lines_where(|line| {
                let code = code_of(line);
                words.iter().any(|word| code.contains(word))
            }));
        }
    }
    assert_none(&broken, "imports against the arrows");
}

#[test]
fn every_limit_says_why() {
    let mut broken = Vec::new();
    for source in sources(&["rs"])
        .iter()
        .filter(|source| source.path.ends_with("/limits.rs"))
    {
        let lines: Vec<&str> = source.text.lines().map(str::trim_start).collect();
        for (index, line) in lines.iter().enumerate() {
            let is_limit = line.starts_with("pub") && line.contains("const ");
            let before = lines[..index]
                .iter()
                .rev()
                .find(|line| !line.starts_with("#["));
            if is_limit && !before.is_some_and(|line| line.starts_with("///")) {
                broken.push(format!("{}:{}: {line}", source.path, index + 1));
            }
        }
    }
    assert_none(&broken, "limits without a word of documentation");
}

#[test]
fn the_core_depends_on_little() {
    let manifest = fs::read_to_string(root().join("rt/Cargo.toml")).unwrap();
    let mut is_dependency = false;
    let mut broken = Vec::new();
    for line in manifest
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
    {
        if line.starts_with('[') {
            is_dependency = line.contains("dependencies");
            continue;
        }
        let name = line.split(['.', '=', ' ']).next().unwrap_or_default();
        if is_dependency && !RT_DEPENDENCIES.contains(&name) {
            broken.push(format!("rt/Cargo.toml: {name}"));
        }
    }
    assert_none(&broken, "dependencies that the real-time core may not have");
}

#[test]
fn every_file_says_what_it_is_for() {
    let broken = sources(&["rs", "sh", "py"])
        .iter()
        .filter(|source| {
            let first = source.text.lines().find(|line| !line.starts_with("#!"));
            !first.is_some_and(|line| {
                ["//!", "# ", "\"\"\"", "#!["]
                    .iter()
                    .any(|mark| line.starts_with(mark))
            })
        })
        .map(|source| source.path.clone())
        .collect::<Vec<_>>();
    assert_none(&broken, "files that do not begin with what they are for");
}

/// A text file of the project.
struct Source {
    /// From the root of the project, with `/`.
    path: String,
    text: String,
}

impl Source {
    fn lines_where(&self, is_meant: impl Fn(&str) -> bool) -> Vec<String> {
        let numbered = self.text.lines().enumerate();
        numbered
            .filter(|(_, line)| is_meant(line))
            .map(|(index, line)| format!("{}:{}: {}", self.path, index + 1, line.trim()))
            .collect()
    }

    /// The part before `mod tests`, which our files have last.
    fn without_tests(&self) -> Self {
        let text = self
            .text
            .split("#[cfg(test)]\nmod ")
            .next()
            .unwrap_or_default()
            .to_owned();
        Self {
            path: self.path.clone(),
            text,
        }
    }
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Every file with one of these extensions, scripts without any among them.
fn sources(extensions: &[&str]) -> Vec<Source> {
    let mut found = Vec::new();
    let mut folders = vec![root().to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            if path.is_dir() {
                if !FOLDERS_SKIPPED.contains(&name.as_str()) {
                    folders.push(path);
                }
            } else if extensions
                .iter()
                .any(|each| path.extension().is_some_and(|e| e == *each))
            {
                found.push(read(&path));
            }
        }
    }
    assert!(
        !found.is_empty(),
        "no files with {extensions:?} found: the search is broken"
    );
    found.sort_by(|a, b| a.path.cmp(&b.path));
    found
}

fn read(path: &PathBuf) -> Source {
    let inside = path.strip_prefix(root()).unwrap();
    Source {
        path: inside.to_string_lossy().into_owned(),
        text: fs::read_to_string(path)
            .unwrap_or_else(|error| panic!("{}: {error}", path.display())),
    }
}

/// The line without a comment and without what stands between quotes.
fn code_of(line: &str) -> &str {
    let end = line.find("//").unwrap_or(line.len());
    let code = &line[..end];
    if code.contains('"') {
        code.split('"').next().unwrap_or_default()
    } else {
        code
    }
}

fn has_word(code: &str, word: &str) -> bool {
    let is_part = |character: char| character.is_alphanumeric() || character == '_';
    code.match_indices(word).any(|(at, _)| {
        !code[..at].ends_with(is_part) && !code[at + word.len()..].starts_with(is_part)
    })
}

fn assert_none(broken: &[String], what: &str) {
    assert!(broken.is_empty(), "{what}:\n{}", broken.join("\n"));
}
