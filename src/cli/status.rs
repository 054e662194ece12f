//! `bootwright status`.

use super::ask::{AdminArgs, errors_text};
use crate::admin::{
    api::{ArtifactStatus, InterfaceStatus, LastGoodFiles, NoParameters, Status, TransferStatus, UnservedArtifact},
    routes::GetStatus,
};
use crate::model::text::counted;
use indicatif::BinaryBytes;
use std::{fmt::Write, process::ExitCode};

const EXAMPLES: &str = "\
Examples:
  bootwright status
  bootwright status --json | jq .counters.dhcp_replied
  bootwright status --json | jq '.transfers[] | select(.machine == \"r1u07\")'";

/// Transfers that are shown to people; JSON has all.
const TRANSFERS_SHOWN: usize = 20;

/// Says what the daemon serves and how the last reload went.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct StatusArgs {
    #[command(flatten)]
    ask: AdminArgs,
}

/// Asks how the daemon is.
pub(super) fn run(args: StatusArgs) -> ExitCode {
    args.ask.document::<GetStatus, _>(&NoParameters {}, text)
}

fn text(status: &Status) -> String {
    let Status {
        api: _,
        version,
        pid,
        config,
        generation,
        since,
        hosts,
        leases,
        leases_writable,
        lease_write_failure,
        artifacts,
        interfaces,
        restart_needed_for,
        unwatched,
        last_refusal,
        last_good,
        rolled_back_to,
        transfers,
        // `bootwright doctor` judges them.
        relays: _,
        counters,
        reasons,
    } = status;
    let mut text = format!(
        "bootwright {version}, pid {pid}, {}\ngeneration {generation} since {}: {}\n{}\n",
        config.display(),
        since,
        counted(*hosts, "host"),
        counted(*leases, "lease"),
    );
    text.extend(interfaces.iter().map(interface_text));
    if !leases_writable {
        let why = lease_write_failure.as_ref();
        let why = why.map_or("see the log", |failure| &failure.message);
        let _ = writeln!(text, "LEASES CAN'T BE WRITTEN, so none is acknowledged: {why}");
    }
    text.push_str(&artifacts_text(artifacts));
    for setting in restart_needed_for {
        let _ = writeln!(text, "needs a restart: `{setting}`");
    }
    for problem in unwatched {
        let _ = writeln!(text, "NOT WATCHED: {problem}");
    }
    text.push_str(&other_files_text(*rolled_back_to, last_good.as_ref()));
    if let Some(refusal) = last_refusal {
        let _ = writeln!(
            text,
            "the files as they are now were refused at {}:\n{}",
            refusal.at,
            errors_text(&refusal.errors).trim_end()
        );
    }
    text.push_str(&transfers_text(transfers));
    for (name, count) in counters.iter().filter(|(_, count)| **count > 0) {
        let _ = writeln!(text, "{count:>12} {name}");
    }
    if !reasons.is_empty() {
        text.push_str("why requests came to nothing or had to wait (the log's field `reason`):\n");
    }
    for (name, count) in reasons {
        let _ = writeln!(text, "{count:>12} {name}");
    }
    text
}

/// That the files in force are not those on disk, where that is so.
fn other_files_text(rolled_back_to: Option<u64>, last_good: Option<&LastGoodFiles>) -> String {
    match (rolled_back_to, last_good) {
        (_, None) => String::new(),
        (Some(to), Some(LastGoodFiles { folder, .. })) => format!(
            "ROLLED BACK: served are the files of generation {to}, in {}, until those on disk change\n",
            folder.display()
        ),
        (None, Some(LastGoodFiles { accepted, folder })) => format!(
            "SERVED ARE THE FILES THAT WERE ACCEPTED {accepted}, kept in {}: those on disk were refused at the start\n",
            folder.display()
        ),
    }
}

/// An interface as it stands, in capitals where no machine is served.
fn interface_text(interface: &InterfaceStatus) -> String {
    let InterfaceStatus {
        name,
        mode,
        link: _,
        addresses,
        problem,
        since,
    } = interface;
    let addresses: Vec<String> = addresses.iter().map(ToString::to_string).collect();
    match problem {
        None => format!("interface {name} ({mode}) serves with {}\n", addresses.join(", ")),
        Some(problem) => format!("INTERFACE {name} ({mode}) SERVES NOBODY since {since}: {problem}\n"),
    }
}

/// The oldest transfers, a line each.
fn transfers_text(transfers: &[TransferStatus]) -> String {
    let mut text = String::new();
    if !transfers.is_empty() {
        let _ = writeln!(text, "{} under way", counted(transfers.len(), "transfer"));
    }
    for transfer in transfers.iter().take(TRANSFERS_SHOWN) {
        let TransferStatus {
            machine,
            client,
            transport,
            what,
            sent_bytes,
            length_bytes,
            age_s,
        } = transfer;
        let percent = sent_bytes * 100 / (*length_bytes).max(1);
        let _ = writeln!(
            text,
            "  {machine} ({client}) {what}: {sent_bytes} of {length_bytes} bytes, {percent} %, in {age_s} s by {transport}"
        );
    }
    if let Some(more) = transfers.len().checked_sub(TRANSFERS_SHOWN).filter(|more| *more > 0) {
        let _ = writeln!(text, "  and {more} more; --json has all of them");
    }
    text
}

/// What of the images is served, and each file that is not.
fn artifacts_text(artifacts: &ArtifactStatus) -> String {
    let ArtifactStatus { verified, unserved } = artifacts;
    let mut text = format!("images: {} verified\n", counted(*verified, "artifact"));
    for one in unserved {
        let UnservedArtifact {
            image,
            file,
            bytes,
            bytes_read,
            problem,
        } = one;
        let _ = match problem {
            Some(problem) => writeln!(text, "NOT SERVED: image {image}/{file}: {problem}"),
            None => writeln!(
                text,
                "not served yet: image {image}/{file} is being verified, {} of {}",
                BinaryBytes(*bytes_read),
                BinaryBytes(*bytes)
            ),
        };
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn transfer(machine: &str) -> TransferStatus {
        TransferStatus {
            machine: machine.to_owned(),
            client: [192, 0, 2, 11].into(),
            transport: "http".to_owned(),
            what: "image debian-12/linux".to_owned(),
            sent_bytes: 500,
            length_bytes: 2000,
            age_s: 3,
        }
    }

    #[test]
    fn each_transfer_has_a_line_and_a_storm_of_them_has_no_hundreds() {
        assert_eq!(transfers_text(&[]), "");
        assert_eq!(
            transfers_text(&[transfer("r1u07")]),
            "1 transfer under way\n  r1u07 (192.0.2.11) image debian-12/linux: 500 of 2000 bytes, 25 %, in 3 s by http\n"
        );
        let storm = transfers_text(&vec![transfer("r1u07"); 1000]);
        assert_eq!(storm.lines().count(), 1 + TRANSFERS_SHOWN + 1);
        assert!(storm.ends_with("  and 980 more; --json has all of them\n"), "{storm}");
    }

    #[test]
    fn an_empty_file_on_its_way_divides_by_nothing() {
        let empty = TransferStatus {
            sent_bytes: 0,
            length_bytes: 0,
            ..transfer("r1u07")
        };
        assert!(transfers_text(&[empty]).contains("0 of 0 bytes, 0 %"));
    }
}
