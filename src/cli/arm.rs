//! `bootwright arm` and `bootwright disarm`.

use super::ask::{AdminArgs, since, table, until};
use crate::admin::{
    api::{ArmRequest, Armed, DisarmRequest, Disarmed, HostDisks},
    routes::{PostArm, PostDisarm},
};
use crate::config;
use crate::model::limits::ARMED_FOR_MAX;
use std::{env, fmt::Write, process::ExitCode, time::Duration};

const ARM_EXAMPLES: &str = "\
Examples:
  bootwright arm r1u07
  bootwright arm r1u07 r1u08 --for 2h
  bootwright arm 52:54:00:00:00:07 --by ada
  bootwright arm r1u07 --json | jq -r .until
  bootwright arm r1u07 --json | jq -r '.disks[].chosen'

What its machine told of its disks last is shown, and which one the inventory's rule `disk` chooses. The host must have boot = \"install\" in the inventory. Its next boot from the network installs, once; when that is
done, failed, or the time is up, it boots its disk. Exit code 0 when all are armed and that is on disk, 1 when none is.";

const DISARM_EXAMPLES: &str = "\
Examples:
  bootwright disarm r1u07
  bootwright disarm r1u07 r1u08 --json | jq -r '.disarmed[]'

What an installer does that runs already can't be taken back: it is only told nothing any more.";

/// Arms hosts: the next boot of each from the network installs, and ERASES ITS DISK.
#[derive(Debug, clap::Args)]
#[command(after_help = ARM_EXAMPLES)]
pub(super) struct ArmArgs {
    /// The hosts, by name or MAC.
    #[arg(value_name = "HOST", required = true)]
    host: Vec<String>,
    /// For how long: 30m, 2h, 3d; a day where nothing is said, and 30 days at most.
    #[arg(long = "for", value_name = "TIME", value_parser = lasting)]
    lasting: Option<Duration>,
    /// Who arms them, where that is not who runs this; the user is noted beside it.
    #[arg(long, value_name = "NAME")]
    by: Option<String>,
    #[command(flatten)]
    ask: AdminArgs,
}

/// Disarms hosts: they boot their disk, at once.
#[derive(Debug, clap::Args)]
#[command(after_help = DISARM_EXAMPLES)]
pub(super) struct DisarmArgs {
    /// The hosts, by name or MAC.
    #[arg(value_name = "HOST", required = true)]
    host: Vec<String>,
    /// Who disarms them, where that is not who runs this; the user is noted beside it.
    #[arg(long, value_name = "NAME")]
    by: Option<String>,
    #[command(flatten)]
    ask: AdminArgs,
}

fn lasting(text: &str) -> Result<Duration, String> {
    let read = config::length_of_time(text).ok_or("write it as 30m, 2h or 3d")?;
    match read {
        Duration::ZERO => Err("a host can't be armed for no time".to_owned()),
        read if read > ARMED_FOR_MAX => Err(format!("{} days at most", ARMED_FOR_MAX.as_secs() / 86_400)),
        read => Ok(read),
    }
}

/// Who says to be behind `sudo`, where nobody is named.
fn claimed(by: Option<String>) -> Vec<String> {
    by.or_else(|| env::var("SUDO_USER").ok()).into_iter().collect()
}

/// Asks for the hosts to be armed.
pub(super) fn arm(args: ArmArgs) -> ExitCode {
    let ArmArgs { host, lasting, by, ask } = args;
    let request = ArmRequest {
        host,
        lasts_s: lasting.iter().map(|lasting| lasting.as_secs().to_string()).collect(),
        by: claimed(by),
    };
    ask.document::<PostArm, _>(&request, armed_text)
}

/// Asks for the hosts to be disarmed.
pub(super) fn disarm(args: DisarmArgs) -> ExitCode {
    let DisarmArgs { host, by, ask } = args;
    let by = claimed(by);
    ask.document::<PostDisarm, _>(&DisarmRequest { host, by }, disarmed_text)
}

fn armed_text(armed: &Armed) -> String {
    let Armed {
        hosts,
        until: end,
        by,
        disks,
    } = armed;
    let mut text = String::new();
    for host in hosts {
        let _ = writeln!(
            text,
            "{host}: armed by {by} until {end} (for {}): its next boot from the network ERASES ITS DISK",
            until(*end)
        );
        if let Some(disks) = disks.iter().find(|disks| disks.host == *host) {
            text.push_str(&disks_text(disks));
        }
    }
    text
}

