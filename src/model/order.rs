//! The order that a machine is given by which it writes its own disk.
//!
//! The daemon writes it and the deployer reads it, and either may be older than the other: it has a version, which
//! stands in front of everything else.

use super::disk::DiskSelector;
use super::image_sum::ImageSum;
use super::limits::{
    DEPLOY_PIECE_BYTES_MAX, DEPLOY_PIECE_BYTES_MIN, DEPLOY_SEED_FILES_MAX, DEPLOY_SEED_NAME_BYTES_MAX,
};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;

/// What a machine writes to which of its disks, and whom it tells.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeployOrder {
    /// [`OrderVersion`]: always the one that this program knows.
    pub version: OrderVersion,
    /// The image.
    pub image: DeployImage,
    /// Which disk.
    #[serde(default)]
    pub disk: DiskSelector,
    /// The last partition is made as large as the disk allows. Its file system is grown by the system within.
    #[serde(default)]
    pub grow: bool,
    /// Files of the partition `CIDATA`, where cloud-init looks for them. Without any there is no such partition.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub seed: Vec<SeedFile>,
    /// The entry of the firmware's boot menu, where the firmware is UEFI. Without it none is made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub boot_entry: Option<BootEntry>,
    /// What the machine does once all is done.
    #[serde(default)]
    pub then: AfterDeploy,
    /// The URL of the callbacks, with its token and without the word: `/started` is appended to it.
    pub callback: String,
}

/// The version of an order, a number in JSON.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OrderVersion;

/// The bytes of a disk, and where they are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeployImage {
    /// Where the file is, by plain HTTP.
    pub url: String,
    /// What the file is.
    pub format: ImageFormat,
    /// Bytes of the file.
    pub bytes: u64,
    /// The SHA-256 of the file.
    pub sha256: ImageSum,
    /// What is known of the disk that is in it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unpacked: Option<UnpackedImage>,
    /// The file's pieces: a wrong one is found before anything of it is written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pieces: Option<ImagePieces>,
}

/// How an image is packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ImageFormat {
    /// Not at all: byte for byte.
    Raw,
    /// Zstandard, one frame or several.
    Zstd,
    /// gzip, one member or several.
    Gzip,
}

/// An image once it is unpacked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UnpackedImage {
    /// Its bytes: a disk with fewer is refused before anything is written.
    pub bytes: u64,
    /// Its SHA-256.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<ImageSum>,
}

/// Pieces of the file of an image as it is served, each of them of `bytes`, and the last one of what is left.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ImagePieces {
    /// Bytes of a piece.
    pub bytes: u64,
    /// Their SHA-256, in order.
    pub sha256: Vec<ImageSum>,
}

/// A file of the seed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SeedFile {
    /// Its name, such as `user-data`.
    pub name: String,
    /// What is in it.
    pub content: SeedContent,
}

/// What is in a file of the seed, or where that is.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SeedContent {
    /// The text itself.
    Text(String),
    /// Where it is, by plain HTTP.
    Url(String),
}

/// An entry of the firmware's boot menu.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BootEntry {
    /// Its name in the menu. An entry of that name that is there already is replaced.
    pub label: String,
    /// The loader in the EFI system partition, such as `/EFI/debian/shimx64.efi`; by default the one that firmware
    /// takes by itself, `/EFI/BOOT/BOOTX64.EFI` on a PC.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub loader: Option<String>,
}

/// What a machine does once its disk is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AfterDeploy {
    /// It starts anew, from its disk.
    #[default]
    Reboot,
    /// It switches itself off.
    PowerOff,
    /// It stays as it is, in the live system, for whoever looks at it or takes it out of the rack.
    Wait,
}

impl fmt::Display for AfterDeploy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            AfterDeploy::Reboot => "reboot",
            AfterDeploy::PowerOff => "poweroff",
            AfterDeploy::Wait => "wait",
        })
    }
}

/// Why a text is no order.
#[derive(Debug)]
pub enum OrderError {
    /// It is of another version.
    Version {
        /// Which one it is.
        found: u64,
    },
    /// It can't be read.
    Json(serde_json::Error),
    /// What it says can't be.
    Contradiction(&'static str),
}

impl OrderVersion {
    /// The only version that there is so far.
    pub const NUMBER: u64 = 1;
}

impl Serialize for OrderVersion {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u64(OrderVersion::NUMBER)
    }
}

impl<'de> Deserialize<'de> for OrderVersion {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<OrderVersion, D::Error> {
        match u64::deserialize(deserializer)? {
            OrderVersion::NUMBER => Ok(OrderVersion),
            found => Err(serde::de::Error::custom(OrderError::Version { found })),
        }
    }
}

