//! `quirks.toml`: an operator's rows beside the shipped ones, and each mistake with its place.

use bootwright::config::{LoadReport, Loaded, load, shipped_quirks, watched};
use bootwright::images::sums::Deferred;
use std::{fs, path::Path};
use tempfile::TempDir;

const CONFIG: &str = r#"[network]
interfaces = ["eno2"]
[paths]
scripts = "scripts"
images = "images"
loaders = ["loaders"]
"#;
const INVENTORY: &str = "[[subnet]]\ncidr = \"192.0.2.0/24\"\n";

/// A sound appliance's folder.
struct Room(TempDir);

impl Room {
    fn new(quirks: Option<&str>) -> Room {
        let room = Room(tempfile::tempdir().unwrap());
        let scripts = Path::new(env!("CARGO_MANIFEST_DIR")).join("ipxe-scripts");
        for folder in ["scripts", "images", "loaders", "answers"] {
            fs::create_dir(room.0.path().join(folder)).unwrap();
        }
        for entry in fs::read_dir(scripts).unwrap().map(Result::unwrap) {
            fs::copy(entry.path(), room.0.path().join("scripts").join(entry.file_name())).unwrap();
        }
        for loader in ["undionly.kpxe", "snponly.efi", "ipxe.efi"] {
            room.write(&format!("loaders/{loader}"), "loader");
        }
        room.write("bootwright.toml", CONFIG);
        room.write("inventory.toml", INVENTORY);
        if let Some(quirks) = quirks {
            room.write("quirks.toml", quirks);
        }
        room
    }

    fn write(&self, file: &str, text: &str) {
        fs::write(self.0.path().join(file), text).unwrap();
    }

    fn load(&self) -> Result<Loaded, LoadReport> {
        load(&self.0.path().join("bootwright.toml"), 1, &mut Deferred)
    }

    /// The names of the rows in force.
    fn names(&self) -> Vec<String> {
        let loaded = self.load().unwrap_or_else(|report| panic!("{}", report.render(false)));
        let rows = loaded.snapshot.quirks.0.into_iter();
        rows.map(|quirk| quirk.name.to_string()).collect()
    }
}

fn shipped_names() -> Vec<String> {
    let rows = shipped_quirks().0.into_iter();
    rows.map(|quirk| quirk.name.to_string()).collect()
}

fn row(name: &str, matches: &str, set: &str) -> String {
    format!("[[quirk]]\nname = \"{name}\"\nwhy = \"a test\"\nmatch = {{ {matches} }}\nset = {{ {set} }}\n")
}

#[test]
fn without_a_file_the_shipped_rows_are_in_force_and_its_own_copy_changes_nothing() {
    assert_eq!(Room::new(None).names(), shipped_names());
    let copy = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("config/quirks.toml")).unwrap();
    let room = Room::new(Some(&copy));
    assert_eq!(room.load().ok().unwrap().snapshot.quirks, shipped_quirks());
}

#[test]
fn an_operators_rows_come_first_and_one_with_a_shipped_name_takes_its_place() {
    let mine = row("acme", "oui = \"52:54:00\"", "loader = \"ipxe.efi\"") + &row("raspberry-pi", "arch = 41", "");
    let names = Room::new(Some(&mine)).names();
    assert_eq!(names[..2], ["acme", "raspberry-pi"]);
    assert_eq!(names.len(), shipped_names().len() + 1);
}

#[test]
fn a_file_that_is_named_must_be_there_and_its_folder_is_watched() {
    let room = Room::new(None);
    room.write("bootwright.toml", &format!("{CONFIG}quirks = \"firmware/odd.toml\"\n"));
    let report = room.load().err().unwrap();
    assert!(
        report.errors[0].file.ends_with("firmware/odd.toml"),
        "{:?}",
        report.errors
    );
    fs::create_dir(room.0.path().join("firmware")).unwrap();
    room.write("firmware/odd.toml", &row("acme", "", "tftp_block_max = 512"));
    let loaded = room.load().ok().unwrap();
    assert_eq!(&*loaded.snapshot.quirks.0[0].name, "acme");
    let folders = watched(&loaded.appliance, &room.0.path().join("bootwright.toml")).folders;
    assert!(folders.contains(&room.0.path().join("firmware")));
}

