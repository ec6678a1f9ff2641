//! Holds ARCHITECTURE.md against the sources: imports point down its list of layers, what its table confines to some rooms
//! is found nowhere else, and no file and no function is long. Only what source text can show; tests at the end of a file
//! are left out.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use syn::spanned::Spanned as _;
use syn::visit::{self, Visit};

const ARCHITECTURE: &str = include_str!("../../ARCHITECTURE.md");
/// What is longer does more than one kind of work. The record is a schema, which is better read in one piece.
const MOST_LINES_OF_A_FILE: usize = 450;
const SCHEMA: &str = "record/";
/// From the line of `fn` to its closing brace.
const MOST_LINES_OF_A_FUNCTION: usize = 60;

#[test]
fn imports_point_one_way() {
    let layers = Layers::read(ARCHITECTURE);
    let sources = sources("loadgen/src");
    let rooms: Vec<String> = sources.iter().map(|source| source.room()).collect();
    for room in &rooms {
        assert!(
            layers.rank(room).is_some(),
            "`{room}` is not in ARCHITECTURE.md's list of layers"
        );
    }
    for layer in &layers.names {
        assert!(
            rooms.contains(layer),
            "ARCHITECTURE.md lists `{layer}`, and loadgen/src has no such room"
        );
    }
    let wrong: Vec<String> = sources.iter().flat_map(|source| layers.back_arrows(source)).collect();
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn what_is_confined_to_some_rooms_is_found_nowhere_else() {
    let rules = rules(ARCHITECTURE);
    assert!(
        rules.len() >= 6,
        "the table of confined things is not where this test looks: {rules:?}"
    );
    let mut sources_of: BTreeMap<&str, Vec<Source>> = BTreeMap::new();
    let mut wrong = Vec::new();
    for rule in &rules {
        let sources = sources_of.entry(&rule.tree).or_insert_with(|| sources(&rule.tree));
        for source in sources.iter() {
            wrong.extend(rule.violations(source));
        }
        for place in &rule.places {
            let used = sources
                .iter()
                .any(|source| source.is_in(place) && !source.lines_with(&rule.words).is_empty());
            if !used {
                wrong.push(format!(
                    "{}: `{place}` may, and does not: leave it out of the table",
                    rule.what
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn files_and_functions_of_loadgen_are_short() {
    let wrong: Vec<String> = sources("loadgen/src").iter().flat_map(Source::too_long).collect();
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn what_is_too_long_is_named_with_its_file_line_and_length() {
    let long = |lines| {
        format!(
            "impl A {{\n    fn long() {{{}    }}\n}}\n",
            "\n        a();".repeat(lines) + "\n"
        )
    };
    let planted = |path: &str, text: String| Source {
        path: path.into(),
        text,
    };
    assert_eq!(
        planted("engine/a.rs", long(59)).too_long(),
        ["engine/a.rs:2: fn long has 61 lines, more than 60: cut it by kind of work"]
    );
    assert!(planted("engine/a.rs", long(58)).too_long().is_empty());
    let file = |lines, tests: &str| "// a line\n".repeat(lines) + tests;
    let tests = "\n#[cfg(test)]\n#[expect(dead_code)]\nmod tests {\n    fn a() {}\n}\n";
    assert_eq!(
        planted("engine/a.rs", file(451, tests)).too_long(),
        ["engine/a.rs: 451 lines without tests, more than 450: cut it by kind of work"]
    );
    assert!(planted("engine/a.rs", file(450, tests)).too_long().is_empty());
    assert!(planted("record/a.rs", file(451, tests)).too_long().is_empty());
}

#[test]
fn an_arrow_that_points_up_is_named_with_its_file_and_line() {
    let layers = Layers::read("```layers\nmain\nreport\nengine\nrecord\n```");
    let planted = Source {
        path: "engine/event_loop.rs".into(),
        text: "use crate::record::Plan;\n// crate::report in a comment\nfn a() { crate::report::draw() }\nuse crate::{record, report};\n\
            use crate::{\n    record::{Plan, Stop},\n    report::draw,\n};\n"
            .into(),
    };
    assert_eq!(
        layers.back_arrows(&planted),
        [
            "engine/event_loop.rs:3: engine imports report, which is above it",
            "engine/event_loop.rs:4: engine imports report, which is above it",
            "engine/event_loop.rs:5: engine imports report, which is above it",
        ]
    );
    let straight = Source {
        path: "report/html.rs".into(),
        text: "use crate::record::Plan;\nuse crate::{engine};\n#[cfg(test)]\nmod tests {\n    use crate::main;\n}\n"
            .into(),
    };
    assert_eq!(layers.back_arrows(&straight), Vec::<String>::new());
}

#[test]
fn a_word_outside_its_rooms_is_named_with_its_file_and_line() {
    let rules = rules("| start a process | loadgen/src | `Command::new` | `subject/` |\n");
    let text = "fn a() {\n    Command::new(\"x\"); // why\n}\n";
    let planted = |path: &str| Source {
        path: path.into(),
        text: text.into(),
    };
    assert_eq!(
        rules[0].violations(&planted("cmd/run.rs")),
        ["loadgen/src/cmd/run.rs:2: `Command::new`: start a process only in subject/"]
    );
    assert!(rules[0].violations(&planted("subject/spawn.rs")).is_empty());
}

/// A source file; its path is relative to the tree that it was read from, and its tests are cut off.
struct Source {
    path: String,
    text: String,
}

impl Source {
    /// The folder or file at the top of the tree: `engine` for `engine/socket.rs`, `main` for `main.rs`.
    fn room(&self) -> String {
        let first = self.path.split('/').next().unwrap_or_default();
        first.trim_end_matches(".rs").to_string()
    }

    fn is_in(&self, place: &str) -> bool {
        self.path == place || place.ends_with('/') && self.path.starts_with(place)
    }

    /// Without its tests, which are at the end.
    fn code(&self) -> &str {
        self.text.split("\n#[cfg(test)]\n").next().unwrap_or_default()
    }

    /// One sentence for the file, and for each of its functions, that is too long.
    fn too_long(&self) -> Vec<String> {
        let lines = self.code().lines().count();
        let file = (lines > MOST_LINES_OF_A_FILE && !self.is_in(SCHEMA)).then(|| {
            format!(
                "{}: {lines} lines without tests, more than {MOST_LINES_OF_A_FILE}: cut it by kind of work",
                self.path
            )
        });
        let mut functions = Functions::default();
        functions.visit_file(&syn::parse_file(self.code()).unwrap_or_else(|error| panic!("{}: {error}", self.path)));
        let functions = functions.found.into_iter().filter_map(|(name, first, last)| {
            let lines = last - first + 1;
            (lines > MOST_LINES_OF_A_FUNCTION).then(|| {
                format!(
                    "{}:{first}: fn {name} has {lines} lines, more than {MOST_LINES_OF_A_FUNCTION}: cut it by kind of work",
                    self.path
                )
            })
        });
        file.into_iter().chain(functions).collect()
    }

    /// Numbered from 1, without comments and tests.
    fn lines(&self) -> impl Iterator<Item = (usize, &str)> {
        (1..).zip(self.code().lines().map(|line| match line.find("//") {
            // An address in a text is no comment.
            Some(at) if !line[..at].ends_with(':') => &line[..at],
            _ => line,
        }))
    }

    fn lines_with<'a>(&'a self, words: &'a [String]) -> Vec<(usize, &'a str)> {
        let found = |line: &str| {
            words
                .iter()
                .find(|word| line.contains(word.as_str()))
                .map(String::as_str)
        };
        self.lines()
            .filter_map(|(number, line)| Some((number, found(line)?)))
            .collect()
    }
}

/// All functions with a body: name, first and last line.
#[derive(Default)]
struct Functions {
    found: Vec<(String, usize, usize)>,
}

impl Functions {
    fn add(&mut self, signature: &syn::Signature, body: &syn::Block) {
        let lines = (signature.span().start().line, body.span().end().line);
        self.found.push((signature.ident.to_string(), lines.0, lines.1));
    }
}

impl Visit<'_> for Functions {
    fn visit_item_fn(&mut self, function: &syn::ItemFn) {
        self.add(&function.sig, &function.block);
        visit::visit_item_fn(self, function);
    }

    fn visit_impl_item_fn(&mut self, function: &syn::ImplItemFn) {
        self.add(&function.sig, &function.block);
        visit::visit_impl_item_fn(self, function);
    }

    fn visit_trait_item_fn(&mut self, function: &syn::TraitItemFn) {
        if let Some(body) = &function.default {
            self.add(&function.sig, body);
        }
        visit::visit_trait_item_fn(self, function);
    }
}

/// The rooms of loadgen/src, from the top down.
struct Layers {
    names: Vec<String>,
}

impl Layers {
    fn read(text: &str) -> Self {
        let list = text
            .split("```layers\n")
            .nth(1)
            .and_then(|rest| rest.split("```").next());
        let names = list
            .expect("ARCHITECTURE.md has a block ```layers")
            .lines()
            .filter_map(|line| line.split_whitespace().next())
            .map(ToString::to_string)
            .collect();
        Self { names }
    }

    fn rank(&self, room: &str) -> Option<usize> {
        self.names.iter().position(|name| name == room)
    }

    /// One sentence for each import that points up.
    fn back_arrows(&self, source: &Source) -> Vec<String> {
        let room = source.room();
        let own = self.rank(&room).expect("a known room");
        // Not line by line: a long list of imports has several.
        let code: Vec<&str> = source.lines().map(|(_, line)| line).collect();
        let code = code.join("\n");
        let mut wrong = Vec::new();
        for (at, path) in code.match_indices("crate::") {
            let number = 1 + code[..at].matches('\n').count();
            for other in imported(&code[at + path.len()..]) {
                if self.rank(&other).is_some_and(|rank| rank < own) {
                    wrong.push(format!(
                        "{}:{number}: {room} imports {other}, which is above it",
                        source.path
                    ));
                }
            }
        }
        wrong
    }
}

/// The rooms that stand behind a `crate::`: one, or a list in braces.
fn imported(rest: &str) -> Vec<String> {
    let name = |text: &str| -> String {
        text.chars()
            .take_while(|c| c.is_ascii_lowercase() || *c == '_')
            .collect()
    };
    let Some(list) = rest.strip_prefix('{') else {
        return vec![name(rest)];
    };
    let list = list.split(';').next().unwrap_or_default();
    list.split(',').map(|part| name(part.trim())).collect()
}

/// A row of the table: words that may stand only in some places of a tree.
#[derive(Debug)]
struct Rule {
    what: String,
    tree: String,
    words: Vec<String>,
    places: Vec<String>,
}

impl Rule {
    fn violations(&self, source: &Source) -> Vec<String> {
        if self.places.iter().any(|place| source.is_in(place)) {
            return Vec::new();
        }
        source
            .lines_with(&self.words)
            .into_iter()
            .map(|(number, word)| {
                format!(
                    "{}/{}:{number}: `{word}`: {} only in {}",
                    self.tree,
                    source.path,
                    self.what,
                    if self.places.is_empty() {
                        "no place at all".to_string()
                    } else {
                        self.places.join(", ")
                    }
                )
            })
            .collect()
    }
}

/// The rows `| what | tree | words | places |`, words and places in backticks; a place may be "nowhere".
fn rules(text: &str) -> Vec<Rule> {
    let quoted = |cell: &str| -> Vec<String> { cell.split('`').skip(1).step_by(2).map(ToString::to_string).collect() };
    text.lines()
        .filter_map(|line| {
            let cells: Vec<&str> = line.trim_matches('|').split(" | ").map(str::trim).collect();
            let [what, tree, words, places] = cells[..] else {
                return None;
            };
            let is_rule = words.starts_with('`') && (places.starts_with('`') || places == "nowhere");
            is_rule.then(|| Rule {
                what: what.to_string(),
                tree: tree.to_string(),
                words: quoted(words),
                places: quoted(places),
            })
        })
        .collect()
}

/// All sources below a folder of the workspace.
fn sources(tree: &str) -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(tree);
    let mut folders = vec![root.clone()];
    let mut found: Vec<PathBuf> = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display())) {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                found.push(path);
            }
        }
    }
    found.sort();
    found
        .into_iter()
        .map(|path| Source {
            path: path.strip_prefix(&root).unwrap().to_string_lossy().into_owned(),
            text: fs::read_to_string(&path).unwrap(),
        })
        .filter(|source| source.path != "lib.rs")
        .collect()
}
