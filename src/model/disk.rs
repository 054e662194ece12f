//! Disks of a machine, and the rule by which one is chosen to be written to.
//!
//! A rule is a fence: whoever writes to a disk takes the one that fits it, or none. It never guesses: where two fit,
//! none is chosen, and the error lists what is there, in the words in which the rule could be written.

use super::text::glob;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};
use std::{fmt, str::FromStr};

/// A disk as a machine sees it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DiskInfo {
    /// The kernel's name, such as `nvme0n1`; it may be another one at the next boot.
    pub name: String,
    /// Bytes.
    pub bytes: u64,
    /// Its serial number, where it tells one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub serial: Option<String>,
    /// Its model, where it tells one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// Its names below `/dev/disk/by-id`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub by_id: Vec<String>,
    /// It is attached by NVMe.
    #[serde(default)]
    pub nvme: bool,
    /// Its medium can be taken out, such as a USB stick's or a card reader's.
    #[serde(default)]
    pub removable: bool,
    /// It can't be written to.
    #[serde(default)]
    pub read_only: bool,
}

/// Which of several disks that fit is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Pick {
    /// The one with the fewest bytes.
    Smallest,
    /// The one with the most bytes.
    Largest,
}

/// Which disk may be written to: the one that fits everything that is named. A rule that names nothing fits the only
/// disk of a machine.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct DiskSelector {
    /// Its serial number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub serial: Option<String>,
    /// Its model, as a glob: `SAMSUNG*`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// Its size.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size: Option<DiskSize>,
    /// One of its names below `/dev/disk/by-id`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by_id: Option<String>,
    /// Whether it is attached by NVMe.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nvme: Option<bool>,
    /// Which one, where several fit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pick: Option<Pick>,
}

/// A bound of a disk's size. As text: `480GB`, within [`DiskSize::TOLERANCE_PERCENT`] of that, as vendors round;
/// `>=400GB` and `<=1TB`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DiskSize {
    /// About so many bytes.
    About(u64),
    /// So many bytes or more.
    AtLeast(u64),
    /// So many bytes or fewer.
    AtMost(u64),
}

/// Why no disk is chosen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "why", rename_all = "snake_case")]
pub enum NoDisk {
    /// The machine has none: a driver is missing, or a controller is switched off.
    NoneSeen,
    /// None fits the rule.
    NoneFits {
        /// The rule.
        rule: DiskSelector,
        /// What is there.
        seen: Vec<DiskInfo>,
    },
    /// Several fit the rule.
    SeveralFit {
        /// The rule.
        rule: DiskSelector,
        /// Those that fit.
        fitting: Vec<DiskInfo>,
    },
    /// The one that fits is too small.
    TooSmall {
        /// That disk.
        disk: DiskInfo,
        /// Bytes that are needed.
        needed: u64,
    },
}

impl std::error::Error for NoDisk {}

impl Pick {
    /// As it stands in the inventory.
    pub fn name(self) -> &'static str {
        match self {
            Pick::Smallest => "smallest",
            Pick::Largest => "largest",
        }
    }
}

impl DiskSize {
    /// How far a disk's size may be from the one that is named, in percent.
    pub const TOLERANCE_PERCENT: u64 = 5;

    /// Whether so many bytes are within it.
    pub fn holds(self, bytes: u64) -> bool {
        let (least, most) = self.bounds();
        (least..=most).contains(&bytes)
    }

    /// The fewest and the most bytes that are within it.
    pub fn bounds(self) -> (u64, u64) {
        match self {
            DiskSize::About(about) => {
                let tolerance = about / 100 * DiskSize::TOLERANCE_PERCENT;
                (about - tolerance, about.saturating_add(tolerance))
            }
            DiskSize::AtLeast(least) => (least, u64::MAX),
            DiskSize::AtMost(most) => (0, most),
        }
    }
}

/// Why a text is no size.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DiskSizeError(Box<str>);

