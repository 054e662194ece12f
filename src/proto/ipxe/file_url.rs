//! Where a file is: the URLs and names that DHCP and scripts give, as iPXE and firmware read them.

use std::{fmt, net::Ipv4Addr};

/// A file on a server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileUrl {
    /// How it is fetched.
    pub transport: FileTransport,
    /// The host as it was written; only an address can be followed.
    pub host: String,
    /// The port, the transport's own where none was written.
    pub port: u16,
    /// The path: of HTTP with its slash and query, of TFTP without a slash.
    pub path: String,
}

/// How a file is fetched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileTransport {
    /// TFTP.
    Tftp,
    /// HTTP.
    Http,
}

impl FileTransport {
    fn of(scheme: &str) -> Option<FileTransport> {
        match scheme {
            "tftp" => Some(FileTransport::Tftp),
            "http" => Some(FileTransport::Http),
            _ => None,
        }
    }

    fn scheme(self) -> &'static str {
        match self {
            FileTransport::Tftp => "tftp",
            FileTransport::Http => "http",
        }
    }

    fn port(self) -> u16 {
        match self {
            FileTransport::Tftp => 69,
            FileTransport::Http => 80,
        }
    }
}

impl FileUrl {
    /// A file of a TFTP server by its name.
    pub fn tftp(server: Ipv4Addr, name: &str) -> FileUrl {
        FileUrl {
            transport: FileTransport::Tftp,
            host: server.to_string(),
            port: FileTransport::Tftp.port(),
            path: name.trim_start_matches('/').to_owned(),
        }
    }

    /// A whole URL; `None` where it is none, or of a scheme that is not followed.
    pub fn url(text: &str) -> Option<FileUrl> {
        let (scheme, rest) = text.split_once("://")?;
        let transport = FileTransport::of(scheme)?;
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at(end);
        let (host, port) = match authority.split_once(':') {
            Some((host, port)) => (host, port.parse().ok()?),
            None => (authority, transport.port()),
        };
        let place = FileUrl {
            transport,
            host: host.to_owned(),
            port,
            path: String::new(),
        };
        let rooted = if path.starts_with('/') {
            path.to_owned()
        } else {
            format!("/{path}")
        };
        Some(place.at(&rooted))
    }

    /// What `text` means in a script that came from here: a URL, a path of this server, or a
    /// neighbour.
    pub fn join(&self, text: &str) -> Option<FileUrl> {
        if text.contains("://") {
            return FileUrl::url(text);
        }
        if text.starts_with('/') {
            return Some(self.at(text));
        }
        let path = self.path.split('?').next().unwrap_or_default();
        let folder = path.rfind('/').map_or("", |end| &path[..end]);
        Some(self.at(&format!("/{}/{text}", folder.trim_start_matches('/')).replace("//", "/")))
    }

    /// The same server's file at a path with a slash in front.
    fn at(&self, rooted: &str) -> FileUrl {
        let path = match self.transport {
            FileTransport::Http => rooted,
            FileTransport::Tftp => rooted.trim_start_matches('/'),
        };
        FileUrl {
            path: path.to_owned(),
            ..self.clone()
        }
    }

    /// Whether it is on that server.
    pub fn is_on(&self, server: Ipv4Addr) -> bool {
        self.host.parse() == Ok(server)
    }
}

impl fmt::Display for FileUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let slash = if self.path.starts_with('/') { "" } else { "/" };
        let scheme = self.transport.scheme();
        if self.port == self.transport.port() {
            return write!(f, "{scheme}://{}{slash}{}", self.host, self.path);
        }
        write!(f, "{scheme}://{}:{}{slash}{}", self.host, self.port, self.path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_read_and_shown_as_they_were() {
        for url in [
            "http://192.0.2.1/boot.ipxe?mac=02-00",
            "http://192.0.2.1:8080/a/b",
            "tftp://192.0.2.1/snponly.efi",
        ] {
            assert_eq!(FileUrl::url(url).unwrap().to_string(), url);
        }
        assert_eq!(FileUrl::url("http://192.0.2.1").unwrap().path, "/");
        for wrong in ["https://192.0.2.1/", "snponly.efi", "http://192.0.2.1:x/"] {
            assert_eq!(FileUrl::url(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_name_in_a_script_is_beside_the_script() {
        let script = FileUrl::url("http://192.0.2.1/ipxe/boot.ipxe?next=/x/y").unwrap();
        let joined = |text| script.join(text).unwrap().to_string();
        assert_eq!(joined("linux"), "http://192.0.2.1/ipxe/linux");
        assert_eq!(joined("/linux"), "http://192.0.2.1/linux");
        assert_eq!(joined("tftp://192.0.2.9/x"), "tftp://192.0.2.9/x");
        let file = FileUrl::tftp(Ipv4Addr::new(192, 0, 2, 1), "boot.ipxe");
        assert_eq!(file.join("linux").unwrap().path, "linux");
    }

    #[test]
    fn only_an_address_is_a_server() {
        let server = Ipv4Addr::new(192, 0, 2, 1);
        assert!(FileUrl::url("http://192.0.2.1/").unwrap().is_on(server));
        assert!(!FileUrl::url("http://192.0.2.9/").unwrap().is_on(server));
        assert!(!FileUrl::url("http://boot.example/").unwrap().is_on(server));
    }
}
