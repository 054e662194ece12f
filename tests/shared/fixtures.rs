//! Inventories for tests, made by hand: the one place that gives every field of a snapshot, a host, a subnet, an
//! image and a request for a file its value. A test says what matters to it (`Host { serial, ..host("r1u07") }`),
//! and a new field costs a line here.
//!
//! `crate::fixtures` in the crate's own tests, and in each program of tests/ and tests/fuzz.
#![allow(
    dead_code,
    unreachable_pub,
    reason = "each program of tests needs a part of it, from its own modules"
)]

use bootwright::boot::{
    arming::Arming,
    render::Templates,
    request_path::Transport,
    resource::FileRequest,
    snapshot::{
        Artifact, BootSettings, FileStamp, Host, Hosts, Image, Origin, Ports, PortsFrom, Rule, RuleMatch, Snapshot,
        Sourced, Subnet, UnknownPolicy,
    },
};
use bootwright::model::{BootTarget, Token};
use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr},
    time::Duration,
};

/// Where the appliance is.
pub const SERVER: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);

/// Where what a test makes up is written.
pub fn origin() -> Origin {
    Origin {
        file: "inventory.toml".into(),
        line: 1,
        column: 1,
    }
}

/// A value as the inventory has it.
pub fn sourced<T>(value: T) -> Sourced<T> {
    Sourced {
        value,
        origin: origin(),
    }
}

/// What is set to boot that target with that script.
pub fn settings(target: BootTarget, script: &str) -> BootSettings {
    BootSettings {
        boot: Some(sourced(target)),
        script: Some(sourced(script.parse().unwrap())),
        ..BootSettings::default()
    }
}

/// A host of which nothing but its name is known.
pub fn host(name: &str) -> Host {
    Host {
        name: name.parse().unwrap(),
        macs: Vec::new(),
        links: Vec::new(),
        uuid: None,
        serial: None,
        port: None,
        address: None,
        hostname: None,
        locked: false,
        settings: BootSettings::default(),
        origin: origin(),
    }
}

/// A rule that holds for every machine.
pub fn rule(settings: BootSettings) -> Rule {
    Rule {
        matches: RuleMatch::default(),
        settings,
        origin: origin(),
    }
}

/// A subnet whose machines are told their address alone.
pub fn subnet(cidr: &str) -> Subnet {
    Subnet {
        cidr: cidr.parse().unwrap(),
        network: None,
        selectable: false,
        router: None,
        dns: Vec::new(),
        domain: None,
        pool: Vec::new(),
        kept: Vec::new(),
        ports_from: PortsFrom::default(),
        lease: Duration::from_secs(3600),
        probe: None,
        options: BTreeMap::new(),
    }
}

/// A file of an image, that was `stamp` when the inventory was read.
pub fn artifact(file: &str, sha256: [u8; 32], stamp: FileStamp) -> Artifact {
    Artifact {
        file: file.to_owned(),
        sha256,
        declared_at: origin(),
        stamp,
    }
}

/// An image without files.
pub fn image(name: &str, root: &str) -> Image {
    Image {
        name: name.parse().unwrap(),
        cpu: None,
        root: root.into(),
        kernel: None,
        initrds: Vec::new(),
        disk: None,
        deployable: None,
        cmdline: Vec::new(),
    }
}

/// An inventory in which nothing stands: unlisted machines are asked who they are.
pub fn snapshot() -> Snapshot {
    Snapshot {
        generation: 1,
        ports: Ports { http: 80, tftp: 69 },
        syslog: false,
        subnets: Vec::new(),
        hosts: Hosts::default(),
        rules: Vec::new(),
        unknown: UnknownPolicy::Discover,
        live: "bootwright-live".parse().unwrap(),
        images: BTreeMap::new(),
        loaders: Default::default(),
        quirks: Default::default(),
        templates: Templates::default(),
        kept_texts: Default::default(),
    }
}

/// Nobody is armed, and nothing that is done to it is seen by anybody else.
pub fn nobody_armed<'t>() -> &'t mut Arming {
    Box::leak(Box::default())
}

/// The token that is drawn in tests.
pub fn draw_token() -> Token {
    Token::of_random(*b"0123456789abcdef")
}

/// What is asked for from an address; `path` may have a query.
pub fn file_request(transport: Transport, peer: impl Into<IpAddr>, path: &str) -> FileRequest<'_> {
    let (path, query) = match path.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (path, None),
    };
    FileRequest {
        query,
        ..FileRequest::get(transport, path.as_bytes(), peer, SERVER)
    }
}
