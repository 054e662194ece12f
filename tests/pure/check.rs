//! `config::load` from the outside: what is shipped is sound, and each mistake is named with its
//! place and what to do.

mod alike;
mod installs;
mod last_good;
mod loaders;
mod secrets;
mod slips;
mod texts;
mod validation;

use bootwright::boot::{
    machine::{Identity, identify},
    paths,
    render::Template,
    scene::TemplateContext,
    snapshot::{Artifact, Snapshot, Var},
    verification::ChecksumRecord,
};
use bootwright::config::{Diagnostic, LoadReport, Loaded, load, watched};
use bootwright::images::{
    checksum,
    reading::ReadVia,
    sums::{Deferred, Hashing, KnownChecksums, Sums},
};
use bootwright::model::{Arch, Cpu, Dialect, Firmware, Mode, Name, Probe, ServedInterface, WallTime};
use std::{
    fs,
    net::Ipv4Addr,
    path::{Path, PathBuf},
};
use tempfile::TempDir;

const SERVER: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
const CONFIG: &str = r#"[network]
interfaces = ["eno2"]
[paths]
scripts = "scripts"
answers = "answers"
images = "images"
loaders = ["loaders"]
"#;
const SUBNET: &str = r#"[[subnet]]
cidr = "192.0.2.0/24"
router = "192.0.2.1"
pool = ["192.0.2.100-192.0.2.199"]
"#;

/// As `bootwright check` reads images.
fn hashing() -> impl Sums {
    Hashing::silent()
}

/// A folder with the shipped scripts and answers, one small image and loaders.
struct Room(TempDir);

impl Room {
    fn new(inventory: &str) -> Room {
        let room = Room(tempfile::tempdir().unwrap());
        let shipped = Path::new(env!("CARGO_MANIFEST_DIR"));
        copy(&shipped.join("ipxe-scripts"), &room.path("scripts"));
        copy(&shipped.join("config/answers"), &room.path("answers"));
        room.write("bootwright.toml", CONFIG);
        for loader in ["undionly.kpxe", "snponly.efi"] {
            room.write(&format!("loaders/{loader}"), "loader");
        }
        room.image("debian-12", "x86_64");
        room.write("inventory.toml", inventory);
        room
    }

    fn path(&self, file: &str) -> PathBuf {
        self.0.path().join(file)
    }