/// See [`MISTAKES`].
type Mistake = (&'static str, &'static str, (u32, u32), &'static [&'static str]);

/// A row's mistake: its conditions, what it sets, the line (`match` is 4, `set` is 5) and column,
/// and the words.
const MISTAKES: &[Mistake] = &[
    (
        "oui = \"52:54\"",
        "",
        (4, 17),
        &["`52:54` is not a block of MAC addresses", "b8:27:eb", "8c:1f:64:34:a"],
    ),
    ("oui = []", "", (4, 17), &["`oui` lists nothing"]),
    ("arch = \"arm64\"", "", (4, 18), &["number from 0 to 65535"]),
    ("undi = \"3\"", "", (4, 18), &["is no UNDI version", "3.16"]),
    ("undi = \"3.1-2.0\"", "", (4, 18), &["the lower first"]),
    (
        "vendor = \"x\"",
        "",
        (4, 11),
        &["unknown key `vendor` in a quirk's match"],
    ),
    ("stage = \"pi\"", "", (4, 19), &["`pi` is not known here"]),
    ("", "stage = \"ipxe\"", (5, 17), &["`ipxe` is not known here"]),
    ("", "reply = \"multicast\"", (5, 17), &["did you mean `unicast`?"]),
    (
        "",
        "leave_out = [66, 53]",
        (5, 26),
        &["option 53 is the protocol's own"],
    ),
    ("", "leave_out = [300]", (5, 22), &["number from 1 to 254"]),
    ("", "tftp_block_max = 7", (5, 26), &["number from 8 to 1468"]),
    (
        "",
        "loader = \"snp.efi\"",
        (5, 18),
        &["there is no loader `snp.efi`", "[paths]"],
    ),
    (
        "",
        "add = [{ code = 67, type = \"text\", value = \"x\" }]",
        (5, 25),
        &["option 67"],
    ),
    (
        "",
        "add = [{ code = 43, type = \"bytes\", value = \"8\" }]",
        (5, 53),
        &["is no bytes", "00 11"],
    ),
    (
        "",
        "add = [{ code = 43, type = \"options\", value = \"8\" }]",
        (5, 55),
        &["are a list"],
    ),
    (
        "",
        "add = [{ code = 43, value = \"8\" }]",
        (5, 16),
        &["this option has no `type`"],
    ),
    ("", "tftp_blocks = 512", (5, 9), &["unknown key `tftp_blocks`"]),
];

#[test]
fn each_mistake_is_named_with_its_place_and_what_to_do() {
    for (matches, set, place, words) in MISTAKES {
        let report = Room::new(Some(&row("acme", matches, set))).load().err();
        let report = report.unwrap_or_else(|| panic!("no error: {matches} {set}"));
        let found = report.errors.iter().any(|error| {
            let printed = error.to_string();
            error.place == Some(*place)
                && error.file.ends_with("quirks.toml")
                && words.iter().all(|word| printed.contains(word))
        });
        assert!(found, "{matches} {set}: {}", report.render(false));
    }
}

#[test]
fn all_mistakes_of_a_file_are_reported_at_once() {
    let text = row("two words", "", "") + "[[quirk]]\nname = \"bare\"\n" + &row("twin", "", "") + &row("twin", "", "");
    let report = Room::new(Some(&text)).load().err().unwrap();
    let printed = report.render(false);
    for words in [
        "can't be a quirk's name",
        "this quirk has no `why`",
        "this quirk has no `match`",
        "this quirk has no `set`",
        "two quirks are called `twin`",
    ] {
        assert!(printed.contains(words), "{words}: {printed}");
    }
}
