//! Who holds a port: what `ss -lunp` would say, for the error message of a second daemon.

use std::{fs, path::Path};

/// The process that holds `port` of `protocol` (`udp` or `tcp`), as `dnsmasq (process 812)`; `None`
/// where `/proc` does not tell, which it does to root alone.
pub fn holder(protocol: &str, port: u16) -> Option<String> {
    let (name, pid) = holders(protocol, port).into_iter().next()?;
    Some(format!("{name} (process {pid})"))
}

/// Every process that holds it, by name and number, as far as `/proc` tells.
pub fn holders(protocol: &str, port: u16) -> Vec<(String, u32)> {
    let inodes = taken(protocol, port);
    if inodes.is_empty() {
        return Vec::new();
    }
    let wanted: Vec<String> = inodes.iter().map(|inode| format!("socket:[{inode}]")).collect();
    let Ok(processes) = fs::read_dir("/proc") else {
        return Vec::new();
    };
    let processes = processes.flatten().filter_map(|entry| {
        // `self` and `thread-self` are processes under other names.
        let pid: u32 = entry.file_name().to_str()?.parse().ok()?;
        has_socket(&entry.path(), &wanted).then(|| {
            let name = fs::read_to_string(entry.path().join("comm")).unwrap_or_default();
            (name.trim_end().into(), pid)
        })
    });
    processes.collect()
}

/// Whether any socket of this network namespace has the port, whoever's it is and on whichever interface.
pub fn is_taken(protocol: &str, port: u16) -> bool {
    !taken(protocol, port).is_empty()
}

/// The inodes of the sockets with the port.
fn taken(protocol: &str, port: u16) -> Vec<String> {
    let tables = [protocol, if protocol == "tcp" { "tcp6" } else { "udp6" }];
    tables
        .iter()
        .filter_map(|table| fs::read_to_string(Path::new("/proc/thread-self/net").join(table)).ok())
        .flat_map(|table| inodes_of(&table, port))
        .collect()
}

/// The command by which root sees who holds `port` of `protocol`.
pub fn shown_by(protocol: &str, port: u16) -> String {
    let kind = if protocol == "tcp" { "t" } else { "u" };
    format!("sudo ss -lnp{kind} 'sport = :{port}'")
}

/// The inodes of the sockets bound to `port` in a table of `/proc/PID/net`. A TCP socket counts when it
/// listens (state 0A); for UDP the state is 07.
fn inodes_of(table: &str, port: u16) -> Vec<String> {
    let suffix = format!(":{port:04X}");
    table
        .lines()
        .skip(1)
        .filter_map(|line| {
            let fields: Vec<&str> = line.split_ascii_whitespace().collect();
            let bound = fields.get(1)?.ends_with(&suffix) && matches!(*fields.get(3)?, "0A" | "07");
            bound.then(|| fields.get(9).map(|inode| (*inode).to_owned())).flatten()
        })
        .collect()
}

fn has_socket(process: &Path, wanted: &[String]) -> bool {
    let Ok(descriptors) = fs::read_dir(process.join("fd")) else {
        return false;
    };
    descriptors
        .flatten()
        .filter_map(|descriptor| fs::read_link(descriptor.path()).ok())
        .any(|target| wanted.iter().any(|socket| target.as_os_str() == socket.as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_process_that_holds_a_port_is_named() {
        let udp = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let tcp = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let me = format!("(process {})", std::process::id());
        let told = holder("udp", udp.local_addr().unwrap().port()).unwrap();
        assert!(told.ends_with(&me), "{told}");
        let told = holder("tcp", tcp.local_addr().unwrap().port()).unwrap();
        assert!(told.ends_with(&me), "{told}");
    }

    #[test]
    fn a_port_that_nobody_holds_has_no_holder() {
        assert_eq!(
            inodes_of("header\n 0: 00000000:0045 00000000:0000 07 0:0 0:0 0 0 0 77 2\n", 70),
            [] as [String; 0]
        );
    }
}
