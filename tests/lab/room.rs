//! A folder of configuration as an operator would write it, in a temporary place.

use super::release::Release;
use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Command, Output},
};
use tempfile::TempDir;

/// Where tests/install-packages.sh puts single files of packages.
const UNPACKED: &str = "/usr/local/lib/bootwright-tests";

/// The subnet every room has: a hundred dynamic addresses above the reservations.
pub const SUBNET: &str = r#"
[[subnet]]
cidr   = "192.0.2.0/24"
router = "192.0.2.1"
dns    = ["192.0.2.1"]
pool   = ["192.0.2.100-192.0.2.199"]
lease  = "1h"
"#;

/// A host that boots a script `who` and has an image, [`Room::with_small_image`]'s.
pub const ONE_LIVE_HOST: &str = r#"
[[host]]
name    = "r1u01"
mac     = "02:00:00:00:00:41"
address = "192.0.2.41"
boot    = "live"
script  = "who"
image   = "small"
"#;

/// A host that holds places which a machine must wait for: an address of nobody would give way.
pub const HOLDER: &str = r#"
[[host]]
name    = "holder"
mac     = "02:00:00:00:00:55"
address = "192.0.2.55"
boot    = "local"
"#;

/// `bootwright.toml`, an inventory, scripts, images and a state folder.
pub struct Room {
    folder: TempDir,
}

