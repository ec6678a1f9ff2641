//! The file of `--payload FILE`: read when the plan is made, and again for each trial.

use crate::failure::Failure;
use crate::record::{Payload, PayloadFile};
use sha2::{Digest, Sha256};
use std::fs::File;
use std::io::{self, Read as _};

/// Longest content, in bytes.
const LONGEST: u64 = 16 * 1024 * 1024;

/// What the plan says of this file.
///
/// # Errors
/// Usage, for a file that cannot be a message.
pub fn file_of(path: &str) -> Result<PayloadFile, Failure> {
    let wrong = |why: String| Failure::usage(format!("--payload {path}: {why}"));
    let content = read(path).map_err(|error| {
        wrong(match error.kind() {
            io::ErrorKind::NotFound => "is neither binary, lines, nor a file that exists".into(),
            _ => error.to_string(),
        })
    })?;
    match content.len() as u64 {
        0 => Err(wrong("is empty: a message has at least one byte".into())),
        bytes if bytes > LONGEST => Err(wrong(
            "is longer than 16 MiB, the most that a message of a file may have".into(),
        )),
        bytes => Ok(PayloadFile {
            path: path.to_owned(),
            bytes,
            sha256: sha256(&content),
        }),
    }
}

/// The content of the workload's file; none where it has none.
///
/// # Errors
/// Usage, when it is no longer the file of the plan.
pub fn read_payload(payload: &Payload) -> Result<Option<Vec<u8>>, Failure> {
    let Payload::File(file) = payload else { return Ok(None) };
    let wrong = |why: String| Failure::usage(format!("--payload {}: {why}", file.path));
    let content = read(&file.path).map_err(|error| wrong(error.to_string()))?;
    if sha256(&content) != file.sha256 {
        return Err(wrong(
            "is not the file that the plan was made with: its content is another".into(),
        ));
    }
    Ok(Some(content))
}

/// No more than it takes to see that it is too long.
fn read(path: &str) -> io::Result<Vec<u8>> {
    let mut content = Vec::new();
    File::open(path)?.take(LONGEST + 1).read_to_end(&mut content)?;
    Ok(content)
}

fn sha256(content: &[u8]) -> String {
    Sha256::digest(content)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn a_file_is_what_it_was_when_the_plan_was_made() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x").to_string_lossy().into_owned();
        assert!(file_of(&path).unwrap_err().text.contains("nor a file that exists"));
        fs::write(&path, "").unwrap();
        assert!(file_of(&path).unwrap_err().text.contains("is empty"));
        fs::write(&path, "hello\n").unwrap();
        let file = file_of(&path).unwrap();
        assert_eq!(file.bytes, 6);
        let payload = Payload::File(file);
        assert_eq!(read_payload(&payload).unwrap().unwrap(), b"hello\n");
        fs::write(&path, "hullo\n").unwrap();
        assert!(read_payload(&payload).unwrap_err().text.contains("is another"));
        assert_eq!(read_payload(&Payload::Lines).unwrap(), None);
        File::create(&path).unwrap().set_len(LONGEST + 1).unwrap();
        assert!(file_of(&path).unwrap_err().text.contains("longer than 16 MiB"));
    }
}
