//! What a page is made of: sentences, tables that can be sorted, charts with their text alternatives.

use crate::report::svg::{self, Hue, Key, Picture, escaped};
use crate::report::table::Grid;
use askama::Template;

/// A piece of a section.
pub(super) enum Block {
    Heading(String),
    /// HTML, from [`marked`].
    Text(String),
    /// A heading, or none where it is empty, and items as HTML.
    List(String, Vec<String>),
    Code(String),
    Tables(Vec<Table>),
    /// A table that is opened by its name.
    Folded(String, Table),
    Figures(Vec<Figure>),
}

impl Block {
    /// A list of sentences; nothing where there are none.
    pub(super) fn list(name: &str, sentences: &[String]) -> Option<Self> {
        let items = sentences.iter().map(|sentence| marked(sentence)).collect();
        (!sentences.is_empty()).then(|| Self::List(name.to_string(), items))
    }

    pub(super) fn text(sentence: &str) -> Self {
        Self::Text(marked(sentence))
    }
}

/// A table; the first cell of a row is its name.
#[derive(Template)]
#[template(path = "table.html")]
pub(super) struct Table {
    caption: String,
    sortable: bool,
    columns: Vec<Column>,
    rows: Vec<Row>,
    /// Rows below, which stay there however the others are sorted.
    foot: Vec<Vec<String>>,
}

struct Column {
    name: String,
    is_figure: bool,
}

struct Row {
    /// What filters go by; none for rows that are no target's.
    target: Option<String>,
    model: &'static str,
    cells: Vec<Cell>,
}

struct Cell {
    text: String,
    /// What it is sorted by; none for words, and where there is no figure.
    key: Option<f64>,
    link: Option<String>,
}

impl Table {
    pub(super) fn new(caption: &str, grid: Grid) -> Self {
        let rows: Vec<Row> = grid.rows.into_iter().map(Row::of).collect();
        let is_figure = |place: usize| {
            let mut cells = rows.iter().map(|row| &row.cells[place]);
            place > 0
                && (cells.clone().any(|cell| cell.key.is_some()) || cells.all(|cell| cell.text.starts_with("n/a")))
        };
        let columns = (0..).zip(grid.headings).map(|(place, name)| Column {
            is_figure: is_figure(place),
            name,
        });
        Self {
            caption: caption.to_string(),
            sortable: rows.len() > 1,
            columns: columns.collect(),
            rows,
            foot: Vec::new(),
        }
    }

    /// Rows are targets' by the names in their first cells, and filtered with them.
    pub(super) fn by_target(mut self, hue: &dyn Fn(&str) -> Hue) -> Self {
        for row in &mut self.rows {
            let name = &row.cells[0].text;
            row.model = hue(name).class();
            row.target = Some(name.clone());
        }
        self
    }

    pub(super) fn with_foot(mut self, foot: Vec<Vec<String>>) -> Self {
        self.foot = foot;
        self
    }

    /// The first cells are files of this folder: links by their names.
    pub(super) fn linked(mut self, name: &dyn Fn(&str) -> String) -> Self {
        for row in &mut self.rows {
            let cell = &mut row.cells[0];
            cell.link = Some(std::mem::take(&mut cell.text));
            cell.text = cell.link.as_deref().map(name).unwrap_or_default();
        }
        self
    }
}

impl Row {
    fn of(cells: Vec<String>) -> Self {
        let cell = |text: String| Cell {
            key: key_of(&text),
            text,
            link: None,
        };
        Self {
            target: None,
            model: Hue::Other.class(),
            cells: cells.into_iter().map(cell).collect(),
        }
    }
}

/// A chart on a page.
#[derive(Template)]
#[template(path = "figure.html")]
pub(super) struct Figure {
    id: String,
    picture: Picture,
    by_target: bool,
    table: Table,
}

impl Figure {
    /// `place` tells figures with one picture apart.
    pub(super) fn new(picture: &Picture, place: &str, hue: &dyn Fn(&str) -> Hue) -> Self {
        let table = Table::new(&format!("{}: the figures", picture.title), picture.data.clone());
        let by_target = picture.data.headings.first().is_some_and(|heading| heading == "target");
        Self {
            id: format!("{}{place}", picture.name),
            picture: picture.clone(),
            by_target,
            table: if by_target { table.by_target(hue) } else { table },
        }
    }
}

/// A piece of a line beside its name.
fn swatch(key: &Key) -> String {
    svg::swatch(key)
}

/// The sentence as HTML: nothing of it is markup but words in backquotes, which are code.
pub(super) fn marked(sentence: &str) -> String {
    let mut pieces = sentence.split('`');
    let mut html = escaped(pieces.next().unwrap_or_default());
    while let Some(code) = pieces.next() {
        let Some(rest) = pieces.next() else {
            // A backquote without its other.
            html.push('`');
            html.push_str(&escaped(code));
            break;
        };
        html.push_str(&format!("<code>{}</code>{}", escaped(code), escaped(rest)));
    }
    html
}

/// What a cell is sorted by: the number that it begins with, in the smallest unit of its kind.
fn key_of(text: &str) -> Option<f64> {
    const UNITS: [(&str, f64); 7] = [
        ("us", 1e3),
        ("ms", 1e6),
        ("s", 1e9),
        ("KiB", 1024.0),
        ("MiB", 1_048_576.0),
        ("GiB", 1_073_741_824.0),
        ("k", 1e3),
    ];
    let is_of_number = |letter: char| letter.is_ascii_digit() || letter == ',';
    let end = text
        .find(|letter| !is_of_number(letter) && letter != '.')
        .unwrap_or(text.len());
    // `1,200..1,300` begins with 1,200.
    let digits = text[..end].split("..").next().unwrap_or_default();
    let number: f64 = digits.replace(',', "").trim_end_matches('.').parse().ok()?;
    let rest = text[digits.len()..].trim_start();
    let word = rest.split([' ', '/', '.', '(']).next().unwrap_or_default();
    let unit = UNITS.iter().find(|(unit, _)| *unit == word);
    Some(number * unit.map_or(1.0, |(_, size)| *size))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_are_sorted_by_their_number_and_unit() {
        let keys = [
            "185,300 ab",
            "1.83 ms",
            "999 us",
            "9.41 MiB",
            "11,900..12,800",
            "5 of 5",
            "2.00 / 0.56",
            "94 %",
            "0.53x",
        ]
        .map(|text| key_of(text).unwrap());
        assert_eq!(
            keys,
            [
                185_300.0,
                1_830_000.0,
                999_000.0,
                9_867_100.16,
                11_900.0,
                5.0,
                2.0,
                94.0,
                0.53
            ]
        );
        assert_eq!(["n/a", "", "tokio 1.54.1", "one trial"].map(key_of), [None; 4]);
    }

    #[test]
    fn words_in_backquotes_are_code_and_nothing_is_markup() {
        assert_eq!(marked("a `b<c` & d"), "a <code>b&lt;c</code> &amp; d");
        assert_eq!(marked("a ` b"), "a ` b");
    }

    #[test]
    fn a_table_cannot_be_broken_out_of_and_its_rows_can_be_filtered() {
        let grid = Grid::new(
            &["target", "x"],
            vec![vec!["<b>".into(), "1.00 us".into()], vec!["c".into(), "n/a".into()]],
        );
        let text = Table::new("caption", grid).by_target(&|_| Hue::Fork).render().unwrap();
        assert!(!text.contains("<b>") && text.contains(r#"data-model="fork""#), "{text}");
        assert!(
            text.contains(r#"<td class="figure" data-key="1000">1.00 us</td>"#),
            "{text}"
        );
    }
}
