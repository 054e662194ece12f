//! What must hold of every template: it is refused in words with a place, or rendered for every machine that
//! it was accepted for, within its limits.
//!
//! An input's first byte says which file it is, and the rest is its text; what follows a line of `---` is
//! the text of a file that it may include.

use super::room::{Room, assert_served};

/// Files that a template may be, and that it may include.
const FILES: [(&str, &str); 4] = [
    ("scripts/live.ipxe", "scripts/retry.ipxe"),
    ("scripts/live.grub", "scripts/retry.grub"),
    ("scripts/live.pxelinux", "scripts/retry.pxelinux"),
    ("answers/preseed.cfg", "answers/retry.cfg"),
];
pub const INVENTORY: &str = r#"
[[subnet]]
cidr = "192.0.2.0/24"
router = "192.0.2.254"
dns = ["192.0.2.53"]
domain = "rack.example"
[profile.base]
script = "live"
answer = "preseed"
boot = "live"
loader = ["grubx64.efi", "lpxelinux.0"]
cmdline = ["console=ttyS0", "quiet"]
vars = { disk = "/dev/vda", n = 7, list = ["a", "b c"], table = { k = "v" }, no = false }
[[host]]
name = "r1u07"
mac = "52:54:00:00:00:07"
address = "192.0.2.11"
image = "debian"
profile = "base"
[[host]]
name = "r1u08"
mac = ["52:54:00:00:00:08", "52:54:00:00:01:08"]
address = "192.0.2.12"
image = "debian"
profile = "base"
vars = { key = "it's" }
[[rule]]
match = { arch = "x86_64" }
image = "debian"
profile = "base"
"#;

/// The room that templates are judged in.
pub fn room() -> Room {
    let room = Room::new();
    room.write("inventory.toml", INVENTORY.as_bytes());
    room
}

/// Puts the files back that an input stood in for.
fn mend(room: &Room) {
    room.put_back();
    for (_, included) in FILES {
        let _ = std::fs::remove_file(room.path(included));
    }
}

/// Judges one input; whether it was accepted. Panics where a property does not hold.
pub fn judge(room: &Room, input: &[u8]) -> bool {
    let Some((which, text)) = input.split_first() else {
        return false;
    };
    let (file, included) = FILES[usize::from(*which) % FILES.len()];
    let marker = b"\n---\n";
    let cut = text.windows(marker.len()).position(|part| part == marker);
    let (text, include) = match cut {
        Some(at) => (&text[..at + 1], &text[at + marker.len()..]),
        None => (text, &b"sleep 60\n"[..]),
    };
    mend(room);
    room.write(file, text);
    room.write(included, include);
    let accepted = room.judged();
    if let Some(loaded) = &accepted {
        assert_served(&loaded.snapshot);
    }
    accepted.is_some()
}