    fn write(&self, file: &str, text: &str) {
        let path = self.path(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn image(&self, name: &str, arch: &str) {
        let mut manifest = format!("arch = \"{arch}\"\ncmdline = \"quiet\"\n");
        for (key, file) in [("kernel", "linux"), ("disk", "disk.img"), ("initrds", "initrd.gz")] {
            self.write(&format!("images/{name}/{file}"), file);
            manifest += &format!("{key} = {}\n", self.artifact(name, file));
        }
        self.write(&format!("images/{name}/image.toml"), &manifest);
    }

    fn artifact(&self, image: &str, file: &str) -> String {
        let folder = self.path(&format!("images/{image}"));
        let stamp = checksum::regular_beneath(&folder, file).unwrap();
        let sum = hashing().sum(&folder.join(file), stamp).unwrap().unwrap();
        format!("{{ file = \"{file}\", sha256 = \"{}\" }}", checksum::hex(&sum))
    }

    fn load(&self) -> Result<Loaded, LoadReport> {
        load(&self.path("bootwright.toml"), 1, &mut hashing())
    }

    fn report(&self) -> LoadReport {
        self.load().err().unwrap_or_default()
    }

    fn compiled(&self) -> Loaded {
        self.load().unwrap_or_else(|report| panic!("{}", report.render(false)))
    }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        let target = to.join(entry.file_name());
        match entry.path().is_dir() {
            true => copy(&entry.path(), &target),
            false => fs::copy(entry.path(), target).map(drop).unwrap(),
        }
    }
}

fn has(report: &LoadReport, place: (u32, u32), words: &[&str]) -> bool {
    report.errors.iter().any(|error| {
        let reported = error.to_string();
        error.place == Some(place) && words.iter().all(|word| reported.contains(word))
    })
}

fn shown(diagnostics: &[Diagnostic]) -> String {
    diagnostics.iter().map(|one| format!("{one}\n")).collect()
}

/// One host's mistakes, after `SUBNET`'s four lines, `[[host]]` and a name: the first line here is
/// line 7.
const HOST_MISTAKES: &[(&str, (u32, u32), &[&str])] = &[
    (
        "adress = \"192.0.2.9\"",
        (7, 1),
        &["unknown key `adress` in a host", "did you mean `address`?"],
    ),
    ("", (5, 1), &["can't be recognised", "`mac`"]),
    ("mac = \"52:54:00:00:00\"", (7, 7), &["is not a MAC address"]),
    ("mac = []", (5, 1), &["can't be recognised", "`mac`"]),
    ("client_id = []", (5, 1), &["can't be recognised"]),
    ("mac = \"00:00:00:00:00:00:00:00\"", (7, 7), &["no port's"]),
    ("client_id = \"ff:0\"", (7, 13), &["is not a client identifier"]),
    (
        "uuid = \"ffffffff-ffff-ffff-ffff-ffffffffffff\"",
        (7, 8),
        &["makers leave on thousands of boards", "`mac`"],
    ),
    (
        "mac = \"52:54:00:00:00:09\"\nuuid = \"03000200-0400-0500-0006-000700080009\"",
        (8, 8),
        &["makers leave on thousands of boards"],
    ),
    (
        "serial = \"Default string\"",
        (7, 10),
        &["`Default string`", "makers leave on thousands of boards"],
    ),
    ("mac = \"ff:ff:ff:ff:ff:ff\"", (7, 7), &["can't be a machine's"]),
    ("mac = 7", (7, 7), &["must be a text", "a number"]),
    ("uuid = \"7\"", (7, 8), &["is not a UUID"]),
    ("serial = \"1\\n2\"", (7, 10), &["control character U+000A"]),
    ("locked = \"yes\"", (7, 10), &["true or false"]),
    ("install_timeout = \"5s\"", (7, 19), &["from 1m to 7d"]),
    ("grow = \"no\"", (7, 8), &["true or false"]),
    ("after = \"power\"", (7, 9), &["one of reboot, poweroff, wait"]),
    ("boot = \"instal\"", (7, 8), &["did you mean `install`?"]),
    ("boot = \"live\"", (7, 8), &["boots `live` and has no script"]),
    (
        "address = \"192.0.3.11\"",
        (7, 11),
        &["address 192.0.3.11 lies in no subnet", "nearest is 192.0.2.0/24"],
    ),
    (
        "address = \"192.0.2.150\"",
        (7, 11),
        &["inside the pool 192.0.2.100-192.0.2.199"],
    ),
    ("address = \"192.0.2.1\"", (7, 11), &["is the router"]),
    ("address = \"192.0.2.255\"", (7, 11), &["network or broadcast address"]),
    ("address = \"192.0.2\"", (7, 11), &["`192.0.2` is not an IPv4 address"]),
    (
        "profile = \"wroker\"\n[profile.worker]",
        (7, 11),
        &["names the profile `wroker`", "did you mean `worker`?"],
    ),
    (
        "image = \"debian-13\"",
        (7, 9),
        &["no image `debian-13`", "did you mean `debian-12`?"],
    ),
    (
        "script = \"debian-instaler\"",
        (7, 10),
        &["no script `debian-instaler`", "`debian-installer`"],
    ),
    (
        "answer = \"presed\"",
        (7, 10),
        &["no answer `presed`", "did you mean `preseed`?"],
    ),
    ("cmdline = [\"quiet\\nshell\"]", (7, 12), &["control character"]),
    ("vars = { disk = 2026-01-01 }", (7, 17), &["a date"]),
    ("vars = { x = [[\"a\\rb\"]] }", (7, 16), &["control character"]),
    ("vars = { a-b = 1 }", (7, 16), &["can't name the variable `a-b`"]),
];

/// Other tables, after `SUBNET`: the first line here is line 5.
const OTHER_MISTAKES: &[(&str, (u32, u32), &[&str])] = &[
    (
        "[[hots]]\nname = \"a\"",
        (5, 3),
        &["unknown key `hots`", "did you mean `host`?"],
    ),
    ("[[host]]\nname = \"../a\"\nserial = \"1\"", (6, 8), &["is not a name"]),
    ("[[host]]\nserial = \"1\"", (5, 1), &["no `name`"]),
    (
        "[[host]]\nname = \"a\"\nserial = \"1\"\n[[host]]\nname = \"a\"\nserial = \"2\"",
        (9, 8),
        &["host `a` is listed twice", "inventory.toml:6:8"],
    ),
    (
        "[[host]]\nname = \"a\"\nserial = \"1\"\nhostname = \"n1\"\n[[host]]\nname = \"b\"\nserial = \"2\"\nhostname = \"N1\"",
        (12, 12),
        &["host `b` has the hostname N1 of host `a`", "inventory.toml:8:12"],
    ),
    (
        "[[host]]\nname = \"a\"\nmac = \"52:54:00:00:00:07\"\n[[host]]\nname = \"b\"\nmac = \"5254.0000.0007\"",
        (10, 7),
        &[
            "host `b` has the MAC address 52:54:00:00:00:07 of host `a`",
            "inventory.toml:7:7",
        ],
    ),
    (
        "[[host]]\nname = \"a\"\nserial = \"1\"\n[[host]]\nname = \"b\"\nserial = \"1\"",
        (10, 10),
        &["serial number 1 of host `a`"],
    ),
    (
        "[[host]]\nname = \"a\"\nport = \"1\"\naddress = \"192.0.2.9\"\n[[host]]\nname = \"b\"\nport = \"2\"\naddress = \"192.0.2.9\"",
        (12, 11),
        &["address 192.0.2.9 of host `a`"],
    ),
    (
        "[profile.a]\ninherits = [\"b\"]\n[profile.b]\ninherits = [\"a\"]",
        (8, 13),
        &["in a circle: a -> b -> a"],
    ),
    (
        "[profile.a]\ninherits = [\"base\"]",
        (6, 13),
        &["profile `a` names the profile `base`, and there is none"],
    ),
    (
        "[[subnet]]\ncidr = \"192.0.2.128/25\"",
        (6, 8),
        &["overlaps 192.0.2.0/24", "inventory.toml:2:8"],
    ),
    (
        "[[subnet]]\ncidr = \"198.51.100.0/24\"\nrouter = \"192.0.2.1\"",
        (7, 10),
        &["no host address of 198.51.100.0/24"],
    ),
    (
        "[[subnet]]\ncidr = \"198.51.100.0/24\"\npool = \"198.51.100.9-198.51.101.9\"",
        (7, 8),
        &["does not lie within"],
    ),
    (
        "[[subnet]]\ncidr = \"198.51.100.0/24\"\nlease = \"1 week\"",
        (7, 9),
        &["is not a length of time", "7d"],
    ),
    (
        "[[subnet]]\ncidr = \"198.51.100.7/24\"",
        (6, 8),
        &["the subnet is 198.51.100.0/24"],
    ),
    ("[[subnet]]\nrouter = \"198.51.100.1\"", (5, 1), &["no `cidr`"]),
    (
        "[[rule]]\nmatch = { arch = \"z80\" }",
        (6, 18),
        &["`z80` is not an architecture"],
    ),
    ("[[rule]]\nprofile = []", (5, 1), &["this rule has no `match`"]),
    (
        "[[rule]]\nmatch = { arch = \"arm64\" }\nimage = \"debian-12\"",
        (5, 1),
        &["speaks of arm64 machines", "x86_64"],
    ),
    (
        "[[rule]]\nmatch = { mac = \"52:5O:*\" }",
        (6, 17),
        &["`52:5O:*` matches no MAC address"],
    ),
    (
        "[[subnet]]\ncidr = \"198.51.100.0/24\"\nlease = 3600",
        (7, 9),
        &["a length of time", "\"1h\""],
    ),
    ("[[host]\nname = \"a\"", (5, 8), &["not TOML"]),
    ("[[host]]\nname = a b", (6, 8), &["not TOML", "stand in quotes"]),
    ("[[host]]\nname = 192.0.2.1", (6, 13), &["not TOML", "stand in quotes"]),
    ("[[host]]\nname: \"a\"", (6, 5), &["not TOML", "with `=`"]),
    ("[[host]]\nname = \"a\",", (6, 11), &["not TOML", "comma"]),
    ("[[host]]\nname = \"a", (6, 10), &["not TOML", "close the quote"]),
    (
        "[profile.p]\nvars = { a = 1 }\n[profile.p.vars]\nb = 1",
        (7, 12),
        &["`vars` is written twice"],
    ),
    ("[[host]]\nname = “a”", (6, 8), &["not TOML", "straight quotes"]),
];

/// One slip each, which once drew complaints about everything that hangs on it.
const LONELY_MISTAKES: &[&str] = &[
    "[[host]]\nname = \"a\"\nmac = \"52:54:00:00:00:07\"\naddress = \"192.0.2.9\"\n\
     [[host]]\nname = \"a\"\nmac = \"52:54:00:00:00:07\"\naddress = \"192.0.2.9\"",
    "[[subnet]]\ncidr = \"198.51.100.1/24\"\n[[host]]\nname = \"a\"\nserial = \"1\"\naddress = \"198.51.100.9\"",
    "[profile.p]\n[[host]]\nname = \"a\"\nserial = \"1\"\nprofile = \"q\"",
    "[profile.p]\n[[host]]\nname = 192.0.2.9\nserial = \"1\"\nprofile = \"p\"",
    "[[host]]\nname = \"a\"\nserial = \"1\"\nanswer = \"preseed.cfg\"",
    "[[host]]\nname: \"a\"\nserial = \"1\"",
];

fn host_with(mistake: &str) -> String {
    format!("{SUBNET}[[host]]\nname = \"a\"\n{mistake}\n")
}

#[test]
fn each_mistake_is_named_with_its_place_and_what_to_do() {
    let of_hosts = HOST_MISTAKES
        .iter()
        .map(|(text, place, words)| (host_with(text), place, words));
    let others = OTHER_MISTAKES
        .iter()
        .map(|(text, place, words)| (format!("{SUBNET}{text}\n"), place, words));
    for (inventory, place, words) in of_hosts.chain(others) {
        let report = Room::new(&inventory).report();
        let reported = shown(&report.errors);
        assert!(
            has(&report, *place, words),
            "{inventory}\n{words:?} at {place:?}, got\n{reported}"
        );
    }
}

#[test]
fn one_slip_is_one_complaint() {
    for inventory in LONELY_MISTAKES {
        let report = Room::new(&format!("{SUBNET}{inventory}\n")).report();
        // What one value can't be is said by the parser, and again nowhere.
        let reported = shown(&report.errors) + &shown(&report.warnings);
        assert_eq!(
            report.errors.len() + report.warnings.len(),
            1,
            "{inventory}\n{reported}"
        );
    }
}

#[test]
fn a_folder_that_is_not_there_is_reported_and_not_what_would_be_in_it() {
    let inventory = host_with(
        "serial = \"1\"\nboot = \"live\"\nimage = \"debian-12\"\nscript = \"debian-installer\"\nanswer = \"preseed\"",
    );
    for folder in ["scripts", "answers", "images"] {
        let room = Room::new(&inventory);
        fs::remove_dir_all(room.path(folder)).unwrap();
        let report = room.report();
        let reported = shown(&report.errors);
        assert!(
            reported.contains(&format!("the folder of {folder} can't be read")),
            "{reported}"
        );
        assert_eq!(report.errors.len(), 1, "{reported}");
    }
}

#[test]
fn an_emptied_inventory_is_refused() {
    for inventory in ["", "# nothing yet\n"] {
        let reported = shown(&Room::new(inventory).report().errors);
        assert!(reported.contains("the inventory has no [[subnet]]"), "{reported}");
    }
}

#[test]
fn an_inventory_in_the_place_of_the_settings_is_told_from_them() {
    let room = Room::new(SUBNET);
    let Err(report) = load(&room.path("inventory.toml"), 1, &mut hashing()) else {
        panic!("an inventory was taken for the settings");
    };
    let reported = shown(&report.errors);
    assert!(reported.contains("this is an inventory"), "{reported}");
    assert_eq!(report.errors.len(), 1, "{reported}");
}

#[test]
fn known_keys_are_listed_once() {
    let report = Room::new(&host_with("serial = \"1\"\nunheard = 1")).report();
    let reported = shown(&report.errors);
    assert_eq!(reported.matches("serial").count(), 1, "{reported}");
}

#[test]
fn all_mistakes_are_reported_at_once() {
    let mut inventory = SUBNET.to_owned();
    for (number, (mistake, _, _)) in HOST_MISTAKES.iter().enumerate() {
        inventory += &format!("[[host]]\nname = \"h{number}\"\n{mistake}\n");
    }
    let room = Room::new(&inventory);
    room.write(
        "images/broken/image.toml",
        "kernel = { file = \"missing\", sha256 = \"7\" }",
    );
    room.write("scripts/typo.ipxe", "#!ipxe\necho {{ nmae }}\n");
    let report = room.report();
    assert!(report.errors.len() > HOST_MISTAKES.len(), "{}", shown(&report.errors));
    for file in ["image.toml", "typo.ipxe", "inventory.toml"] {
        assert!(report.errors.iter().any(|error| error.file.ends_with(file)), "{file}");
    }
}

#[test]
fn what_a_profile_lacks_is_reported_beside_other_errors_and_once_for_all_hosts() {
    let mut inventory = format!(
        "{SUBNET}[profile.w]\nimage = \"debian-12\"\nboot = \"live\"\nscript = \"debian-installer\"\nanswer = \"preseed\"\nwrong = 1\n"
    );
    for number in 0..50 {
        inventory += &format!("[[host]]\nname = \"h{number}\"\nserial = \"S{number}\"\nprofile = \"w\"\n");
    }
    let report = Room::new(&inventory).report();
    let reported = shown(&report.errors);
    assert_eq!(report.errors.len(), 2, "{reported}");
    let wanted = "preseed.cfg:1:53: template: `vars.disk` has no value here; rendered for host `h0` (and 49 more)";
    assert!(reported.contains(wanted), "{reported}");
}

#[test]
fn a_template_that_names_nothing_known_is_an_error_although_nobody_uses_it() {
    let room = Room::new(SUBNET);
    room.write("answers/folder/user-data", "a\nb {{ host_name }}\n");
    room.write("scripts/broken.ipxe", "#!ipxe\n\n{% if %}\n");
    let reported = shown(&room.report().errors);
    assert!(
        reported.contains("folder/user-data:2:6: template: unknown variable `host_name`"),
        "{reported}"
    );
    assert!(
        reported.contains("broken.ipxe:3:7: template: syntax error"),
        "{reported}"
    );
}

#[test]
fn profiles_are_laid_down_in_order_and_the_right_most_wins() {
    let room = Room::new(&format!(
        r#"{SUBNET}
[profile.base]
cmdline = ["base"]
vars = {{ timezone = "UTC", disk = "/dev/sda" }}
image = "debian-12"
[profile.left]
inherits = ["base"]
cmdline = ["left"]
script = "live"
[profile.right]
inherits = ["base"]
cmdline = ["right"]
script = "debian-installer"
[[host]]
name = "a"
mac = ["52:54:00:00:00:07", "52-54-00-00-00-08"]
address = "192.0.2.9"
profile = ["left", "right"]
answer = "preseed"
boot = "live"
cmdline = "own"
vars = {{ disk = "/dev/vda" }}
"#
    ));
    let loaded = room.compiled();
    let settings = &loaded.snapshot.hosts.by_name("a").unwrap().settings;
    let cmdline: Vec<&str> = settings.cmdline.iter().map(|one| one.value.as_str()).collect();
    assert_eq!(cmdline, ["base", "left", "right", "own"]);
    assert_eq!(settings.script.as_ref().unwrap().value.as_str(), "debian-installer");
    assert_eq!(
        settings.vars.get("disk").unwrap().value,
        Var::Text("/dev/vda".to_owned())
    );
    assert_eq!(settings.vars.get("timezone").unwrap().origin.line, 8);
    let text = script(&loaded.snapshot, "52:54:00:00:00:08", Firmware::Uefi);
    assert!(text.contains("url=http://192.0.2.1/answer/a/preseed.cfg"), "{text}");
    assert!(text.contains(" quiet base left right own ||"), "{text}");
    assert!(
        text.contains("http://192.0.2.1/image/debian-12/linux initrd=initrd0"),
        "{text}"
    );
}

/// What a machine's texts are rendered with.
fn context(snapshot: &Snapshot, identity: &Identity) -> TemplateContext {
    let who = identify(snapshot, identity);
    TemplateContext::before_serving(snapshot, who, identity, SERVER).unwrap()
}

fn script(snapshot: &Snapshot, mac: &str, firmware: Firmware) -> String {
    script_for(Dialect::Ipxe, snapshot, mac, firmware)
}

fn script_for(dialect: Dialect, snapshot: &Snapshot, mac: &str, firmware: Firmware) -> String {
    let identity = Identity {
        mac: mac.parse().ok(),
        arch: Some(Arch {
            firmware,
            cpu: Cpu::X86_64,
        }),
        ..Identity::default()
    };
    let who = identify(snapshot, &identity);
    let context = context(snapshot, &identity);
    let unknown: Name = "unknown".parse().unwrap();
    let named = who.settings().and_then(|settings| settings.script.as_ref());
    let name = named.map_or(&unknown, |script| &script.value);
    snapshot.templates.script(name, dialect, &context).unwrap()
}

/// Every script and answer as a host gets it is rendered where machines are served, and is the text that it is
/// elsewhere.
fn assert_rendered_at_once(snapshot: &Snapshot, mac: &str) {
    let identity = Identity {
        mac: mac.parse().ok(),
        ..Identity::default()
    };
    let context = context(snapshot, &identity);
    let templates = &snapshot.templates;
    let scripts = Dialect::ALL.into_iter().flat_map(|dialect| {
        let names = templates.names_for(dialect).into_iter();
        names.map(move |name| Template::Script(name.parse().unwrap(), dialect))
    });
    let files = |(answer, files): (&Name, &Vec<String>)| {
        let (answer, files) = (answer.clone(), files.clone());
        files
            .into_iter()
            .map(move |file| Template::Answer(answer.clone(), file))
    };
    let all: Vec<Template> = scripts.chain(templates.answers.iter().flat_map(files)).collect();
    assert!(all.len() >= 20, "{all:?}");
    for template in all {
        let text = templates.render(&template, &context);
        assert!(text.is_ok(), "{template:?}: {text:?}");
        assert_eq!(templates.render_at_once(&template, &context), text.ok(), "{template:?}");
    }
}

#[test]
fn every_shipped_script_and_answer_renders_for_a_sample_host() {
    let pairs = [
        ("debian-installer", "preseed"),
        ("ubuntu-autoinstall", "autoinstall"),
        ("kickstart", "kickstart"),
        ("coreos", "ignition"),
        ("flatcar", "ignition"),
        ("talos", "talos"),
        ("agama", "agama"),
        ("autoyast", "autoyast"),
        ("live", "preseed"),
        ("rescue", "cloud"),
        ("local", "preseed"),
    ];
    let vars = r#"vars = { disk = "/dev/vda", repository = "http://192.0.2.1/rocky", ssh_keys = ["ssh-ed25519 AAAA admin"], talos = { type = "worker", token = "t", ca = "c", endpoint = "https://192.0.2.2:6443" } }"#;
    let mut inventory = SUBNET.to_owned();
    for (number, (script, answer)) in pairs.iter().enumerate() {
        // Whoever installs has an order; each text is rendered for the first.
        let boot = if number == 0 { "install" } else { "live" };
        inventory += &format!(
            "[[host]]\nname = \"h{number}\"\nmac = \"52:54:00:00:00:{number:02}\"\nimage = \"debian-12\"\nboot = \"{boot}\"\nscript = \"{script}\"\nanswer = \"{answer}\"\n{vars}\n"
        );
    }
    let room = Room::new(&inventory);
    room.image("bootwright-live", "x86_64");
    let loaded = room.compiled();
    assert_rendered_at_once(&loaded.snapshot, "52:54:00:00:00:00");
    for (number, (name, _)) in pairs.iter().enumerate() {
        for firmware in [Firmware::Bios, Firmware::Uefi] {
            let text = script(&loaded.snapshot, &format!("52:54:00:00:00:{number:02}"), firmware);
            assert!(text.starts_with("#!ipxe\n"), "{name}: {text}");
            assert!(text.contains("Bootwright: h"), "{name}: {text}");
            // An initrd that the kernel's command line does not name is lost on UEFI.
            let fetched = text.matches("initrd --name").count();
            assert_eq!(fetched, text.matches(" initrd=initrd").count(), "{name}: {text}");
            if *name != "local" {
                asks_again_by_the_network(&text);
            }
        }
    }
}

#[test]
fn proxmoxs_installer_gets_its_kernel_its_initrd_and_its_medium_beside_that() {
    let host = "[[host]]\nname = \"a\"\nmac = \"52:54:00:00:00:07\"\nimage = \"debian-12\"\nboot = \"live\"\n\
        script = \"proxmox\"\nanswer = \"proxmox\"\nvars = { disk = \"/dev/vda\", password_hash = \"$6$x$y\" }\n";
    let loaded = Room::new(&[SUBNET, host].concat()).compiled();
    for firmware in [Firmware::Bios, Firmware::Uefi] {
        let text = script(&loaded.snapshot, "52:54:00:00:00:07", firmware);
        assert!(
            text.contains(" initrd=initrd.img splash=silent proxmox-start-auto-installer "),
            "{text}"
        );
        assert!(text.contains("initrd --name proxmox.iso "), "{text}");
        asks_again_by_the_network(&text);
    }
}

/// A script that asks again opens the interface first, and goes on by DHCP where that was of no use.
fn asks_again_by_the_network(text: &str) {
    let lines: Vec<&str> = text.lines().collect();
    let chains = |line: &&str| line.starts_with("chain --replace --autofree http://192.0.2.1/boot.ipxe?");
    let asks = lines.iter().position(chains).expect("a script that fails asks again");
    assert_eq!(lines[asks - 1], "ifopen ||", "{text}");
    assert_eq!(lines[lines.len() - 2..], ["dhcp ||", "goto again"], "{text}");
    assert!(lines[..asks].contains(&":again"), "{text}");
}

#[test]
fn the_unknown_script_asks_again_where_ipxe_asked_first() {
    let loaded = Room::new(SUBNET).compiled();
    let text = script(&loaded.snapshot, "52:54:00:00:00:99", Firmware::Bios);
    assert!(
        text.contains(&paths::script_url(SERVER, loaded.snapshot.ports)),
        "{text}"
    );
    asks_again_by_the_network(&text);
    assert!(text.contains("Bootwright does not know this machine"), "{text}");
    // iPXE's `echo` takes a word that begins with `-` for an option and ends the script.
    assert!(!text.contains("\necho -"), "{text}");
}

#[test]
fn the_shipped_settings_and_inventory_are_sound() {
    let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("config");
    let room = Room::new(&fs::read_to_string(shipped.join("inventory.toml")).unwrap());
    room.image("debian-13", "x86_64");
    let config = fs::read_to_string(shipped.join("bootwright.toml")).unwrap();
    let local = config
        .replace("../ipxe-scripts", "scripts")
        .replace("../images", "images")
        .replace("/usr/lib/ipxe", "loaders");
    room.write("bootwright.toml", &local);
    let loaded = room.compiled();
    // The demo's host is honest about what it would do to a disk, and nothing else is odd.
    let [warning] = &loaded.warnings[..] else {
        panic!("{}", shown(&loaded.warnings));
    };
    assert!(warning.message.starts_with("host `r1u07` boots `live`"), "{warning}");
    assert_eq!(loaded.appliance.interfaces, [served("eno2", Mode::Dhcp)]);
    let text = script(&loaded.snapshot, "52:54:00:00:00:07", Firmware::Bios);
    assert!(text.contains("hostname=r1u07 domain=rack.example"), "{text}");
    assert!(text.contains("console=ttyS0,115200"), "{text}");
}

#[test]
fn a_folder_of_files_is_one_inventory_and_editors_leftovers_are_not_read() {
    let room = Room::new("");
    fs::remove_file(room.path("inventory.toml")).unwrap();
    room.write("inventory.toml/a.toml", SUBNET);
    room.write(
        "inventory.toml/b.toml",
        "[[host]]\nname = \"a\"\nserial = \"1\"\nprofile = \"p\"\n",
    );
    room.write("inventory.toml/c.toml", "[profile.p]\nboot = \"local\"\n");
    for left in [".b.toml.swp", "b.toml~", ".#b.toml", "notes.txt"] {
        room.write(&format!("inventory.toml/{left}"), "not toml");
    }
    assert_eq!(room.compiled().snapshot.hosts.len(), 1);
    room.write("inventory.toml/d.toml", "[[host]]\nname = \"b\"\nserial = \"1\"\n");
    let reported = shown(&room.report().errors);
    assert!(
        reported.contains("d.toml:3:10") && reported.contains("b.toml:3:10"),
        "{reported}"
    );
}

#[test]
fn artifacts_are_regular_files_with_the_right_checksum() {
    let room = Room::new(SUBNET);
    let wrong = "0".repeat(64);
    std::os::unix::fs::symlink("/etc/hostname", room.path("images/debian-12/link")).unwrap();
    let of = |file: &str, sum: &str| format!("kernel = {{ file = \"{file}\", sha256 = \"{sum}\" }}\n");
    for (manifest, words) in [
        (of("linux", &wrong), "is not the file whose sha256 stands here"),
        (of("linux", "abc"), "is not a sha256"),
        ("kernel = { file = \"linux\" }\n".to_owned(), "has no `sha256`"),
        (of("missing", &wrong), "No such file"),
        (of("link", &wrong), "symlink"),
        (of("../debian-12/linux", &wrong), "can't be an artifact's file"),
        (of("/etc/hostname", &wrong), "can't be an artifact's file"),
        ("arch = \"x86_64\"\n".to_owned(), "neither a kernel nor a disk"),
    ] {
        room.write("images/debian-12/image.toml", &manifest);
        let reported = shown(&room.report().errors);
        assert!(reported.contains(words), "{manifest}: {reported}");
    }
}

#[test]
fn an_artifact_that_changed_since_the_last_load_is_hashed_again() {
    let room = Room::new(SUBNET);
    room.compiled();
    room.write("images/debian-12/linux", "other");
    assert!(shown(&room.report().errors).contains("is not the file whose sha256"));
}

#[test]
fn a_daemon_takes_an_image_that_it_has_not_read_and_names_a_missing_sha256_all_the_same() {
    let room = Room::new(SUBNET);
    room.write("images/debian-12/linux", "other");
    let load = || load(&room.path("bootwright.toml"), 1, &mut Deferred);
    assert!(load().is_ok_and(|loaded| loaded.snapshot.images.contains_key("debian-12")));
    room.write("images/debian-12/image.toml", "kernel = { file = \"linux\" }\n");
    let reported = shown(&load().err().unwrap_or_default().errors);
    assert!(
        reported.contains("has no `sha256`") && reported.contains("sha256sum "),
        "{reported}"
    );
}

#[test]
fn what_a_daemon_has_verified_is_judged_and_not_read_again() {
    let room = Room::new(SUBNET);
    let image = room.compiled().snapshot.images["debian-12"].clone();
    let kept = |sum: [u8; 32]| {
        let record = |artifact: &Artifact| ChecksumRecord {
            path: image.path(artifact),
            stamp: artifact.stamp,
            sha256: if artifact.file == "linux" { sum } else { artifact.sha256 },
            at: WallTime(7),
        };
        KnownChecksums::of(image.artifacts().map(record).collect())
    };
    let mut read = Vec::new();
    let mut load = |kept| {
        let progress = |path: &Path, _, _| read.push(path.to_owned());
        let from = ReadVia::Memory;
        load(&room.path("bootwright.toml"), 1, &mut Hashing { kept, from, progress })
    };
    let right = image.kernel.as_ref().unwrap().sha256;
    assert!(load(kept(right)).is_ok());
    let reported = shown(&load(kept([7; 32])).err().unwrap_or_default().errors);
    assert!(
        reported.contains("`linux` is not the file whose sha256 stands here"),
        "{reported}"
    );
    assert_eq!(read, Vec::<PathBuf>::new());
    // The system's times tell two writes apart that are some milliseconds from each other.
    let folder = room.path("images/debian-12");
    while checksum::regular_beneath(&folder, "linux").unwrap() == image.kernel.as_ref().unwrap().stamp {
        room.write("images/debian-12/linux", "other");
    }
    assert!(
        load_hashing(&room, kept(right)).is_err(),
        "a record of the file as it was says nothing"
    );
}

fn load_hashing(room: &Room, kept: KnownChecksums) -> Result<Loaded, LoadReport> {
    let (from, progress) = (ReadVia::Memory, |_: &Path, _, _| {});
    load(&room.path("bootwright.toml"), 1, &mut Hashing { kept, from, progress })
}

#[test]
fn a_loader_that_the_inventory_needs_is_missed_by_name() {
    let room = Room::new(&format!(
        "{SUBNET}[[host]]\nname = \"a\"\nserial = \"1\"\nimage = \"arm\"\n"
    ));
    room.image("arm", "arm64");
    fs::remove_file(room.path("loaders/undionly.kpxe")).unwrap();
    let reported = shown(&room.report().errors);
    assert!(
        reported.contains("no loader for uefi-arm64, which host `a` needs"),
        "{reported}"
    );
    assert!(
        reported.contains("no loader for bios-x86_64") && reported.contains("undionly.kpxe"),
        "{reported}"
    );
    assert!(reported.contains("bootwright.toml:7:11"), "{reported}");
}

#[test]
fn the_appliance_says_what_is_wrong_with_it() {
    let room = Room::new(SUBNET);
    for (config, words) in [
        ("[network]\ninterfaces = []\n", "no interface to serve"),
        ("[network]\ninterfaces = [\"a/b\"]\n", "is not an interface name"),
        ("[network]\ninterfaces = [\"a\", \"a\"]\n", "named twice"),
        ("[network]\ninterfaces = [{ mode = \"proxy\" }]\n", "has no `name`"),
        (
            "[network]\ninterfaces = [{ name = \"a\", mode = \"prox\" }]\n",
            "did you mean `proxy`?",
        ),
        (
            "[network]\ninterfaces = [\"a\"]\nmachines_per_address = 48\n",
            "this must be a table",
        ),
        (
            "[network]\ninterfaces = [\"a\"]\nmachines_per_address = { \"192.0.2.7\" = 0 }\n",
            "a whole number from 1 to 1024",
        ),
        (
            "[network]\ninterfaces = [\"a\"]\nmachines_per_address = { rack1 = 48 }\n",
            "`rack1` has no prefix length",
        ),
        ("[http]\nport = 0\n", "1 to 65535"),
        ("[http]\nbulk_streams = 0\n", "a whole number from 1 to"),
        ("[http]\nbulk_streams = \"many\"\n", "a number"),
        ("[http]\nhot_images = \"many\"\n", "a whole number of kB"),
        ("[http]\nhot_images = true\n", "a size"),
        ("[tftp]\nsingle_port = 1\n", "true or false"),
        ("[syslog]\nenabled = \"no\"\n", "true or false"),
        ("[tftp]\nsingleport = true\n", "did you mean `single_port`?"),
        ("[htpp]\nport = 80\n", "did you mean `http`?"),
        ("[images]\nrecheck = \"0s\"\n", "write \"off\""),
        ("[images]\nrecheck = 7\n", "say the unit"),
        ("[images]\nrecheck = \"weekly\"\n", "is not a length of time"),
        ("[images]\nrechek = \"7d\"\n", "did you mean `recheck`?"),
        ("[admin]\nlisten = \"8067\"\n", "127.0.0.1:8067"),
        ("[unknown]\npolicy = \"ignored\"\n", "did you mean `ignore`?"),
        ("", "no [network]"),
    ] {
        room.write("bootwright.toml", config);
        let reported = shown(&room.report().errors);
        assert!(reported.contains(words), "{config}: {reported}");
    }
}

#[test]
fn files_that_are_missing_or_not_text_are_reported() {
    let room = Room::new("");
    fs::write(room.path("inventory.toml"), b"a = 1\nb = \"\xff\"").unwrap();
    assert!(has(&room.report(), (2, 6), &["UTF-8"]));
    fs::remove_file(room.path("inventory.toml")).unwrap();
    assert!(shown(&room.report().errors).contains("can't be read: No such file"));
    assert!(load(Path::new("/nonexistent/bootwright.toml"), 1, &mut hashing()).is_err());
}

#[test]
fn a_trial_says_of_which_folder_it_waits() {
    let room = Room::new("");
    let tried = std::process::Command::new(env!("CARGO_BIN_EXE_bootwright"))
        .args(["validate-files", "--config"])
        .arg(room.path("bootwright.toml"))
        .output()
        .unwrap();
    let reported = String::from_utf8(tried.stdout).unwrap();
    let steps: Vec<serde_json::Value> = reported
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap()["Next"].take())
        .filter(|step| !step.is_null())
        .collect();
    let read = |file: &str| serde_json::json!({ "Read": room.path(file) });
    let look = |folder: &str| serde_json::json!({ "Look": room.path(folder) });
    let begins = [
        read("bootwright.toml"),
        look("images"),
        read("images/debian-12/image.toml"),
        look("images/debian-12"),
        read("inventory.toml"),
    ];
    assert_eq!(steps.get(..begins.len()), Some(&begins[..]), "{reported}");
    assert_eq!(steps.last(), Some(&serde_json::json!("Validate")), "{reported}");
}

