//! Tables as text: for a terminal of some width, and in Markdown. A cell is never broken over two lines: what does not
//! fit beside the names goes into a further table below, with the names again.

use comfy_table::{CellAlignment, ContentArrangement, Table, presets};
use std::fmt::Write as _;

/// Blanks before every column.
const GAP: u16 = 2;

/// A column: a heading of one or two lines, and a cell for each row.
#[derive(Clone, Debug)]
pub struct Column {
    pub heading: String,
    pub cells: Vec<String>,
}

impl Column {
    /// Its widest line and the gap before it.
    fn width(&self) -> usize {
        let lines = self.heading.lines().chain(self.cells.iter().map(String::as_str));
        usize::from(GAP) + lines.map(|line| line.chars().count()).max().unwrap_or_default()
    }
}

/// Headings and rows, for whatever draws them.
#[derive(Clone, Debug, Default)]
pub struct Grid {
    pub headings: Vec<String>,
    pub rows: Vec<Vec<String>>,
}

impl Grid {
    #[must_use]
    pub fn new(headings: &[&str], rows: Vec<Vec<String>>) -> Self {
        Self {
            headings: headings.iter().map(ToString::to_string).collect(),
            rows,
        }
    }

    /// In Markdown, the first `left` columns to the left.
    #[must_use]
    pub fn markdown(&self, left: usize) -> String {
        markdown(&self.headings, left, self.rows.clone())
    }
}

/// Columns that belong together; `name` is their one word, and stands above the names of the rows.
#[derive(Clone, Debug)]
pub struct Group {
    pub name: String,
    pub columns: Vec<Column>,
}

/// The groups beside the names of the rows, side by side where they fit into `width`, else one table below the other. A
/// group is broken only where it is too wide for a table of its own.
#[must_use]
pub fn fitted(names: &[String], groups: Vec<Group>, width: u16) -> Vec<String> {
    let width = usize::from(width);
    let mut sheets: Vec<Group> = Vec::new();
    for group in groups {
        let left = |name: &str| stub(name, names).width();
        let beside = |sheet: &Group| left(&sheet.name) + width_of(&sheet.columns);
        let wanted = width_of(&group.columns);
        match sheets.last_mut() {
            Some(sheet) if beside(sheet) + wanted <= width => sheet.columns.extend(group.columns),
            _ => {
                let room = width.saturating_sub(left(&group.name));
                sheets.extend(broken(group, room));
            }
        }
    }
    sheets
        .iter()
        .map(|sheet| drawn(&stub(&sheet.name, names), &sheet.columns))
        .collect()
}

/// The group in pieces of at most this width, one column at least.
fn broken(group: Group, width: usize) -> Vec<Group> {
    let mut pieces: Vec<Group> = Vec::new();
    for column in group.columns {
        match pieces.last_mut() {
            Some(piece) if width_of(&piece.columns) + column.width() <= width => piece.columns.push(column),
            _ => pieces.push(Group {
                name: group.name.clone(),
                columns: vec![column],
            }),
        }
    }
    pieces
}

fn stub(name: &str, names: &[String]) -> Column {
    Column {
        heading: name.to_string(),
        cells: names.to_vec(),
    }
}

fn width_of(columns: &[Column]) -> usize {
    columns.iter().map(Column::width).sum()
}

/// Names to the left, figures to the right.
fn drawn(names: &Column, columns: &[Column]) -> String {
    let all: Vec<&Column> = std::iter::once(names).chain(columns).collect();
    let mut table = Table::new();
    table
        .load_style(presets::NOTHING)
        .set_content_arrangement(ContentArrangement::Disabled)
        .force_no_tty();
    table.set_header(all.iter().map(|column| &column.heading));
    for row in 0..names.cells.len() {
        table.add_row(all.iter().map(|column| &column.cells[row]));
    }
    for (place, column) in table.column_iter_mut().enumerate() {
        column.set_padding((GAP, 0));
        if place > 0 {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table.trim_fmt()
}

/// A table in Markdown: the first `left` columns to the left, the others, which are figures, to the right.
#[must_use]
pub fn markdown(headings: &[impl AsRef<str>], left: usize, rows: impl IntoIterator<Item = Vec<String>>) -> String {
    let mut text = String::new();
    let mut line = |cells: &mut dyn Iterator<Item = String>| {
        text.push('|');
        for cell in cells {
            let _ = write!(text, " {} |", cell.replace('|', "\\|").replace('\n', " "));
        }
        text.push('\n');
    };
    line(&mut headings.iter().map(|heading| heading.as_ref().to_string()));
    for row in rows {
        line(&mut row.into_iter());
    }
    let rule = format!(
        "|{}{}\n",
        "---|".repeat(left),
        "---:|".repeat(headings.len().saturating_sub(left))
    );
    let head = text.find('\n').map_or(text.len(), |at| at + 1);
    text.insert_str(head, &rule);
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn group(name: &str, cells: &[&str]) -> Group {
        let column = |cell: &&str| Column {
            heading: "h".to_string(),
            cells: vec![(*cell).to_string()],
        };
        Group {
            name: name.to_string(),
            columns: cells.iter().map(column).collect(),
        }
    }

    #[test]
    fn groups_stand_side_by_side_where_they_fit() {
        let groups = || vec![group("a", &["111", "222"]), group("b", &["333"])];
        let names = ["row".to_string()];
        assert_eq!(
            fitted(&names, groups(), 20),
            ["  a      h    h    h\n  row  111  222  333"]
        );
        assert_eq!(
            fitted(&names, groups(), 19),
            ["  a      h    h\n  row  111  222", "  b      h\n  row  333"]
        );
    }

    #[test]
    fn a_group_that_is_too_wide_is_broken_between_columns() {
        let tables = fitted(&["row".to_string()], vec![group("a", &["111", "222", "333"])], 12);
        assert_eq!(tables.len(), 3);
        assert_eq!(tables[2], "  a      h\n  row  333");
    }

    #[test]
    fn markdown_puts_names_to_the_left_and_keeps_a_bar_inside_its_cell() {
        let text = markdown(&["a", "b"], 1, [vec!["x|y".to_string(), "1".to_string()]]);
        assert_eq!(text, "| a | b |\n|---|---:|\n| x\\|y | 1 |\n");
    }
}
