//! Kickstart, as pykickstart reads it for RHEL 8 to 10 and Fedora: commands, and sections that end with `%end`.

use super::{error, line, warning};
use crate::config::{problems::closest, rendered::Flaw};

const SECTIONS: [&str; 9] = [
    "%packages",
    "%pre",
    "%pre-install",
    "%post",
    "%onerror",
    "%traceback",
    "%addon",
    "%anaconda",
    "%certificate",
];
/// Sections that take commands' place line by line.
const INCLUDES: [&str; 2] = ["%include", "%ksappend"];
const COMMANDS: &[&str] = &[
    "auth",
    "authconfig",
    "authselect",
    "autopart",
    "autostep",
    "bootc",
    "bootloader",
    "btrfs",
    "cdrom",
    "clearpart",
    "cmdline",
    "device",
    "deviceprobe",
    "dmraid",
    "driverdisk",
    "eula",
    "fcoe",
    "firewall",
    "firstboot",
    "graphical",
    "group",
    "halt",
    "harddrive",
    "hmc",
    "ignoredisk",
    "install",
    "iscsi",
    "iscsiname",
    "keyboard",
    "lang",
    "liveimg",
    "logging",
    "logvol",
    "mediacheck",
    "method",
    "module",
    "mount",
    "multipath",
    "network",
    "nfs",
    "nvdimm",
    "ostreecontainer",
    "ostreesetup",
    "part",
    "partition",
    "poweroff",
    "raid",
    "rdp",
    "realm",
    "reboot",
    "repo",
    "reqpart",
    "rescue",
    "rhsm",
    "rootpw",
    "selinux",
    "services",
    "shutdown",
    "skipx",
    "snapshot",
    "sshkey",
    "sshpw",
    "syspurpose",
    "text",
    "timesource",
    "timezone",
    "unsupported_hardware",
    "updates",
    "upgrade",
    "url",
    "user",
    "vnc",
    "volgroup",
    "xconfig",
    "zerombr",
    "zfcp",
    "zipl",
];
/// What is installed from a container in place of packages; each excludes the others.
const CONTAINERS: [&str; 3] = ["ostreecontainer", "ostreesetup", "bootc"];

pub(super) fn flaws(text: &str) -> Vec<Flaw> {
    let mut flaws = Vec::new();
    let mut open: Option<(usize, &str)> = None;
    let mut container: Option<&str> = None;
    let mut packages = None;
    for (place, whole) in text.lines().enumerate() {
        let word = whole.split_whitespace().next().unwrap_or_default();
        match (word, open) {
            ("%end", Some(_)) => open = None,
            ("%end", None) => flaws.push(error(line(place), "an `%end` that ends no section", "take it out")),
            (section, Some((begun, before))) if SECTIONS.contains(&section) && whole.starts_with('%') => {
                flaws.push(not_ended(begun, before));
                open = Some((place, section));
            }
            (section, None) if SECTIONS.contains(&section) => open = Some((place, section)),
            (_, Some(_)) => {}
            (include, None) if INCLUDES.contains(&include) => {}
            (section, None) if section.starts_with('%') => flaws.push(error(
                line(place),
                ["there is no section `", section, "`"].concat(),
                "the sections are %packages, %pre, %pre-install, %post, %onerror, %traceback, %addon, %anaconda and %certificate",
            )),
            (command, None) => flaws.extend(command_flaw(place, command, whole, &mut container)),
        }
        if word == "%packages" {
            packages = packages.or(Some(place));
        }
    }
    flaws.extend(open.map(|(begun, section)| not_ended(begun, section)));
    if let (Some(container), Some(place)) = (container, packages) {
        let what = [
            "`%packages` stands beside `",
            container,
            "`, which brings a whole system",
        ]
        .concat();
        flaws.push(warning(line(place), what, "take one of the two out"));
    }
    flaws
}

fn command_flaw<'t>(place: usize, command: &'t str, whole: &str, container: &mut Option<&'t str>) -> Option<Flaw> {
    if command.is_empty() || command.starts_with('#') {
        return None;
    }
    if CONTAINERS.contains(&command)
        && let Some(other) = container.replace(command).filter(|other| *other != command)
    {
        let what = [
            "`",
            command,
            "` stands beside `",
            other,
            "`, and each excludes the other",
        ]
        .concat();
        return Some(error(line(place), what, "take one of the two out"));
    }
    if !COMMANDS.contains(&command) {
        let meant = closest(command, COMMANDS.iter().copied());
        let meant = meant.map_or(["", "", ""], |meant| [": did you mean `", meant, "`?"]);
        let what = [
            "no version of kickstart that is known here has a command `",
            command,
            "`",
            &meant.concat(),
        ]
        .concat();
        return Some(warning(
            line(place),
            what,
            "see the release's list of kickstart commands",
        ));
    }
    let is_open = quotes_left_open(whole);
    is_open.then(|| error(line(place), "a quote is opened and not closed in the line", "close it"))
}

fn not_ended(begun: usize, section: &str) -> Flaw {
    let what = ["the section `", section, "` has no `%end`"].concat();
    error(line(begun), what, "write `%end` behind its last line")
}

/// As a shell's words are quoted, and comments begin.
fn quotes_left_open(whole: &str) -> bool {
    let mut open = None;
    let mut characters = whole.chars();
    let mut is_word = false;
    while let Some(character) = characters.next() {
        match (open, character) {
            (None, '#') if !is_word => break,
            (None, quote @ ('"' | '\'')) => open = Some(quote),
            (Some(quote), character) if quote == character => open = None,
            (None | Some('"'), '\\') => drop(characters.next()),
            _ => {}
        }
        is_word = !character.is_whitespace();
    }
    open.is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str) -> Vec<(u32, bool)> {
        let flaws = flaws(text).into_iter();
        flaws.filter_map(|flaw| Some((flaw.place?.0, flaw.is_error))).collect()
    }

    #[test]
    fn sections_end_and_commands_are_known() {
        for (text, expected) in [
            ("text\n# a 'comment\n%packages\n@core\n%end\n%include /tmp/x\n", vec![]),
            ("%post\n%pre\n%end\n", vec![(1, true)]),
            ("text\n%end\n", vec![(2, true)]),
            ("%postt\n%end\n", vec![(1, true), (2, true)]),
            ("%post --nochroot\necho 50%\n  %packages\n", vec![(1, true)]),
            ("langg en_US\n", vec![(1, false)]),
            ("user --name='a\n", vec![(1, true)]),
            ("user --name=\"it's\" # isn't\n", vec![]),
            ("ostreecontainer --url=a\nbootc --source-imgref=b\n", vec![(2, true)]),
            ("ostreecontainer --url=a\n%packages\n%end\n", vec![(2, false)]),
        ] {
            assert_eq!(found(text), expected, "{text}");
        }
    }
}