#[test]
fn deep_nesting_is_an_error_and_not_a_stack_overflow() {
    for nested in [
        "[".repeat(100_000),
        "{a=".repeat(100_000),
        format!("1\n{}x = 1", "a.".repeat(100_000)),
    ] {
        assert!(!Room::new(&format!("x = {nested}\n")).report().errors.is_empty());
    }
}

#[test]
fn deep_inheritance_is_an_error_and_wide_inheritance_is_not_exponential() {
    let (mut deep, mut wide) = (SUBNET.to_owned(), format!("{SUBNET}[profile.p0]\n"));
    for number in 1..100 {
        deep += &format!("[profile.p{}]\ninherits = [\"p{number}\"]\n", number - 1);
    }
    for number in 1..=50 {
        let below = number - 1;
        wide += &format!("[profile.p{number}]\ninherits = [\"p{below}\", \"p{below}\"]\n");
    }
    deep += "[profile.p99]\n";
    wide += "[[host]]\nname = \"a\"\nserial = \"1\"\nprofile = \"p50\"\n";
    assert!(shown(&Room::new(&deep).report().errors).contains("deep"));
    Room::new(&wide).compiled();
}

#[test]
fn five_hundred_mutated_inventories_never_panic() {
    let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/inventory.toml");
    let text = fs::read(shipped).unwrap();
    let room = Room::new("");
    let mut seed: u64 = 0x9e37_79b9_7f4a_7c15;
    let mut random = |below: usize| {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        usize::try_from(seed % below as u64).unwrap()
    };
    for _ in 0..500 {
        let mut mutated = text.clone();
        for _ in 0..=random(6) {
            let at = random(mutated.len());
            match random(4) {
                0 => mutated[at] = u8::try_from(random(256)).unwrap(),
                1 => drop(mutated.drain(at..mutated.len().min(at + 1 + random(40)))),
                2 => mutated.insert(at, b"\"[]{}=#\n,.\\\x00"[random(12)]),
                _ => {
                    let piece = mutated[at..mutated.len().min(at + 60)].to_vec();
                    mutated.splice(at..at, piece);
                }
            }
        }
        fs::write(room.path("inventory.toml"), &mutated).unwrap();
        let report = room.report();
        report.render(false);
        let is_one_line = |error: &Diagnostic| !error.to_string().contains('\n');
        assert!(report.errors.iter().all(is_one_line), "{}", shown(&report.errors));
    }
}

