//! The rules of the module's head, one by one.

use super::*;
use crate::boot::callback::Callback;
use crate::boot::snapshot::{BootSettings, Hosts, Snapshot};
use crate::fixtures::{self, draw_token, sourced};
use crate::model::{BootTarget, CallbackDoubt, MacAddr, limits::CALLBACK_REPEAT_TTL};
use crate::model::{InstallFailure, limits::INSTALL_TRIES_MAX};

const NOW: WallTime = WallTime(1_764_000_000);
const HERE: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 7);

fn at(seconds: u64) -> WallTime {
    WallTime(NOW.0 + seconds)
}

fn host() -> Host {
    Host {
        macs: vec![MacAddr([2, 0, 0, 0, 0, 7])],
        settings: fixtures::settings(BootTarget::Install, "installer"),
        ..fixtures::host("r1u07")
    }
}

fn room(hosts: Vec<Host>) -> Snapshot {
    Snapshot {
        hosts: Hosts::new(hosts),
        ..fixtures::snapshot()
    }
}

fn ada() -> By {
    By::Operator { name: "ada".into() }
}

/// Armed for a hundred seconds, and on disk.
fn armed() -> Arming {
    let mut arming = Arming::default();
    let change = arming.arm(NOW, &host(), (at(100), ada())).unwrap();
    arming.settle(&change, true);
    arming
}

fn hand_out(arming: &mut Arming, seconds: u64) -> Option<HandedInstall> {
    arming.hand_out(at(seconds), (&host(), HERE), draw_token)
}

fn installing(change: &ArmingChange) -> &Install {
    match change.record().map(|record| &record.state) {
        Some(HostState::Installing(install)) => install,
        other => panic!("{other:?}"),
    }
}

fn news(changes: &[ArmingChange]) -> Vec<Option<InstallNews>> {
    let all = changes.iter();
    all.map(|change| match change {
        ArmingChange::Put { news, .. } => *news,
        ArmingChange::Forget(_) => panic!("nobody is forgotten"),
    })
    .collect()
}

/// What the disk has after a change, read by the next process.
fn restarted(change: &ArmingChange) -> Arming {
    Arming::restored(change.record().cloned())
}

#[test]
fn a_host_is_armed_once_that_is_on_disk_and_until_its_time_is_up() {
    let mut arming = Arming::default();
    let change = arming.arm(NOW, &host(), (at(100), ada())).unwrap();
    assert_eq!(arming.standing(NOW, &host()), Standing::NotArmed, "not on disk yet");
    assert_eq!(hand_out(&mut arming, 0), None);
    arming.settle(&change, true);
    assert_eq!(arming.standing(at(99), &host()), Standing::Open);
    assert_eq!(arming.standing(at(100), &host()), Standing::NotArmed);
    assert_eq!(hand_out(&mut arming, 100), None);
}

#[test]
fn what_the_disk_does_not_take_arms_nobody_and_leaves_what_was() {
    let mut arming = Arming::default();
    let change = arming.arm(NOW, &host(), (at(100), ada())).unwrap();
    arming.settle(&change, false);
    assert_eq!(
        (arming.standing(NOW, &host()), arming.record(&host())),
        (Standing::NotArmed, None)
    );
    let mut arming = armed();
    arming.disarm(at(1), &host().name, ada()).unwrap();
    let change = arming.arm(at(2), &host(), (at(100), ada())).unwrap();
    assert_eq!(arming.record(&host()).unwrap().state, HostState::Local);
    arming.settle(&change, false);
    assert_eq!(arming.record(&host()).unwrap().state, HostState::Local);
    // One that was disarmed meanwhile stays so, whatever comes of the disk.
    let change = arming.arm(at(3), &host(), (at(100), ada())).unwrap();
    arming.disarm(at(4), &host().name, ada()).unwrap();
    arming.settle(&change, true);
    assert_eq!(arming.standing(at(5), &host()), Standing::NotArmed);
}

#[test]
fn another_machine_under_the_name_and_the_machine_under_another_name_are_not_armed() {
    let arming = armed();
    let renamed = Host {
        name: "r1u08".parse().unwrap(),
        ..host()
    };
    let others = [
        renamed,
        Host {
            macs: vec![MacAddr([2, 0, 0, 0, 0, 8])],
            ..host()
        },
        Host {
            macs: vec![MacAddr([2, 0, 0, 0, 0, 7]), MacAddr([2, 0, 0, 0, 0, 8])],
            ..host()
        },
    ];
    for other in others {
        assert_eq!(arming.standing(NOW, &other), Standing::NotArmed, "{other:?}");
    }
    let other_image = Host {
        settings: BootSettings {
            image: Some(sourced("debian-13".parse().unwrap())),
            ..host().settings
        },
        ..host()
    };
    assert_eq!(arming.standing(NOW, &other_image), Standing::Open);
}

