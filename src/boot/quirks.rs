//! Firmware that needs something of its own: rows of data, and what the matching ones come to.
//!
//! What every machine of a stage gets is protocol and stands in the engine's answer: PXE's 60 with
//! 43.6 for every BIOS, iPXE's 175.176, the NUL behind 66 and 67 that does no harm. What one make of
//! machine needs and another must not get is a row here. `config` reads the rows; a request is
//! matched by what it says itself, so that the same packet gets the same answer at any time.

use crate::boot::event::Stage;
use crate::model::{MacBlock, text::glob};
use crate::proto::dhcp::Request;
use std::sync::Arc;

/// The rows in the order they apply.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Quirks(pub Vec<Quirk>);

/// One row.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Quirk {
    /// What log lines call it.
    pub name: Arc<str>,
    /// Which machines, and what goes wrong without it.
    pub why: String,
    /// When it applies.
    pub matches: QuirkMatch,
    /// What it changes.
    pub set: QuirkSet,
}

/// A row's conditions; an absent or empty one always holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct QuirkMatch {
    /// The beginning of the MAC address; one of these.
    pub ouis: Vec<MacBlock>,
    /// Glob over option 60.
    pub vendor_class: Option<String>,
    /// Glob over the classes of option 77; one must fit.
    pub user_class: Option<String>,
    /// Glob over option 97's 16 bytes, as letters.
    pub machine_id: Option<String>,
    /// Values of option 93, or of option 60's `Arch` where 93 is missing; one in both lists.
    pub archs: Vec<u16>,
    /// The first and the last UNDI version (major, minor) in option 60.
    pub undi: Option<[(u16, u16); 2]>,
    /// The stage, as the rows before have left it.
    pub stage: Option<Stage>,
}

/// What a row changes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct QuirkSet {
    /// The stage that firmware is answered as.
    pub stage: Option<Stage>,
    /// Whether replies are broadcast, whatever the client's flag says.
    pub broadcast: Option<bool>,
    /// Codes of options that are never sent.
    pub leave_out: Vec<u8>,
    /// Options sent with the boot fields: code and body.
    pub add: Vec<(u8, Vec<u8>)>,
    /// The loader.
    pub loader: Option<String>,
    /// The largest TFTP block, in bytes.
    pub tftp_block_max: Option<u16>,
}

/// What all matching rows come to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Effect {
    /// The rows that matched, in order.
    pub names: Vec<Arc<str>>,
    /// The stage to answer as.
    pub stage: Stage,
    /// Everything else; of two rows that say the same thing the first has it.
    pub set: QuirkSet,
}

impl Quirks {
    /// What applies to a request that stands at `stage` by the protocol alone.
    pub fn of(&self, request: &Request, stage: Stage) -> Effect {
        let mut effect = Effect {
            names: Vec::new(),
            stage,
            set: QuirkSet::default(),
        };
        for quirk in &self.0 {
            if quirk.matches.holds(request, effect.stage) {
                effect.take(quirk);
            }
        }
        effect
    }
}

impl Effect {
    fn take(&mut self, quirk: &Quirk) {
        let QuirkSet {
            stage,
            broadcast,
            leave_out,
            add,
            loader,
            tftp_block_max,
        } = &quirk.set;
        self.names.push(quirk.name.clone());
        if let (None, Some(other), Stage::BiosPxe | Stage::UefiPxe | Stage::UefiHttp) =
            (self.set.stage, *stage, self.stage)
        {
            self.set.stage = Some(other);
            self.stage = other;
        }
        self.set.broadcast = self.set.broadcast.or(*broadcast);
        self.set.leave_out.extend_from_slice(leave_out);
        for (code, body) in add {
            if !self.set.add.iter().any(|(known, _)| known == code) {
                self.set.add.push((*code, body.clone()));
            }
        }
        self.set.loader = self.set.loader.take().or_else(|| loader.clone());
        self.set.tftp_block_max = self.set.tftp_block_max.or(*tftp_block_max);
    }
}

impl QuirkMatch {
    fn holds(&self, request: &Request, standing: Stage) -> bool {
        let QuirkMatch {
            ouis,
            vendor_class,
            user_class,
            machine_id,
            archs,
            undi,
            stage,
        } = self;
        let fits = |pattern: &String, observed: &[u8]| glob(pattern, &String::from_utf8_lossy(observed));
        let mac = request.hardware.mac();
        stage.is_none_or(|wanted| wanted == standing)
            && (ouis.is_empty() || mac.is_some_and(|mac| ouis.iter().any(|oui| oui.holds(mac))))
            && (archs.is_empty() || archs.iter().any(|arch| says_arch(request, *arch)))
            && undi
                .is_none_or(|[first, last]| undi_of(request).is_some_and(|version| (first..=last).contains(&version)))
            && vendor_class.as_ref().is_none_or(|wanted| {
                request
                    .vendor_class
                    .as_ref()
                    .is_some_and(|observed| fits(wanted, observed))
            })
            && machine_id
                .as_ref()
                .is_none_or(|wanted| request.uuid.is_some_and(|observed| fits(wanted, &observed.option_97())))
            && user_class
                .as_ref()
                .is_none_or(|wanted| request.user_classes.iter().any(|observed| fits(wanted, observed)))
    }
}

fn says_arch(request: &Request, arch: u16) -> bool {
    match request.archs.is_empty() {
        true => vendor_part(request, "Arch").and_then(|observed| observed.parse().ok()) == Some(arch),
        false => request.archs.contains(&arch),
    }
}

/// The version in `PXEClient:Arch:00000:UNDI:002001`: three digits of each half.
fn undi_of(request: &Request) -> Option<(u16, u16)> {
    let (major, minor) = vendor_part(request, "UNDI")?.split_at_checked(3)?;
    Some((major.parse().ok()?, minor.parse().ok()?))
}

/// What stands behind `label` in `PXEClient:Arch:00007:UNDI:003016` and `HTTPClient:Arch:00016:…`.
pub(super) fn vendor_part<'r>(request: &'r Request, label: &str) -> Option<&'r str> {
    let vendor_class = std::str::from_utf8(request.vendor_class.as_deref()?).ok()?;
    vendor_class.split(':').skip_while(|part| *part != label).nth(1)
}
