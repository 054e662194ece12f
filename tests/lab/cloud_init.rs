//! Rung 3: what cloud-init of three suites asks for, in which order, and what it makes of it: NoCloud's folder and the
//! metadata tree of EC2, from our own log. What it is refused it would ask again, a second apart.

use super::daemon::{Daemon, ask, ask_json};
use super::installers::{INSTALLER_12, MAC, Meanwhile, Trouble, room, script};
use super::namespace::{Namespace, SERVER, Wire, text};
use super::room::Room;
use std::fs;

/// cloud-init in a copy of its suite's root, told by a configuration and the kernel's parameters where to ask; then
/// what is to be printed.
const CLOUD_INIT: &str = r#"
mount -t tmpfs tmpfs /mnt && mkdir /mnt/upper /mnt/work /mnt/root || exit 1
mount -t overlay overlay -o "lowerdir=$0,upperdir=/mnt/upper,workdir=/mnt/work" /mnt/root || exit 1
cd /mnt/root && mount -t proc proc proc && mount -t sysfs sysfs sys && mount --bind /dev dev && mount -t tmpfs tmpfs run || exit 1
printf '%s\nnetwork: {config: disabled}\ncloud_init_modules: []\n' "$1" > etc/cloud/cloud.cfg.d/99-lab.cfg
export DEBUG_PROC_CMDLINE="$2"
chroot . cloud-init init > /mnt/printed 2>&1 || { cat /mnt/printed; exit 1; }
grep -q WARN var/log/cloud-init.log && { cat var/log/cloud-init.log; exit 1; }
eval "$3"
"#;
/// Debian 12's reads no schema of a system that is not set up to its end.
const CHECKED: &str = r#"
dpkg --admindir=var/lib/dpkg --compare-versions "$(dpkg-query --admindir=var/lib/dpkg -Wf '${Version}' cloud-init)" lt 23 ||
    chroot . cloud-init schema --system > /mnt/printed 2>&1 || { cat /mnt/printed; exit 1; }
echo "instance $(cat var/lib/cloud/data/instance-id)"
chroot . cat /var/lib/cloud/instance/user-data.txt
"#;

/// What cloud-init of a suite leaves at a client, told where to ask by a configuration and the kernel's parameters.
fn printed(client: &Namespace, suite: &str, (config, parameters): (&str, &str), then: &str) -> String {
    // It tells interfaces by `ip`, which its package does not bring.
    let root = script("newer-root.sh", &[suite, "cloud-init", "iproute2"]);
    let root = root.to_string_lossy();
    let apart = [
        "--mount",
        "--uts",
        "--pid",
        "--fork",
        "--kill-child",
        "sh",
        "-c",
        CLOUD_INIT,
    ];
    let arguments = [&apart[..], &[&root, config, parameters, then]].concat();
    String::from_utf8_lossy(&client.expect("unshare", &arguments)).into_owned()
}

/// One answer that a host is given, and who asks for it.
struct Seed {
    wire: Wire,
    daemon: Daemon,
    client: Namespace,
    meanwhile: Trouble,
    _room: Room,
}

impl Seed {
    fn new(meanwhile: Meanwhile) -> Seed {
        let wire = Wire::new();
        let host = "script = \"live\"\nanswer = \"autoinstall\"\nhostname = \"web-7\"\n\
             vars = { disk = \"/dev/vda\", ssh_keys = [\"ssh-ed25519 AAAA ada\", \"ssh-ed25519 BBBB bob\"], plan = \"c3\" }\n";
        let room = room(&(INSTALLER_12.medium)(), host);
        let daemon = Daemon::start(&wire, &room);
        let holder = wire.client_at("02:00:00:00:00:55", "192.0.2.55");
        assert!(holder.gets_lease(&[]), "{}", daemon.log_tail());
        let client = wire.client_at(MAC, "192.0.2.11");
        let meanwhile = Trouble::begin(meanwhile, &holder, &room);
        Seed {
            wire,
            daemon,
            client,
            meanwhile,
            _room: room,
        }
    }

