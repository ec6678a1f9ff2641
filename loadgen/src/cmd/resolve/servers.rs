//! Servers of the user's own: from `--server NAME=COMMAND` and `--servers FILE` to what can be started.

use crate::cmd::arguments::ServerArgs;
use crate::failure::Failure;
use crate::record::{External, ExternalModel, NetworkChoice, Tool};
use crate::subject::spelled;
use crate::suite::matrix;
use echo_contract::catalog;
use regex::Regex;
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// Whom `--target` names: a server of the user's own, or what [`spelled`] makes of it. Who brings one server and names no target
/// wants that one.
///
/// # Errors
/// A usage failure that says what to give: nobody is named, or nobody of this name was brought.
pub fn target(args: &ServerArgs, typed: Option<&str>) -> Result<(String, Option<External>), Failure> {
    let mut own = servers(args)?;
    let names: Vec<&str> = own.iter().map(|server| server.name.as_str()).collect();
    let names = names.join(", ");
    let typed = match (typed, own.as_slice()) {
        (Some(typed), _) => typed.trim().to_owned(),
        (None, [only]) => only.name.clone(),
        (None, []) => {
            return Err(Failure::usage(
                "whom to measure? Give --target NAME (see `loadgen list`) or --target HOST:PORT",
            ));
        }
        (None, _) => {
            return Err(Failure::usage(format!(
                "whom to measure? Give --target with one of your servers: {names}"
            )));
        }
    };
    if let Some(place) = own.iter().position(|server| server.name == typed) {
        return Ok((typed, Some(own.swap_remove(place))));
    }
    let target = spelled(&typed);
    if !own.is_empty() && !target.contains(':') && catalog::find(&target).is_none() {
        return Err(Failure::usage(format!(
            "--target {typed}: that is none of your servers ({names}), and no name that `loadgen list` shows"
        )));
    }
    Ok((target, None))
}

/// Reads and checks all servers that were named, in the order of the command line: files first.
///
/// # Errors
/// A usage failure that names the flag, its value and the fix.
pub fn servers(args: &ServerArgs) -> Result<Vec<External>, Failure> {
    let mut servers = Vec::new();
    for file in &args.servers {
        servers.extend(from_file(file)?);
    }
    for text in &args.server {
        servers.push(from_text(text).map_err(|why| Failure::usage(format!("--server '{text}': {why}")))?);
    }
    let mut names = BTreeSet::new();
    match servers.iter().find(|server| !names.insert(server.name.clone())) {
        Some(twice) => Err(Failure::usage(format!(
            "two servers are named `{}`: give each --server a name of its own",
            twice.name
        ))),
        None => Ok(servers),
    }
}

/// `NAME=COMMAND`, the command in words as a shell would cut them.
fn from_text(text: &str) -> Result<External, String> {
    let (name, command) = text.split_once('=').ok_or_else(|| match matrix::is_address(text) {
        true => format!("to measure a server that runs already, give --target {text}"),
        false => "write it as NAME=COMMAND, e.g. --server 'mine=./my-echo --port {port}'".into(),
    })?;
    checked(External {
        name: name.trim().to_owned(),
        command: words(command)?,
        ..External::default()
    })
}

/// A file of servers: `[[server]]`, the fields of [`External`], commands as one line of text.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    server: Vec<Entry>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    name: String,
    #[serde(default)]
    model: ExternalModel,
    command: String,
    #[serde(default)]
    environment: BTreeMap<String, String>,
    folder: Option<String>,
    needs: Option<Tool>,
    build: Option<String>,
    version: Option<String>,
    ready: Option<String>,
    network: Option<NetworkChoice>,
    warmup: Option<String>,
    note: Option<String>,
}

fn from_file(path: &Path) -> Result<Vec<External>, Failure> {
    let wrong = |why: String| Failure::usage(format!("--servers {}: {why}", path.display()));
    let text = std::fs::read_to_string(path).map_err(|error| wrong(format!("cannot be read: {error}")))?;
    let file: File = toml::from_str(&text).map_err(|error| wrong(error.to_string()))?;
    // Commands of a file are about what lies beside it, wherever loadgen is started.
    let beside = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    file.server
        .into_iter()
        .map(|entry| {
            let name = entry.name.clone();
            of_entry(entry, beside).map_err(|why| wrong(format!("server `{name}`: {why}")))
        })
        .collect()
}

fn of_entry(entry: Entry, beside: Option<&Path>) -> Result<External, String> {
    let warmup = entry.warmup.as_deref().map(humantime::parse_duration).transpose();
    let warmup = warmup.map_err(|error| format!("warmup: {error}; write it like 2s"))?;
    let folder = match (beside, entry.folder) {
        (None, folder) => folder.map(Into::into),
        (Some(beside), None) => Some(beside.to_owned()),
        (Some(beside), Some(folder)) => Some(beside.join(folder)),
    };
    checked(External {
        name: entry.name,
        model: entry.model,
        command: words(&entry.command)?,
        environment: entry.environment,
        folder: folder.map(|folder: std::path::PathBuf| folder.to_string_lossy().into_owned()),
        needs: entry.needs,
        build: entry.build.as_deref().map(words).transpose()?,
        version: entry.version.as_deref().map(words).transpose()?,
        ready: entry.ready,
        network: entry.network,
        warmup_ms: warmup.map(super::as_ms),
        note: entry.note,
    })
}

/// A command line in words; no shell ever reads it.
fn words(command: &str) -> Result<Vec<String>, String> {
    match shlex::split(command) {
        None => Err(format!("`{command}`: a quote or a backslash has no end")),
        Some(words) if words.is_empty() => Err("the command is empty".into()),
        Some(words) => Ok(words),
    }
}

