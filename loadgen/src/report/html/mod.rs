//! `report.html`: a folder as one page that is read in a browser from disk, without a network and without scripts; with them its
//! tables sort, targets are filtered and axes change. What stands on it is made here as blocks, how they look is the templates'.

mod blocks;
mod suite;
mod sweep;

pub use suite::suite;
pub use sweep::{SweepPage, sweep};

use self::blocks::Block;
use crate::report::svg::STYLE;
use askama::Template;

/// Heading, sections and what they share.
#[derive(Template)]
#[template(path = "report.html")]
struct Page {
    title: String,
    /// Sentences below the title, as HTML.
    about: Vec<String>,
    sections: Vec<Section>,
    /// Models that can be left out; empty where there are no targets to choose from.
    models: Vec<&'static str>,
    chart_style: &'static str,
    style: &'static str,
    script: &'static str,
}

struct Section {
    id: String,
    title: String,
    blocks: Vec<Block>,
}

impl Section {
    fn new(id: &str, title: &str, blocks: Vec<Block>) -> Self {
        Self {
            id: id.to_string(),
            title: title.to_string(),
            blocks,
        }
    }
}

fn page(title: String, about: Vec<String>, models: Vec<&'static str>, sections: Vec<Section>) -> String {
    let page = Page {
        title,
        about,
        sections,
        models,
        chart_style: STYLE,
        style: include_str!("../../../templates/page.css"),
        script: include_str!("../../../templates/page.js"),
    };
    page.render().expect("writing to memory does not fail")
}
