//! Validates rendered texts as loaders and installers read them. These recognise a text by its first bytes, and
//! misinterpret wrong ones silently: iPXE takes a script without its
//! `#!ipxe` for a program and runs it, and cloud-init passes over what it does not know.

use crate::model::{
    Cpu, Dialect,
    limits::{
        KERNEL_PARAMETERS_BYTES_MAX, KERNEL_PARAMETERS_BYTES_MAX_ARM32_RISCV,
        KERNEL_PARAMETERS_BYTES_MAX_LOONGARCH_S390,
    },
};
use serde::de::IgnoredAny;
use std::borrow::Cow;

/// Something wrong with a rendered text.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Flaw {
    /// The line and the column of the rendered text, from 1, where that is known.
    pub(super) place: Option<(u32, u32)>,
    /// Whether the machine would stand still; else it is odd.
    pub(super) is_error: bool,
    pub(super) what: Cow<'static, str>,
    pub(super) help: &'static str,
}

const IPXE: &str = "#!ipxe";
/// What iPXE knows a script by: its own mark and that of what it was called before.
const IPXE_MARKS: [&str; 2] = [IPXE, "#!gpxe"];
/// What iPXE wants behind the mark: one byte of C's white space.
const BEHIND_MARK: [char; 6] = [' ', '\t', '\n', '\u{b}', '\u{c}', '\r'];
const CLOUD_CONFIG: &str = "#cloud-config";
/// What cloud-init 26 knows its parts by, in small letters.
const CLOUD_INIT: &[&str] = &[
    "#cloud-config",
    "#cloud-boothook",
    "#include",
    "#part-handler",
    "#upstart-job",
    "#!",
    "## template:",
    "content-type:",
    "mime-version:",
    // Ignition, which some systems take from the same place.
    "{",
];

/// What is wrong with a loader's script.
pub(super) fn script(dialect: Dialect, text: &str) -> Option<Flaw> {
    let error = |what: Cow<'static, str>, help| Flaw {
        place: None,
        is_error: true,
        what,
        help,
    };
    let mark = IPXE_MARKS.into_iter().find(|mark| text.starts_with(mark));
    let is_script = mark.is_some_and(|mark| text[mark.len()..].starts_with(BEHIND_MARK));
    match dialect {
        _ if text.contains('\0') => Some(error(NUL.into(), NUL_HELP)),
        Dialect::Ipxe if mark == Some(text) => Some(error(
            format!("the script ends right behind `{text}`, and iPXE knows none without the line's end").into(),
            "end the line, and write behind it what the machine is to do",
        )),
        Dialect::Ipxe if !is_script => Some(error(
            format!("the script begins with `{}` and not with `{IPXE}`", first_line(text)).into(),
            "begin its first line with #!ipxe, with nothing before it: iPXE takes anything else for a program and runs it",
        )),
        Dialect::Ipxe | Dialect::Grub | Dialect::Pxelinux => None,
    }
}

/// What is wrong with one file of an answer.
pub(super) fn answer(file: &str, text: &str) -> Option<Flaw> {
    let (is_error, what, help) = answer_flaw(file, text)?;
    Some(Flaw {
        place: None,
        is_error,
        what,
        help,
    })
}

