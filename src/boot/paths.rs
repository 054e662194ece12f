//! The URLs we hand out, and so the paths we answer: both sides of the agreement in one place.
//!
//! | path | what |
//! |---|---|
//! | `boot.ipxe?mac=…&uuid=…&serial=…` | the script of the machine that asks |
//! | `autoexec.ipxe` | in any folder that has none of its own: leads an iPXE that looks beside its own binary to `boot.ipxe` |
//! | `grub.cfg…`, `pxelinux.cfg/…` | the same for GRUB and PXELINUX (`script_path`) |
//! | `answer/MACHINE/FILE` | an answer's file, for that machine alone |
//! | `answer` | the answer of the machine that asks by POST, where that is one file (`proxmox`) |
//! | `2009-04-04/…`, `latest/…`, `metadata` | the metadata of the machine that asks, as EC2 has it (`metadata`) |
//! | `tootles/instanceID/MACHINE/…` | the same of a machine that is named, for that machine alone |
//! | `image/IMAGE/FILE` | an artifact |
//! | `callback/HOST/TOKEN/WORD` | what the host's installer sends back (`callback`) |
//! | `order/HOST/TOKEN` | what a host that installs is to write to its disk |
//! | `ssh-keys/MACHINE` | the keys that may enter a machine in rescue, for that machine alone |
//! | `disks/MACHINE` | which disks a machine has, told by POST by that machine alone |
//! | anything else | a loader |

use crate::model::{Name, Token, text};
use percent_encoding::percent_decode;
use serde::{Deserialize, Serialize};
use std::{borrow::Cow, fmt, net::IpAddr};

/// The ports of our servers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ports {
    /// HTTP (TCP).
    pub http: u16,
    /// TFTP (UDP).
    pub tftp: u16,
}

/// The path of the script.
pub const SCRIPT: &str = "boot.ipxe";
/// What iPXE for EFI asks for beside its own binary.
pub const AUTOEXEC: &str = "autoexec.ipxe";
/// The first component of answers' paths.
pub const ANSWER: &str = "answer";
/// The first component of artifacts' paths.
pub const IMAGE: &str = "image";

/// The first component of callbacks' paths.
pub const CALLBACK: &str = "callback";

/// The first component of orders' paths.
pub const ORDER: &str = "order";
/// The first component of the paths of keys.
pub const SSH_KEYS: &str = "ssh-keys";
/// The first component of the paths at which machines tell of their disks.
pub const DISKS: &str = "disks";

/// An address as a URL has it: an IPv6 one in brackets (RFC 3986, 3.2.2).
pub struct UrlHost(pub IpAddr);

impl fmt::Display for UrlHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            IpAddr::V4(address) => address.fmt(f),
            IpAddr::V6(address) => write!(f, "[{address}]"),
        }
    }
}

/// `http://192.0.2.1`, with the port where it is not 80, and no slash at the end.
pub fn http_base(server: impl Into<IpAddr>, ports: Ports) -> String {
    let server = UrlHost(server.into());
    match ports.http {
        80 => format!("http://{server}"),
        port => format!("http://{server}:{port}"),
    }
}

/// `tftp://192.0.2.1`, with the port where it is not 69, and no slash at the end.
pub fn tftp_base(server: impl Into<IpAddr>, ports: Ports) -> String {
    let server = UrlHost(server.into());
    match ports.tftp {
        69 => format!("tftp://{server}"),
        port => format!("tftp://{server}:{port}"),
    }
}

/// The query with which iPXE says who it is, and what it knows of its machine. iPXE fills in what it knows: the serial
/// number and the manufacturer are known at no earlier stage. What a build does not know is empty: `efi/` is there since
/// 2.0, `chip` and SMBIOS are in every build that was met, and none of these has `memsize` or tells of the link.
///
/// DHCP names the URL in option 67, which holds 255 bytes; older clients join no pieces.
pub const SCRIPT_QUERY: &str = "mac=${mac:hexhyp}&uuid=${uuid}&serial=${serial:uristring}\
     &arch=${buildarch}&platform=${platform}&manufacturer=${manufacturer:uristring}\
     &chip=${chip:uristring}&ram=${smbios/19.4.8:hexraw}&sb=${efi/SecureBoot}";

/// The script's URL as iPXE gets it from DHCP.
pub fn script_url(server: impl Into<IpAddr>, ports: Ports) -> String {
    format!("{}/{SCRIPT}?{SCRIPT_QUERY}", http_base(server, ports))
}

/// A loader's URL for UEFI HTTP boot.
pub fn loader_url(server: impl Into<IpAddr>, ports: Ports, file: &str) -> String {
    format!("{}/{file}", http_base(server, ports))
}