    fn user_data(&self) -> String {
        let url = format!("http://{SERVER}/answer/r1u07/user-data");
        String::from_utf8_lossy(&self.client.expect("curl", &["-sSf", &url])).into_owned()
    }

    /// What was asked for, in order. Nothing was refused.
    fn asked(&self, kinds: &[&str]) -> Vec<String> {
        let lines = self.daemon.lines().into_iter();
        let of_kind = lines.filter(|line| kinds.iter().any(|kind| line.file.starts_with(kind)));
        let asked: Vec<_> = of_kind.filter(|line| line.machine == "r1u07").collect();
        let refused: Vec<_> = asked.iter().filter(|line| line.event != "sent").collect();
        assert!(refused.is_empty(), "{refused:?}");
        asked.into_iter().map(|line| line.file).collect()
    }
}

/// How the kernel's parameters name the folder: up to 22.4 cloud-init fetches a `nocloud` before the network's stage alone,
/// and takes it for none in that.
fn seed_parameter(suite: &str) -> String {
    let net = if suite == "bookworm" { "-net" } else { "" };
    format!("ds=nocloud{net};s=http://{SERVER}/answer/r1u07/")
}

fn takes_its_folder(suite: &str, meanwhile: Meanwhile, expected: &[&str]) {
    let seed = Seed::new(meanwhile);
    let parameters = format!("ro autoinstall {}", seed_parameter(suite));
    let printed = printed(
        &seed.client,
        suite,
        ("datasource_list: [NoCloud]", &parameters),
        CHECKED,
    );
    let asked = seed.asked(&["answer "]);
    let shown: Vec<String> = expected.iter().map(|file| format!("answer {file}")).collect();
    assert_eq!(asked, shown, "{}", seed.daemon.log_tail());
    let user_data = seed.user_data();
    assert!(user_data.starts_with("#cloud-config\n"), "{user_data}");
    assert_eq!(printed, format!("instance r1u07\n{user_data}"));
    seed.meanwhile.end();
    drop(seed.wire);
}

/// In the order of the versions that ask for the network's configuration as well.
const FOUR: [&str; 4] = ["network-config", "meta-data", "user-data", "vendor-data"];

#[test]
fn cloud_init_26_takes_its_answer_at_once_while_image_files_have_to_be_waited_for() {
    for meanwhile in [Meanwhile::Nothing, Meanwhile::Full, Meanwhile::Verified] {
        takes_its_folder("sid", meanwhile, &FOUR);
    }
}

#[test]
fn cloud_init_25_takes_its_answer_at_once() {
    takes_its_folder("trixie", Meanwhile::Nothing, &FOUR);
}

#[test]
fn cloud_init_22_takes_its_answer_at_once() {
    takes_its_folder(
        "bookworm",
        Meanwhile::Nothing,
        &["meta-data", "user-data", "vendor-data"],
    );
}

const OF_EC2: &str = "chroot . cloud-init query -f \
    '{{ v1.instance_id }} {{ v1.local_hostname }} {{ v1.public_ssh_keys | sort | join(\",\") }} {{ ds.meta_data.plan }}'\n\
    chroot . cat /var/lib/cloud/instance/user-data.txt";

