//! An explanation as it is shown and sent: names, places, sentences, and of every decision what it was made from.

use crate::boot::{event::Stage, snapshot::Origin};
use crate::model::{MacAddr, Name};
use serde::{Deserialize, Serialize};
use std::net::Ipv4Addr;

/// What a machine would be told now, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Explanation {
    /// The interface that asks.
    pub mac: MacAddr,
    /// The host that it is; `None` for one that nobody listed.
    pub host: Option<Name>,
    /// The generation that answers.
    pub generation: u64,
    /// Option 93 of its packets.
    pub arch: u16,
    /// The relay that it is behind.
    pub relay: Option<Ipv4Addr>,
    /// The interface on which it comes in.
    pub interface: Option<String>,
    /// Whether it is played as if it were armed.
    pub as_if_armed: bool,
    /// Which host or rule it is, and which were passed over.
    pub matches: Vec<MatchedRow>,
    /// What that says, and where it was written.
    pub settings: Vec<ExplainedSetting>,
    /// What DHCP answers, in the order of its boot.
    pub replies: Vec<ExplainedReply>,
    /// The script that it gets.
    pub script: Option<ExplainedScript>,
    /// The loader, and the files that the script asks for.
    pub files: Vec<ExplainedFile>,
    /// What else people should know of this explanation.
    pub notes: Vec<String>,
}

/// A host or a rule that was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MatchedRow {
    /// `host r1u07`, `rule 2`, `unlisted machines`.
    pub what: String,
    /// Where it is written.
    pub place: Option<Origin>,
    /// Whether it is the machine's.
    pub verdict: RowVerdict,
    /// Why.
    pub why: String,
}

/// Whether a host or a rule is the machine's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RowVerdict {
    /// It is.
    Matched,
    /// It was looked at, and is not.
    PassedOver,
    /// What stands before it was the machine's.
    NotAsked,
}

/// A setting in force.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExplainedSetting {
    /// Its key.
    pub key: String,
    /// Its value.
    pub value: String,
    /// Where it is written.
    pub place: Origin,
    /// Who says so: `profile worker`, `host r1u07`. `None` where the files were changed since they were accepted.
    pub layer: Option<String>,
    /// What it stands in place of.
    pub overrules: Vec<OverruledSetting>,
}

/// A value that another one stands in place of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OverruledSetting {
    /// The value.
    pub value: String,
    /// Where it is written.
    pub place: Origin,
    /// Who says so.
    pub layer: String,
}

/// What DHCP answers at one stage.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExplainedReply {
    /// Where in its boot the machine stands.
    pub stage: Stage,
    /// The quirks that apply to its packet.
    pub quirks: Vec<String>,
    /// What is decided, as the log says it.
    pub decision: String,
    /// Why there is no answer, in the word that counters have.
    pub reason: Option<String>,
    /// The address that is offered, also known as `yiaddr`.
    pub address: Option<Ipv4Addr>,
    /// The server that files come from, also known as `siaddr`.
    pub next_server: Option<Ipv4Addr>,
    /// The boot file: option 67, or the field `file`.
    pub boot_file: Option<String>,
    /// Where the offer goes.
    pub to: Option<String>,
    /// The options, in their order on the wire.
    pub options: Vec<ExplainedOption>,
    /// The offer's bytes in hexadecimal.
    pub packet: Option<String>,
    /// What becomes of the REQUEST that takes the offer, where that is no ACK.
    pub request: Option<String>,
    /// The answer of the boot server's port 4011, where the machine asks there for its boot file.
    #[serde(default)]
    pub at_boot_server: Option<Box<ExplainedReply>>,
}

/// An option of a reply.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExplainedOption {
    /// Its number.
    pub code: u8,
    /// Its name.
    pub name: String,
    /// Its value, decoded.
    pub value: String,
    /// Where it comes from.
    pub source: String,
    /// Where that is written.
    pub place: Option<Origin>,
}

/// The script that the machine gets.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExplainedScript {
    /// Its URL.
    pub url: String,
    /// Its language.
    pub dialect: String,
    /// What it is, as the log says it.
    pub what: String,
    /// The template that it is made from.
    pub template: Option<String>,
    /// Its text.
    pub text: String,
}

/// A file that the machine asks for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExplainedFile {
    /// Who asks for it.
    pub role: FileRole,
    /// Its URL.
    pub url: String,
    /// Whether it gets it.
    pub standing: FileStanding,
    /// Bytes of it, where it gets it.
    pub bytes: Option<u64>,
    /// Why not, or what else is to be said.
    pub detail: Option<String>,
}

/// Who asks for a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FileRole {
    /// The firmware: it is the loader.
    Loader,
    /// The loader: it is a script.
    Script,
    /// The loader: it is the kernel.
    Kernel,
    /// The loader: it is an initrd, or another file beside the kernel.
    Initrd,
    /// The loader.
    Loaded,
    /// The kernel or the installer: its URL stands in the script.
    Parameter,
}

/// Whether a file is had.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FileStanding {
    /// It is there, and its bytes are those of its checksum.
    Intact,
    /// It is there; no checksum says what its bytes should be.
    There,
    /// It is a text that is made for the machine.
    Rendered,
    /// Its bytes are still being read for their checksum.
    Verifying,
    /// Its bytes are not those of its checksum, or it was changed since they were read, or its template fails.
    Wrong,
    /// There is no such file.
    Missing,
    /// There is none, and who asks goes on without it.
    Optional,
    /// It is not for this machine, or not now.
    Refused,
    /// Another server has it.
    Elsewhere,
}
