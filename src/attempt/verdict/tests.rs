//! Every cause is found by a scripted boot, and a boot that goes well has none.

use super::*;
use crate::attempt::{
    AttemptId, AttemptOwner,
    events::{
        acknowledged, at, event, install, logged, offered, sent_artifact, sent_script, sent_script_with_memory,
        told_its_disk, unlisted,
    },
};
use crate::boot::event::{
    Ago, BootAction, BootDecision, BootFile, DiskReason, Escaped, Event, FileFault, InstallEvent, MachineKey, Mismatch,
    Near, NoOrder, NoOwnAddress, NotStored, Reason, RequestedFile, ReservationUnavailable, Stage, Step, StoreFault,
};
use crate::boot::paths::Ports;
use crate::lease::AttachmentPoint;
use crate::model::{CallbackDoubt, Dialect, InstallFailure, InstallNews};
use std::{collections::BTreeSet, net::Ipv4Addr, sync::Arc, time::Duration};

const ADDRESS: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 11);

/// The verdict so many seconds after the last event.
fn after(seconds: u64, events: &[Event]) -> Option<Verdict> {
    let (first, rest) = events.split_first().unwrap();
    let owner = match &first.machine.key {
        MachineKey::Hardware(hardware) => AttemptOwner::Mac(hardware.mac().unwrap()),
        _ => AttemptOwner::Host("r1u07".parse().unwrap()),
    };
    let mut attempt = Attempt::begin(AttemptId(7), owner, 3, first);
    for event in rest {
        assert!(!attempt.is_over_at(event), "{event:?}");
        attempt.observe(event);
    }
    Verdict::of(&attempt, Duration::from_secs(seconds))
}

fn told(second: u64, stage: Stage, boot: BootAction) -> Event {
    let boot = BootDecision { boot, mismatch: None };
    event(at(second), stage, Step::Acknowledged { address: ADDRESS, boot })
}

fn loader_file() -> BootAction {
    let file = BootFile::Name {
        loader: "snponly.efi".into(),
    };
    BootAction::Loader { file }
}

fn script_file() -> BootAction {
    let file = BootFile::Script {
        server: Ipv4Addr::new(192, 0, 2, 1),
        ports: Ports { http: 80, tftp: 69 },
    };
    BootAction::Script { file }
}

fn at_disk(why: DiskReason) -> Vec<Event> {
    vec![told(1, Stage::UefiPxe, BootAction::Disk { why })]
}

fn loader() -> RequestedFile {
    RequestedFile::Loader {
        file: "snponly.efi".into(),
    }
}

fn script() -> RequestedFile {
    match sent_script(at(0)).step {
        Step::Sent { file, .. } => file,
        _ => unreachable!("that is what it is"),
    }
}

fn artifact() -> RequestedFile {
    RequestedFile::Artifact {
        image: "debian".into(),
        file: "initrd".into(),
    }
}

fn answer() -> RequestedFile {
    RequestedFile::Answer {
        file: "preseed.cfg".into(),
        is_empty: false,
    }
}

fn sent(second: u64, stage: Stage, file: RequestedFile) -> Event {
    let part = None;
    event(at(second), stage, Step::Sent { file, part, bytes: 9 })
}

fn failed(second: u64, file: RequestedFile, reason: Reason) -> Event {
    let part = None;
    event(at(second), Stage::Unknown, Step::Failed { file, part, reason })
}

fn ignored(second: u64, reason: Reason) -> Event {
    event(at(second), Stage::UefiPxe, Step::Ignored { reason })
}

fn install_failed(second: u64, why: InstallFailure) -> Event {
    let news = install(at(second), InstallNews::Failed);
    let Step::Install(step) = news.step else {
        unreachable!("that is what it is")
    };
    let failure = Some(why);
    event(
        at(second),
        Stage::Unknown,
        Step::Install(InstallEvent { failure, ..step }),
    )
}

/// A boot to its loader, its script, its artifacts, its system, its answer, and a minute more.
fn boot(steps: usize) -> Vec<Event> {
    let mut all = vec![
        offered(at(1), Stage::UefiPxe),
        told(2, Stage::UefiPxe, loader_file()),
        sent(3, Stage::UefiPxe, loader()),
        told(10, Stage::Ipxe, script_file()),
        sent_script(at(11)),
        sent_artifact(at(20), "linux", 10),
        sent_artifact(at(21), "initrd", 10),
        acknowledged(at(60), Stage::System),
        sent(70, Stage::System, answer()),
    ];
    all.truncate(steps);
    all
}