impl fmt::Display for DiskSizeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "`{}` is no size of a disk; write it as `480GB`, `>=400GB` or `<=1TB` (units: MB, GB, TB, MiB, GiB, TiB)",
            self.0.escape_debug()
        )
    }
}

impl std::error::Error for DiskSizeError {}

const UNITS: [(&str, u64); 6] = [
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("TiB", 1 << 40),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("TB", 1_000_000_000_000),
];

impl FromStr for DiskSize {
    type Err = DiskSizeError;

    fn from_str(text: &str) -> Result<DiskSize, DiskSizeError> {
        let no_size = || DiskSizeError(text.into());
        let (bound, rest): (fn(u64) -> DiskSize, &str) = match text.split_at_checked(2) {
            Some((">=", rest)) => (DiskSize::AtLeast, rest),
            Some(("<=", rest)) => (DiskSize::AtMost, rest),
            _ => (DiskSize::About, text),
        };
        let with_unit = UNITS
            .iter()
            .find_map(|(unit, bytes)| Some((rest.trim().strip_suffix(unit)?.trim_end(), *bytes)));
        let (number, unit) = with_unit.ok_or_else(no_size)?;
        bytes(number, unit).map(bound).ok_or_else(no_size)
    }
}

/// `1.92` of a unit in bytes. Decimal digits alone: no sign, no exponent.
fn bytes(number: &str, unit: u64) -> Option<u64> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
    let is_digits = |digits: &str| !digits.is_empty() && digits.bytes().all(|digit| digit.is_ascii_digit());
    if !is_digits(whole) || !is_digits(fraction) || fraction.len() > 6 {
        return None;
    }
    let parts = 10u64.checked_pow(u32::try_from(fraction.len()).ok()?)?;
    let fraction = unit.checked_mul(fraction.parse().ok()?)? / parts;
    let bytes = whole.parse::<u64>().ok()?.checked_mul(unit)?.checked_add(fraction)?;
    (bytes > 0).then_some(bytes)
}

/// In the largest unit of ten that leaves no remainder of more than two digits.
struct Bytes(u64);

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (unit, bytes) = match self.0 {
            1_000_000_000_000.. => UNITS[5],
            1_000_000_000.. => UNITS[4],
            _ => UNITS[3],
        };
        let hundredths = u128::from(self.0) * 100 / u128::from(bytes);
        match (hundredths / 100, hundredths % 100) {
            (whole, 0) => write!(f, "{whole}{unit}"),
            (whole, rest) if rest % 10 == 0 => write!(f, "{whole}.{}{unit}", rest / 10),
            (whole, rest) => write!(f, "{whole}.{rest:02}{unit}"),
        }
    }
}

impl fmt::Display for DiskSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DiskSize::About(bytes) => Bytes(*bytes).fmt(f),
            DiskSize::AtLeast(bytes) => write!(f, ">={}", Bytes(*bytes)),
            DiskSize::AtMost(bytes) => write!(f, "<={}", Bytes(*bytes)),
        }
    }
}

/// Bytes, and no text that would round them.
impl Serialize for DiskSize {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            DiskSize::About(bytes) => ("about", bytes).serialize(serializer),
            DiskSize::AtLeast(bytes) => ("at-least", bytes).serialize(serializer),
            DiskSize::AtMost(bytes) => ("at-most", bytes).serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for DiskSize {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<DiskSize, D::Error> {
        match <(String, u64)>::deserialize(deserializer)? {
            (bound, bytes) if bound == "about" => Ok(DiskSize::About(bytes)),
            (bound, bytes) if bound == "at-least" => Ok(DiskSize::AtLeast(bytes)),
            (bound, bytes) if bound == "at-most" => Ok(DiskSize::AtMost(bytes)),
            (bound, _) => Err(D::Error::custom(format!("`{bound}` is no bound of a size"))),
        }
    }
}

impl DiskSelector {
    /// Whether a disk fits everything that is named. One that can't be written to, and one whose medium can be taken
    /// out and that the rule does not name by its serial number or its `by-id`, never does.
    pub fn fits(&self, disk: &DiskInfo) -> bool {
        let is_named = self.serial.is_some() || self.by_id.is_some();
        let is_eligible = disk.bytes > 0 && !disk.read_only && (is_named || !disk.removable);
        let same = |wanted: &Option<String>, found: &Option<String>| match wanted {
            Some(wanted) => found.as_deref().map(str::trim) == Some(wanted.trim()),
            None => true,
        };
        let fits_model = |pattern: &String| {
            disk.model
                .as_ref()
                .is_some_and(|model| glob(pattern.trim(), model.trim()))
        };
        is_eligible
            && same(&self.serial, &disk.serial)
            && self.model.as_ref().is_none_or(fits_model)
            && self.size.is_none_or(|size| size.holds(disk.bytes))
            && self.by_id.as_ref().is_none_or(|id| disk.by_id.contains(id))
            && self.nvme.is_none_or(|nvme| nvme == disk.nvme)
    }