/// What is known of a host's disks, and which of them it loses.
fn disks_text(known: &HostDisks) -> String {
    let HostDisks { told, rule, .. } = known;
    let by_rule = rule.as_ref().map(|rule| format!(", disk = {rule}")).unwrap_or_default();
    let Some(told) = told else {
        return format!(
            "  its disks are not known{by_rule}: it has told of none yet, as it does in Bootwright's live system \
             (boot = \"rescue\" shows them and erases nothing)\n"
        );
    };
    let mut text = format!("  its disks, as it told {} ago{by_rule}:\n", since(*told));
    let or_dash = |word: &Option<String>| word.clone().unwrap_or_else(|| "-".to_owned());
    let rows: Vec<[String; 6]> = known
        .disks
        .iter()
        .map(|disk| {
            let is_chosen = known.chosen.as_ref() == Some(&disk.name);
            let mark = if is_chosen { "    ERASED" } else { "" };
            let kept = match (disk.read_only, disk.removable) {
                (true, _) => "read-only",
                (false, true) => "removable",
                (false, false) => "",
            };
            [
                mark.to_owned(),
                disk.name.clone(),
                disk.size().to_string(),
                or_dash(&disk.model),
                or_dash(&disk.serial),
                kept.to_owned(),
            ]
        })
        .collect();
    match rows.is_empty() {
        true => text.push_str("    none\n"),
        false => text.push_str(&table(["", "NAME", "SIZE", "MODEL", "SERIAL", ""], &rows)),
    }
    if let Some(warning) = &known.warning {
        let then = match known.is_whole {
            true => "as it stands, its install fails and erases nothing",
            false => "its install may choose one that is not shown, and ERASES that",
        };
        let _ = writeln!(text, "  warning: {warning}; {then}");
    }
    text
}

fn disarmed_text(answer: &Disarmed) -> String {
    let Disarmed { disarmed, unarmed } = answer;
    let were = disarmed
        .iter()
        .map(|host| format!("{host}: disarmed: it boots its disk\n"));
    let were_not = unarmed.iter().map(|host| format!("{host}: was not armed\n"));
    were.chain(were_not).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::api::Timestamp;
    use crate::model::{DiskInfo, WallTime};

    #[test]
    fn the_disk_that_is_lost_is_marked_among_those_that_are_known() {
        let disk = |name: &str, serial: &str| DiskInfo {
            name: name.to_owned(),
            bytes: 480_103_981_056,
            serial: Some(serial.to_owned()),
            ..DiskInfo::default()
        };
        let known = HostDisks {
            host: "r1u07".to_owned(),
            told: Some(Timestamp::from(WallTime(1))),
            disks: vec![disk("sda", "S1"), disk("sdb", "S2")],
            is_whole: true,
            rule: Some("{ serial = \"S2\" }".to_owned()),
            chosen: Some("sdb".to_owned()),
            warning: None,
        };
        let text = disks_text(&known);
        let marked: Vec<&str> = text.lines().filter(|line| line.contains("ERASED")).collect();
        assert_eq!(marked.len(), 1, "{text}");
        let words: Vec<&str> = marked[0].split_whitespace().collect();
        assert_eq!(words, ["ERASED", "sdb", "480.1GB", "-", "S2"]);
        let unfit = HostDisks {
            chosen: None,
            warning: Some("no disk fits".to_owned()),
            ..known
        };
        let text = disks_text(&unfit);
        assert!(
            text.contains("warning: no disk fits") && text.contains("erases nothing") && !text.contains("ERASED"),
            "{text}"
        );
        let cut_off = HostDisks {
            is_whole: false,
            ..unfit
        };
        let text = disks_text(&cut_off);
        assert!(text.contains("ERASES") && !text.contains("erases nothing"), "{text}");
    }

    #[test]
    fn times_are_read_as_in_the_inventory_and_kept_within_bounds() {
        assert_eq!(lasting("2h"), Ok(Duration::from_secs(7200)));
        assert_eq!(lasting("30d"), Ok(ARMED_FOR_MAX));
        for wrong in ["", "2", "0s", "31d", "-1h", "2 weeks"] {
            assert!(lasting(wrong).is_err(), "{wrong}");
        }
    }
}