#[test]
fn a_report_shows_the_line_and_json_has_the_place() {
    let room = Room::new(&host_with("serial = \"1\"\naddress = \"192.0.3.11\""));
    let report = room.report();
    let page = report.render(false);
    assert!(page.contains("inventory.toml:8:11"), "{page}");
    assert!(page.contains("8 │ address = \"192.0.3.11\""), "{page}");
    assert!(
        page.contains("help: nearest is 192.0.2.0/24") && !page.contains('\x1b'),
        "{page}"
    );
    let json = serde_json::to_value(&report.errors[0]).unwrap();
    assert_eq!((json["line"].as_u64(), json["column"].as_u64()), (Some(8), Some(11)));
}

#[test]
fn the_watched_folders_cover_every_file_that_counts() {
    let room = Room::new(SUBNET);
    room.write("loaders/debian-installer/arm64/grub/arm64-efi/sleep.mod", "module");
    room.write("loaders/lost+found/1", "");
    let folders = watched(&room.compiled().appliance, &room.path("bootwright.toml")).folders;
    for folder in [
        "",
        "scripts",
        "answers",
        "answers/autoinstall",
        "images",
        "images/debian-12",
        "loaders",
        "loaders/debian-installer/arm64/grub/arm64-efi",
    ] {
        let wanted = room.path(folder);
        let is_watched = folders.iter().any(|one| one.components().eq(wanted.components()));
        assert!(is_watched, "{folder}: {folders:?}");
    }
    assert!(
        !folders.iter().any(|one| one.ends_with("loaders/lost+found")),
        "{folders:?}"
    );
}