fn takes_its_tree(suite: &str) {
    let seed = Seed::new(Meanwhile::Nothing);
    // An address that somebody else's proxy speaks of is nobody's.
    let stranger = seed.wire.client_at("02:00:00:00:00:77", "192.0.2.77");
    let url = format!("http://{SERVER}/latest/meta-data/hostname");
    for header in ["X-Forwarded-For: 192.0.2.11", "Forwarded: for=192.0.2.11"] {
        let asked = ["-s", "-o", "/dev/null", "-w", "%{http_code}", "-H", header, &url];
        assert_eq!(stranger.expect("curl", &asked), b"403", "{header}");
    }
    let config = format!(
        "datasource_list: [Ec2]\ndatasource: {{Ec2: {{strict_id: false, max_wait: 20, timeout: 10, \
         metadata_urls: [\"http://{SERVER}\"]}}}}"
    );
    let printed = printed(&seed.client, suite, (&config, "ro"), OF_EC2);
    let mut asked = seed.asked(&["metadata ", "answer "]);
    let user_data = seed.user_data();
    let known = "r1u07 web-7 ssh-ed25519 AAAA ada,ssh-ed25519 BBBB bob c3";
    assert_eq!(printed, format!("{known}\n{user_data}"));
    let first = ["2009-04-04", "2021-03-23"].map(|version| format!("metadata {version}/meta-data/instance-id"));
    assert_eq!(asked[..2], first);
    asked.drain(..2);
    // What is asked once more, it asks once more whatever it got.
    let all = asked.len();
    asked.sort_unstable();
    asked.dedup();
    assert_eq!(asked.len(), all, "{asked:#?}\n{}", seed.daemon.log_tail());
    for leaf in ["public-keys/1/openssh-key", "operating-system/license_activation/state"] {
        assert!(
            asked.contains(&format!("metadata 2021-03-23/meta-data/{leaf}")),
            "{leaf}: {asked:#?}"
        );
    }
}

#[test]
fn cloud_init_goes_through_the_metadata_tree_without_a_refusal_or_a_second_try() {
    for suite in ["bookworm", "trixie", "sid"] {
        takes_its_tree(suite);
    }
}

const TELLS: &str = "#cloud-config\n\
    {% if callback %}\n\
    phone_home: {url: {{ callback.phone_home | tojson }}, post: all, tries: 1}\n\
    reporting: {bootwright: {type: webhook, endpoint: {{ callback.reporting | tojson }}, retries: 0}}\n\
    {% endif %}\n";

/// How the host's install stands.
fn install_state(room: &Room) -> String {
    let hosts = ask_json(room, "hosts");
    hosts[0]["install"]["state"].as_str().unwrap_or_default().to_owned()
}

#[test]
fn cloud_init_says_by_itself_how_far_it_is_and_that_it_is_done() {
    for suite in ["bookworm", "trixie", "sid"] {
        let wire = Wire::new();
        let host = format!(
            "[[host]]\nname = \"r1u07\"\nmac = \"{MAC}\"\naddress = \"192.0.2.11\"\nboot = \"install\"\n\
             script = \"once\"\nanswer = \"tells\"\n"
        );
        let room = Room::new(&host).with_script("once", "#!ipxe\n# installs {{ name }}\n");
        fs::create_dir(room.path("answers/tells")).expect("a new folder");
        room.write("answers/tells/user-data", TELLS);
        room.write("answers/tells/meta-data", "instance-id: {{ name }}\n");
        let daemon = Daemon::start(&wire, &room);
        let armed = ask(&room, &["arm", "r1u07", "--for", "2h"]);
        assert!(armed.status.success(), "{}", text(&armed));
        let client = wire.client_at(MAC, "192.0.2.11");
        client.expect("curl", &["-sSf", &format!("http://{SERVER}/boot.ipxe")]);
        assert_eq!(install_state(&room), "installing");

        let parameters = format!("ro {}", seed_parameter(suite));
        let config = "datasource_list: [NoCloud]\ncloud_final_modules: [phone_home]";
        let then = "chroot . cloud-init modules --mode=final > /mnt/printed 2>&1 || { cat /mnt/printed; exit 1; }\n\
             grep -i 'failed posting\\|failed to post' var/log/cloud-init.log; true";
        let left = printed(&client, suite, (config, &parameters), then);
        assert_eq!(left, "", "{suite}");
        assert_eq!(install_state(&room), "installed", "{suite}: {}", daemon.log_tail());
        let reports = daemon.lines().into_iter();
        let reports = reports.filter(|line| line.is("r1u07", "sent", &["callback reporting"]));
        assert!(reports.count() > 1, "{suite}: {}", daemon.log_tail());
        let refused: Vec<_> = daemon
            .lines()
            .into_iter()
            .filter(|line| line.event == "failed" && line.file.starts_with("callback"))
            .collect();
        assert!(refused.is_empty(), "{suite}: {refused:?}");
    }
}
