//! What must hold of every file that somebody takes for a capture: it is read, or refused with the place; what is read
//! of it are bytes of it, and comes out of the decisions in the end.

use super::fixtures;
use bootwright::attempt::replay::{ReplaySettings, replay, server_in};
use bootwright::model::{Mode, OwnAddress, limits::CAPTURE_INTERFACES_MAX};
use bootwright::proto::capture::{CaptureError, dissect, read};
use std::time::Duration;

/// Reads one file; how many packets of it were dissected. Panics where a property does not hold.
pub fn judge(input: &[u8]) -> usize {
    let capture = match read(input) {
        Ok(capture) => capture,
        Err(CaptureError::Broken { at }) => {
            assert!(at < input.len(), "what is wrong is in the file");
            return 0;
        }
        Err(CaptureError::NoCapture | CaptureError::TooManyInterfaces) => return 0,
    };
    let within = input.as_ptr_range();
    let dissected = capture.frames.iter().filter(|frame| {
        assert!(frame.bytes.is_empty() || within.contains(&frame.bytes.as_ptr()));
        dissect(frame).is_some()
    });
    let dissected = dissected.count();
    assert!(capture.own.len() <= CAPTURE_INTERFACES_MAX);
    let snapshot = bootwright::boot::snapshot::Snapshot {
        subnets: vec![fixtures::subnet("192.0.2.0/24")],
        ..fixtures::snapshot()
    };
    let server = server_in(&snapshot, &capture).unwrap_or(OwnAddress {
        address: fixtures::SERVER,
        cidr: snapshot.subnets[0].cidr,
    });
    let settings = ReplaySettings {
        snapshot: &snapshot,
        server,
        mode: Mode::Dhcp,
        interface: "eno2".into(),
        armed: Vec::new(),
        length_of: &|_, _| None,
    };
    let report = replay(&settings, &capture, Duration::from_secs(60));
    for answer in &report.answers {
        let words = answer.event.as_ref().map(|event| event.step.to_string());
        assert!(!words.unwrap_or_default().contains(char::is_control), "{answer:?}");
        assert!(!answer.asked.contains(char::is_control), "{answer:?}");
    }
    for (attempt, silence) in &report.attempts {
        let _ = bootwright::attempt::verdict::Verdict::of(attempt, *silence);
    }
    dissected
}