#[test]
fn what_can_never_install_and_what_nobody_uses_is_warned_of() {
    let rule = "[[rule]]\nmatch = { arch = \"x86_64\" }\nboot = \"install\"\nscript = \"local\"\n";
    let host = "serial = \"1\"\nboot = \"install\"\n[profile.p]\n";
    let room = Room::new(&host_with(&[host, rule].concat()));
    let reported = shown(&room.compiled().warnings);
    assert!(reported.contains("profile `p` is used by no host"), "{reported}");
    assert!(
        reported.contains("host `a` boots `install` and has no script"),
        "{reported}"
    );
    assert!(reported.contains("this rule is set to install"), "{reported}");
    // Nobody is told to erase a disk at every power-on instead.
    assert!(!reported.contains("live"), "{reported}");
}

/// Two hosts of one profile, which begins at line 5 and boots from the network.
fn installs(script: &str) -> String {
    format!(
        "{SUBNET}[profile.p]\nboot = \"live\"\nimage = \"debian-12\"\n{script}\n\
         [[host]]\nname = \"a\"\nmac = \"52:54:00:00:00:01\"\nprofile = \"p\"\n\
         [[host]]\nname = \"b\"\nmac = \"52:54:00:00:00:02\"\nprofile = \"p\"\n"
    )
}