impl Room {
    /// A room with that inventory beneath [`SUBNET`] and the scripts and answers as shipped.
    pub fn new(inventory: &str) -> Room {
        let folder = tempfile::Builder::new()
            .prefix("bw")
            .tempdir()
            .expect("a temporary folder");
        // The daemon may run as its own user, who must be able to read this again at a reload.
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).expect("our own folder");
        for name in ["images", "loaders"] {
            fs::create_dir(folder.path().join(name)).expect("a new folder");
        }
        let room = Room { folder };
        let shipped = shipped();
        let appliance = format!(
            "[network]\ninterfaces = [\"eno2\"]\nmode = \"dhcp\"\n\n[paths]\ninventory = \"inventory.toml\"\n\
             scripts = \"scripts\"\nanswers = \"answers\"\nimages = \"images\"\n\
             loaders = [\"loaders\", \"/usr/lib/ipxe\"]\n\n[state]\npath = \"{state}\"\n\n[admin]\nsocket = \"{socket}\"\n",
            state = room.path("state").display(),
            socket = room.path("admin.sock").display(),
        );
        // Copies, so that the daemon can read them as whoever it becomes, wherever the checkout is.
        copy(&shipped.join("ipxe-scripts"), &room.path("scripts"));
        copy(&shipped.join("config/answers"), &room.path("answers"));
        room.write("bootwright.toml", &appliance);
        room.write_inventory(inventory);
        room
    }

    /// A path beneath the folder.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The main file.
    pub fn config(&self) -> PathBuf {
        self.path("bootwright.toml")
    }

    /// Writes a file as editors do: a new one beside it, renamed over it.
    pub fn write(&self, name: &str, text: &str) {
        let file = self.path(name);
        let own_name = file.file_name().expect("a file has a name").to_string_lossy();
        let beside = file.with_file_name(format!(".{own_name}.swp"));
        fs::write(&beside, text).expect("a new file in our own folder");
        fs::rename(&beside, &file).expect("a rename in our own folder");
    }

    /// Replaces the inventory; the subnet stays.
    pub fn write_inventory(&self, hosts: &str) {
        self.write("inventory.toml", &format!("{SUBNET}{hosts}"));
    }

    /// Replaces some words of bootwright.toml.
    pub fn set(&self, words: &str, by: &str) {
        let text = fs::read_to_string(self.config()).expect("our own file");
        assert!(text.contains(words), "bootwright.toml has no {words}");
        self.write("bootwright.toml", &text.replace(words, by));
    }

    /// Adds lines to bootwright.toml.
    pub fn with_settings(self, lines: &str) -> Room {
        let text = fs::read_to_string(self.config()).expect("our own file");
        self.write("bootwright.toml", &format!("{text}\n{lines}"));
        self
    }

    /// Adds a script beside the shipped ones.
    pub fn with_script(self, name: &str, text: &str) -> Room {
        self.write_script(&format!("{name}.ipxe"), text);
        self
    }

    /// Writes a script for any loader: `live.grub`.
    pub fn write_script(&self, file: &str, text: &str) {
        self.write(&format!("scripts/{file}"), text);
    }

    /// Adds shim and GRUB, and PXELINUX where its package has it.
    pub fn with_other_loaders(self) -> Room {
        for (signed, name) in [("shimx64.efi", "shimx64.efi"), ("grubnetx64.efi", "grubx64.efi")] {
            let file = format!("{UNPACKED}/{signed}.signed");
            fs::copy(&file, self.path("loaders").join(name))
                .unwrap_or_else(|error| panic!("{file}: {error}: tests/install-packages.sh unpacks it"));
        }
        let ipxe = "\"/usr/lib/ipxe\"";
        let beside = "\"/usr/lib/PXELINUX\", \"/usr/lib/syslinux/modules/bios\"";
        self.set(ipxe, &format!("{beside}, {ipxe}"));
        self
    }

    /// Adds this machine's installer of Debian as image `debian-12`, with the command an operator would use.
    /// Which Debian it is of depends on the machine.
    pub fn with_debian(self) -> Room {
        self.with_installer(&Release::own().installer("amd64"), "x86_64")
    }

    /// The same of any release, for machines of that architecture.
    pub fn with_installer(self, folder: &Path, arch: &str) -> Room {
        let path = |name: &str| folder.join(name).to_string_lossy().into_owned();
        self.with_image("debian-12", arch, [&path("linux"), &path("initrd.gz")])
    }

    /// Adds an image of a kernel and an initrd, with the command an operator would use.
    pub fn with_image(self, name: &str, arch: &str, [kernel, initrd]: [&str; 2]) -> Room {
        let images = self.path("images").to_string_lossy().into_owned();
        let what = [
            "image", "add", name, "--arch", arch, "--kernel", kernel, "--initrd", initrd,
        ];
        let output = bootwright(&[&what[..], &["--images", &images]].concat());
        assert!(
            output.status.success(),
            "image add: {}",
            super::namespace::text(&output)
        );
        self
    }

    /// Adds image `small` with a kernel of that content, for clients that only compare bytes.
    pub fn with_small_image(self, kernel: &[u8]) -> Room {
        let file = self.path("kernel.bin");
        fs::write(&file, kernel).expect("a new file in our own folder");
        let images = self.path("images");
        let (file, images) = (
            file.to_string_lossy().into_owned(),
            images.to_string_lossy().into_owned(),
        );
        let output = bootwright(&["image", "add", "small", "--kernel", &file, "--images", &images]);
        assert!(
            output.status.success(),
            "image add: {}",
            super::namespace::text(&output)
        );
        self
    }
}

/// The checkout.
pub fn shipped() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Copies what is in a folder.
pub fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a new folder");
    for entry in fs::read_dir(from).expect("the folder is shipped") {
        let path = entry.expect("a readable folder").path();
        let copied = to.join(path.file_name().expect("a file has a name"));
        if path.is_dir() {
            copy(&path, &copied);
        } else {
            fs::copy(&path, copied).expect("room for a copy");
        }
    }
}

/// The daemon that is tested: the one that was built with the tests, or `BINARY`.
pub fn binary() -> String {
    std::env::var("BINARY").unwrap_or_else(|_| env!("CARGO_BIN_EXE_bootwright").to_owned())
}

/// Runs that binary outside of any namespace.
pub fn bootwright(arguments: &[&str]) -> Output {
    let mut command = Command::new(binary());
    command
        .args(arguments)
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped());
    super::namespace::finish(command, "bootwright")
}
