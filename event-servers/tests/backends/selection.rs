//! Which rows of the catalog a run is about. No row is left out without a word.

use super::Server;
use echo_contract::catalog::{Target, find};
use libtest_mimic::Trial;

/// Whom a run tests, and whom it cannot.
#[derive(Debug)]
pub(crate) struct Selection {
    pub(crate) servers: Vec<Server>,
    /// Names of the rows that this build has no binary for.
    pub(crate) not_built: Vec<&'static str>,
}

/// The row of the name `wanted`, or without a name all that have a binary; `is_complete` says that every row should have one.
///
/// # Errors
/// In one paragraph: no row of that name, a row without the binary that it should have, or nothing to test.
pub(crate) fn select(
    rows: impl Iterator<Item = &'static Target>,
    wanted: Option<&str>,
    is_complete: bool,
    path_of: impl Fn(&Target) -> Option<String>,
) -> Result<Selection, String> {
    let rows: Vec<_> = rows.collect();
    let is_wanted = |row: &Target| wanted.is_none_or(|name| name == row.name);
    let (mut servers, mut not_built) = (Vec::new(), Vec::new());
    for target in rows.iter().copied().filter(|row| is_wanted(row)) {
        match path_of(target) {
            Some(path) => servers.push(Server { target, path }),
            None => not_built.push(target.name),
        }
    }
    if let (Some(name), true, true) = (wanted, servers.is_empty(), not_built.is_empty()) {
        let names: Vec<_> = rows.iter().map(|row| row.name).collect();
        let names = names.join(", ");
        return Err(format!(
            "TARGET={name}: no event server has that name; there are {names}"
        ));
    }
    let may_be_missing = !is_complete && wanted.is_none() && !servers.is_empty();
    if !not_built.is_empty() && !may_be_missing {
        let names = not_built.join(", ");
        return Err(format!(
            "this build has no binary for {names}: Cargo.toml needs its [[bin]] and its feature in `default`, or the \
             command needs --features"
        ));
    }
    Ok(Selection { servers, not_built })
}

/// That the choice can fail.
pub(crate) fn trials() -> impl Iterator<Item = Trial> {
    type Test = (&'static str, fn());
    let tests: [Test; 3] = [
        ("a_target_that_does_not_exist_fails_the_run", unknown_name),
        ("a_missing_binary_fails_a_complete_build_and_no_other", missing_binary),
        ("one_target_is_one_server", one_target),
    ];
    tests.into_iter().map(|(name, test)| {
        Trial::test(format!("selection::{name}"), move || {
            test();
            Ok(())
        })
    })
}

fn rows() -> impl Iterator<Item = &'static Target> {
    ["event-mio", "event-epoll"].into_iter().filter_map(find)
}

fn path(row: &Target) -> Option<String> {
    Some(format!("/bin/{}", row.binary))
}

fn unknown_name() {
    let why = select(rows(), Some("event-moi"), false, path).unwrap_err();
    assert_eq!(
        why,
        "TARGET=event-moi: no event server has that name; there are event-mio, event-epoll"
    );
}

fn missing_binary() {
    let without_mio = |row: &Target| path(row).filter(|_| row.name != "event-mio");
    for (wanted, is_complete) in [(None, true), (Some("event-mio"), false)] {
        let why = select(rows(), wanted, is_complete, without_mio).unwrap_err();
        assert!(why.starts_with("this build has no binary for event-mio: "), "{why}");
    }
    let selection = select(rows(), None, false, without_mio).unwrap();
    assert_eq!((selection.servers.len(), selection.not_built), (1, vec!["event-mio"]));
    assert!(
        select(rows(), None, false, |_| None).is_err(),
        "nothing at all is no build"
    );
}

fn one_target() {
    let selection = select(rows(), Some("event-epoll"), false, path).unwrap();
    let found: Vec<_> = selection.servers.iter().map(|server| server.path.as_str()).collect();
    assert_eq!(found, ["/bin/event-epoll"]);
}
