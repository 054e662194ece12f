//! `bootwright leases`.

use super::ask::{AdminArgs, table, until};
use crate::admin::{
    api::{LeaseStatus, NoParameters},
    routes::GetLeases,
};
use std::process::ExitCode;

const EXAMPLES: &str = "\
Examples:
  bootwright leases
  bootwright leases --json | jq -r '.[] | select(.host == null) | .client'
  bootwright leases --json | jq -r 'map(select(.expires < (now + 600 | todate))) | length'";

/// Lists the dynamic leases that have not ended.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct LeasesArgs {
    #[command(flatten)]
    ask: AdminArgs,
}

/// Asks for the leases.
pub(super) fn run(args: LeasesArgs) -> ExitCode {
    args.ask.list::<GetLeases, _>(&NoParameters {}, text)
}

fn text(leases: &[LeaseStatus]) -> String {
    let rows: Vec<[String; 4]> = leases
        .iter()
        .map(|lease| {
            [
                lease.address.to_string(),
                lease.client.clone(),
                lease.host.clone().unwrap_or_else(|| "-".to_owned()),
                until(lease.expires),
            ]
        })
        .collect();
    table(["ADDRESS", "CLIENT", "HOST", "ENDS IN"], &rows)
}