fn answer_flaw(file: &str, text: &str) -> Option<(bool, Cow<'static, str>, &'static str)> {
    let named = file.rsplit('/').next().unwrap_or_default();
    let extension = named.rsplit_once('.').map_or("", |(_, extension)| extension);
    if text.contains('\0') {
        return Some((false, NUL.into(), NUL_HELP));
    }
    if text.trim().is_empty() && extension == "json" {
        let what = "the rendered text is empty, and that is not JSON".into();
        return Some((false, what, "write `{}` where it is to say nothing"));
    }
    // Ignition takes an empty text for a configuration that says nothing.
    if matches!(extension, "ign" | "json") && !text.trim().is_empty() {
        let error = serde_json::from_str::<IgnoredAny>(text).err()?;
        let what = format!("the rendered text is not JSON: {error} of it").into();
        return Some((
            true,
            what,
            "correct it; `{{ vars.x | tojson }}` writes a value as JSON wants it",
        ));
    }
    let is_late = |mark: &str| text.trim_start().starts_with(mark) && !text.starts_with(mark);
    if is_late("<?xml") {
        let what = "there is something before `<?xml`, and XML allows nothing there".into();
        return Some((true, what, "let the text begin with it"));
    }
    if is_late("#!") {
        let what = "there is something before `#!`, and so it names no interpreter".into();
        return Some((false, what, "let the text begin with it"));
    }
    let is_for_cloud_init = matches!(named, "user-data" | "vendor-data");
    // cloud-init itself passes over white space.
    let begins = text.trim_start().to_ascii_lowercase();
    let is_known = begins.is_empty() || CLOUD_INIT.iter().any(|mark| begins.starts_with(mark));
    if is_for_cloud_init && !is_known {
        let what = format!(
            "the file begins with `{}`, so cloud-init passes over it",
            first_line(text)
        )
        .into();
        return Some((
            false,
            what,
            "begin its first line with #cloud-config, or with #! where it is a program",
        ));
    }
    let is_config_later = || text.lines().skip(1).any(|line| line.trim_end() == CLOUD_CONFIG);
    if !is_known && is_config_later() {
        let what = format!("`{CLOUD_CONFIG}` is not the first line, so cloud-init passes over the file").into();
        return Some((false, what, "put it first"));
    }
    None
}

const NUL: &str = "there is a zero byte in the text, where most readers see its end";

const NUL_HELP: &str = "take it out; an editor shows it as ^@";

/// The beginning of a text, for people.
fn first_line(text: &str) -> String {
    const SHOWN_CHARACTERS_MAX: usize = 40;
    let line: String = text
        .lines()
        .next()
        .unwrap_or_default()
        .chars()
        .take(SHOWN_CHARACTERS_MAX)
        .collect();
    crate::model::text::escape(line.as_bytes())
}

/// Bytes of parameters that a kernel for that processor takes; what is beyond it cuts off without a word.
pub(super) fn parameters_max(cpu: Cpu) -> usize {
    match cpu {
        Cpu::X86 | Cpu::X86_64 | Cpu::Arm64 | Cpu::Ppc64 => KERNEL_PARAMETERS_BYTES_MAX,
        Cpu::Arm32 | Cpu::Riscv64 => KERNEL_PARAMETERS_BYTES_MAX_ARM32_RISCV,
        Cpu::LoongArch64 | Cpu::S390x => KERNEL_PARAMETERS_BYTES_MAX_LOONGARCH_S390,
    }
}

/// The longest line of kernel parameters in a script, in bytes.
pub(super) fn parameters_length(dialect: Dialect, text: &str) -> usize {
    let joined = text.replace("\\\n", " ");
    let lengths = joined.lines().filter_map(|line| parameters(dialect, line.trim()));
    lengths.map(str::len).max().unwrap_or(0)
}

/// The kernel parameters of a line that has some.
fn parameters(dialect: Dialect, line: &str) -> Option<&str> {
    match dialect {
        Dialect::Ipxe => {
            let (command, rest) = line.split_once(' ')?;
            let rest = rest.split(" || ").next().unwrap_or_default();
            match command {
                "kernel" => behind(rest, "://"),
                "imgargs" => rest.split_once(' ').map(|(_, parameters)| parameters.trim()),
                _ => None,
            }
        }
        Dialect::Grub => {
            let (_, rest) = line.split_once("linux ")?;
            behind(rest.split("; then").next().unwrap_or_default(), "/")
        }
        Dialect::Pxelinux => {
            let (command, rest) = line.split_once(' ')?;
            command.eq_ignore_ascii_case("append").then_some(rest.trim())
        }
    }
}

