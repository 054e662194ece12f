//! Whatever becomes of a request is an event: to whoever listens, with its machine and its reason.

use super::{Appliance, ClientRoom, Hand, PLAIN, PROBE, comes_true, curl, with_a_replaced_image};
use crate::network::{ip, own_network};
use bootwright::{
    boot::event::{MachineKey, Reason, ReasonCode, RequestedFile, Step},
    state::Subscription,
};
use std::{
    cell::RefCell,
    net::{IpAddr, Ipv4Addr},
};

const LOOPBACK: MachineKey = MachineKey::Address(IpAddr::V4(Ipv4Addr::LOCALHOST));

/// Waits for the next event that is `wanted`; those before it are passed over.
pub(super) fn next_event(listener: &RefCell<Subscription>, what: &str, wanted: impl Fn(&Step) -> bool) -> Step {
    let heard = RefCell::new(Vec::new());
    let comes = comes_true(|| {
        heard
            .borrow_mut()
            .extend(std::iter::from_fn(|| listener.borrow_mut().try_next()));
        heard.borrow().iter().any(|event| wanted(&event.step))
    });
    let heard = heard.into_inner();
    let found = heard.iter().find(|event| wanted(&event.step));
    assert!(comes, "no {what} among {heard:?}");
    found.unwrap().step.clone()
}

fn loader(file: &str) -> RequestedFile {
    RequestedFile::Loader { file: file.into() }
}

#[test]
fn what_becomes_of_tftp_requests_is_told_without_a_word_in_the_log() {
    own_network();
    let appliance = Appliance::start(&["lo"]);
    let listener = RefCell::new(appliance.shared.events.subscribe());
    let hand = Hand::new();
    hand.send(PROBE, 69);
    let (_, port) = hand.receive().unwrap();
    hand.send(b"\0\x05\0\x08size only\0", port);
    let is_probed = |step: &Step| {
        *step
            == Step::SizeAsked {
                file: loader("snponly.efi"),
            }
    };
    next_event(&listener, "size asked", is_probed);
    // Switched off and on: its port asks for something else.
    hand.send(PLAIN, 69);
    hand.hear_block(1);
    hand.send(PROBE, 69);
    let file = Some(loader("snponly.efi"));
    next_event(&listener, "beginning anew", |step| {
        *step == Step::StartedOver { file: file.clone() }
    });
    let hand = Hand::new();
    hand.send(b"\0\x01missing.efi\0octet\0", 69);
    let failed = Step::Failed {
        file: loader("missing.efi"),
        part: None,
        reason: Reason::LoaderMissing {
            file: "missing.efi".into(),
        },
    };
    next_event(&listener, "missing file", |step| *step == failed);
    hand.send(b"\0\x02new.efi\0octet\0", 69);
    let failed = Step::Failed {
        file: RequestedFile::TftpWrite {
            peer: Ipv4Addr::LOCALHOST.into(),
        },
        part: None,
        reason: Reason::ReadOnly,
    };
    next_event(&listener, "wish to write", |step| *step == failed);
    assert_eq!(listener.borrow().missed(), 0);
    let counters = &appliance.shared.counters;
    assert_eq!(counters.reason(ReasonCode::ReadOnly), 1);
    assert_eq!(counters.reason(ReasonCode::LoaderMissing), 1);
}

#[test]
fn who_is_told_to_come_back_by_http_is_an_event_with_the_reason() {
    own_network();
    let appliance = Appliance::start(&["lo"]);
    with_a_replaced_image(&appliance);
    let mut listener = appliance.shared.events.subscribe();
    let told = curl(&["-A", "iPXE/1.21.1", "http://127.0.0.1/image/big/disk.img"]);
    assert!(told.starts_with("HTTP/1.1 503"), "{told}");
    let event = listener.try_next().expect("it is said before it is answered");
    let (file, image) = ("disk.img".into(), "big".into());
    let expected = Step::ComeBack {
        file: RequestedFile::Artifact { image, file },
        reason: Reason::FileChanged,
    };
    assert_eq!((&event.machine.key, &event.step), (&LOOPBACK, &expected));
    assert_eq!(listener.try_next(), None, "and nothing else");
}

#[test]
fn a_dhcp_request_at_an_interface_without_an_address_is_an_event_and_no_silence() {
    own_network();
    let client = ClientRoom::open();
    client.join("boot0", "192.0.2.1/24", "198.51.100.9/24");
    let appliance = Appliance::start(&["boot0"]);
    assert!(client.run("busybox udhcpc -i client0 -n -q -t 20 -T 1 -s /bin/true"));
    ip("address flush dev boot0");
    let listener = RefCell::new(appliance.shared.events.subscribe());
    let heard = RefCell::new(Vec::new());
    let is_reported = || {
        client.run("busybox udhcpc -i client0 -n -q -t 1 -T 1 -s /bin/true");
        heard
            .borrow_mut()
            .extend(std::iter::from_fn(|| listener.borrow_mut().try_next()));
        let is_it = |step: &Step| matches!(step, Step::Ignored { reason: Reason::NoInterfaceAddress { interface, .. } } if &**interface == "boot0");
        heard.borrow().iter().any(|event| is_it(&event.step))
    };
    assert!(comes_true(is_reported), "{:?}", heard.borrow());
}