#[test]
fn an_installer_that_would_erase_a_disk_at_every_power_on_is_warned_of() {
    for (script, words) in [
        (
            "script = \"debian-installer\"\nanswer = \"preseed\"\nvars = { disk = \"/dev/sda\", mirror = \"192.0.2.9\" }",
            "Debian's installer",
        ),
        ("script = \"own\"", "Agama"),
        (
            "script = \"coreos\"\nanswer = \"ignition\"\nvars = { disk = \"/dev/sda\" }",
            "Fedora CoreOS",
        ),
    ] {
        let room = Room::new(&installs(script));
        room.write(
            "scripts/own.ipxe",
            "#!ipxe\nkernel {{ image.kernel }} inst.auto=http://192.0.2.1/x\n",
        );
        let warnings = room.compiled().warnings;
        let [warning] = &warnings[..] else {
            panic!("{script}: {}", shown(&warnings));
        };
        assert_eq!(warning.place, Some((6, 8)), "{warning}");
        for words in ["host `a` (and 1 more) boots `live`", words, "at every power-on"] {
            assert!(warning.message.contains(words), "{warning}");
        }
        assert!(warning.help.as_ref().unwrap().contains("boot = \"local\""), "{warning}");
        let local = Room::new(&installs(script).replace("\"live\"", "\"local\""));
        local.write(
            "scripts/own.ipxe",
            "#!ipxe\nkernel {{ image.kernel }} inst.auto=http://192.0.2.1/x\n",
        );
        assert_eq!(shown(&local.compiled().warnings), "");
    }
    for script in ["script = \"live\"", "script = \"coreos\"\nanswer = \"ignition\""] {
        assert_eq!(shown(&Room::new(&installs(script)).compiled().warnings), "", "{script}");
    }
}