/// A loader's full TFTP URL, for an iPXE that can do no better.
pub fn loader_tftp_url(server: impl Into<IpAddr>, ports: Ports, file: &str) -> String {
    format!("{}/{file}", tftp_base(server, ports))
}

/// An artifact's URL, or with no file the URL of its image's folder; `base` is `http_base`.
pub fn image_url(base: &str, image: &Name, file: &str) -> String {
    [base, "/", IMAGE, "/", image.as_str(), "/", file].concat()
}

/// The path of an image's folder on either server, with a slash at both ends.
pub fn image_path(image: &Name) -> String {
    ["/", IMAGE, "/", image.as_str(), "/"].concat()
}

/// The URL of an answer's folder, with a slash at the end: what cloud-init's NoCloud wants.
/// `base` is `http_base`, and `machine` is `Identity::name`.
pub fn answer_base(base: &str, machine: &str) -> String {
    [base, "/", ANSWER, "/", machine, "/"].concat()
}

/// The URL below which a host's installer says how it is, without a slash at the end; `base` is `http_base`.
pub fn callback_base(base: &str, host: &Name, token: &Token) -> String {
    [base, "/", CALLBACK, "/", host.as_str(), "/", &token.reveal()].concat()
}

/// The URL of the order of a host that installs; `base` is `http_base`.
pub fn order_url(base: &str, host: &Name, token: &Token) -> String {
    [base, "/", ORDER, "/", host.as_str(), "/", &token.reveal()].concat()
}

/// The URL of the keys that may enter a machine; `base` is `http_base`, and `machine` is `Identity::name`.
pub fn ssh_keys_url(base: &str, machine: &str) -> String {
    [base, "/", SSH_KEYS, "/", machine].concat()
}

/// Whether a path, still as the client sent it, may be a callback's.
pub fn may_be_callback(path: &[u8]) -> bool {
    may_begin(path, CALLBACK)
}

/// Whether a path, still as the client sent it, may be an answer's.
pub fn may_be_answer(path: &[u8]) -> bool {
    may_begin(path, ANSWER)
}

/// Whether disks may be told of at a path, still as the client sent it.
pub fn may_be_disks(path: &[u8]) -> bool {
    may_begin(path, DISKS)
}

/// Whether a path, still as the client sent it, may have a token in it: no log shows it then.
pub fn may_have_token(path: &[u8]) -> bool {
    may_begin(path, CALLBACK) || may_begin(path, ORDER)
}

/// A path for the log, wherever its callback or its order stands: a template that puts a whole URL behind another one
/// makes no callback of it, and a token is in it all the same.
pub fn without_token(path: &str) -> Cow<'_, str> {
    let mut is_behind = false;
    let mut is_token = |component: &&str| {
        is_behind |= component.ends_with(CALLBACK) || component.ends_with(ORDER);
        is_behind && Token::parse(component).is_some()
    };
    match path.split('/').find(&mut is_token) {
        None => Cow::Borrowed(path),
        Some(token) => Cow::Owned(path.replace(token, HIDDEN_TOKEN)),
    }
}

/// What a client sent that nobody could read, for the log. It may be anything, broken anywhere, so whatever looks like a
/// token is hidden, however often its digits are percent-encoded.
pub fn refused(sent: &[u8]) -> String {
    let decoded = decoded_wholly(sent);
    let (mut shown, mut copied, mut place) = (String::new(), 0, 0);
    while let Some((_, begin)) = decoded.get(place) {
        let digits = decoded[place..]
            .iter()
            .take_while(|(byte, _)| byte.is_ascii_hexdigit())
            .count();
        if digits >= TOKEN_DIGITS_HIDDEN_MIN {
            shown.push_str(&text::escape(&sent[copied..*begin]));
            shown.push_str(HIDDEN_TOKEN);
            copied = decoded.get(place + digits).map_or(sent.len(), |(_, at)| *at);
        }
        place += digits.max(1);
    }
    shown.push_str(&text::escape(&sent[copied..]));
    shown
}

/// Half of a token's digits: what is left of one that was broken in two is not to be guessed.
const TOKEN_DIGITS_HIDDEN_MIN: usize = 16;

/// What was sent once nothing of it is percent-encoded any more, and where each byte of that began.
fn decoded_wholly(sent: &[u8]) -> Vec<(u8, usize)> {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let mut decoded: Vec<(u8, usize)> = Vec::with_capacity(sent.len());
    for (at, byte) in sent.iter().enumerate() {
        decoded.push((*byte, at));
        while let [.., (b'%', from), (high, _), (low, _)] = decoded[..]
            && let Some((high, low)) = digit(high).zip(digit(low))
        {
            decoded.truncate(decoded.len() - 3);
            decoded.push(((high << 4) | low, from));
        }
    }
    decoded
}

