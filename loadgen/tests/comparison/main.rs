//! Suite, store, statistics and reports on synthetic trials: no server, no socket, no waiting.

mod again;
mod command;
mod conclusions;
mod dimension;
mod golden;
mod large;
mod merge;
mod old_records;
mod pages;
mod publish;
mod schema;
mod series;
mod store;
mod suite;
mod suites;
mod synthetic;
mod tables;
