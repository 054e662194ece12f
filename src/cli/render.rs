//! `bootwright render`.

use super::ask::AdminArgs;
use crate::admin::{
    api::{RenderRequest, RenderedText},
    routes::GetRender,
};
use std::process::ExitCode;

const EXAMPLES: &str = "\
Examples:
  bootwright render r1u07 debian-installer.ipxe
  bootwright render r1u07 preseed.cfg
  bootwright render r1u07 user-data | cloud-init schema -c /dev/stdin
  bootwright render r1u07 order

The generation in force is rendered, as the host would get it while it installs. Secrets are blacked out, and the token
of its install is a sample.";

/// Shows what a host would get for its script, a file of its answer, or the order of our live system.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct RenderArgs {
    /// The host, by name or MAC.
    host: String,
    /// Its script (`debian-installer`, or with `.ipxe`, `.grub`, `.pxelinux`), a file of its answer, or `order`: what our
    /// live system writes to which disk, and what it does then.
    name: String,
    #[command(flatten)]
    ask: AdminArgs,
}

/// Asks for the text.
pub(super) fn run(args: RenderArgs) -> ExitCode {
    let RenderArgs { host, name, ask } = args;
    let request = RenderRequest {
        host: vec![host],
        name: vec![name],
    };
    ask.document::<GetRender, _>(&request, |rendered: &RenderedText| rendered.text.clone())
}