fn checked(server: External) -> Result<External, String> {
    let name = &server.name;
    let fitting = |letter: char| letter.is_ascii_alphanumeric() || "._-".contains(letter);
    if !name.starts_with(|first: char| first.is_ascii_alphanumeric()) || name.len() > 40 || !name.chars().all(fitting) {
        return Err(format!(
            "`{name}` cannot be a name: use 1 to 40 letters, digits, dots, dashes or underscores, a letter or digit first"
        ));
    }
    if catalog::find(name).is_some() || ["all", "default", "running"].contains(&name.as_str()) {
        return Err(format!(
            "`{name}` means something else already: give the server another name"
        ));
    }
    if !server.is_told_its_port() {
        return Err("it is not told where to listen: write {port} where its port belongs, in the command or in a variable of `environment`".into());
    }
    if let Some(Err(error)) = server.ready.as_deref().map(Regex::new) {
        return Err(format!("`ready` is no regular expression: {error}"));
    }
    Ok(server)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::failure::Exit;

    fn typed(server: &str) -> Result<Vec<External>, Failure> {
        servers(&ServerArgs {
            server: vec![server.to_owned()],
            servers: Vec::new(),
        })
    }

    fn refusal(server: &str) -> String {
        let failure = typed(server).unwrap_err();
        assert_eq!(failure.exit, Exit::Usage);
        assert!(failure.text.contains(server), "{failure}");
        failure.text
    }

    #[test]
    fn a_command_is_cut_as_a_shell_would() {
        let server = &typed("mine=./my-echo --port {port} --name 'a b'").unwrap()[0];
        assert_eq!(server.name, "mine");
        assert_eq!(server.command, ["./my-echo", "--port", "{port}", "--name", "a b"]);
        assert_eq!((server.model, &server.folder), (ExternalModel::Other, &None));
    }

    #[test]
    fn what_cannot_be_started_is_refused_with_the_fix() {
        assert!(refusal("mine").contains("write it as NAME=COMMAND"));
        assert!(refusal("127.0.0.1:8001").contains("give --target 127.0.0.1:8001"));
        assert!(refusal("mine=./my-echo").contains("write {port} where its port belongs"));
        assert!(refusal("mine=").contains("the command is empty"));
        assert!(refusal("mine=a '{port}").contains("has no end"));
        assert!(refusal("fork=a {port}").contains("give the server another name"));
        assert!(refusal("a b=a {port}").contains("cannot be a name"));
    }

    #[test]
    fn a_target_is_one_of_the_servers_that_were_brought_or_of_the_catalog() {
        let args = |servers: &[&str]| ServerArgs {
            server: servers.iter().map(|server| (*server).to_owned()).collect(),
            servers: Vec::new(),
        };
        let one = args(&["mine=./a {port}"]);
        assert!(target(&one, None).unwrap().1.is_some());
        assert!(target(&one, Some(" mine ")).unwrap().1.is_some());
        assert_eq!(target(&one, Some("fork")).unwrap(), ("fork".into(), None));
        assert_eq!(target(&one, Some(":8001")).unwrap(), ("localhost:8001".into(), None));
        let refusal = |servers: &[&str], typed| target(&args(servers), typed).unwrap_err().text;
        assert!(refusal(&["mine=./a {port}"], Some("theirs")).contains("none of your servers (mine)"));
        assert!(refusal(&["a=./a {port}", "b=./b {port}"], None).contains("one of your servers: a, b"));
        assert!(refusal(&[], None).starts_with("whom to measure?"));
    }

    #[test]
    fn two_servers_of_one_name_are_refused() {
        let args = ServerArgs {
            server: vec!["a=x {port}".into(), "a=y {port}".into()],
            servers: Vec::new(),
        };
        assert!(
            servers(&args)
                .unwrap_err()
                .text
                .starts_with("two servers are named `a`")
        );
    }

    fn of_text(text: &str) -> Result<Vec<External>, Failure> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("servers.toml");
        std::fs::write(&path, text).unwrap();
        from_file(&path)
    }

    #[test]
    fn a_file_says_all_that_can_be_said() {
        let servers = of_text(
            r#"
            [[server]]
            name = "java"
            model = "thread"
            command = "java Threads.java {port}"
            environment = { JAVA_TOOL_OPTIONS = "-Xmx1g" }
            needs = "java >= 17"
            build = "javac Threads.java"
            version = "java --version"
            ready = "^listening"
            network = "host"
            warmup = "2s"
            note = "platform threads"
            "#,
        )
        .unwrap();
        let server = &servers[0];
        assert_eq!((server.model, server.warmup_ms), (ExternalModel::Thread, Some(2_000)));
        assert_eq!(server.needs.as_ref().unwrap().version_min, Some(17));
        assert_eq!(server.network, Some(NetworkChoice::Host));
        // Beside the file, wherever loadgen is started.
        assert!(server.folder.is_some());
    }

    #[test]
    fn a_wrong_file_is_named_with_the_server_and_the_field() {
        let wrong = |text: &str| of_text(text).unwrap_err().text;
        assert!(wrong("[[server]]\nname = 'a'\ncommand = 'x'").contains("server `a`: it is not told"));
        assert!(wrong("[[server]]\nname = 'a'\ncommand = 'x {port}'\ncolour = 'red'").contains("colour"));
        assert!(wrong("[[server]]\nname = 'a'\ncommand = 'x {port}'\nready = '('").contains("no regular expression"));
        assert!(wrong("[[server]]\nname = 'a'\ncommand = 'x {port}'\nwarmup = 'long'").contains("write it like 2s"));
        let missing = from_file(Path::new("no/such.toml")).unwrap_err().text;
        assert!(
            missing.starts_with("--servers no/such.toml: cannot be read"),
            "{missing}"
        );
    }
}
