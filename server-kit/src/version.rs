//! The versions of the lock file, for the identity of each server.

include!(concat!(env!("OUT_DIR"), "/versions.rs"));

/// The version of a direct dependency as the lock file has it, or of the compiler for `std`; for use in a
/// constant, where a library that is no dependency is a compile error.
///
/// # Panics
/// When nothing in the workspace depends on `library`.
#[must_use]
pub const fn locked_version(library: &str) -> &'static str {
    let mut row = 0;
    while row < VERSIONS.len() {
        if is_same(VERSIONS[row].0.as_bytes(), library.as_bytes()) {
            return VERSIONS[row].1;
        }
        row += 1;
    }
    panic!("no such direct dependency in Cargo.lock")
}

/// `==`, which a constant function cannot use on slices.
const fn is_same(a: &[u8], b: &[u8]) -> bool {
    let mut index = 0;
    while index < a.len() && index < b.len() && a[index] == b[index] {
        index += 1;
    }
    a.len() == b.len() && index == a.len()
}