#[test]
fn a_script_that_is_fetched_again_by_the_same_boot_is_of_the_same_install() {
    let mut arming = armed();
    let first = hand_out(&mut arming, 1).unwrap();
    assert_eq!(news(std::slice::from_ref(&first.change)), [Some(InstallNews::Begun)]);
    let again = arming
        .hand_out(at(2), (&host(), HERE), || panic!("it has its token"))
        .unwrap();
    assert_eq!(
        (again.token, news(std::slice::from_ref(&again.change))),
        (first.token, vec![None])
    );
    assert_eq!(installing(&again.change).tries, 1);
    // It is written again: the first time the disk may not have taken it.
    assert_eq!(again.change.record().unwrap().since, at(1));
}

#[test]
fn an_install_under_way_is_not_taken_from_its_installer_by_arming_its_host_once_more() {
    let mut arming = armed();
    hand_out(&mut arming, 1).unwrap();
    assert_eq!(arming.arm(at(2), &host(), (at(100), ada())), Err(NotArmable::UnderWay));
    heard(&mut arming, 3, Callback::Done).unwrap();
    assert_eq!(arming.standing(at(4), &host()), Standing::Installed);
}

#[test]
fn an_install_goes_on_after_the_time_that_its_host_was_armed_for() {
    let mut arming = armed();
    let begun = hand_out(&mut arming, 99).unwrap();
    assert_eq!(arming.standing(at(1000), &host()), Standing::Open);
    assert_eq!(restarted(&begun.change).standing(at(1000), &host()), Standing::Open);
    assert!(arming.sweep(at(1000), &room(vec![host()])).is_empty());
}

#[test]
fn a_machine_that_is_switched_off_and_on_gets_its_install_with_another_token_and_not_for_ever() {
    let mut arming = armed();
    for tries in 1..=INSTALL_TRIES_MAX {
        let token = Token::of_random([tries; 16]);
        let handed = arming.hand_out(at(1), (&host(), HERE), || token).unwrap();
        assert_eq!((handed.token, installing(&handed.change).tries), (Some(token), tries));
        arming.power_on(&host());
    }
    let HandedInstall { token, change } = hand_out(&mut arming, 2).unwrap();
    assert_eq!(
        (token, news(std::slice::from_ref(&change))),
        (None, vec![Some(InstallNews::Failed)])
    );
    assert_eq!(arming.standing(at(2), &host()), Standing::Failed);
    assert_eq!(restarted(&change).standing(at(2), &host()), Standing::Failed);
    let failure = change.event().unwrap().failure;
    assert_eq!(
        failure,
        Some(InstallFailure::TooOften {
            tries: INSTALL_TRIES_MAX
        })
    );
}

#[test]
fn a_machine_that_is_switched_off_while_its_installer_is_at_work_installs_no_second_time() {
    for word in [Callback::Started, progress(90)] {
        let mut arming = armed();
        hand_out(&mut arming, 0).unwrap();
        heard(&mut arming, 1, word).unwrap();
        arming.power_on(&host());
        let HandedInstall { token, change } = hand_out(&mut arming, 2).unwrap();
        let event = change.event().unwrap();
        assert_eq!((token, event.failure), (None, Some(InstallFailure::Interrupted)));
        assert!(event.last.is_some_and(|last| last.is_of_installer()));
        assert_eq!(arming.standing(at(2), &host()), Standing::Failed);
        assert_eq!(restarted(&change).standing(at(2), &host()), Standing::Failed);
        // Until it is armed again.
        assert_eq!(hand_out(&mut arming, 3), None);
        let change = arming.arm(at(4), &host(), (at(100), ada())).unwrap();
        arming.settle(&change, true);
        assert!(hand_out(&mut arming, 5).unwrap().token.is_some());
    }
}

#[test]
fn a_script_that_is_fetched_while_the_installer_is_at_work_fails_nothing_unless_its_machine_was_started_anew() {
    let mut arming = armed();
    let token = hand_out(&mut arming, 0).unwrap().token;
    let started = heard(&mut arming, 1, Callback::Started).unwrap();
    // A person looks at it from the machine itself, or a packet is forged in its name.
    let again = hand_out(&mut arming, 2).unwrap();
    assert_eq!((again.token, again.change.event()), (token, None));
    assert!(installing(&again.change).last.is_of_installer());
    assert_eq!(
        news(&[heard(&mut arming, 3, Callback::Done).unwrap()]),
        [Some(InstallNews::Done)]
    );
    // Nobody saw what its machine did before this start.
    let handed = hand_out(&mut restarted(&started), 2).unwrap();
    assert_eq!(
        handed.change.event().unwrap().failure,
        Some(InstallFailure::Interrupted)
    );
}