#[test]
fn a_name_that_a_machine_without_a_name_server_is_sent_is_warned_of() {
    let script = "script = \"live\"\nanswer = \"preseed\"\nvars = { disk = \"/dev/sda\" }";
    let warned = |inventory: &str| shown(&Room::new(inventory).compiled().warnings);
    let room = Room::new(&installs(script));
    let warnings = room.compiled().warnings;
    let [warning] = &warnings[..] else {
        panic!("{}", shown(&warnings));
    };
    assert_eq!(warning.place, Some((9, 10)), "{warning}");
    let words = "host `a` (and 1 more) is sent the name deb.debian.org in answer preseed.cfg, and no name server";
    assert!(warning.message.starts_with(words), "{warning}");
    // An address needs no name server, and one may be the subnet's, the profile's or another DHCP server's.
    for (words, by) in [
        ("/dev/sda\"", "/dev/sda\", mirror = \"192.0.2.9\""),
        ("/dev/sda\"", "/dev/sda\", proxy = \"http://192.0.2.9:3128/\""),
        ("[profile.p]\n", "dns = [\"192.0.2.1\"]\n[profile.p]\n"),
        ("[profile.p]\n", "[profile.p]\ndns = [\"192.0.2.1\"]\n"),
    ] {
        assert_eq!(warned(&installs(script).replacen(words, by, 1)), "", "{by}");
    }
    room.write(
        "bootwright.toml",
        &CONFIG.replace("[paths]", "mode = \"proxy\"\n[paths]"),
    );
    assert_eq!(shown(&room.compiled().warnings), "");
    // A script is judged as it is sent: Alpine's has a mirror of its own.
    let reported = warned(&installs("script = \"alpine\""));
    assert!(
        reported.contains("the name dl-cdn.alpinelinux.org in script alpine"),
        "{reported}"
    );
}

#[test]
fn debians_installer_is_answered_what_it_asks_where_dhcp_gives_no_name_server_or_router() {
    let rest =
        "script = \"debian-installer\"\nanswer = \"preseed\"\nvars = { disk = \"/dev/sda\", mirror = \"192.0.2.9\" }";
    let (nameless, routeless) = ("netcfg/get_nameservers= ", "netcfg/no_default_route=true ");
    let dns = |inventory: String| inventory.replacen("[profile.p]", "dns = [\"192.0.2.1\"]\n[profile.p]", 1);
    let smallest = installs(rest).replacen("router = \"192.0.2.1\"\n", "", 1);
    for (inventory, asks) in [
        (installs(rest), [true, false]),
        (dns(installs(rest)), [false, false]),
        (smallest.clone(), [true, true]),
        (dns(smallest), [false, true]),
    ] {
        let loaded = Room::new(&inventory).compiled();
        for form in Dialect::ALL {
            let text = script_for(form, &loaded.snapshot, "52:54:00:00:00:01", Firmware::Bios);
            assert_eq!([nameless, routeless].map(|words| text.contains(words)), asks, "{text}");
        }
    }
}

fn served(name: &str, mode: Mode) -> ServedInterface {
    ServedInterface {
        name: name.to_owned(),
        mode,
        allow_default_route: false,
    }
}

#[test]
fn addresses_are_given_on_an_uplink_where_that_is_written_for_all_or_for_it() {
    let room = Room::new(SUBNET);
    let allowed = |network: &str| -> Vec<bool> {
        let appliance = CONFIG.replace("interfaces = [\"eno2\"]", network);
        room.write("bootwright.toml", &appliance);
        let served = room.compiled().appliance.interfaces;
        served.iter().map(|interface| interface.allow_default_route).collect()
    };
    let two = |second: &str| format!("interfaces = [\"a\", {{ name = \"b\", {second} }}]");
    assert_eq!(allowed(&two("mode = \"dhcp\"")), [false, false]);
    assert_eq!(allowed(&two("allow_default_route = true")), [false, true]);
    let all = format!("{}\nallow_default_route = true", two("allow_default_route = false"));
    assert_eq!(allowed(&all), [true, false]);
}

#[test]
fn an_interface_may_have_a_mode_of_its_own_beside_the_common_one() {
    let room = Room::new(SUBNET);
    let reported = |network: &str| {
        let appliance = CONFIG.replace("interfaces = [\"eno2\"]", network);
        room.write("bootwright.toml", &appliance);
        room.compiled().appliance.interfaces
    };
    assert_eq!(
        reported("interfaces = [\"a\", { name = \"b\", mode = \"proxy\" }]"),
        [served("a", Mode::Dhcp), served("b", Mode::Proxy)]
    );
    assert_eq!(
        reported("interfaces = [\"a\", { name = \"b\", mode = \"dhcp\" }, { name = \"c\" }]\nmode = \"proxy\""),
        [
            served("a", Mode::Proxy),
            served("b", Mode::Dhcp),
            served("c", Mode::Proxy)
        ]
    );
}

#[test]
fn a_guest_everywhere_needs_no_subnet_and_a_server_anywhere_does() {
    let room = Room::new("[[host]]\nname = \"a\"\nmac = \"52:54:00:00:00:01\"\naddress = \"192.0.2.11\"\n");
    room.write(
        "bootwright.toml",
        &CONFIG.replace("[\"eno2\"]", "[\"eno2\"]\nmode = \"proxy\""),
    );
    room.compiled();
    room.write("bootwright.toml", CONFIG);
    assert!(shown(&room.report().errors).contains("no [[subnet]]"));
}

#[test]
fn options_are_read_at_the_subnet_the_profile_and_the_host() {
    let room = Room::new(&format!(
        "{SUBNET}ntp = \"192.0.2.5\"\nsearch = [\"rack.example\"]\nmtu = 9000\n\
         routes = [{{ to = \"198.51.100.0/24\", via = \"192.0.2.254\" }}]\n\
         [profile.p]\noptions = [{{ code = 150, type = \"address\", value = [\"192.0.2.5\", \"192.0.2.6\"] }}]\n\
         [[host]]\nname = \"a\"\nmac = \"52:54:00:00:00:01\"\nprofile = \"p\"\nhostname = \"db1\"\n\
         options = [{{ code = 209, type = \"text\", value = \"x\", always = true }}, \
         {{ code = 224, type = \"hex\", value = \"01:ff\" }}, {{ code = 225, type = \"u16\", value = 258 }}]\n"
    ));
    let snapshot = room.compiled().snapshot;
    let common = &snapshot.subnets[0].options;
    let body = |code: u8| common[&code].value.body.clone();
    assert_eq!(body(42), [192, 0, 2, 5]);
    assert_eq!(body(119), b"\x04rack\x07example\0");
    assert_eq!(body(26), [35, 40]);
    assert_eq!(body(121), [24, 198, 51, 100, 192, 0, 2, 254]);
    let host = snapshot.hosts.by_name("a").unwrap();
    let own = |code: u8| host.settings.options[&code].value.clone();
    assert_eq!(host.hostname.as_deref(), Some("db1"));
    assert_eq!(own(150).body, [192, 0, 2, 5, 192, 0, 2, 6]);
    assert_eq!((own(209).body, own(209).always), (b"x".to_vec(), true));
    assert_eq!((own(224).body, own(225).body), (vec![1, 255], vec![1, 2]));
}

