//! Writes down the version of each direct dependency of the workspace, as locked, and of the compiler (`std`):
//! READY names the version that was really built, and no source file repeats it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

fn main() {
    let lock = Path::new("../Cargo.lock");
    println!("cargo::rerun-if-changed={}", lock.display());
    println!("cargo::rerun-if-changed=build.rs");
    let mut versions = direct_dependencies(&fs::read_to_string(lock).expect("the workspace has a Cargo.lock"));
    versions.insert("std".into(), compiler_version());

    let rows: String = versions
        .iter()
        .map(|(name, version)| format!("    ({name:?}, {version:?}),\n"))
        .collect();
    let path = PathBuf::from(env::var_os("OUT_DIR").expect("set by cargo")).join("versions.rs");
    fs::write(path, format!("const VERSIONS: &[(&str, &str)] = &[\n{rows}];\n")).expect("OUT_DIR is writable");
}

/// Name and version of everything a workspace member depends on. The lock file adds the version to a
/// dependency's name only when it holds several of that name.
fn direct_dependencies(lock: &str) -> BTreeMap<String, String> {
    let packages: Vec<Package> = lock.split("[[package]]").skip(1).map(Package::parse).collect();
    let mut versions = BTreeMap::new();
    for dependency in packages.iter().filter(|p| p.is_member).flat_map(|p| &p.dependencies) {
        let mut words = dependency.split(' ');
        let name = words.next().unwrap_or_default();
        let version = words.next().or_else(|| {
            let locked = packages.iter().find(|package| package.name == name);
            locked.map(|package| package.version)
        });
        let version = version.unwrap_or_else(|| panic!("Cargo.lock names {name} but does not lock it"));
        if let Some(other) = versions.insert(name.to_string(), version.to_string()) {
            assert_eq!(
                other, version,
                "two members of the workspace use {name} in two versions"
            );
        }
    }
    versions
}

struct Package<'a> {
    name: &'a str,
    version: &'a str,
    is_member: bool,
    dependencies: Vec<&'a str>,
}

impl<'a> Package<'a> {
    fn parse(text: &'a str) -> Self {
        let value = |key: &str| {
            text.lines()
                .find_map(|line| line.strip_prefix(key)?.strip_prefix(" = \"")?.strip_suffix('"'))
        };
        Self {
            name: value("name").unwrap_or_default(),
            version: value("version").unwrap_or_default(),
            is_member: value("source").is_none(),
            dependencies: text
                .lines()
                .filter_map(|line| line.strip_prefix(" \"")?.strip_suffix("\","))
                .collect(),
        }
    }
}

/// `1.95.0` out of `rustc 1.95.0 (hash date)`.
fn compiler_version() -> String {
    let rustc = env::var_os("RUSTC").expect("set by cargo");
    let output = Command::new(rustc)
        .arg("--version")
        .output()
        .expect("the compiler runs");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.split_whitespace().nth(1).unwrap_or("unknown").to_string()
}