    /// The disk that is to be written to, with room for `needed` bytes.
    ///
    /// # Errors
    /// Why there is none.
    pub fn choose<'d>(&self, disks: &'d [DiskInfo], needed: u64) -> Result<&'d DiskInfo, NoDisk> {
        if disks.is_empty() {
            return Err(NoDisk::NoneSeen);
        }
        let mut fitting: Vec<&DiskInfo> = disks.iter().filter(|disk| self.fits(disk)).collect();
        // The end by which it is picked comes first.
        match self.pick {
            Some(Pick::Smallest) => fitting.sort_by_key(|disk| disk.bytes),
            Some(Pick::Largest) => fitting.sort_by_key(|disk| std::cmp::Reverse(disk.bytes)),
            None => {}
        }
        let is_clear = |first: &DiskInfo, next: &DiskInfo| self.pick.is_some() && first.bytes != next.bytes;
        match fitting.as_slice() {
            [] => Err(NoDisk::NoneFits {
                rule: self.clone(),
                seen: disks.to_vec(),
            }),
            [first, next, ..] if !is_clear(first, next) => Err(NoDisk::SeveralFit {
                rule: self.clone(),
                fitting: fitting.into_iter().cloned().collect(),
            }),
            [only, ..] if only.bytes < needed => Err(NoDisk::TooSmall {
                disk: DiskInfo::clone(only),
                needed,
            }),
            [only, ..] => Ok(only),
        }
    }
}

/// As it stands in the inventory.
impl fmt::Display for DiskSelector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = |key: &str, value: &Option<String>| value.as_ref().map(|value| format!("{key} = {value:?}"));
        let parts = [
            text("serial", &self.serial),
            text("model", &self.model),
            self.size.map(|size| format!("size = \"{size}\"")),
            text("by-id", &self.by_id),
            self.nvme.map(|nvme| format!("nvme = {nvme}")),
            self.pick.map(|pick| format!("pick = \"{}\"", pick.name())),
        ];
        let parts: Vec<String> = parts.into_iter().flatten().collect();
        match parts.is_empty() {
            true => f.write_str("{}"),
            false => write!(f, "{{ {} }}", parts.join(", ")),
        }
    }
}

impl DiskInfo {
    /// How large it is, for people: `480GB`.
    pub fn size(&self) -> impl fmt::Display {
        Bytes(self.bytes)
    }
}

/// What an operator could write a rule from.
impl fmt::Display for DiskInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, {}", self.name, Bytes(self.bytes))?;
        if let Some(model) = &self.model {
            write!(f, ", model {:?}", model.trim())?;
        }
        if let Some(serial) = &self.serial {
            write!(f, ", serial {:?}", serial.trim())?;
        }
        match (self.read_only, self.removable) {
            (true, _) => f.write_str(", read-only"),
            (false, true) => f.write_str(", removable"),
            (false, false) => Ok(()),
        }
    }
}

fn listed(f: &mut fmt::Formatter<'_>, disks: &[DiskInfo]) -> fmt::Result {
    for (place, disk) in disks.iter().enumerate() {
        write!(f, "{}{disk}", if place == 0 { "" } else { "; " })?;
    }
    Ok(())
}