/// A request as it came, for a capture: each byte of what may be a token is a star, so that nothing moves. Where no
/// callback's and no order's path may be in it, it is what it was.
pub fn with_tokens_hidden(request: &[u8]) -> Cow<'_, [u8]> {
    let is_of_token = |byte: &u8| byte.is_ascii_hexdigit() || *byte == b'%';
    let may_be_token = |run: &[u8]| run.len() >= TOKEN_DIGITS_HIDDEN_MIN && run.first().is_some_and(is_of_token);
    let is_one_kind = |one: &u8, next: &u8| is_of_token(one) == is_of_token(next);
    // Most have none. A run that is long enough has a byte at one of these places.
    let is_in_long_run = |at: usize| {
        let (before, after) = request.split_at(at);
        let before = before.iter().rev().take_while(|byte| is_of_token(byte));
        before.count() + after.iter().take_while(|byte| is_of_token(byte)).count() >= TOKEN_DIGITS_HIDDEN_MIN
    };
    let mut places = (TOKEN_DIGITS_HIDDEN_MIN - 1..request.len()).step_by(TOKEN_DIGITS_HIDDEN_MIN);
    if !places.any(|at| is_of_token(&request[at]) && is_in_long_run(at)) {
        return Cow::Borrowed(request);
    }
    let decoded = decoded_wholly(request).into_iter();
    let decoded: Vec<u8> = decoded.map(|(byte, _)| byte.to_ascii_lowercase()).collect();
    let has = |word: &str| decoded.windows(word.len()).any(|part| part == word.as_bytes());
    if !has(CALLBACK) && !has(ORDER) {
        return Cow::Borrowed(request);
    }
    let mut hidden = request.to_vec();
    for run in hidden.chunk_by_mut(is_one_kind).filter(|run| may_be_token(run)) {
        run.fill(b'*');
    }
    Cow::Owned(hidden)
}

/// Stands for a token.
const HIDDEN_TOKEN: &str = "TOKEN";

