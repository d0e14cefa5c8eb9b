//! Goal: the files that people start from are good, and the defaults they show are the real ones.
//! Method: load them as they are, and once more with every commented-out default put in force.

#[allow(dead_code)]
mod config_support;

use config_support::Folder;
use diglot::config::{Command, Config};

const TOML: &str = include_str!("../tools/deploy/diglot.example.toml");
const ENV: &str = include_str!("../tools/deploy/example.env");

/// Lines that show an example because there is no default.
const EXAMPLES: [&str; 5] = [
    "waiting_prompt",
    "comfort_noise_dbm0",
    "key_file",
    "rx_core",
    "tx_core",
];

fn load(toml: &str, env: &str) -> Config {
    let toml = toml.replace("/etc/diglot/", "");
    let folder = Folder::new(Command::Run)
        .toml(toml)
        .env_file(env)
        .file("ari.password", "p");
    assert!(folder.load().notes.is_empty());
    folder.load()
}

#[test]
fn the_examples_load_and_show_the_defaults() {
    let env = ENV.replace("API_KEY=", "API_KEY=key");
    let plain = load(TOML, &env);
    let in_force: String = TOML
        .lines()
        .map(|line| match line.strip_prefix("# ") {
            Some(shown)
                if shown.contains(" = ") && !EXAMPLES.iter().any(|key| shown.starts_with(key)) =>
            {
                format!("{shown}\n")
            }
            _ => format!("{line}\n"),
        })
        .collect();
    assert!(in_force.contains("\nworkers = 8"), "{in_force}");
    assert_eq!(format!("{plain:?}"), format!("{:?}", load(&in_force, &env)));
    assert_eq!(plain.extensions.len(), 2);
}

#[test]
fn the_example_variables_are_enough_but_for_keys() {
    let folder = Folder::new(Command::Translator).env_file(ENV);
    assert!(
        folder
            .refusal()
            .starts_with("deepgram.key_file: missing; set DEEPGRAM_API_KEY ")
    );
}