#[test]
fn an_install_of_which_nothing_is_heard_fails_and_says_what_was_seen_of_it_last() {
    let mut arming = armed();
    hand_out(&mut arming, 0).unwrap();
    arming.answer_fetched(at(50), &host());
    let timeout = INSTALL_TIMEOUT_DEFAULT.as_secs();
    let snapshot = room(vec![host()]);
    assert!(arming.sweep(at(50 + timeout - 1), &snapshot).is_empty());
    assert_eq!(
        arming.standing(at(50 + timeout), &host()),
        Standing::Failed,
        "before anybody looks"
    );
    let changes = arming.sweep(at(50 + timeout), &snapshot);
    let events: Vec<_> = changes.iter().filter_map(ArmingChange::event).collect();
    assert_eq!(events.len(), 1);
    assert_eq!(
        (events[0].news, events[0].failure.clone(), events[0].last.clone()),
        (
            InstallNews::Failed,
            Some(InstallFailure::Silent),
            Some(InstallStep::Answer)
        )
    );
    assert!(arming.sweep(at(51 + timeout), &snapshot).is_empty(), "once");
}

#[test]
fn a_profile_says_how_long_nothing_may_be_heard() {
    let patient = Host {
        settings: BootSettings {
            install_timeout: Some(sourced(Duration::from_secs(10))),
            ..host().settings
        },
        ..host()
    };
    let mut arming = armed();
    arming.hand_out(NOW, (&patient, HERE), draw_token).unwrap();
    assert_eq!(arming.standing(at(9), &patient), Standing::Open);
    assert_eq!(arming.standing(at(10), &patient), Standing::Failed);
}

#[test]
fn time_and_the_inventory_disarm_a_host_and_that_is_said_once() {
    let locked = Host { locked: true, ..host() };
    let other = Host {
        macs: vec![MacAddr([2, 0, 0, 0, 0, 9])],
        ..host()
    };
    let to_its_disk = Host {
        settings: fixtures::settings(BootTarget::Local, "installer"),
        ..host()
    };
    for (seconds, hosts, expected) in [
        (100, vec![host()], InstallNews::Expired),
        (1, vec![], InstallNews::Disarmed),
        (1, vec![locked], InstallNews::Disarmed),
        (1, vec![to_its_disk], InstallNews::Disarmed),
        (1, vec![other], InstallNews::Disarmed),
    ] {
        let (mut arming, snapshot) = (armed(), room(hosts));
        let changes = arming.sweep(at(seconds), &snapshot);
        assert_eq!(news(&changes), [Some(expected)]);
        assert_eq!(restarted(&changes[0]).standing(NOW, &host()), Standing::NotArmed);
        assert!(arming.sweep(at(seconds + 1), &snapshot).is_empty());
    }
    assert!(armed().sweep(at(1), &room(vec![host()])).is_empty());
}

#[test]
fn disarming_counts_at_once_and_ends_an_install() {
    let mut arming = armed();
    hand_out(&mut arming, 1).unwrap();
    let change = arming.disarm(at(2), &host().name, ada()).unwrap();
    assert_eq!(arming.standing(at(2), &host()), Standing::NotArmed);
    assert_eq!((hand_out(&mut arming, 3), arming.token(&host())), (None, None));
    assert_eq!(restarted(&change).standing(at(2), &host()), Standing::NotArmed);
    assert_eq!(arming.disarm(at(3), &host().name, ada()), None, "it is not armed");
}

fn heard(arming: &mut Arming, seconds: u64, said: Callback) -> Result<ArmingChange, CallbackDoubt> {
    arming.heard(at(seconds), (&host(), HERE), (draw_token(), said))
}

fn progress(percent: u8) -> Callback {
    Callback::Progress {
        percent: Some(percent),
        message: "".into(),
    }
}

#[test]
fn an_install_says_how_it_is_and_is_done_once() {
    let mut arming = armed();
    hand_out(&mut arming, 0).unwrap();
    let mut said = |seconds, word| news(&[heard(&mut arming, seconds, word).unwrap()])[0];
    assert_eq!(said(1, Callback::Started), Some(InstallNews::Started));
    assert_eq!(said(2, progress(40)), Some(InstallNews::Progressed));
    assert_eq!(
        (said(3, progress(40)), said(4, Callback::Started)),
        (None, None),
        "no news"
    );
    assert_eq!(said(5, Callback::Done), Some(InstallNews::Done));
    assert_eq!(said(6, Callback::Done), None, "its answer may be lost");
    assert_eq!(arming.standing(at(6), &host()), Standing::Installed);
    for late in [
        Callback::Started,
        progress(50),
        Callback::Failed { reason: "no".into() },
    ] {
        assert_eq!(heard(&mut arming, 7, late), Err(CallbackDoubt::Late));
    }
    let late = 5 + CALLBACK_REPEAT_TTL.as_secs();
    assert_eq!(heard(&mut arming, late, Callback::Done), Err(CallbackDoubt::Late));
    assert_eq!(hand_out(&mut arming, late), None);
}

