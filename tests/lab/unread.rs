//! Rung 3: what clients say that is refused before it is a request, or written in another way than others do:
//! each with its line, its counter and who it was.

use super::daemon::{Daemon, ask_json};
use super::namespace::{Namespace, SERVER, Wire, text};
use super::room::Room;
use super::{SOON, poll};
use std::{
    fs,
    io::{Read, Write},
    net::TcpStream,
};

const HOST: &str = r#"
[[host]]
name    = "r1u07"
mac     = "52:54:00:00:00:07"
address = "192.0.2.11"
boot    = "local"
"#;

/// Says something as it is and reads the answer to its end.
fn response(client: &Namespace, bytes: &[u8]) -> String {
    client.enter(|| {
        let mut stream = TcpStream::connect((SERVER, 80)).expect("the server listens");
        stream.set_read_timeout(Some(SOON)).expect("a timeout above zero");
        stream.write_all(bytes).expect("the server reads");
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        String::from_utf8_lossy(&answer).into_owned()
    })
}

#[test]
fn k06_what_hyper_refuses_has_a_line_of_its_machine_a_counter_and_a_reason() {
    let wire = Wire::new();
    let room = Room::new(HOST);
    let daemon = Daemon::start(&wire, &room);
    let client = wire.client_at("52:54:00:00:00:07", "192.0.2.11");
    let counter = |name: &str| ask_json(&room, "status")["counters"][name].as_u64().expect("a count");
    let endless = format!("GET / HTTP/1.1\r\n{}\r\n", "X-Y: z\r\n".repeat(600));
    let cases: [(&[u8], &str, &str); 9] = [
        (
            b"GET /snponly.efi HTTP/1.1\r\nHost: x\r\ngarbage\r\n\r\n",
            "400",
            "other",
        ),
        (b"GET /snponly.efi\r\n\r\n", "400", "no_version"),
        (b"GET /snp only.efi HTTP/1.1\r\nHost: x\r\n\r\n", "400", "blank"),
        (b"GET /boot.ipxe?serial=A B HTTP/1.1\r\nHost: x\r\n\r\n", "400", "blank"),
        (b"GET /<x> HTTP/1.1\r\nHost: x\r\n\r\n", "400", "other"),
        (b"GET / HTTP/1.1\r\nA: b\r\n c\r\n\r\n", "400", "other"),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "", "http2"),
        (b"\xff\xff\xff\xff\r\n\r\n", "400", "not_text"),
        (endless.as_bytes(), "431", "too_large"),
    ];
    for (number, (bytes, status, fault)) in (1..).zip(cases) {
        let answer = response(&client, bytes);
        assert!(
            answer.is_empty() || answer.starts_with(&format!("HTTP/1.1 {status}")),
            "{fault}: {answer}"
        );
        let counted = poll(SOON, || (counter("http_malformed") == number).then_some(()));
        assert!(
            counted.is_some(),
            "{fault}: {}\n{}",
            counter("http_malformed"),
            daemon.log_tail()
        );
        daemon.wait_for(fault, |line| {
            line.level == "WARN"
                && line.is("r1u07", "failed", &["an HTTP request of 192.0.2.11", "not_http"])
                && line.field("fault") == fault
        });
    }
    let tls = client.run(
        "curl",
        &["-sS", "-m", "20", "-k", &format!("https://{SERVER}:80/snponly.efi")],
    );
    assert!(!tls.status.success(), "{}", text(&tls));
    daemon.wait_for("TLS", |line| {
        line.is("r1u07", "failed", &["not_http"]) && line.field("fault") == "tls"
    });
    let posted = client.run("curl", &["-sS", "-d", "x", &format!("http://{SERVER}/boot.ipxe")]);
    assert!(text(&posted).contains("only GET and HEAD"), "{}", text(&posted));
    daemon.wait_for("the POST", |line| line.is("r1u07", "failed", &["wrong_method"]));
    assert_eq!(counter("http_malformed"), 10);
}

#[test]
fn names_are_served_however_clients_write_them() {
    let wire = Wire::new();
    let room = Room::new(HOST);
    fs::create_dir_all(room.path("loaders/grub/x86_64-efi")).expect("a new folder");
    fs::write(room.path("loaders/grub/x86_64-efi/command.lst"), "a list\n").expect("a new file");
    let daemon = Daemon::start(&wire, &room);
    let client = wire.client_at("52:54:00:00:00:07", "192.0.2.11");
    let folder = tempfile::tempdir().expect("a temporary folder");
    let target = folder.path().join("got").to_string_lossy().into_owned();
    let got = || fs::read(&target).unwrap_or_default();
    for path in [
        "grub//x86_64-efi/command.lst",
        "//grub/x86_64-efi/command.lst",
        "./grub/./x86_64-efi/command.lst",
        "grub\\x86_64-efi\\command.lst",
        "\\grub\\x86_64-efi/command.lst",
        "grub/x86_64-efi/command.lst/",
    ] {
        let url = format!("http://{SERVER}/{}", path.trim_start_matches('/'));
        client.expect("curl", &["-sSf", "--path-as-is", "-o", &target, &url]);
        assert_eq!(got(), b"a list\n", "{path}");
        fs::remove_file(&target).expect("it was fetched");
        client.expect("tftp", &["-m", "binary", SERVER, "-c", "get", path, &target]);
        assert_eq!(got(), b"a list\n", "{path}");
        fs::remove_file(&target).expect("it was fetched");
    }

    // tftp-hpa asks for netascii where nobody says otherwise, and undoes it.
    let script = client.expect("curl", &["-sSf", &format!("http://{SERVER}/autoexec.ipxe")]);
    client.expect("tftp", &[SERVER, "-c", "get", "autoexec.ipxe", &target]);
    assert_eq!(String::from_utf8_lossy(&got()), String::from_utf8_lossy(&script));
    client.run("tftp", &[SERVER, "-c", "get", "snponly.efi", &target]);
    daemon.wait_for("what it asked for, and how", |line| {
        line.level == "WARN" && line.is("r1u07", "failed", &["loader snponly.efi", "netascii_file"])
    });

    // anaconda names every interface of its machine in a header of its own.
    let headers: Vec<String> = (0..200)
        .map(|number| format!("X-RHN-Provisioning-MAC-{number}: eth{number} 52:54:00:00:01:{number:02x}"))
        .collect();
    let url = format!("http://{SERVER}/snponly.efi");
    let mut arguments = vec!["-sSf", "-o", &target];
    arguments.extend(headers.iter().flat_map(|header| ["-H", header.as_str()]));
    arguments.push(&url);
    client.expect("curl", &arguments);
    assert!(got().len() > 10_000, "the loader");
}
