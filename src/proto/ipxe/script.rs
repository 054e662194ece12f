//! What an iPXE script fetches: as much of the language as boot scripts use to say it.
//!
//! Every fetch is taken to work: one that does not is the machine's failure, and what the script
//! would have done about it is not played. `sleep` is not slept, and what only shows or tidies is
//! passed over.

use super::FileUrl;
use crate::model::limits::{IPXE_LINE_BYTES_MAX, IPXE_SCRIPT_STEPS_MAX};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use std::collections::BTreeMap;

/// Every iPXE script's first line.
const MAGIC: &str = "#!ipxe";
/// What `${setting:uristring}` writes as it is.
const IN_URI: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');
/// Options that have a word behind them.
const OPTIONS_WITH_VALUE: &[&str] = &["-n", "--name", "-t", "--timeout"];

/// iPXE's settings by name, such as `mac`.
pub type IpxeSettings = BTreeMap<String, String>;

/// What a script wants next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ScriptRequest {
    /// A kernel.
    Kernel(FileUrl),
    /// An initrd, or another file beside the kernel.
    Initrd(FileUrl),
    /// Another script in this one's place.
    Chain(FileUrl),
    /// Nothing more: the kernel starts.
    Boot,
}

/// Why a script comes to no kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ScriptEnd {
    /// It is no iPXE script, or has a command that makes no sense.
    NoScript,
    /// It ends, or goes round, and boots nothing.
    BootsNothing,
    /// It names a file that is had in a way that is not followed.
    Elsewhere,
}

/// A script while it runs.
#[derive(Clone, Debug)]
pub struct IpxeScript {
    from: FileUrl,
    lines: Vec<String>,
    line: usize,
    steps: u32,
    settings: IpxeSettings,
    has_kernel: bool,
}

/// What one command came to.
enum CommandResult {
    Worked,
    Failed,
    Wants(ScriptRequest),
    Jumped,
}

impl IpxeScript {
    /// Reads a script that came from `from`.
    ///
    /// # Errors
    /// When it is no iPXE script.
    pub fn read(from: FileUrl, text: &[u8], settings: IpxeSettings) -> Result<IpxeScript, ScriptEnd> {
        let text = std::str::from_utf8(text).map_err(|_| ScriptEnd::NoScript)?;
        if !text.starts_with(MAGIC) {
            return Err(ScriptEnd::NoScript);
        }
        Ok(IpxeScript {
            from,
            lines: text.lines().map(|line| line.trim().to_owned()).collect(),
            line: 0,
            steps: 0,
            settings,
            has_kernel: false,
        })
    }

    /// Runs on to the next file, or to the boot.
    ///
    /// # Errors
    /// When the script ends, or goes round, without booting a kernel.
    pub fn next_want(&mut self) -> Result<ScriptRequest, ScriptEnd> {
        while let Some(line) = self.lines.get(self.line).cloned() {
            self.line += 1;
            self.steps += 1;
            if self.steps > IPXE_SCRIPT_STEPS_MAX {
                return Err(ScriptEnd::BootsNothing);
            }
            if let Some(want) = self.run(&line)? {
                return Ok(want);
            }
        }
        Err(ScriptEnd::BootsNothing)
    }

    /// One line: commands between `||` and `&&`.
    fn run(&mut self, line: &str) -> Result<Option<ScriptRequest>, ScriptEnd> {
        if line.starts_with(['#', ':']) {
            return Ok(None);
        }
        let (mut works, mut joint, mut bytes) = (true, "&&", 0);
        let mut words = line.split_whitespace().peekable();
        while words.peek().is_some() {
            let mut command = Vec::new();
            let mut next_joint = "";
            for word in words.by_ref() {
                if word == "||" || word == "&&" {
                    next_joint = word;
                    break;
                }
                let word = expand(word, &self.settings);
                bytes += word.len() + 1;
                if bytes > IPXE_LINE_BYTES_MAX {
                    return Err(ScriptEnd::NoScript);
                }
                command.push(word);
            }
            if works == (joint == "&&") {
                match self.command(&command)? {
                    CommandResult::Worked => works = true,
                    CommandResult::Failed => works = false,
                    CommandResult::Jumped => return Ok(None),
                    CommandResult::Wants(want) => return Ok(Some(want)),
                }
            }
            joint = next_joint;
        }
        Ok(None)
    }

