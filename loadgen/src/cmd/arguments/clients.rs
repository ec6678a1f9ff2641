//! What the clients of every verb that measures can be told beside their workload.

use super::count;
use crate::record::CloseBy;
use clap::Args;

/// What is sent, and how connections begin and end.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Workload")]
pub struct ClientArgs {
    /// What messages consist of: binary (random bytes), lines (text ending in a newline, counted by --size), or a FILE whose
    /// content is the message [default: binary]
    #[arg(long, value_name = "binary|lines|FILE")]
    pub payload: Option<String>,

    /// How clients close connections: in good order, or by a reset that leaves no port waiting [default: fin]
    #[arg(long, value_enum, value_name = "HOW")]
    pub close: Option<CloseBy>,

    /// Most connections that may be opening or waiting for their first echo, over all threads [default: 100]
    #[arg(long, value_name = "N", allow_hyphen_values = true, value_parser = count)]
    pub connect_window: Option<u64>,

    /// Most connections opened per second, over all threads [default: no limit]
    #[arg(long, value_name = "N", allow_hyphen_values = true, value_parser = count)]
    pub connect_rate: Option<u64>,
}

impl ClientArgs {
    /// Whether nothing was said.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.payload.is_none() && self.close.is_none() && self.connect_window.is_none() && self.connect_rate.is_none()
    }
}
