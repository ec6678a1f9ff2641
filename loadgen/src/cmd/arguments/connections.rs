//! How servers are reached, and how long they are waited for: the same flags on every verb that measures.

use super::values::{Addresses, addresses, duration};
use crate::record::AddressChoice;
use clap::Args;
use std::time::Duration;

/// How the clients of a load connect.
#[derive(Clone, Debug, PartialEq, Eq, Args)]
#[command(next_help_heading = "Connections")]
pub struct ConnectionArgs {
    /// Longest wait for the echo of one message
    #[arg(long, value_name = "TIME", default_value = "5s", allow_hyphen_values = true, value_parser = duration)]
    pub timeout: Duration,

    #[command(flatten)]
    pub reach: ReachArgs,

    /// Addresses to connect from, in turn: 127.0.0.2-127.0.0.9 or a comma-separated list
    #[arg(long, value_name = "ADDRESSES", value_parser = addresses)]
    pub source_addresses: Option<Addresses>,

    /// Which addresses of a name that has several are connected to [default: all; of localhost the first]
    #[arg(long, value_enum, value_name = "WHICH")]
    pub resolve: Option<AddressChoice>,
}

/// What every wait is where nothing was said, as the flags have it.
const USUAL_WAIT: Duration = Duration::from_secs(5);

impl Default for ConnectionArgs {
    /// As when no flag was given.
    fn default() -> Self {
        Self {
            timeout: USUAL_WAIT,
            reach: ReachArgs {
                connect_timeout: USUAL_WAIT,
                allow_public: false,
            },
            source_addresses: None,
            resolve: None,
        }
    }
}

/// Which servers may be reached, and by when.
#[derive(Clone, Debug, PartialEq, Eq, Args)]
#[command(next_help_heading = "Connections")]
pub struct ReachArgs {
    /// Longest wait for a connection, and for a target that does not listen yet
    #[arg(long, value_name = "TIME", default_value = "5s", allow_hyphen_values = true, value_parser = duration)]
    pub connect_timeout: Duration,

    /// Allow a target outside loopback and private networks
    #[arg(long)]
    pub allow_public: bool,
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Typed {
        #[command(flatten)]
        connections: ConnectionArgs,
    }

    #[test]
    fn nothing_typed_is_the_default() {
        assert_eq!(Typed::parse_from(["run"]).connections, ConnectionArgs::default());
    }
}
