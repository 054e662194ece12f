//! Which files a script asks for, by its own text: what its loader fetches, and what stands in it for the kernel and
//! the installer that it starts.
//!
//! iPXE's language is followed as far as it says which file is next ([`IpxeScript`]). Whatever else is there is found by its
//! URL, in any language: an installer's answer stands among the kernel's parameters.

use super::FileRole;
use crate::model::{Dialect, limits::EXPLAINED_FILES_MAX};
use crate::proto::ipxe::{FileTransport, FileUrl, IpxeScript, IpxeSettings, ScriptRequest};

/// What stands around a URL and is none of it.
const DELIMITERS: &[char] = &['"', '\'', ';', ',', '<', '>', '{', '}', '(', ')', '[', ']', '|'];
/// Commands whose words are for people.
const SHOWN_ONLY: &[&str] = &["echo", "say", "prompt", "item"];

/// A file that a script names, once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct NamedFile {
    pub role: FileRole,
    pub url: FileUrl,
}

/// The files that a script names which came from `from`, in the order in which they are asked for, each once. What
/// `settings` say is filled in where iPXE would fill it in.
pub(super) fn named_files(dialect: Dialect, text: &str, from: &FileUrl, settings: &IpxeSettings) -> Vec<NamedFile> {
    let mut named: Vec<NamedFile> = Vec::new();
    let mut add = |role: FileRole, url: FileUrl| {
        let is_new = named.iter().all(|known| known.url != url);
        if is_new && named.len() < EXPLAINED_FILES_MAX {
            named.push(NamedFile { role, url });
        }
    };
    if dialect == Dialect::Ipxe {
        for (role, url) in by_ipxe(text, from, settings) {
            add(role, url);
        }
    }
    let is_read = |line: &&str| !is_for_people(line);
    for word in text.lines().filter(is_read).flat_map(words) {
        if let Some(url) = url_in(dialect, word, from) {
            add(role_of(dialect, word), url);
        }
    }
    named
}

/// What iPXE fetches, one after the other, while all of it works.
fn by_ipxe(text: &str, from: &FileUrl, settings: &IpxeSettings) -> Vec<(FileRole, FileUrl)> {
    let mut fetched = Vec::new();
    let Ok(mut script) = IpxeScript::read(from.clone(), text.as_bytes(), settings.clone()) else {
        return fetched;
    };
    while let Ok(request) = script.next_want() {
        match request {
            ScriptRequest::Kernel(url) => fetched.push((FileRole::Kernel, url)),
            ScriptRequest::Initrd(url) => fetched.push((FileRole::Initrd, url)),
            ScriptRequest::Chain(url) => fetched.push((FileRole::Script, url)),
            ScriptRequest::Boot => break,
        }
        if fetched.len() >= EXPLAINED_FILES_MAX {
            break;
        }
    }
    fetched
}

/// A comment, or what is shown.
fn is_for_people(line: &str) -> bool {
    let line = line.trim_start();
    let command = line.split_whitespace().next().unwrap_or_default();
    line.starts_with('#') || SHOWN_ONLY.iter().any(|shown| command.eq_ignore_ascii_case(shown))
}

fn words(line: &str) -> impl Iterator<Item = &str> {
    // GRUB writes a server as `(http,192.0.2.1)/path`.
    let is_device = |word: &str| word.starts_with("(http") || word.starts_with("(tftp");
    line.split_whitespace().flat_map(move |word| {
        let whole = is_device(word).then_some(word);
        let parts = word.split(DELIMITERS).filter(move |_| whole.is_none());
        whole.into_iter().chain(parts)
    })
}

/// The URL that a word has in it, alone or behind a parameter's name. GRUB and PXELINUX have paths of the server that
/// they came from as well.
fn url_in(dialect: Dialect, word: &str, from: &FileUrl) -> Option<FileUrl> {
    if let Some((server, path)) = word.strip_prefix('(').and_then(|device| device.split_once(')')) {
        let (scheme, host) = server.split_once(',')?;
        return FileUrl::url(&[scheme, "://", host, path].concat());
    }
    let scheme = word
        .find("://")
        .map(|at| {
            let before = &word[..at];
            let name = before.trim_end_matches(|letter: char| letter.is_ascii_alphanumeric());
            name.len()
        })
        .and_then(|start| FileUrl::url(&word[start..]));
    let rooted = || {
        let is_ours = dialect != Dialect::Ipxe && word.starts_with("/image/");
        is_ours.then(|| from.join(word)).flatten()
    };
    // What iPXE has yet to fill in was followed by its own language.
    scheme
        .or_else(rooted)
        .filter(|url| !url.path.contains("${") && !url.path.contains('$'))
}