    fn command(&mut self, words: &[String]) -> Result<CommandResult, ScriptEnd> {
        let Some((name, arguments)) = words.split_first() else {
            return Ok(CommandResult::Worked);
        };
        match name.as_str() {
            "kernel" => {
                self.has_kernel = true;
                self.file(arguments)
                    .map(|place| CommandResult::Wants(ScriptRequest::Kernel(place)))
            }
            "initrd" | "module" | "imgfetch" => self
                .file(arguments)
                .map(|place| CommandResult::Wants(ScriptRequest::Initrd(place))),
            "chain" => self
                .file(arguments)
                .map(|place| CommandResult::Wants(ScriptRequest::Chain(place))),
            "boot" if self.has_kernel => Ok(CommandResult::Wants(ScriptRequest::Boot)),
            "boot" | "exit" | "sanboot" | "shell" | "reboot" | "poweroff" => Err(ScriptEnd::BootsNothing),
            "goto" => self.goto(arguments.first()),
            "set" => {
                let (setting, value) = arguments.split_first().ok_or(ScriptEnd::NoScript)?;
                self.settings.insert(setting.clone(), value.join(" "));
                Ok(CommandResult::Worked)
            }
            "iseq" => Ok(truth(arguments.len() == 2 && arguments[0] == arguments[1])),
            "isset" => Ok(truth(arguments.iter().any(|value| !value.is_empty()))),
            _ => Ok(CommandResult::Worked),
        }
    }

    /// The file that a command names: its first word that is no option.
    fn file(&self, arguments: &[String]) -> Result<FileUrl, ScriptEnd> {
        let mut words = arguments.iter();
        while let Some(word) = words.next() {
            if OPTIONS_WITH_VALUE.contains(&word.as_str()) {
                words.next();
            } else if !word.starts_with('-') {
                return self.from.join(word).ok_or(ScriptEnd::Elsewhere);
            }
        }
        Err(ScriptEnd::NoScript)
    }

    fn goto(&mut self, label: Option<&String>) -> Result<CommandResult, ScriptEnd> {
        let label = format!(":{}", label.ok_or(ScriptEnd::NoScript)?);
        let found = self.lines.iter().position(|line| *line == label);
        self.line = found.ok_or(ScriptEnd::NoScript)?;
        Ok(CommandResult::Jumped)
    }
}

fn truth(is_so: bool) -> CommandResult {
    if is_so {
        CommandResult::Worked
    } else {
        CommandResult::Failed
    }
}

