//! A real server: parts, versions and TLS as nginx does them, and a command that is killed meanwhile.

use super::place::{Place, hex, noise};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use std::{
    fs,
    net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::atomic::{AtomicU8, Ordering},
    thread,
    time::Duration,
};
use tempfile::TempDir;

/// nginx with a folder of its own, ended with the test.
struct Nginx {
    folder: TempDir,
    process: Child,
    address: SocketAddr,
}

impl Nginx {
    fn start(files: &[(&str, &[u8])], listen: &str, more: &str) -> Nginx {
        let folder = tempfile::tempdir().unwrap();
        let at = folder.path().display().to_string();
        fs::create_dir(folder.path().join("www")).unwrap();
        for (name, body) in files {
            fs::write(folder.path().join("www").join(name), body).unwrap();
        }
        let address = own_address();
        if !listen.is_empty() {
            certificate(folder.path(), address.ip());
        }
        let settings = format!(
            "daemon off; master_process off; pid {at}/pid; error_log {at}/error.log;\n\
             events {{ worker_connections 64; }}\n\
             http {{ access_log {at}/access.log; client_body_temp_path {at}/a; proxy_temp_path {at}/b;\n\
             fastcgi_temp_path {at}/c; uwsgi_temp_path {at}/d; scgi_temp_path {at}/e;\n\
             server {{ listen {address} {listen}; root {at}/www; {more} }} }}\n"
        );
        fs::write(folder.path().join("nginx.conf"), settings.replace("AT", &at)).unwrap();
        let process = Command::new("nginx")
            .args(["-p", &at, "-c", "nginx.conf"])
            .stderr(Stdio::null())
            .spawn()
            .expect("nginx is in the package nginx-light");
        let mut nginx = Nginx {
            folder,
            process,
            address,
        };
        for _ in 0..6000 {
            if TcpStream::connect(nginx.address).is_ok() {
                return nginx;
            }
            let ended = nginx.process.try_wait().unwrap();
            assert!(ended.is_none(), "nginx: {ended:?}: {}", nginx.wrote("error.log"));
            thread::sleep(Duration::from_millis(10));
        }
        panic!("nginx does not listen: {}", nginx.wrote("error.log"));
    }

    fn wrote(&self, log: &str) -> String {
        fs::read_to_string(self.folder.path().join(log)).unwrap_or_default()
    }

    fn asked(&self) -> String {
        self.wrote("access.log")
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        let _ = (self.process.kill(), self.process.wait());
    }
}

/// A port of an address that no other test asks from or listens on, so that nobody takes it before
/// nginx does: all of 127.0.0.0/8 is this machine, and what asks nginx does so from 127.0.0.1.
fn own_address() -> SocketAddr {
    static TAKEN: AtomicU8 = AtomicU8::new(2);
    let [_, _, high, low] = std::process::id().to_be_bytes();
    let ip = Ipv4Addr::new(127, high, low, TAKEN.fetch_add(1, Ordering::Relaxed));
    TcpListener::bind((ip, 0)).unwrap().local_addr().unwrap()
}

/// A certificate authority that nobody knows, and a certificate of it for an address.
fn certificate(folder: &Path, address: IpAddr) {
    let script = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout ca.key -out ca.pem \
                  -subj '/CN=Rack CA' -addext basicConstraints=critical,CA:TRUE &&
                  openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout server.key -out server.csr -subj '/CN=mirror' &&
                  printf 'subjectAltName=IP:%s\\nbasicConstraints=CA:FALSE\\n' $ADDRESS > ext &&
                  openssl x509 -req -in server.csr -CA ca.pem -CAkey ca.key -CAcreateserial -out server.pem -extfile ext";
    let made = Command::new("sh")
        .args(["-ec", script])
        .env("ADDRESS", address.to_string())
        .current_dir(folder)
        .stderr(Stdio::null())
        .status()
        .unwrap();
    assert!(made.success(), "openssl");
}

const TLS: &str = "ssl_certificate AT/server.pem; ssl_certificate_key AT/server.key;";

/// `bootwright image fetch`, with nothing of the environment but what is given.
pub fn command(place: &Place, args: &[&str], environment: &[(&str, &str)]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_bootwright"));
    command
        .args(["image", "fetch"])
        .args(args)
        .arg("--images")
        .arg(place.images())
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap())
        .envs(environment.iter().copied())
        .stdin(Stdio::null());
    command
}

/// Whether it succeeded, and all that it said.
pub fn run_command(place: &Place, args: &[&str], environment: &[(&str, &str)]) -> (ExitStatus, String) {
    let output = command(place, args, environment).output().unwrap();
    (
        output.status,
        String::from_utf8([output.stdout, output.stderr].concat()).unwrap(),
    )
}

fn part_of(place: &Place) -> PathBuf {
    place.images().join(".fetch-rescue/.linux.part")
}

/// Ends a download with a signal once some of it is there; what the command said.
fn interrupted(place: &Place, args: &[&str], signal: Signal) -> (ExitStatus, String) {
    let has_begun = || fs::metadata(part_of(place)).is_ok_and(|part| part.len() > 0);
    interrupted_once(has_begun, place, args, signal)
}