fn and(mut events: Vec<Event>, more: impl IntoIterator<Item = Event>) -> Vec<Event> {
    events.extend(more);
    events
}

/// The same of an install.
fn installing(steps: usize) -> Vec<Event> {
    let mut events = boot(steps);
    events.insert(5, install(at(11), InstallNews::Begun));
    events
}

/// A cause's name, a boot that it is the cause of, and how many seconds after its last event.
type Traced = (&'static str, u64, Vec<Event>);

#[rustfmt::skip]
fn installs() -> Vec<Traced> {
    let peer = Ipv4Addr::new(192, 0, 2, 99).into();
    let reported = InstallFailure::Reported { reason: "no disk".into() };
    let of_another = Reason::InstallOfAnother { host: "r1u07".parse().unwrap(), peer, holder: MachineKey::Unknown };
    let mismatch = Mismatch::OtherSerial { observed: "SN-8".into(), listed: "SN-7".into() };
    let other_hardware = Reason::OtherHardware { host: "r1u07".parse().unwrap(), mismatch };
    let refused = Reason::CallbackRefused { peer, why: CallbackDoubt::Token };
    vec![
        ("installer_failed", 5, and(installing(9), [install_failed(80, reported)])),
        ("install_interrupted", 5, and(installing(9), [install_failed(80, InstallFailure::Interrupted)])),
        ("install_too_often", 5, and(installing(9), [install_failed(80, InstallFailure::TooOften { tries: 3 })])),
        ("callback_never_came", 5, and(installing(9), [install_failed(80, InstallFailure::Silent)])),
        ("callback_never_came", 1900, installing(9)),
        ("token_refused", 5, and(installing(9), [failed(80, RequestedFile::Callback { word: None }, refused)])),
        ("install_of_another", 5, and(boot(4), [failed(80, script(), of_another)])),
        ("other_hardware", 5, and(boot(4), [failed(80, script(), other_hardware)])),
    ]
}

#[rustfmt::skip]
fn of_dhcp() -> Vec<Traced> {
    let uefi = |second, step| event(at(second), Stage::UefiPxe, step);
    let own: Arc<str> = "sw7/9".into();
    let seen = Escaped::from(&b"vlan12"[..]);
    let error = NotStored { fault: StoreFault::Full, message: "no room".into() };
    let reason = Reason::PoolUsedUp { own: NoOwnAddress::Unreserved, subnet: "192.0.2.0/24".parse().unwrap() };
    let wrong_port = |reason| vec![uefi(1, Step::WrongPort { reason })];
    let asked = Ipv4Addr::new(192, 0, 2, 12);
    let refused = |second| uefi(second, Step::Refused { reason: Reason::OwnAddressOther { own: ADDRESS, asked } });
    let proxied = |second| uefi(second, Step::ProxyOffered { boot: BootDecision { boot: loader_file(), mismatch: None } });
    let port = Arc::new(AttachmentPoint { interface: "eno2".into(), relay: None, switch_port: None });
    let server = Ipv4Addr::new(192, 0, 2, 9);
    let no_loader = BootAction::NoLoader { arch: None, option_93: Arc::new([18]) };
    let lease_only = BootAction::LeaseOnly { near: Near(None) };
    vec![
        ("wrong_port_vlan", 5, wrong_port(Reason::OtherPortVlan { own: own.clone(), seen: seen.clone() })),
        ("wrong_port", 5, wrong_port(Reason::OtherPort { own: own.clone(), seen })),
        ("wrong_port", 5, wrong_port(Reason::PortUntold { own })),
        ("other_dhcp_server", 5, and(boot(1), [uefi(4, Step::ChoseOtherServer { server })])),
        ("pool_empty", 5, vec![uefi(1, Step::PoolExhausted { reason })]),
        ("dhcp_starvation", 5, vec![ignored(1, Reason::OfferQuota { port, offers: 8 })]),
        ("relay_in_no_subnet", 5, vec![ignored(1, Reason::NoSubnetHere)]),
        ("unlisted_ignored", 5, vec![ignored(1, Reason::Unlisted { near: Near(None) })]),
        ("address_in_use", 5, and(boot(1), [uefi(3, Step::Declined { address: ADDRESS })])),
        ("lease_not_stored", 5, and(boot(1), [failed(3, RequestedFile::DhcpReply, Reason::LeaseNotStored { error })])),
        ("nic_changed", 5, vec![unlisted(9, event(at(1), Stage::UefiPxe, Step::Acknowledged { address: ADDRESS, boot: BootDecision { boot: script_file(), mismatch: Some(Mismatch::SerialOfAnother { host: "r1u07".parse().unwrap() }) } }))]),
        ("address_of_its_double", 5, vec![uefi(1, Step::ReservationUnavailable { given: asked, own: ADDRESS, why: ReservationUnavailable::OtherInterface { by: None } })]),
        ("address_refused", 5, and(boot(1), [refused(2), refused(9)])),
        ("no_loader_for_architecture", 5, vec![told(1, Stage::UefiPxe, no_loader)]),
        ("not_in_the_inventory", 5, vec![told(1, Stage::UefiPxe, lease_only)]),
        ("takes_no_two_offers", 20, vec![proxied(1), proxied(5)]),
        ("offers_unanswered", 0, [1, 4, 8, 16].map(|second| offered(at(second), Stage::UefiPxe)).to_vec()),
        ("offers_unanswered", 20, boot(1)),
    ]
}

#[rustfmt::skip]
fn refused() -> Vec<Traced> {
    let silent = |had| Reason::ClientSilent { had, length: 300, ago: Ago(0) };
    let message = Escaped::from(&b"no space"[..]);
    let gave_up = Reason::ClientGaveUp { had: 100, length: 300, error_code: 3, message };
    let template = || Reason::TemplateFailed { error: "undefined value".into() };
    let form = Reason::ScriptForm { script: "live".parse().unwrap(), dialect: Dialect::Grub, extension: "grub" };
    let unverified = Reason::Unverified { image: "debian".parse().unwrap(), file: "initrd".into(), done: 1, of: 2 };
    let come_back = Step::ComeBack { file: artifact(), reason: unverified };
    let full = Step::TurnedAway { reason: Reason::TransfersFull };
    let cut = |second| failed(second, artifact(), Reason::ConnectionEnded { had: 100, length: 300 });
    let cut_at = |second, length| failed(second, artifact(), Reason::ClientSilent { had: length - 1, length, ago: Ago(0) });
    let no_file = Reason::AnswerFileMissing { answer: "preseed".parse().unwrap(), files: "a".into() };
    let unnamed = Reason::AnswerUnnamed { machine: "r1u07".into() };
    let no_order = Reason::NoOrder { host: "r1u07".parse().unwrap(), why: NoOrder::NoImage };
    let looped = Step::LoaderLoop { loader: "snponly.efi".into(), times: 4 };
    vec![
        ("loader_missing", 5, and(boot(2), [failed(3, loader(), Reason::LoaderMissing { file: "x.efi".into() })])),
        ("boot_loop", 5, and(boot(3), [event(at(50), Stage::UefiPxe, looped)])),
        ("tftp_first_block_lost", 5, and(boot(2), [failed(3, loader(), silent(0))])),
        ("tftp_stalled", 5, and(boot(2), [failed(3, loader(), silent(100))])),
        ("loader_given_up", 5, and(boot(2), [failed(3, loader(), gave_up)])),
        ("script_not_written_for_loader", 5, and(boot(4), [failed(12, script(), form)])),
        ("script_template_failed", 5, and(boot(4), [failed(12, script(), template())])),
        ("artifact_corrupt", 5, and(boot(6), [failed(22, artifact(), Reason::FileWrong)])),
        ("artifact_corrupt", 5, and(boot(6), [failed(22, artifact(), Reason::FileUnsafe { fault: FileFault::Link })])),
        ("artifact_missing", 5, and(boot(5), [failed(22, artifact(), Reason::ImageMissing { image: "debain".into() })])),
        ("image_being_verified", 5, and(boot(5), [event(at(12), Stage::Ipxe, come_back)])),
        ("server_full", 5, and(boot(2), [event(at(3), Stage::Unknown, full)])),
        ("too_little_memory", 5, and(boot(6), [cut(22), cut(40)])),
        ("too_little_memory", 5, and(boot(4), [sent_script_with_memory(at(12), 256), cut_at(22, 90 << 20)])),
        ("artifact_cut", 5, and(boot(4), [sent_script_with_memory(at(12), 65_536), cut_at(22, 90 << 20)])),
        ("artifact_cut", 5, and(boot(6), [failed(22, artifact(), Reason::ClientGone { had: 100, length: 300 })])),
        ("nothing_to_deploy", 5, and(boot(8), [failed(62, RequestedFile::Order, no_order)])),
        ("answer_refused", 5, and(boot(8), [failed(62, answer(), unnamed)])),
        ("answer_file_missing", 5, and(boot(8), [failed(62, answer(), no_file)])),
        ("answer_template_failed", 5, and(boot(8), [failed(62, answer(), template())])),
    ]
}

#[rustfmt::skip]
fn silent() -> Vec<Traced> {
    let size_asked = event(at(7), Stage::UefiPxe, Step::SizeAsked { file: loader() });
    let big = sent_artifact(at(30), "initrd", 90 << 20);
    let optional = |second| event(at(second), Stage::System, Step::OptionalMissing { file: answer() });
    vec![
        ("script_unfetched", 30, boot(4)),
        ("nic_closed_in_ipxe", 30, and(boot(3), [sent(4, Stage::Unknown, RequestedFile::Autoexec)])),
        ("loader_refused", 70, boot(3)),
        ("loader_refused", 1, and(boot(3), [offered(at(9), Stage::UefiHttp)])),
        ("loader_hangs", 70, vec![told(1, Stage::BiosPxe, loader_file()), sent(2, Stage::BiosPxe, loader())]),
        ("link_slow", 31, boot(3)),
        ("loader_unfetched", 20, boot(2)),
        ("loader_unfetched", 20, and(boot(2), [told(6, Stage::UefiPxe, loader_file()), size_asked])),
        ("script_fails", 1, and(boot(5), [sent_script(at(15)), sent_script(at(19))])),
        ("script_stopped", 90, boot(5)),
        ("kernel_no_network", 130, boot(7)),
        ("kernel_short_of_memory", 130, and(boot(4), [sent_script_with_memory(at(12), 256), big])),
        ("answer_unfetched", 200, installing(8)),
        ("installer_waits_for_optional_file", 1, and(boot(8), [62, 63, 64].map(optional))),
        ("gone_after_address", 130, vec![acknowledged(at(1), Stage::BiosPxe)]),
        ("unanswered", 5, vec![ignored(1, Reason::MessageType { kind: 9 })]),
        ("not_armed", 5, at_disk(DiskReason::NotArmed)),
        ("not_armed", 5, at_disk(DiskReason::RuleInstalls)),
        ("install_failed_before", 5, at_disk(DiskReason::InstallFailed)),
        ("locked", 5, at_disk(DiskReason::Locked)),
        ("local", 500, vec![told_its_disk(at(1))]),
    ]
}

fn traces() -> Vec<Traced> {
    [installs(), of_dhcp(), refused(), silent()].concat()
}

#[test]
fn every_cause_is_found_by_its_trace_and_no_other_is() {
    let traces = traces();
    for (name, seconds, events) in &traces {
        let verdict = after(*seconds, events);
        let found = verdict.as_ref().map(|verdict| &*verdict.cause);
        assert_eq!(found, Some(*name), "{verdict:?}");
    }
    let tried: BTreeSet<&str> = traces.iter().map(|(name, ..)| *name).collect();
    let known: BTreeSet<&str> = causes().map(|cause| cause.name).collect();
    assert_eq!(tried, known);
    assert_eq!(causes().count(), known.len(), "no two have one name");
    assert!(known.len() >= 25);
}

#[test]
fn a_machine_on_its_way_or_up_has_no_verdict() {
    for steps in 1..=9 {
        assert_eq!(after(1, &boot(steps)), None, "{steps}");
        assert_eq!(after(1, &installing(steps.max(5))), None, "{steps}");
    }
    // A live system that runs for a week.
    assert_eq!(after(7 * 24 * 3600, &boot(8)), None);
    let done = and(installing(9), [install(at(100), InstallNews::Done)]);
    assert_eq!(after(7 * 24 * 3600, &done), None);
}

#[test]
fn what_a_machine_got_past_is_no_cause() {
    let silent = |ago| Reason::ClientSilent {
        had: 0,
        length: 300,
        ago: Ago(ago),
    };
    let lost = failed(3, loader(), silent(0));
    let past = [
        sent(5, Stage::UefiPxe, loader()),
        told(10, Stage::Ipxe, script_file()),
        sent_script(at(11)),
    ];
    assert_eq!(after(1, &and(and(boot(2), [lost]), past.clone())), None);
    // In a crowd firmware asks twice for its loader, and what nobody takes ends when all the rest is there.
    let told_late = |second, ago| failed(second, loader(), silent(ago));
    assert_eq!(
        after(1, &and(and(boot(2), past.clone()), [told_late(25, 23_000)])),
        None
    );
    // That it has the loader of before does not make up for the one that it asks for now.
    assert_eq!(
        after(1, &and(and(boot(2), past), [told_late(25, 12_000)]))
            .map(|verdict| verdict.cause)
            .as_deref(),
        Some("tftp_first_block_lost")
    );
    let missing = failed(12, artifact(), Reason::ConnectionEnded { had: 100, length: 300 });
    let whole = sent(20, Stage::Ipxe, artifact());
    assert_eq!(after(1, &and(boot(5), [missing, whole])), None);
    let chose = event(
        at(2),
        Stage::UefiPxe,
        Step::ChoseOtherServer {
            server: Ipv4Addr::new(192, 0, 2, 9),
        },
    );
    assert_eq!(
        after(1, &and(boot(1), [chose, told(4, Stage::UefiPxe, loader_file())])),
        None
    );
}

#[test]
fn a_verdict_says_how_far_it_came_what_is_missing_and_how_sure_it_is() {
    let verdict = after(130, &boot(7)).unwrap();
    assert_eq!(
        (verdict.last, verdict.missing),
        (Progress::Artifacts, Some(Progress::System))
    );
    assert_eq!(
        (verdict.severity, verdict.confidence),
        (Severity::Problem, Confidence::Likely)
    );
    let sure = after(5, &at_disk(DiskReason::NotArmed)).unwrap();
    assert_eq!(
        (sure.severity, sure.confidence),
        (Severity::AsConfigured, Confidence::Certain)
    );
    let other = traces()
        .into_iter()
        .find(|(name, ..)| *name == "other_dhcp_server")
        .unwrap();
    assert!(after(5, &other.2).unwrap().sentence.contains("192.0.2.9"));
}

#[test]
fn an_installer_that_is_at_work_is_given_its_time() {
    let progress = |second| install(at(second), InstallNews::Progressed);
    let busy = and(installing(9), [progress(100), progress(900)]);
    assert_eq!(after(1700, &busy), None);
    assert_eq!(after(1900, &busy).unwrap().cause, "callback_never_came");
}

#[test]
fn the_page_of_each_cause_is_what_the_table_says() {
    let pages: Vec<String> = causes().map(BootCause::to_string).collect();
    let documented = include_str!("../../../CAUSES.md");
    let (_, documented) = documented.split_once("\n\n").unwrap();
    assert!(
        documented == pages.join("\n"),
        "write it anew: bootwright why --cause all > CAUSES.md"
    );
    assert!(cause("boot_loop").is_some() && cause("nobody").is_none());
}

#[test]
fn an_install_that_failed_is_told_with_the_words_of_its_own_log() {
    let reported = InstallFailure::Reported {
        reason: "no disk".into(),
    };
    let said = logged(at(70), &["<27>partman: no disk found\x1b[31m", "<30>init: bye"]);
    let failed = after(5, &and(installing(9), [said.clone(), install_failed(80, reported)])).unwrap();
    assert_eq!(failed.cause, "installer_failed");
    assert!(
        failed
            .sentence
            .ends_with("; its log's last error: partman: no disk found\\x1b[31m"),
        "{}",
        failed.sentence
    );
    // A slow mirror: the installer says nothing to us for long, and its log goes on.
    let unpacks = logged(at(1800), &["<30>in-target: Unpacking linux-image"]);
    let busy = after(1900, &and(installing(9), [unpacks.clone()]));
    assert!(
        busy.as_ref()
            .is_none_or(|verdict| verdict.cause != "callback_never_came"),
        "{busy:?}"
    );
    let hangs = after(4000, &and(installing(9), [unpacks])).unwrap();
    assert_eq!(hangs.cause, "callback_never_came");
    let quiet = after(1900, &and(installing(9), [said])).unwrap();
    assert_eq!(quiet.cause, "callback_never_came");
    assert!(
        quiet.sentence.ends_with(" 1900 s; its log's last line: init: bye"),
        "{}",
        quiet.sentence
    );
}