impl fmt::Display for NoDisk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NoDisk::NoneSeen => {
                f.write_str("no disk is to be seen: is its controller switched on, and its driver here?")
            }
            NoDisk::NoneFits { rule, seen } => {
                write!(f, "no disk fits disk = {rule}; there are: ")?;
                listed(f, seen)
            }
            NoDisk::SeveralFit { rule, fitting } => {
                write!(f, "several disks fit disk = {rule}, and none is taken: ")?;
                listed(f, fitting)
            }
            NoDisk::TooSmall { disk, needed } => {
                write!(f, "the disk is too small for {}: {disk}", Bytes(*needed))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn disk(name: &str, gigabytes: u64, serial: &str) -> DiskInfo {
        DiskInfo {
            name: name.to_owned(),
            bytes: gigabytes * 1_000_000_000,
            serial: Some(serial.to_owned()),
            model: Some("SAMSUNG MZ7LH480".to_owned()),
            by_id: vec![format!("ata-SAMSUNG_{serial}")],
            nvme: name.starts_with("nvme"),
            ..DiskInfo::default()
        }
    }

    type SelectorChange = fn(&mut DiskSelector);

    fn rule(change: impl FnOnce(&mut DiskSelector)) -> DiskSelector {
        let mut rule = DiskSelector::default();
        change(&mut rule);
        rule
    }

    fn chosen(rule: &DiskSelector, disks: &[DiskInfo]) -> Result<String, NoDisk> {
        rule.choose(disks, 1_000_000).map(|disk| disk.name.clone())
    }

    #[test]
    fn the_only_disk_is_taken_without_a_rule_and_of_two_none() {
        let (one, other) = (disk("sda", 480, "S1"), disk("sdb", 480, "S2"));
        assert_eq!(
            chosen(&DiskSelector::default(), std::slice::from_ref(&one)),
            Ok("sda".to_owned())
        );
        assert_eq!(
            chosen(&DiskSelector::default(), &[one.clone(), other.clone()]),
            Err(NoDisk::SeveralFit {
                rule: DiskSelector::default(),
                fitting: vec![one, other]
            })
        );
        assert_eq!(chosen(&DiskSelector::default(), &[]), Err(NoDisk::NoneSeen));
    }

    #[test]
    fn each_part_of_a_rule_is_asked() {
        let disks = [
            disk("sda", 480, "S1"),
            disk("nvme0n1", 1920, "S2"),
            disk("sdb", 4000, "S3 "),
        ];
        let rules: [(SelectorChange, &str); 8] = [
            (|rule| rule.serial = Some("S3".to_owned()), "sdb"),
            (|rule| rule.by_id = Some("ata-SAMSUNG_S1".to_owned()), "sda"),
            (|rule| rule.nvme = Some(true), "nvme0n1"),
            (|rule| rule.size = "1.92TB".parse().ok(), "nvme0n1"),
            (|rule| rule.size = ">=3TB".parse().ok(), "sdb"),
            (|rule| rule.size = "<=500GB".parse().ok(), "sda"),
            (|rule| rule.pick = Some(Pick::Smallest), "sda"),
            (|rule| rule.pick = Some(Pick::Largest), "sdb"),
        ];
        for (change, name) in rules {
            assert_eq!(chosen(&rule(change), &disks), Ok(name.to_owned()));
        }
        // Each rules out: what fits one part alone does not fit.
        let both = rule(|rule| {
            rule.serial = Some("S1".to_owned());
            rule.nvme = Some(true);
        });
        assert!(matches!(chosen(&both, &disks), Err(NoDisk::NoneFits { seen, .. }) if seen.len() == 3));
    }

    #[test]
    fn two_of_the_same_size_are_no_smallest_one() {
        let disks = [disk("sda", 480, "S1"), disk("sdb", 480, "S2"), disk("sdc", 900, "S3")];
        assert!(matches!(
            chosen(&rule(|rule| rule.pick = Some(Pick::Smallest)), &disks),
            Err(NoDisk::SeveralFit { .. })
        ));
        assert_eq!(
            chosen(&rule(|rule| rule.pick = Some(Pick::Largest)), &disks),
            Ok("sdc".to_owned())
        );
    }

    #[test]
    fn a_stick_is_taken_by_its_name_alone_and_what_is_read_only_never() {
        let stick = DiskInfo {
            removable: true,
            ..disk("sdz", 64, "STICK")
        };
        let disks = [disk("sda", 480, "S1"), stick.clone()];
        assert_eq!(chosen(&DiskSelector::default(), &disks), Ok("sda".to_owned()));
        let by_serial = rule(|rule| rule.serial = Some("STICK".to_owned()));
        assert_eq!(chosen(&by_serial, &disks), Ok("sdz".to_owned()));
        let locked = DiskInfo {
            read_only: true,
            ..stick
        };
        assert!(matches!(chosen(&by_serial, &[locked]), Err(NoDisk::NoneFits { .. })));
    }

    #[test]
    fn a_disk_without_room_is_refused_and_no_other_is_taken() {
        let disks = [disk("sda", 480, "S1"), disk("sdb", 900, "S2")];
        let smallest = rule(|rule| rule.pick = Some(Pick::Smallest));
        let needed = 500_000_000_000;
        assert_eq!(
            smallest.choose(&disks, needed),
            Err(NoDisk::TooSmall {
                disk: disks[0].clone(),
                needed
            })
        );
    }

    #[test]
    fn a_size_is_read_as_vendors_and_kernels_write_it() {
        for (text, size, shown) in [
            ("480GB", DiskSize::About(480_000_000_000), "480GB"),
            ("1.92 TB", DiskSize::About(1_920_000_000_000), "1.92TB"),
            (">=400GB", DiskSize::AtLeast(400_000_000_000), ">=400GB"),
            ("<= 1TiB", DiskSize::AtMost(1 << 40), "<=1.09TB"),
            ("512MB", DiskSize::About(512_000_000), "512MB"),
        ] {
            let read: DiskSize = text.parse().unwrap();
            assert_eq!((read, read.to_string().as_str()), (size, shown), "{text}");
        }
        for text in [
            "",
            "480",
            "GB",
            "-1GB",
            "1e3GB",
            "0GB",
            "1.GB",
            "99999999999999999999GB",
            "=480GB",
            "480 gb",
            "é",
        ] {
            assert!(text.parse::<DiskSize>().is_err(), "{text}");
        }
        let about: DiskSize = "480GB".parse().unwrap();
        // 480 GB as Intel, and as a kernel counts it; the next larger one is another disk.
        assert!(about.holds(480_103_981_056) && about.holds(457_000_000_000) && !about.holds(512_000_000_000));
    }

    #[test]
    fn a_model_may_be_named_in_part() {
        for (pattern, fits) in [
            ("SAMSUNG MZ7LH480", true),
            ("SAMSUNG*", true),
            ("*480", true),
            ("*MZ*LH*", true),
            ("SAMSUNG", false),
            ("*481", false),
            ("SAMSUNG MZ7LH480*480", false),
        ] {
            let rule = rule(|rule| rule.model = Some(pattern.to_owned()));
            assert_eq!(rule.fits(&disk("sda", 480, "S1")), fits, "{pattern}");
        }
    }

    #[test]
    fn a_rule_and_a_refusal_come_back_as_they_were_sent() {
        let rule = rule(|rule| {
            rule.size = "480GB".parse().ok();
            rule.pick = Some(Pick::Smallest);
        });
        let refusal = rule.choose(&[disk("sda", 900, "S1")], 1).unwrap_err();
        let text = serde_json::to_string(&refusal).unwrap();
        assert_eq!(serde_json::from_str::<NoDisk>(&text).unwrap(), refusal);
        assert_eq!(rule.to_string(), "{ size = \"480GB\", pick = \"smallest\" }");
        assert!(
            refusal
                .to_string()
                .contains("sda, 900GB, model \"SAMSUNG MZ7LH480\", serial \"S1\""),
            "{refusal}"
        );
    }
}