pub fn interrupted_once(
    ready: impl Fn() -> bool,
    place: &Place,
    args: &[&str],
    signal: Signal,
) -> (ExitStatus, String) {
    let mut command = command(place, args, &[]);
    let tasks = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let is_ready = (0..6000).any(|_| {
        thread::sleep(Duration::from_millis(10));
        ready()
    });
    assert!(is_ready, "{args:?} never came so far");
    kill(Pid::from_raw(tasks.id().try_into().unwrap()), signal).unwrap();
    let output = tasks.wait_with_output().unwrap();
    (
        output.status,
        String::from_utf8([output.stdout, output.stderr].concat()).unwrap(),
    )
}

#[test]
fn a_command_that_was_killed_or_interrupted_goes_on_where_it_was() {
    for (signal, code) in [
        (Signal::SIGKILL, None),
        (Signal::SIGINT, Some(130)),
        (Signal::SIGTERM, Some(143)),
    ] {
        let (place, body) = (Place::new(), noise(6_000_000));
        let slow = "limit_rate 300k; if ($http_range) { set $limit_rate 0; }";
        let nginx = Nginx::start(&[("linux", &body)], "", slow);
        let (url, sum) = (format!("http://{}/linux", nginx.address), hex(&body));
        let args = ["rescue", "--kernel", url.as_str(), "--sha256", sum.as_str()];
        let (status, told) = interrupted(&place, &args, signal);
        assert_eq!(status.code(), code, "{told}");
        let here = fs::metadata(part_of(&place)).unwrap().len();
        let kept = format!("{here} bytes of `rescue` are kept; the same command goes on from there");
        assert!(code.is_none() || told.contains(&kept), "{told}");
        assert!(here > 0 && here < body.len() as u64, "{here}");
        place.holds_nothing();
        let (status, told) = run_command(&place, &args, &[]);
        assert!(
            status.success() && told.contains(&format!("{here} of them are here")),
            "{told}"
        );
        assert!(nginx.asked().contains("\" 206 "), "{}", nginx.asked());
        place.holds("rescue", &body);
    }
}

#[test]
fn a_file_that_nginx_has_a_new_version_of_comes_anew() {
    let (place, old, new) = (Place::new(), noise(6_000_000), vec![9; 200_000]);
    let nginx = Nginx::start(&[("linux", &old)], "", "limit_rate 300k;");
    let url = format!("http://{}/linux", nginx.address);
    let args = ["rescue", "--kernel", url.as_str(), "--sha256", "accept"];
    interrupted(&place, &args, Signal::SIGKILL);
    fs::write(nginx.folder.path().join("www/linux"), &new).unwrap();
    let (status, told) = run_command(&place, &args, &[]);
    assert!(status.success() && told.contains("from the start"), "{told}");
    assert!(told.contains(&hex(&new)), "{told}");
    place.holds("rescue", &new);
}

#[test]
fn a_server_of_an_unknown_authority_is_not_trusted_and_of_a_known_one_is() {
    let sums = format!("{}  linux\n", hex(b"linux"));
    let nginx = Nginx::start(&[("linux", b"linux"), ("SHA256SUMS", sums.as_bytes())], "ssl", TLS);
    let (url, sums) = (
        format!("https://{}/linux", nginx.address),
        format!("https://{}/SHA256SUMS", nginx.address),
    );
    let args = ["rescue", "--kernel", url.as_str(), "--sums", sums.as_str()];
    let place = Place::new();
    let (status, told) = run_command(&place, &args, &[]);
    assert!(
        !status.success() && told.contains("can't trust the server") && told.contains("SSL_CERT_FILE"),
        "{told}"
    );
    place.holds_nothing();
    let authority = nginx.folder.path().join("ca.pem").display().to_string();
    let (status, told) = run_command(&place, &args, &[("SSL_CERT_FILE", authority.as_str())]);
    let came_from = format!("not signed and came from {}", nginx.address.ip());
    assert!(status.success() && told.contains(&came_from), "{told}");
    place.holds("rescue", b"linux");
}

#[test]
fn checksums_that_https_must_vouch_for_may_not_lead_to_plain_http() {
    let redirect = format!("{TLS} location = /SHA256SUMS {{ return 302 http://127.0.0.1:9/SHA256SUMS; }}");
    let nginx = Nginx::start(&[("linux", b"linux")], "ssl", &redirect);
    let (url, sums) = (
        format!("https://{}/linux", nginx.address),
        format!("https://{}/SHA256SUMS", nginx.address),
    );
    let authority = nginx.folder.path().join("ca.pem").display().to_string();
    let place = Place::new();
    let args = ["rescue", "--kernel", url.as_str(), "--sums", sums.as_str()];
    let (status, told) = run_command(&place, &args, &[("SSL_CERT_FILE", authority.as_str())]);
    assert!(!status.success() && told.contains("leads to plain HTTP"), "{told}");
    place.holds_nothing();
}