/// `text` with its `${setting}` and `${setting:format}` filled in; one that is not set is empty, as
/// in iPXE. What is longer than a line may be is filled in no further.
pub fn expand(text: &str, settings: &IpxeSettings) -> String {
    let mut expanded = String::with_capacity(text.len());
    let mut rest = text;
    while expanded.len() <= IPXE_LINE_BYTES_MAX
        && let Some((before, after)) = rest.split_once("${")
    {
        let Some((inside, after)) = after.split_once('}') else {
            break;
        };
        expanded.push_str(before);
        let (name, format) = inside.split_once(':').unwrap_or((inside, ""));
        let value = settings.get(name).map_or("", String::as_str);
        match format {
            "hexhyp" => expanded.push_str(&value.replace(':', "-")),
            "uristring" => expanded.extend(utf8_percent_encode(value, IN_URI)),
            _ => expanded.push_str(value),
        }
        rest = after;
    }
    expanded + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings() -> IpxeSettings {
        [("mac", "02:00:00:00:00:01"), ("platform", "efi")]
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into()
    }

    /// What a script wants, in order, and how it ends.
    fn wants(text: &str) -> (Vec<String>, Result<(), ScriptEnd>) {
        let from = FileUrl::url("http://192.0.2.1/boot.ipxe").unwrap();
        let mut script = match IpxeScript::read(from, text.as_bytes(), settings()) {
            Ok(script) => script,
            Err(cause) => return (Vec::new(), Err(cause)),
        };
        let mut wants = Vec::new();
        loop {
            match script.next_want() {
                Ok(ScriptRequest::Boot) => return (wants, Ok(())),
                Ok(ScriptRequest::Kernel(place)) => wants.push(format!("kernel {place}")),
                Ok(ScriptRequest::Initrd(place)) => wants.push(format!("initrd {place}")),
                Ok(ScriptRequest::Chain(place)) => wants.push(format!("chain {place}")),
                Err(cause) => return (wants, Err(cause)),
            }
        }
    }

    #[test]
    fn a_shipped_script_fetches_its_initrds_and_kernel_and_boots() {
        let text = "#!ipxe\necho r1u07 boots\nimgfree\n\
            initrd --name initrd0 http://192.0.2.1/image/d/i.gz || goto failed\n\
            kernel --name vmlinuz http://192.0.2.1/image/d/linux initrd=initrd0 quiet || goto failed\n\
            boot || goto failed\n:failed\nsleep 15\n:again\nchain --replace --autofree http://192.0.2.1/boot.ipxe ||\ngoto again\n";
        let expected = [
            "initrd http://192.0.2.1/image/d/i.gz",
            "kernel http://192.0.2.1/image/d/linux",
        ];
        assert_eq!(wants(text), (expected.map(str::to_owned).into(), Ok(())));
    }

    #[test]
    fn a_plain_script_with_settings_and_relative_names_is_followed() {
        let text = "#!ipxe\nset base http://192.0.2.1/${mac:hexhyp}\nkernel ${base}/linux\ninitrd initrd\nboot\n";
        let expected = [
            "kernel http://192.0.2.1/02-00-00-00-00-01/linux",
            "initrd http://192.0.2.1/initrd",
        ];
        assert_eq!(wants(text), (expected.map(str::to_owned).into(), Ok(())));
    }

    #[test]
    fn a_script_branches_on_what_it_asks() {
        let text = "#!ipxe\niseq ${platform} efi && goto efi ||\nkernel bios\nboot\n:efi\nisset ${serial} || kernel efi\nboot\n";
        assert_eq!(wants(text), (vec!["kernel http://192.0.2.1/efi".to_owned()], Ok(())));
    }

    #[test]
    fn what_boots_no_kernel_is_reported_and_ends() {
        for text in [
            "#!ipxe\necho unknown\nexit\n",
            "#!ipxe\nsanboot --no-describe --drive 0x80 ||\n",
            "#!ipxe\n:again\ngoto again\n",
            "#!ipxe\nboot\n",
            "#!ipxe\n",
        ] {
            assert_eq!(wants(text), (Vec::new(), Err(ScriptEnd::BootsNothing)), "{text}");
        }
    }

    #[test]
    fn what_is_no_script_is_reported() {
        for text in ["", "MZ\u{0}", "#!ipxe\ngoto nowhere\n", "#!ipxe\nkernel --name linux\n"] {
            assert_eq!(wants(text), (Vec::new(), Err(ScriptEnd::NoScript)), "{text}");
        }
        let doubling = "#!ipxe\nset a 0123456789abcdef\n:again\nset a ${a}${a}\ngoto again\n";
        let wide = "${a}".repeat(IPXE_LINE_BYTES_MAX);
        let wide = ["#!ipxe\nset a 0123456789abcdef\nkernel ", &wide, "\n"].concat();
        for text in [doubling, wide.as_str()] {
            assert_eq!(wants(text), (Vec::new(), Err(ScriptEnd::NoScript)));
        }
        assert_eq!(
            wants("#!ipxe\nkernel https://192.0.2.1/x\n").1,
            Err(ScriptEnd::Elsewhere)
        );
    }
}