#[test]
fn every_word_of_an_install_puts_off_its_end() {
    let mut arming = armed();
    let timeout = INSTALL_TIMEOUT_DEFAULT.as_secs();
    hand_out(&mut arming, 0).unwrap();
    heard(&mut arming, timeout - 1, progress(1)).unwrap();
    heard(&mut arming, 2 * timeout - 2, progress(1)).unwrap();
    let too_late = 3 * timeout - 2;
    assert_eq!(heard(&mut arming, too_late, Callback::Done), Err(CallbackDoubt::Late));
    assert_eq!(arming.standing(at(too_late), &host()), Standing::Failed);
}

#[test]
fn a_token_is_good_for_its_own_install_alone() {
    let mut arming = armed();
    assert_eq!(
        heard(&mut arming, 0, Callback::Done),
        Err(CallbackDoubt::NoInstall),
        "none is under way"
    );
    hand_out(&mut arming, 1).unwrap();
    let guess = (Token::of_random([9; 16]), Callback::Done);
    assert_eq!(arming.heard(at(2), (&host(), HERE), guess), Err(CallbackDoubt::Token));
    // The machine began anew, with another token: what its first boot left running is heard no more.
    arming.power_on(&host());
    let other = Token::of_random([8; 16]);
    arming.hand_out(at(3), (&host(), HERE), || other).unwrap();
    assert_eq!(heard(&mut arming, 4, Callback::Done), Err(CallbackDoubt::Token));
    arming.disarm(at(5), &host().name, ada()).unwrap();
    assert_eq!(
        arming.heard(at(6), (&host(), HERE), (other, Callback::Done)),
        Err(CallbackDoubt::NoInstall)
    );
}

#[test]
fn a_failed_install_says_why_and_needs_another_arming() {
    let mut arming = armed();
    hand_out(&mut arming, 0).unwrap();
    let failed = heard(
        &mut arming,
        1,
        Callback::Failed {
            reason: "no disk".into(),
        },
    )
    .unwrap();
    let failure = failed.event().unwrap().failure;
    assert_eq!(
        failure,
        Some(InstallFailure::Reported {
            reason: "no disk".into()
        })
    );
    assert_eq!(arming.standing(at(1), &host()), Standing::Failed);
    assert_eq!(hand_out(&mut arming, 2), None);
    let change = arming.arm(at(3), &host(), (at(100), ada())).unwrap();
    arming.settle(&change, true);
    assert_eq!(arming.standing(at(3), &host()), Standing::Open);
}

#[test]
fn a_word_that_the_disk_did_not_take_counts_and_is_written_again_until_it_does() {
    let mut arming = armed();
    hand_out(&mut arming, 0).unwrap();
    let done = heard(&mut arming, 1, Callback::Done).unwrap();
    arming.not_written(&done);
    assert_eq!(arming.standing(at(2), &host()), Standing::Installed);
    let snapshot = room(vec![host()]);
    let [again] = <[ArmingChange; 1]>::try_from(arming.sweep(at(3), &snapshot)).unwrap();
    assert_eq!(again.event(), None, "it is no news");
    assert_eq!(restarted(&again).standing(at(4), &host()), Standing::Installed);
    assert!(arming.sweep(at(4), &snapshot).is_empty(), "it is on its way");
    arming.not_written(&again);
    assert_eq!(arming.sweep(at(5), &snapshot).len(), 1);
    // What another state took the place of is not.
    arming.not_written(&done);
    let change = arming.arm(at(6), &host(), (at(100), ada())).unwrap();
    arming.settle(&change, true);
    arming.not_written(&done);
    assert!(arming.sweep(at(7), &snapshot).is_empty());
}

#[test]
fn a_machine_that_asks_again_while_the_disk_is_full_uses_up_no_try() {
    let mut arming = armed();
    for seconds in 0..10 * u64::from(INSTALL_TRIES_MAX) {
        let handed = hand_out(&mut arming, seconds).unwrap();
        assert_eq!(installing(&handed.change).tries, 1);
        arming.not_written(&handed.change);
        arming.power_on(&host());
    }
    assert!(hand_out(&mut arming, 99).unwrap().token.is_some());
    arming.power_on(&host());
    assert_eq!(installing(&hand_out(&mut arming, 100).unwrap().change).tries, 2);
}
