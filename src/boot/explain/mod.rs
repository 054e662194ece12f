//! What a machine would be told if it powered on now, and why: whom it is taken for, what it is answered by DHCP, which
//! script it gets, and whether the files are there that the script asks for.
//!
//! Nothing is decided here. A client of our own ([`proto::dhcp::client`](crate::proto::dhcp::client)) sends the packets
//! of the machine to [`engine::handle`](crate::boot::engine::handle), takes the offer, and asks for its files where every
//! server asks ([`Inquiry`](crate::boot::resource::Inquiry)). All of that happens to [`ScratchTables`]: copies, of which
//! nothing comes back.
//!
//! | file | what it owns |
//! |---|---|
//! | `question` | what is asked, read from words, and what is taken for what was left out |
//! | `wires`, `ingress` | where the packets would come in |
//! | `player` | the machine that is played: DHCP, loader, script, files |
//! | `trial` | what came of that |
//! | `explanation` | what is to be said of it |
//! | `files` | which files a script asks for |
//! | `matching` | which host or rule it is, and which were passed over |
//! | `settings` | what is in force, held against what each profile says |
//! | `options` | a reply's options, and where each comes from |
//! | `shown`, `words` | all of it as it is shown and sent |
//!
//! No secret is in what comes of it: the copies have no token of an install, and of an answer its length is told alone.

mod explanation;
mod files;
mod ingress;
mod matching;
mod options;
mod player;
mod question;
mod settings;
mod shown;
mod trial;
mod wires;
mod words;

pub use explanation::explain;
pub use player::play;
pub use question::{BootQuestion, QuestionError, QuestionWords};
pub use settings::SettingLayer;
pub use shown::{
    ExplainedFile, ExplainedOption, ExplainedReply, ExplainedScript, ExplainedSetting, Explanation, FileRole,
    FileStanding, MatchedRow, OverruledSetting, RowVerdict,
};
pub use trial::{BootTrial, TriedBootServer, TriedExchange, TriedFile};
pub use wires::ServedWire;

use crate::boot::{
    arming::Arming,
    identity_cache::IdentityCache,
    machine::Who,
    snapshot::{FileStamp, Origin, Snapshot},
    verification::Verification,
};
use crate::lease::LeaseTable;
use crate::model::{Cidr, Now};
use std::path::Path;

/// Copies of everything that decisions are made from and change.
#[derive(Clone, Default)]
pub struct ScratchTables {
    /// Leases and offers.
    pub leases: LeaseTable,
    /// Whose next boot may install, without the tokens of installs that are under way.
    pub arming: Arming,
    /// What machines told of themselves.
    pub identities: IdentityCache,
    /// What is known of the bytes of artifacts.
    pub verification: Verification,
}

/// What a boot is played in.
#[derive(Clone, Copy)]
pub struct Surroundings<'s> {
    /// The moment at which all of it happens.
    pub now: Now,
    /// The generation that answers.
    pub snapshot: &'s Snapshot,
    /// The interfaces that are served; at least one.
    pub wires: &'s [ServedWire],
}

/// Where the inventory's values are written now.
pub trait Places {
    /// What the profiles of a host or a rule say, and it itself: what counts most is at the end. Nothing, where that
    /// can't be read.
    fn layers(&self, who: Who<'_>) -> Vec<SettingLayer>;

    /// Where a subnet is written.
    fn subnet(&self, cidr: Cidr) -> Option<Origin>;
}

/// What a file is now, or why it can't be looked at.
pub type Look<'a> = &'a dyn Fn(&Path) -> Result<FileStamp, Box<str>>;

/// What an explanation is made of beside the boot that is played.
#[derive(Clone, Copy)]
pub struct Sources<'a> {
    /// Where values are written.
    pub places: &'a dyn Places,
    /// What a file is now.
    pub look: Look<'a>,
}
