//! A folder of its own for every test, and `load` on what the test writes there. The process
//! environment is never read: a test says what it holds.

// Helpers of tests may fail the test like the tests themselves.
#![allow(clippy::unwrap_used)]

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use diglot::config::{self, Command, Config, Sources};

/// A whole configuration as far as the gateway goes; append to it to break it.
pub(crate) const PAIR: &str = r#"[asterisk]
control = "none"
[[extension]]
number = "7777"
language = "en"
partner = "8888"
listen = "127.0.0.1:5000"
[[extension]]
number = "8888"
language = "fr"
partner = "7777"
listen = "127.0.0.1:5001"
"#;

/// A folder with sources in it; removed when dropped.
pub(crate) struct Folder {
    path: PathBuf,
    pub(crate) sources: Sources,
}

impl Folder {
    pub(crate) fn new(command: Command) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("diglot-config-{}-{count}", std::process::id());
        let path = std::env::temp_dir().join(name);
        fs::create_dir_all(&path).unwrap();
        let sources = Sources {
            command,
            config: None,
            env_file: None,
            environment: Vec::new(),
            set: Vec::new(),
        };
        Self { path, sources }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn file(self, name: &str, content: impl AsRef<[u8]>) -> Self {
        fs::write(self.path.join(name), content).unwrap();
        self
    }

    pub(crate) fn toml(mut self, content: impl AsRef<[u8]>) -> Self {
        self.sources.config = Some(self.path.join("diglot.toml"));
        self.file("diglot.toml", content)
    }

    pub(crate) fn env_file(mut self, content: impl AsRef<[u8]>) -> Self {
        self.sources.env_file = Some(self.path.join(".env"));
        self.file(".env", content)
    }

    pub(crate) fn variable(mut self, name: &str, value: impl Into<OsString>) -> Self {
        self.sources.environment.push((name.into(), value.into()));
        self
    }

    pub(crate) fn set(mut self, key: &str, value: &str) -> Self {
        self.sources.set.push((key.to_owned(), value.to_owned()));
        self
    }

    /// The configuration, which must be good.
    pub(crate) fn load(&self) -> Config {
        match config::load(&self.sources) {
            Ok(config) => config,
            Err(error) => panic!("refused: {error}"),
        }
    }

    /// The refusal's line, with file names as seen from the folder.
    pub(crate) fn refusal(&self) -> String {
        let line = config::load(&self.sources).unwrap_err().to_string();
        assert!(!line.contains('\n'), "more than one line: {line}");
        self.relative(&line)
    }

    /// The notes, with file names as seen from the folder.
    pub(crate) fn notes(&self) -> Vec<String> {
        self.load()
            .notes
            .iter()
            .map(|note| self.relative(note))
            .collect()
    }

    fn relative(&self, line: &str) -> String {
        line.replace(&format!("{}/", self.path.display()), "")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.path);
    }
}
