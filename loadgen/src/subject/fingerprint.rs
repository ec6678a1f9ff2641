//! What a server's binary is known by in the record.

use sha2::{Digest, Sha256};
use std::collections::HashMap;
use std::fs::{self, File};
use std::io;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

/// SHA-256 of a file in hex; none when it cannot be read. A file is hashed once in a process.
#[must_use]
pub fn sha256_of(path: &Path) -> Option<String> {
    use std::os::unix::fs::MetadataExt;
    type Known = HashMap<(u64, u64, u64, i64, i64), String>;
    static KNOWN: Mutex<Option<Known>> = Mutex::new(None);
    let hash = |path: &Path| -> io::Result<String> {
        let mut hasher = Sha256::new();
        io::copy(&mut File::open(path)?, &mut hasher)?;
        Ok(hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
    };
    let about = fs::metadata(path).ok()?;
    let key = (about.dev(), about.ino(), about.len(), about.mtime(), about.mtime_nsec());
    let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
    let known = known.get_or_insert_with(HashMap::new);
    if let Some(hex) = known.get(&key) {
        return Some(hex.clone());
    }
    let hex = hash(path).ok()?;
    known.insert(key, hex.clone());
    Some(hex)
}