impl DeployOrder {
    /// The order that a text is.
    ///
    /// # Errors
    /// When it is of another version, whatever else is in it, when it can't be read, or says what can't be.
    pub fn parse(text: &str) -> Result<DeployOrder, OrderError> {
        #[derive(Deserialize)]
        struct OnlyVersion {
            version: u64,
        }
        // An order of another version may look in any way: its version is read first, and alone.
        let OnlyVersion { version: found } = serde_json::from_str(text).map_err(OrderError::Json)?;
        if found != OrderVersion::NUMBER {
            return Err(OrderError::Version { found });
        }
        let order: DeployOrder = serde_json::from_str(text).map_err(OrderError::Json)?;
        match order.contradiction() {
            None => Ok(order),
            Some(why) => Err(OrderError::Contradiction(why)),
        }
    }

    /// Whom an order tells, whatever else is in it: a newer daemon's may have words that are not known here.
    pub fn callback_of(text: &str) -> Option<String> {
        #[derive(Deserialize)]
        struct OnlyCallback {
            callback: String,
        }
        let only: OnlyCallback = serde_json::from_str(text).ok()?;
        Some(only.callback)
    }

    /// What in it can't be, if anything: whoever writes an order can ask before.
    pub fn contradiction(&self) -> Option<&'static str> {
        self.image.contradiction().or_else(|| {
            if self.seed.len() > DEPLOY_SEED_FILES_MAX {
                return Some("its seed has too many files");
            }
            let mut files = self.seed.iter().enumerate();
            if files.any(|(place, file)| self.seed.iter().take(place).any(|other| other.name == file.name)) {
                return Some("two files of its seed have one name");
            }
            let is_sound = self.seed.iter().all(|file| is_file_name(&file.name));
            (!is_sound).then_some("a file of its seed has no name that a file may have")
        })
    }
}

impl DeployImage {
    /// Bytes that its disk must have, where that is known.
    pub fn disk_bytes(&self) -> Option<u64> {
        match (self.unpacked, self.format) {
            (Some(unpacked), _) => Some(unpacked.bytes),
            (None, ImageFormat::Raw) => Some(self.bytes),
            (None, ImageFormat::Zstd | ImageFormat::Gzip) => None,
        }
    }

    fn contradiction(&self) -> Option<&'static str> {
        let differs = |unpacked: &UnpackedImage| {
            unpacked.bytes != self.bytes || unpacked.sha256.is_some_and(|sum| sum != self.sha256)
        };
        if self.format == ImageFormat::Raw && self.unpacked.as_ref().is_some_and(differs) {
            return Some("its image is not packed and yet another one unpacked");
        }
        if self.bytes == 0 || self.unpacked.is_some_and(|unpacked| unpacked.bytes == 0) {
            return Some("its image is empty");
        }
        let pieces = self.pieces.as_ref()?;
        if !(DEPLOY_PIECE_BYTES_MIN..=DEPLOY_PIECE_BYTES_MAX).contains(&pieces.bytes) {
            return Some("the pieces of its image are too small or too large");
        }
        let differs = u64::try_from(pieces.sha256.len()) != Ok(self.bytes.div_ceil(pieces.bytes));
        differs.then_some("the pieces of its image are not as many as it has")
    }
}

/// What any file system takes and no shell or path changes.
fn is_file_name(name: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    (1..=DEPLOY_SEED_NAME_BYTES_MAX).contains(&name.len()) && name.bytes().all(is_plain) && !name.starts_with('.')
}

/// Its length and nothing of it: there may be passwords in it.
impl fmt::Debug for SeedContent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SeedContent::Text(text) => write!(f, "Text({} bytes)", text.len()),
            SeedContent::Url(_) => f.write_str("Url(..)"),
        }
    }
}

impl fmt::Display for OrderError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            OrderError::Version { found } => write!(
                f,
                "the order is of version {found}, and this deployer knows version {}: build the live system of the \
                 daemon's own release (make deployer)",
                OrderVersion::NUMBER
            ),
            OrderError::Json(error) => write!(f, "the order can't be read: {error}"),
            OrderError::Contradiction(why) => write!(f, "the order can't be carried out: {why}"),
        }
    }
}

impl std::error::Error for OrderError {}

#[cfg(test)]
mod tests {
    use super::*;

    fn sum(byte: u8) -> ImageSum {
        ImageSum([byte; 32])
    }

    fn whole() -> DeployOrder {
        DeployOrder {
            version: OrderVersion,
            image: DeployImage {
                url: "http://192.0.2.1/image/debian-13/disk.zst".to_owned(),
                format: ImageFormat::Zstd,
                bytes: 5_000_000,
                sha256: sum(0xab),
                unpacked: Some(UnpackedImage {
                    bytes: 2_147_483_648,
                    sha256: Some(sum(1)),
                }),
                pieces: Some(ImagePieces {
                    bytes: 4_194_304,
                    sha256: vec![sum(2), sum(3)],
                }),
            },
            disk: DiskSelector {
                serial: Some("S1".to_owned()),
                size: ">=400GB".parse().ok(),
                ..DiskSelector::default()
            },
            grow: true,
            seed: vec![
                SeedFile {
                    name: "meta-data".to_owned(),
                    content: SeedContent::Text("instance-id: i\n".to_owned()),
                },
                SeedFile {
                    name: "user-data".to_owned(),
                    content: SeedContent::Url("http://192.0.2.1/answer/user-data".to_owned()),
                },
            ],
            boot_entry: Some(BootEntry {
                label: "Bootwright".to_owned(),
                loader: Some("/EFI/debian/shimx64.efi".to_owned()),
            }),
            then: AfterDeploy::PowerOff,
            callback: "http://192.0.2.1/callback/r1u07/00000000000000000000000000000000".to_owned(),
        }
    }

