//! Records in, text out: no clock, no file, no socket. Every report can be made again from stored records.

pub mod chart;
pub mod claims;
pub mod columns;
pub mod csv;
pub mod curve;
pub mod diff;
pub mod dimension;
pub mod facts;
pub mod folder;
pub mod hdr;
pub mod html;
pub mod json;
pub mod markdown;
pub mod models;
pub mod original;
pub mod portraits;
pub mod reproduced;
pub mod scorecard;
pub mod screen;
pub mod sheets;
pub mod spectrum;
pub mod svg;
pub mod sweep;
pub mod table;
pub mod terminal;
pub mod two;