#[test]
fn name_servers_and_the_domain_may_stand_at_a_host_and_its_profile_too() {
    let room = Room::new(&format!(
        "{SUBNET}dns = \"192.0.2.53\"\ndomain = \"rack.example\"\n\
         [profile.p]\ndns = [\"192.0.2.5\", \"192.0.2.6\"]\ndomain = \"lab.example\"\n\
         [[host]]\nname = \"a\"\nmac = \"52:54:00:00:00:01\"\nprofile = \"p\"\ndomain = \"db.example\"\n"
    ));
    let snapshot = room.compiled().snapshot;
    let own = &snapshot.hosts.by_name("a").unwrap().settings;
    let servers = [Ipv4Addr::new(192, 0, 2, 5), Ipv4Addr::new(192, 0, 2, 6)];
    assert_eq!(own.dns().as_deref(), Some(&servers[..]));
    assert_eq!(own.domain(), Some("db.example"));
    assert_eq!(snapshot.subnets[0].domain.as_deref(), Some("rack.example"));
}

#[test]
fn a_router_of_a_route_must_be_where_its_machines_are() {
    let host = "[[host]]\nname = \"a\"\nmac = \"52:54:00:00:00:01\"\n";
    let route = |via: &str| format!("routes = [{{ to = \"203.0.113.0/24\", via = \"{via}\" }}]\n");
    for (inventory, words) in [
        (
            format!("{SUBNET}{}", route("198.51.100.1")),
            "a route goes via 198.51.100.1, which is no host address of 192.0.2.0/24",
        ),
        (
            format!("{SUBNET}{}", route("192.0.2.255")),
            "no host address of 192.0.2.0/24",
        ),
        (
            format!("{SUBNET}{}", route("192.0.2.150")),
            "has the router 192.0.2.150 of a route in it",
        ),
        (
            format!("{SUBNET}{host}address = \"192.0.2.7\"\n{}", route("198.51.100.1")),
            "host `a`: a route goes via 198.51.100.1, which is no host address of 192.0.2.0/24",
        ),
        (
            format!("{SUBNET}{host}{}", route("198.51.100.1")),
            "host `a`: a route goes via 198.51.100.1, which is no host address of any subnet",
        ),
    ] {
        let reported = shown(&Room::new(&inventory).report().errors);
        assert!(reported.contains(words), "{reported}");
    }
    for via in ["0.0.0.0", "192.0.2.254"] {
        Room::new(&format!("{SUBNET}{}", route(via))).compiled();
    }
}

#[test]
fn a_name_server_inside_a_pool_is_warned_of() {
    let room = Room::new(&format!("{SUBNET}dns = \"192.0.2.100\"\n"));
    assert!(shown(&room.compiled().warnings).contains("has the name server 192.0.2.100 in it"));
}

#[test]
fn a_probe_is_arp_or_ping_and_off_where_nothing_is_reported() {
    for (line, probe) in [
        ("", None),
        ("probe = \"off\"", None),
        ("probe = \"arp\"", Some(Probe::Arp)),
        ("probe = \"ping\"", Some(Probe::Ping)),
    ] {
        let room = Room::new(&format!("{SUBNET}{line}\n"));
        assert_eq!(room.compiled().snapshot.subnets[0].probe, probe, "{line}");
    }
    let room = Room::new(&format!("{SUBNET}probe = \"apr\"\n"));
    assert!(shown(&room.report().errors).contains("did you mean `arp`?"));
}

#[test]
fn an_option_that_cannot_be_is_reported_with_what_to_do() {
    for (line, words) in [
        ("mtu = 60", "at least 68"),
        ("mtu = \"1500\"", "without quotes"),
        ("ntp = \"clock\"", "is not an IPv4 address"),
        ("routes = [{ to = \"198.51.100.0/24\" }]", "a `to` and a `via`"),
        (
            "options = [{ code = 42, type = \"address\", value = \"192.0.2.5\" }]",
            "set `ntp`",
        ),
        ("options = [{ code = 54, type = \"u8\", value = 1 }]", "daemon's own"),
        ("options = [{ code = 300, type = \"u8\", value = 1 }]", "does not fit"),
        ("options = [{ code = 150, type = \"u8\", value = 256 }]", "does not fit"),
        (
            "options = [{ code = 150, type = \"hex\", value = \"abc\" }]",
            "two digits a byte",
        ),
        (
            "options = [{ code = 150, type = \"adress\", value = \"192.0.2.5\" }]",
            "did you mean `address`?",
        ),
        (
            "options = [{ code = 150, type = \"u8\", value = 1 }, { code = 150, type = \"u8\", value = 2 }]",
            "set twice",
        ),
    ] {
        let room = Room::new(&format!("{SUBNET}{line}\n"));
        let reported = shown(&room.report().errors);
        assert!(
            reported.contains(words) && reported.contains("inventory.toml:5:"),
            "{line}: {reported}"
        );
    }
    let routes = vec!["{ to = \"198.51.100.0/24\", via = \"192.0.2.254\" }"; 128].join(", ");
    let room = Room::new(&format!("{SUBNET}routes = [{routes}]\n"));
    assert!(shown(&room.report().errors).contains("1024 bytes, and has at most 1019"));
    let long = "x".repeat(1025);
    let room = Room::new(&format!(
        "{SUBNET}options = [{{ code = 150, type = \"text\", value = \"{long}\" }}]\n"
    ));
    assert!(shown(&room.report().errors).contains("1025 bytes"));
}

#[test]
fn an_option_that_goes_out_in_pieces_is_sound_and_said() {
    for (bytes, is_reported) in [(255, false), (256, true), (1024, true)] {
        let long = "x".repeat(bytes);
        let room = Room::new(&format!(
            "{SUBNET}options = [{{ code = 150, type = \"text\", value = \"{long}\" }}]\n"
        ));
        let warnings = shown(&room.compiled().warnings);
        let reported = warnings.contains("inventory.toml:5:12: option 150 has");
        assert_eq!(reported, is_reported, "{bytes} bytes: {warnings}");
    }
}

#[test]
fn a_subnet_is_selectable_only_where_it_says_so() {
    for (line, is_selectable) in [
        ("", false),
        ("selectable = false\n", false),
        ("selectable = true\n", true),
    ] {
        let room = Room::new(&format!("{SUBNET}{line}"));
        assert_eq!(room.compiled().snapshot.subnets[0].selectable, is_selectable, "{line}");
    }
    let room = Room::new(&format!("{SUBNET}selectable = \"yes\"\n"));
    let reported = shown(&room.report().errors);
    assert!(
        reported.contains("inventory.toml:5:14") && reported.contains("true or false"),
        "{reported}"
    );
}