    const WHOLE: &str = r#"{
  "version": 1,
  "image": {
    "url": "http://192.0.2.1/image/debian-13/disk.zst",
    "format": "zstd",
    "bytes": 5000000,
    "sha256": "abababababababababababababababababababababababababababababababab",
    "unpacked": {
      "bytes": 2147483648,
      "sha256": "0101010101010101010101010101010101010101010101010101010101010101"
    },
    "pieces": {
      "bytes": 4194304,
      "sha256": [
        "0202020202020202020202020202020202020202020202020202020202020202",
        "0303030303030303030303030303030303030303030303030303030303030303"
      ]
    }
  },
  "disk": {
    "serial": "S1",
    "size": [
      "at-least",
      400000000000
    ]
  },
  "grow": true,
  "seed": [
    {
      "name": "meta-data",
      "content": {
        "text": "instance-id: i\n"
      }
    },
    {
      "name": "user-data",
      "content": {
        "url": "http://192.0.2.1/answer/user-data"
      }
    }
  ],
  "boot_entry": {
    "label": "Bootwright",
    "loader": "/EFI/debian/shimx64.efi"
  },
  "then": "poweroff",
  "callback": "http://192.0.2.1/callback/r1u07/00000000000000000000000000000000"
}"#;

    /// Deployers that are out there read exactly this: what changes here needs another version.
    #[test]
    fn an_order_stands_on_the_wire_as_it_did() {
        assert_eq!(serde_json::to_string_pretty(&whole()).unwrap(), WHOLE);
        assert_eq!(DeployOrder::parse(WHOLE).unwrap(), whole());
    }

    #[test]
    fn the_least_that_is_an_order_writes_an_image_and_nothing_else() {
        let text = r#"{"version":1,"image":{"url":"http://192.0.2.1/i","format":"raw","bytes":512,
            "sha256":"ABABABABABABABABABABABABABABABABABABABABABABABABABABABABABABABAB"},
            "callback":"http://192.0.2.1/c"}"#;
        let order = DeployOrder::parse(text).unwrap();
        assert_eq!(
            (order.image.sha256, order.image.disk_bytes(), order.disk),
            (sum(0xab), Some(512), DiskSelector::default())
        );
        assert_eq!(
            (order.grow, order.seed.len(), order.boot_entry, order.then),
            (false, 0, None, AfterDeploy::Reboot)
        );
    }

    #[test]
    fn another_version_is_named_whatever_else_stands_in_it() {
        for text in [
            r#"{"version":2}"#,
            r#"{"image":{"torrent":"magnet:"},"disk":7,"version":2}"#,
        ] {
            let error = DeployOrder::parse(text).unwrap_err();
            assert!(matches!(error, OrderError::Version { found: 2 }), "{error}");
            assert!(error.to_string().contains("version 2"), "{error}");
        }
        assert!(matches!(DeployOrder::parse("{}"), Err(OrderError::Json(_))));
        // Read by itself, as part of something else, it holds too.
        let other = WHOLE.replace(r#""version": 1"#, r#""version": 2"#);
        let error = serde_json::from_str::<DeployOrder>(&other).unwrap_err();
        assert!(error.to_string().contains("version 2"), "{error}");
    }

    #[test]
    fn what_an_order_does_not_know_is_refused_and_never_left_out() {
        let other = WHOLE.replace(r#""grow": true"#, r#""grow": true, "encrypt": true"#);
        assert!(matches!(DeployOrder::parse(&other), Err(OrderError::Json(_))));
    }

    #[test]
    fn what_contradicts_itself_is_refused() {
        type OrderChange = fn(&mut DeployOrder);
        let changes: [OrderChange; 8] = [
            |order| order.image.bytes = 0,
            |order| order.image.bytes = 50_000_000,
            |order| order.image.format = ImageFormat::Raw,
            |order| order.image.pieces.as_mut().unwrap().bytes = 1,
            |order| order.seed[0].name = "../etc/passwd".to_owned(),
            |order| order.seed[0].name = String::new(),
            |order| order.seed[1].name = "meta-data".to_owned(),
            |order| {
                order.seed = (0..17)
                    .map(|n| SeedFile {
                        name: n.to_string(),
                        ..order.seed[0].clone()
                    })
                    .collect()
            },
        ];
        for change in changes {
            let mut order = whole();
            change(&mut order);
            let text = serde_json::to_string(&order).unwrap();
            let error = DeployOrder::parse(&text).unwrap_err();
            assert!(matches!(error, OrderError::Contradiction(_)), "{error}");
        }
        assert_eq!(whole().contradiction(), None);
    }

    #[test]
    fn nothing_of_a_seed_is_shown() {
        assert!(!format!("{:?}", whole()).contains("instance-id"));
    }
}