/// However it is written: what leads there as a `RequestPath` begins so here.
fn may_begin(path: &[u8], component: &str) -> bool {
    let mut decoded = percent_decode(path).peekable();
    let is_skipped = |byte: &u8| matches!(byte, b'/' | b'\\' | b'.');
    while decoded.next_if(is_skipped).is_some() {}
    decoded.take(component.len()).eq(component.bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{Ipv4Addr, Ipv6Addr};

    #[test]
    fn a_callbacks_path_is_one_however_it_is_written() {
        for path in [
            &b"/callback/r1u07/30"[..],
            b"callback",
            b"//callback/r1u07",
            b"/./callback/r1u07",
            b"\\callback\\r1u07",
            b"/%63allback/r1u07",
            b"%2f%2e%5Ccallback",
        ] {
            assert!(may_be_callback(path), "{path:?}");
        }
        for path in [
            &b""[..],
            b"/",
            b"/call",
            b"/image/callback",
            b"/boot.ipxe",
            b"/%2563allback",
        ] {
            assert!(!may_be_callback(path), "{path:?}");
        }
    }

    #[test]
    fn a_token_is_hidden_wherever_its_callback_stands_and_no_other_name_is() {
        let token = "30313233343536373839616263646566";
        for (path, shown) in [
            (
                "http:/192.0.2.1/callback/r1u07/%/done",
                "http:/192.0.2.1/callback/r1u07/TOKEN/done",
            ),
            ("x/order/r1u07/%", "x/order/r1u07/TOKEN"),
            ("loader/entries/%/linux", "loader/entries/%/linux"),
            ("snponly.efi", "snponly.efi"),
        ] {
            let (path, shown) = (path.replace('%', token), shown.replace('%', token));
            assert_eq!(without_token(&path), shown);
        }
    }

    #[test]
    fn no_token_is_shown_of_what_can_not_be_read_however_it_is_written_or_broken() {
        let token = "30aB32f3343536373839616263646566";
        let encoded: String = token.bytes().map(|digit| format!("%{digit:02x}")).collect();
        let twice = encoded.replace('%', "%25");
        let half = &token[..16];
        for sent in [
            format!("GET /callback/r1u07/{token}/done\r\n"),
            format!("GET /%63allback/{token}\r\n"),
            format!("/x/../callback/r1u07/{token}/done"),
            format!("GET /call back/{token} HTTP/1.1"),
            format!("\\order\\r1u07\\{token}"),
            format!("/callback/r1u07/{encoded}"),
            format!("/callback/r1u07/{twice}/done"),
            format!("/callback/r1u07/{half}"),
            format!("/callback/r1u07/{half}\n{half}"),
            format!("/callback/r1u07%2f{token}"),
            token.to_owned(),
        ] {
            let shown = refused(sent.as_bytes());
            let digits = |text: &str| {
                let runs = text.split(|c: char| !c.is_ascii_hexdigit());
                runs.map(str::len).max().unwrap_or_default()
            };
            assert!(shown.contains(HIDDEN_TOKEN) && digits(&shown) < 16, "{sent:?}: {shown}");
            assert!(
                !shown.contains(&encoded[..24]) && !shown.contains(&twice[..24]),
                "{shown}"
            );
        }
        for (sent, shown) in [
            ("GET /snponly.efi\r\n", "GET /snponly.efi\\x0d\\x0a"),
            ("/../etc/deadbeef%", "/../etc/deadbeef%"),
            ("%%3325", "%%3325"),
            ("", ""),
        ] {
            assert_eq!(refused(sent.as_bytes()), shown);
        }
        assert_eq!(refused(format!("/a/{token}/b/{token}").as_bytes()), "/a/TOKEN/b/TOKEN");
    }

    #[test]
    fn a_captured_request_shows_no_token_however_it_is_written() {
        let token = "30313233343536373839616263646566";
        let encoded: String = token.bytes().map(|byte| format!("%{byte:02x}")).collect();
        for (request, is_hidden) in [
            (format!("GET /callback/r1u07/{token}/done HTTP/1.1\r\n"), true),
            (format!("GET /%6frder/r1u07/{token} HTTP/1.1\r\n"), true),
            (format!("GET /callback/r1u07/{encoded}/done HTTP/1.1\r\n"), true),
            (
                format!("GET /x HTTP/1.1\r\nReferer: http://192.0.2.1/Callback/r1u07/{token}\r\n"),
                true,
            ),
            (format!("GET /loader/entries/{token}/linux HTTP/1.1\r\n"), false),
            ("GET /callback/r1u07/done HTTP/1.1\r\n".to_owned(), false),
        ] {
            let shown = with_tokens_hidden(request.as_bytes());
            let shown = std::str::from_utf8(&shown).unwrap();
            assert_eq!(shown.len(), request.len());
            assert_eq!(shown.contains("****"), is_hidden, "{shown}");
            assert!(
                !is_hidden || !(shown.contains(token) || shown.contains(&encoded)),
                "{shown}"
            );
            assert!(shown.ends_with(&request[request.len() - 2..]) && shown[..4] == request[..4]);
        }
    }

    #[test]
    fn a_captured_request_shows_no_token_wherever_it_stands() {
        for shift in 0..2 * TOKEN_DIGITS_HIDDEN_MIN {
            for (digits, is_hidden) in [(TOKEN_DIGITS_HIDDEN_MIN, true), (TOKEN_DIGITS_HIDDEN_MIN - 1, false)] {
                let request = format!("{}/callback/{}", "/".repeat(shift), "a".repeat(digits));
                let shown = with_tokens_hidden(request.as_bytes());
                assert_eq!(shown.ends_with(b"*"), is_hidden, "{request}");
            }
        }
    }

    #[test]
    fn the_longest_script_url_is_one_piece_of_option_67() {
        let longest = script_url(Ipv4Addr::new(255, 255, 255, 255), Ports { http: 65_535, tftp: 69 });
        // With the NUL behind it.
        assert!(longest.len() < 255, "{} bytes", longest.len());
    }

    #[test]
    fn an_ipv6_address_is_in_brackets_in_a_url_and_an_ipv4_one_as_it_is() {
        let usual = Ports { http: 80, tftp: 69 };
        let other = Ports { http: 8080, tftp: 6969 };
        let four = Ipv4Addr::new(192, 0, 2, 1);
        let six: Ipv6Addr = "2001:db8::1".parse().unwrap();
        assert_eq!(http_base(four, usual), "http://192.0.2.1");
        assert_eq!(http_base(six, usual), "http://[2001:db8::1]");
        assert_eq!(tftp_base(four, other), "tftp://192.0.2.1:6969");
        assert_eq!(tftp_base(six, other), "tftp://[2001:db8::1]:6969");
        assert_eq!(
            loader_url(six, other, "snponly.efi"),
            "http://[2001:db8::1]:8080/snponly.efi"
        );
    }
}