/// What a file is that is known by its URL alone.
fn role_of(dialect: Dialect, word: &str) -> FileRole {
    match dialect {
        Dialect::Ipxe => FileRole::Parameter,
        // What a parameter names is fetched later.
        Dialect::Grub | Dialect::Pxelinux if word.contains('=') => FileRole::Parameter,
        Dialect::Grub | Dialect::Pxelinux => FileRole::Loaded,
    }
}

/// How TFTP and HTTP have the path of a URL; the query with HTTP's.
pub(super) fn path_and_query(url: &FileUrl) -> (&str, Option<&str>) {
    match (url.transport, url.path.split_once('?')) {
        (FileTransport::Http, Some((path, query))) => (path, Some(query)),
        (_, _) => (url.path.as_str(), None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn urls(dialect: Dialect, text: &str) -> Vec<(FileRole, String)> {
        let from = match dialect {
            Dialect::Ipxe => FileUrl::url("http://192.0.2.1/boot.ipxe?mac=1").unwrap(),
            Dialect::Grub | Dialect::Pxelinux => FileUrl::url("tftp://192.0.2.1/grub/grub.cfg").unwrap(),
        };
        let named = named_files(dialect, text, &from, &IpxeSettings::new());
        named
            .into_iter()
            .map(|file| (file.role, file.url.to_string()))
            .collect()
    }

    #[test]
    fn ipxe_s_files_come_in_its_own_order_and_the_installers_behind_them() {
        let text = "#!ipxe\n# http://192.0.2.1/comment\necho see http://192.0.2.1/shown\n\
                    initrd --name i http://192.0.2.1/image/d/initrd.gz || goto failed\n\
                    kernel http://192.0.2.1/image/d/linux initrd=i url=http://192.0.2.1/answer/r1u07/preseed.cfg \
                    ds=nocloud;s=http://192.0.2.1/answer/r1u07/ || goto failed\nboot\n:failed\n\
                    chain http://192.0.2.1/boot.ipxe?mac=${mac:hexhyp}\n";
        let expected = [
            (FileRole::Initrd, "http://192.0.2.1/image/d/initrd.gz"),
            (FileRole::Kernel, "http://192.0.2.1/image/d/linux"),
            (FileRole::Parameter, "http://192.0.2.1/answer/r1u07/preseed.cfg"),
            (FileRole::Parameter, "http://192.0.2.1/answer/r1u07/"),
        ];
        assert_eq!(
            urls(Dialect::Ipxe, text),
            expected.map(|(role, url)| (role, url.to_owned()))
        );
    }

    #[test]
    fn grub_and_pxelinux_name_paths_devices_and_lists() {
        let grub = "if [ -s /image/d/initrd.gz ]; then\nlinux /image/d/linux url=http://192.0.2.1/answer/r1u07/a.cfg\n\
                    initrd (http,192.0.2.9:8080)/other.gz\nfi\n";
        let expected = [
            (FileRole::Loaded, "tftp://192.0.2.1/image/d/initrd.gz"),
            (FileRole::Loaded, "tftp://192.0.2.1/image/d/linux"),
            (FileRole::Parameter, "http://192.0.2.1/answer/r1u07/a.cfg"),
            (FileRole::Loaded, "http://192.0.2.9:8080/other.gz"),
        ];
        assert_eq!(
            urls(Dialect::Grub, grub),
            expected.map(|(role, url)| (role, url.to_owned()))
        );
        let pxelinux = "SAY http://192.0.2.1/shown\nKERNEL http://192.0.2.1/image/d/linux\n\
                        INITRD http://192.0.2.1/image/d/a,http://192.0.2.1/image/d/b\n";
        let expected = ["linux", "a", "b"].map(|file| (FileRole::Loaded, format!("http://192.0.2.1/image/d/{file}")));
        assert_eq!(urls(Dialect::Pxelinux, pxelinux), expected);
    }

    #[test]
    fn a_script_that_names_files_without_end_is_read_to_a_bound() {
        let text: String = (0..1000)
            .map(|file| format!("initrd http://192.0.2.1/{file}\n"))
            .collect();
        assert_eq!(
            urls(Dialect::Ipxe, &["#!ipxe\n", &text].concat()).len(),
            EXPLAINED_FILES_MAX
        );
    }
}
