//! Finds the speech recogniser's library before the linker does, so that its absence is one plain
//! line.

use std::path::Path;

/// Where Debian's libpocketsphinx-dev puts what the linker needs, by architecture.
const LIBRARY_FOLDERS: [&str; 5] = [
    "/usr/lib/x86_64-linux-gnu",
    "/usr/lib/aarch64-linux-gnu",
    "/usr/lib64",
    "/usr/lib",
    "/usr/local/lib",
];

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let found = LIBRARY_FOLDERS
        .iter()
        .any(|folder| Path::new(folder).join("libpocketsphinx.so").exists());
    if !found {
        println!(
            "cargo::error=libpocketsphinx was not found; remedy: apt-get install -y \
             libpocketsphinx-dev pocketsphinx-en-us espeak-ng flite"
        );
    }
    println!("cargo::rustc-link-lib=pocketsphinx");
    println!("cargo::rustc-link-lib=sphinxbase");
}
