//! The page of a sweep's folder.

use super::blocks::{Block, Figure, Table, marked};
use super::{Section, page};
use crate::measurement::store::Stored;
use crate::report::facts;
use crate::report::svg::{Hue, Picture};
use crate::report::table::Grid;
use crate::suite::results::why_not;

/// What a sweep says.
pub struct SweepPage<'a> {
    pub title: String,
    pub about: String,
    pub found: Vec<String>,
    pub curve: &'a Picture,
    pub how_to_read: Vec<String>,
    pub stored: &'a [Stored],
}

/// The whole page.
#[must_use]
pub fn sweep(told: &SweepPage<'_>) -> String {
    let other = |_: &str| Hue::Other;
    let mut first: Vec<Block> = Block::list("", &told.found).into_iter().collect();
    first.push(Block::Figures(vec![Figure::new(told.curve, "", &other)]));
    let table = Table::new(&told.curve.title, told.curve.data.clone());
    let mut machine = Vec::new();
    if let Some(stored) = told.stored.first() {
        let grid = facts::machine(&stored.measurement);
        machine.push(Block::Tables(vec![Table::new(
            "The machine, as the first trial found it",
            grid,
        )]));
    }
    let sections = vec![
        Section::new("findings", "What was found", first),
        Section::new("curve-table", "All points", vec![Block::Tables(vec![table])]),
        Section::new(
            "method",
            "How to read this",
            Block::list("", &told.how_to_read).into_iter().collect(),
        ),
        Section::new("machine", "The machine", machine),
        Section::new("void", "Trials with void figures", vec![void(told.stored)]),
    ];
    page(told.title.clone(), vec![marked(&told.about)], Vec::new(), sections)
}

fn void(stored: &[Stored]) -> Block {
    let void = stored
        .iter()
        .filter(|stored| !(stored.measurement.complete && stored.measurement.reasons.is_empty()));
    let rows: Vec<Vec<String>> = void
        .map(|stored| vec![stored.file.clone(), why_not(&stored.measurement).join("; ")])
        .collect();
    if rows.is_empty() {
        return Block::text("None.");
    }
    let table = Table::new("Kept, with the reasons", Grid::new(&["record", "why"], rows));
    Block::Tables(vec![table.linked(&|file| facts::record_name(file).to_string())])
}