/// What follows the first word that has `mark` in it.
fn behind<'t>(line: &'t str, mark: &str) -> Option<&'t str> {
    let at = line.find(mark)?;
    let (_, parameters) = line[at..].split_once(' ')?;
    Some(parameters.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ipxe_script_begins_with_its_mark_and_others_need_none() {
        for compiled in [
            "#!ipxe\necho",
            "#!ipxe\n",
            "#!ipxe \r\n",
            "#!ipxe\u{b}\n",
            "#!gpxe\necho",
        ] {
            assert_eq!(script(Dialect::Ipxe, compiled), None, "{compiled:?}");
        }
        for odd in [
            "",
            "#!ipxe",
            "#!gpxe",
            "\n#!ipxe\n",
            " #!ipxe\n",
            "\u{feff}#!ipxe\n",
            "#!ipxes\n",
            "#!ipxe\u{a0}\n",
            "#!xpxe\n",
            "echo\n",
        ] {
            assert!(script(Dialect::Ipxe, odd).is_some_and(|flaw| flaw.is_error), "{odd:?}");
            assert_eq!(script(Dialect::Grub, odd), None, "{odd:?}");
        }
        assert!(script(Dialect::Pxelinux, "SAY \0").is_some_and(|flaw| flaw.is_error));
    }

    #[test]
    fn each_format_of_an_answer_is_known_by_how_it_must_begin() {
        for (file, text, found) in [
            ("user-data", "#cloud-config\na: 1\n", None),
            ("user-data", "\n#Cloud-Config\n", None),
            ("user-data", "", None),
            ("vendor-data", "Content-Type: multipart/mixed\n", None),
            ("user-data", "a: 1\n", Some(false)),
            ("x/user-data", "# mine\n#cloud-config\n", Some(false)),
            ("meta-data", "instance-id: a\n", None),
            ("c.yaml", "# mine\n#cloud-config\n", Some(false)),
            ("c.yaml", "version: v1\n", None),
            ("a.ign", "{\"ignition\": {}}", None),
            ("a.ign", "{\"ignition\": {}", Some(true)),
            ("a.json", "variant: fcos", Some(true)),
            ("a.ign", " \n\n", None),
            ("a.ign", "", None),
            ("a.json", "\n", Some(false)),
            ("rules/rules.xml", "<?xml version=\"1.0\"?>\n<a/>", None),
            ("rules/rules.xml", "\n<?xml version=\"1.0\"?>\n<a/>", Some(true)),
            ("a.xml", "<a/>", None),
            ("late.sh", "\n#!/bin/sh\n", Some(false)),
            ("preseed.cfg", "# d-i\nd-i a b c\n", None),
            ("a.ks", "text\n\0", Some(false)),
        ] {
            let flaw = answer(file, text);
            assert_eq!(
                flaw.as_ref().map(|flaw| flaw.is_error),
                found,
                "{file} {text:?} {flaw:?}"
            );
        }
    }

    #[test]
    fn kernel_parameters_are_what_the_loader_hands_on() {
        for (dialect, line, found) in [
            (
                Dialect::Ipxe,
                "kernel --name linux http://192.0.2.1/linux a b=c || goto failed",
                Some("a b=c"),
            ),
            (Dialect::Ipxe, "imgargs linux a b", Some("a b")),
            (Dialect::Ipxe, "kernel http://192.0.2.1/linux", None),
            (Dialect::Ipxe, "echo http://192.0.2.1/ a b", None),
            (Dialect::Grub, "if linux /image/d/linux a 'b c'; then", Some("a 'b c'")),
            (Dialect::Pxelinux, "APPEND a b", Some("a b")),
            (Dialect::Pxelinux, "SAY a b", None),
        ] {
            assert_eq!(parameters(dialect, line), found, "{line}");
        }
        assert_eq!(
            parameters_length(Dialect::Ipxe, "#!ipxe\nkernel http://a/b c \\\nd\nboot\n"),
            "c  d".len()
        );
        assert_eq!(parameters_length(Dialect::Grub, "boot\n"), 0);
    }
}
